"""One local IAM, one dsec, and readers that say what went wrong."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

from daemon import DESCRIBE, Dsec, until
from localiam import LocalIAM

LONG = "DSEC_TESTS_LONG" in os.environ
READERS = ("cached", "first", "looking", "holding")
SECONDS = 60


def children(pid):
    """The pids of a process's children: of a keeper's, its worker's."""
    try:
        return [int(child) for child in
                pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def configuration(iam, **more):
    def config(**members):
        return {"secrets": {"GREETING": "hello"},
                "dynamic_secrets": {"AWS_USER": {
                    "integration": "aws-main", "policy": DESCRIBE, "ttl": "12h",
                    "max_leases": 5000, "max_rate": "100000/m", **members}},
                "access": {"mode": "0444"}}

    return {
        "integrations": {"aws-main": {
            "type": "aws-iam", "rate": 1000, "endpoint": iam.endpoint, "sts_endpoint": iam.endpoint,
            "verify": False,
            "credentials": {"source": "static", "access_key_id": iam.admin.access_key_id,
                            "secret_access_key": iam.admin.secret_access_key}}},
        "projects": {"app": {
            "dev": config(),
            # Another one every five seconds, and long enough that each can be tried.
            "rotating": config(ttl="40s", max_ttl="12h", min_validity="35s"),
            "own": config(scope="user"),
        }},
        **more,
    }


class Scene:
    def __init__(self, case, **more):
        self.case = case
        self.iam = LocalIAM().start()
        case.addCleanup(self.iam.stop)
        self.dsec = Dsec(case, configuration(self.iam, **more))
        self.readers = []
        self.container = None
        self.keeper = 0
        self.killed = 0  # the worker that was killed last

    def start(self, **more):
        self.dsec.start(**more)
        self.keeper = self.dsec.pid()
        return self

    def kill_worker(self):
        """Whatever it is doing, starting included. Returns when."""
        worker, = until("there is another worker",
                        lambda: [pid for pid in children(self.keeper) if pid != self.killed],
                        pause=0.001)
        self.killed = worker
        begin = time.monotonic()
        os.kill(worker, signal.SIGKILL)
        return begin

    def kill_served(self):
        """Kills the one that serves; when this returns another one serves."""
        worker = self.dsec.worker()
        os.kill(worker, signal.SIGKILL)
        self.case.assertNotEqual(self.dsec.worker(), worker)

    def kill_many(self, times):
        """Returns how long nobody served, sorted."""
        pauses = []
        for i in range(times):
            time.sleep(random.uniform(0, 0.15))
            begin = self.kill_worker()
            if i % 3 == 0:
                continue  # the next one is killed while it starts
            self.dsec.worker()
            pauses.append(time.monotonic() - begin)
        return sorted(pauses)

    # Readers.

    def begin_readers(self):
        bound = self.dsec.folder / "bound"
        bound.mkdir()
        subprocess.run(["mount", "--bind", self.dsec.path("app/dev"), bound], check=True)
        self.case.addCleanup(subprocess.run, ["umount", "-l", bound], check=False)
        self.case.addCleanup(self._end_readers)
        for kind in READERS:
            self.readers.append(subprocess.Popen(
                [sys.executable, pathlib.Path(__file__).with_name("reader.py"), kind,
                 self.dsec.mountpoint, self.iam.endpoint],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        self._begin_container()

    def _end_readers(self):
        for reader in self.readers:
            if reader.poll() is None:
                reader.kill()
                reader.communicate()

    def _begin_container(self):
        """Prints access key id, secret, lease id and user, a line for each round."""
        if not shutil.which("runc"):
            print("# runc is not installed: no reader in a container")
            return
        bundle, stop = self.dsec.folder / "bundle", self.dsec.folder / "stop"
        stop.mkdir()
        programs = bundle / "rootfs/bin"
        programs.mkdir(parents=True)
        shutil.copy(shutil.which("busybox"), programs)
        subprocess.run(["runc", "spec", "--bundle", bundle], check=True, timeout=SECONDS)
        spec = json.loads((bundle / "config.json").read_text())
        cat = "/bin/busybox cat"
        loop = ("cd /run/aws || exit 1; while [ ! -e /tmp/stop ]; do "
                f"i=$({cat} AWS_USER_ACCESS_KEY_ID) && "
                f"s=$({cat} /run/aws/AWS_USER_SECRET_ACCESS_KEY) && "
                f"l=$({cat} AWS_USER_LEASE_ID) && u=$({cat} AWS_USER_USERNAME) && "
                'echo "$i $s $l $u" || echo failed; done')
        spec["process"] |= {"terminal": False, "args": ["/bin/busybox", "sh", "-c", loop]}
        spec["mounts"] = [m for m in spec["mounts"] if m["type"] != "cgroup"] + [
            {"destination": "/run/aws", "type": "bind", "source": str(self.dsec.path("app/dev")),
             "options": ["rbind", "ro", "rslave"]},
            {"destination": "/tmp", "type": "bind", "source": str(stop),
             "options": ["rbind", "ro"]}]
        (bundle / "config.json").write_text(json.dumps(spec))
        name, root = self.dsec.folder.name, ["runc", "--root", self.dsec.folder / "runc"]
        self.case.addCleanup(subprocess.run, [*root, "delete", "--force", name],
                             capture_output=True, timeout=SECONDS)
        self.container = subprocess.Popen([*root, "run", "--bundle", bundle, name],
                                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                          stderr=subprocess.STDOUT, text=True)

    def finish_readers(self):
        """Ends them, and fails on whatever one has found."""
        leases = {}
        for reader in self.readers:
            said, _ = reader.communicate("stop\n", timeout=SECONDS)
            result = json.loads(said)
            self.case.assertEqual(result["errors"], [], result["kind"] + "\n" + self.log())
            self.case.assertGreater(result["n"], 0)
            for key_id, lease in result["leases"].items():
                self.case.assertEqual(leases.setdefault(key_id, lease), lease)
            print("# %s: %d rounds, the longest %.0f ms" % (
                result["kind"], result["n"], 1000 * result["longest"][-1]))
        if self.container:
            (self.dsec.folder / "stop/stop").write_text("")
            said, _ = self.container.communicate(timeout=SECONDS)
            lines = said.splitlines()
            self.case.assertGreater(len(lines), 0)
            for line in lines:
                key_id, *lease = line.split()
                self.case.assertEqual(leases.get(key_id), lease, line)
            print(f"# in a container: {len(lines)} rounds")
        print(f"# {len(leases)} leases seen")

    def log(self):
        return self.dsec.log.read_text()

    def stop(self):
        """Nothing may be left."""
        self.dsec.stop()
        self.case.assertEqual(self.iam.users(), {})
