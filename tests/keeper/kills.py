#!/usr/bin/python3
"""Readers do not notice that the process that serves them is killed, over and over."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from daemon import DESCRIBE, DSEC, Dsec, command, until
from localiam import LocalIAM

LONG = "DSEC_TESTS_LONG" in os.environ
KILLS = 1000 if LONG else 30
READERS = ("cached", "first", "looking", "holding")
SECONDS = 60


def children(pid):
    try:
        return [int(child) for child in
                pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def secret(**more):
    return {"integration": "aws-main", "policy": DESCRIBE, "ttl": "12h", "max_leases": 5000,
            "max_rate": "100000/m", **more}


def configuration(iam):
    def config(**more):
        return {"secrets": {"GREETING": "hello"}, "dynamic_secrets": {"AWS_USER": secret(**more)},
                "access": {"mode": "0444"}}

    return {
        "integrations": {"aws-main": {
            "type": "aws-iam", "rate": 1000, "endpoint": iam.endpoint, "sts_endpoint": iam.endpoint,
            "verify": False,
            "credentials": {"source": "static", "access_key_id": iam.admin.access_key_id,
                            "secret_access_key": iam.admin.secret_access_key}}},
        "projects": {"app": {
            "dev": config(),
            # Whole for five seconds, then another one; long enough to be tried.
            "rotating": config(ttl="40s", max_ttl="12h", min_validity="35s"),
            "own": config(scope="user"),
        }},
    }


class Scene:
    def __init__(self, case):
        self.case = case
        self.iam = LocalIAM().start()
        case.addCleanup(self.iam.stop)
        self.dsec = Dsec(case, configuration(self.iam)).start()
        self.readers = []
        self.bind()
        case.addCleanup(self.end_readers)

    def bind(self):
        bound = self.dsec.folder / "bound"
        bound.mkdir()
        subprocess.run(["mount", "--bind", self.dsec.path("app/dev"), bound], check=True)
        self.case.addCleanup(subprocess.run, ["umount", "-l", bound], check=False)

    def begin(self, kinds=READERS):
        for kind in kinds:
            self.readers.append(subprocess.Popen(
                [sys.executable, pathlib.Path(__file__).with_name("reader.py"), kind,
                 self.dsec.mountpoint, self.iam.endpoint],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))

    def end_readers(self):
        for reader in self.readers:
            if reader.poll() is None:
                reader.kill()
            reader.communicate()

    # In a container: id, secret and lease id, a line for each round.

    def contain(self):
        if not shutil.which("runc"):
            return None
        bundle = self.dsec.folder / "bundle"
        programs = bundle / "rootfs/bin"
        programs.mkdir(parents=True)
        shutil.copy(shutil.which("busybox"), programs)
        subprocess.run(["runc", "spec", "--bundle", bundle], check=True, timeout=SECONDS)
        spec = json.loads((bundle / "config.json").read_text())
        loop = ('cd /run/aws || exit 1; while [ ! -e /tmp/stop ]; do '
                'i=$(/bin/busybox cat AWS_USER_ACCESS_KEY_ID) && '
                's=$(/bin/busybox cat /run/aws/AWS_USER_SECRET_ACCESS_KEY) && '
                'l=$(/bin/busybox cat AWS_USER_LEASE_ID) && u=$(/bin/busybox cat AWS_USER_USERNAME) '
                '&& echo "$i $s $l $u" || echo failed; done')
        spec["process"] |= {"terminal": False, "args": ["/bin/busybox", "sh", "-c", loop]}
        spec["mounts"] = [m for m in spec["mounts"] if m["type"] != "cgroup"] + [
            {"destination": "/run/aws", "type": "bind", "source": str(self.dsec.path("app/dev")),
             "options": ["rbind", "ro", "rslave"]},
            {"destination": "/tmp", "type": "bind", "source": str(self.stop_folder()),
             "options": ["rbind", "ro"]}]
        (bundle / "config.json").write_text(json.dumps(spec))
        name, root = self.dsec.folder.name, ["runc", "--root", self.dsec.folder / "runc"]
        self.case.addCleanup(subprocess.run, [*root, "delete", "--force", name],
                             capture_output=True, timeout=SECONDS)
        return subprocess.Popen([*root, "run", "--bundle", bundle, name],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def stop_folder(self):
        folder = self.dsec.folder / "stop"
        folder.mkdir(exist_ok=True)
        return folder

    # Killing.

    def kill_worker(self):
        """Whatever it is doing, starting included. Returns how long nobody served."""
        workers = until("there is a worker", lambda: children(self.dsec.pid_of_keeper), pause=0.001)
        begin = time.monotonic()
        for worker in workers:
            try:
                os.kill(worker, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return begin

    def kill_many(self, times):
        pauses = []
        for i in range(times):
            time.sleep(random.uniform(0, 0.15))
            begin = self.kill_worker()
            if i % 3 == 0:
                continue  # the next is killed while it starts
            os.getxattr(self.dsec.mountpoint, "user.dsec.worker")
            pauses.append(time.monotonic() - begin)
        return sorted(pauses)

    # Looking.

    def finish(self, container=None):
        """Fails on whatever a reader has found. Returns what they have seen."""
        results = []
        (self.stop_folder() / "stop").write_text("")
        for reader in self.readers:
            said, _ = reader.communicate("stop\n", timeout=SECONDS)
            results.append(json.loads(said))
        leases = {}
        for result in results:
            self.case.assertEqual(result["errors"], [], result["kind"])
            self.case.assertGreater(result["n"], 0)
            for key_id, lease in result["leases"].items():
                self.case.assertEqual(leases.setdefault(key_id, lease), lease)
        if container:
            self.contained(container, leases)
        return results

    def contained(self, container, leases):
        said, _ = container.communicate(timeout=SECONDS)
        lines = said.splitlines()
        self.case.assertGreater(len(lines), 0)
        for line in lines:
            key_id, *lease = line.split()
            self.case.assertEqual(leases.get(key_id), lease, line)
        print(f"# container: {len(lines)} rounds")


class Kills(unittest.TestCase):
    deadline = 900

    def test_readers_do_not_notice_that_the_worker_is_killed(self):
        scene = Scene(self)
        scene.dsec.pid_of_keeper = scene.dsec.pid()
        scene.begin()
        container = scene.contain()
        pauses = scene.kill_many(KILLS)
        results = scene.finish(container)
        for result in results:
            print("# %s: %d rounds, the longest %.0f ms" % (
                result["kind"], result["n"], 1000 * result["longest"][-1]))
        print("# %d kills; pauses: p50 %.0f ms, p99 %.0f ms, max %.0f ms" % (
            KILLS, 1000 * pauses[len(pauses) // 2], 1000 * pauses[len(pauses) * 99 // 100],
            1000 * pauses[-1]))
        self.assertGreaterEqual(scene.dsec.restarts(), KILLS * 2 // 3)
        scene.dsec.stop()
        self.assertEqual(scene.iam.users(), {})


if __name__ == "__main__":
    tap.main()
