#!/usr/bin/python3
"""The process that serves has nothing that it could lose: no user but its own, no capability, no
file, no program. What it needs comes from its keeper."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from awscall import works
from daemon import Dsec, command, configuration, until, wait_for_end
from localiam import LocalIAM, Principal

ASAN = "asan" in subprocess.run(["ldd", os.environ["DSEC"]], capture_output=True,
                                text=True, check=True).stdout


def status(pid):
    """Of each of its threads: the members of /proc/PID/task/TID/status."""
    ret = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        ret.append({name: value.split() for name, _, value in
                    (line.partition(":") for line in lines)})
    return ret


class Case(unittest.TestCase):
    def setUp(self):
        self.iam = LocalIAM(principals=[Principal("second")]).start()
        self.addCleanup(self.iam.stop)

    def dsec(self, secret=None, **more):
        return Dsec(self, configuration(self.iam, secret, **more))

    def worker(self, dsec):
        return int(os.getxattr(dsec.mountpoint, "user.dsec.worker"))


class Privilege(Case):
    def test_no_thread_of_the_worker_has_any(self):
        dsec = self.dsec()
        dsec.configure(configuration(self.iam, audit={"file": f"{dsec.folder}/audit.jsonl"}))
        dsec.start()
        dsec.read("app/dev/.json")  # by now all threads are there
        threads = status(self.worker(dsec))
        self.assertGreater(len(threads), 1)
        for thread in threads:
            self.assertNotIn("0", thread["Uid"])
            self.assertEqual(len(set(thread["Uid"])), 1)
            self.assertNotIn("0", thread["Gid"])
            self.assertEqual(thread["Groups"], [])
            for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                self.assertEqual(int(thread[capabilities][0], 16), 0, capabilities)
            self.assertEqual(thread["NoNewPrivs"], ["1"])
            self.assertEqual(thread["Seccomp"], ["2"])
        dsec.stop()

    def test_keeper_has_what_mounting_takes_and_no_more(self):
        dsec = self.dsec().start()
        thread, = status(dsec.pid())
        for capabilities in ("CapPrm", "CapEff", "CapBnd"):
            held = int(thread[capabilities][0], 16)
            self.assertTrue(held & 1 << 21, "CAP_SYS_ADMIN")
            for name, number in [("NET_ADMIN", 12), ("NET_RAW", 13), ("SYS_MODULE", 16),
                                 ("SYS_RAWIO", 17), ("SYS_BOOT", 22), ("SYS_TIME", 25),
                                 ("MKNOD", 27), ("MAC_ADMIN", 33), ("BPF", 39)]:
                self.assertFalse(held & 1 << number, name)
        dsec.stop()

    def test_audit_log_tells_the_executable_that_the_worker_may_not_see(self):
        dsec = self.dsec(audit={"file": "/tmp/unused"})
        dsec.configure(configuration(self.iam, audit={"file": f"{dsec.folder}/audit.jsonl"}))
        dsec.start()
        subprocess.run(["cat", dsec.path("app/dev/.json")], check=True, stdout=subprocess.DEVNULL)
        lines = [json.loads(line) for line in
                 (dsec.folder / "audit.jsonl").read_text().splitlines()]
        handed, = [line for line in lines if line["event"] == "handed_out"]
        self.assertEqual(handed["caller"]["executable"], os.path.realpath(shutil.which("cat")))
        dsec.stop()

    def test_status_and_log_say_which_layers_are_on(self):
        dsec = self.dsec().start()
        layers = re.compile(r"the worker is user (dsec \()?\d+\)?, no capabilities, "
                            r"no new privileges, undumpable(, Landlock)?, seccomp")
        self.assertRegex(command("status", dsec.mountpoint).stdout, layers)
        self.assertRegex(dsec.log.read_text(), layers)
        dsec.stop()

    def test_worker_opens_and_runs_nothing_of_its_own(self):
        """As strace sees it: from the moment on at which the last layer is on."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="dsec-trace-"))
        self.addCleanup(shutil.rmtree, folder)
        dsec = self.dsec()
        key = dsec.folder / "key"
        key.write_text(self.iam.admin.secret_access_key)
        key.chmod(0o600)
        settings = configuration(self.iam, integration={"credentials": {
            "source": "static", "access_key_id": self.iam.admin.access_key_id,
            "secret_access_key_file": str(key)}}, audit={"file": f"{dsec.folder}/audit.jsonl"})
        dsec.configure(settings)
        dsec.start(["strace", "-ff", "-qq", "-o", folder / "trace", "-e",
                    "trace=openat,open,execve,execveat,seccomp"])
        dsec.read("app/dev/.json")
        self.assertEqual(command("reload", dsec.mountpoint).returncode, 0)
        os.kill(dsec.pid(), signal.SIGHUP)
        until("it is reloaded", lambda: "reloaded" in dsec.log.read_text())
        dsec.read("app/dev@1h/.json")
        worker = self.worker(dsec)
        threads = [task.name for task in pathlib.Path(f"/proc/{worker}/task").iterdir()]
        dsec.stop()
        opened = set()
        for thread in threads:
            text = (folder / f"trace.{thread}").read_text()
            if thread == str(worker):
                self.assertIn("seccomp(", text)
                text = text.rpartition("seccomp(")[2]
            self.assertNotIn("execve", text)
            opened |= {path for path, result in re.findall(r'"([^"]*)"[^\n]*\) += (-?\d+)', text)
                       if int(result) >= 0}
        fine = re.compile(f"{re.escape(str(dsec.state))}(/|$)|/etc/|/usr/|/lib|/dev/(null|urandom)$|/proc/|"
                          "/run/systemd/|/var/lib/sss/|/sys/fs/cgroup|" +
                          re.escape(f"{dsec.mountpoint}/.dsec/.probe") +
                          r"|[a-z.]+$")  # in a folder that is open
        self.assertEqual([path for path in opened if not fine.match(path)], [])
        self.assertNotIn(str(key), opened)
        self.assertNotIn("/etc/shadow", opened)

    @unittest.skipIf(ASAN, "a sanitizer catches the signal")
    def test_a_forbidden_call_ends_the_worker_and_no_reader_notices(self):
        """SIGSYS is what the kernel ends it by."""
        dsec = self.dsec().start()
        before = dsec.read("app/dev/.json")
        worker = self.worker(dsec)
        with open(dsec.path("app/dev/.env"), "rb") as file:
            os.kill(worker, signal.SIGSYS)
            wait_for_end(worker)
            self.assertEqual(dsec.read("app/dev/.json"), before)
            self.assertIn(b"AWS_USER_ACCESS_KEY_ID", file.read())
        self.assertNotEqual(self.worker(dsec), worker)
        self.assertEqual(len(self.iam.users()), 1)
        self.assertIn("signal 31", dsec.log.read_text())
        dsec.stop()


class Door(Case):
    """What only root can read and run is read and run, later too."""

    def test_a_key_that_is_replaced_is_read_again(self):
        dsec = self.dsec()
        key = dsec.folder / "key"
        key.write_text("wrong/wrong/wrong/wrong/wrong/wrong/wron")
        key.chmod(0o600)
        dsec.configure(configuration(self.iam, integration={"credentials": {
            "source": "static", "access_key_id": self.iam.admin.access_key_id,
            "secret_access_key_file": "key"}}))
        dsec.start()
        with self.assertRaises(OSError):
            dsec.read("app/dev/.json")
        key.write_text(self.iam.admin.secret_access_key)
        until("the key is read", lambda: self.reads(dsec), 60)
        dsec.stop()

    def reads(self, dsec):
        try:
            return dsec.read("app/dev/.json")
        except OSError:
            return None

    def test_a_reload_reads_what_only_root_may_read(self):
        dsec = self.dsec().start()
        policy = dsec.folder / "policy.json"
        policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "iam:ListUsers", "Resource": "*"}]}))
        policy.chmod(0o600)
        settings = configuration(self.iam, audit={"file": f"{dsec.folder}/later.jsonl"})
        secret = settings["projects"]["app"]["dev"]["dynamic_secrets"]["AWS_USER"]
        del secret["policy"]
        secret["policy_file"] = "policy.json"
        dsec.configure(settings)
        self.assertEqual(command("reload", dsec.mountpoint).returncode, 0)
        until("it is reloaded", lambda: "reloaded" in dsec.log.read_text())
        self.assertTrue(works(self.iam.endpoint, dsec.key()))
        self.assertIn("handed_out", (dsec.folder / "later.jsonl").read_text())
        dsec.stop()

    def test_a_credential_process_runs_as_the_keepers_user(self):
        dsec = self.dsec()
        script = dsec.folder / "credentials"
        script.write_text("#!/bin/sh\nid -u >\"$0.uid\"\ncat <<END\n" + json.dumps({
            "Version": 1, "AccessKeyId": self.iam.admin.access_key_id,
            "SecretAccessKey": self.iam.admin.secret_access_key}) + "\nEND\n")
        script.chmod(0o700)
        dsec.configure(configuration(self.iam, integration={"credentials": {
            "source": "process", "command": f"{script} 'an argument'"}}))
        dsec.start()
        self.assertTrue(works(self.iam.endpoint, dsec.key()))
        self.assertEqual((dsec.folder / "credentials.uid").read_text(), "0\n")
        dsec.stop()

    def test_a_process_that_fails_or_hangs_is_told(self):
        dsec = self.dsec()
        dsec.configure(configuration(self.iam, integration={"credentials": {
            "source": "process", "command": "/bin/sh -c 'exit 3'"}}))
        dsec.start()
        with self.assertRaises(OSError):
            dsec.read("app/dev/.json")
        self.assertIn("failed with status 3", dsec.status())
        dsec.stop()

    def test_the_socket_is_gone_in_the_end(self):
        dsec = self.dsec().start()
        socket = dsec.folder / "socket"
        self.assertTrue(socket.is_socket())
        dsec.stop()
        self.assertFalse(socket.exists())


class StateFolder(Case):
    def test_one_of_roots_becomes_the_workers(self):
        dsec = self.dsec().start()
        dsec.read("app/dev/.json")
        dsec.kill()
        for path in [dsec.state, *dsec.state.iterdir()]:
            os.chown(path, 0, 0)
        dsec.start()
        worker = int(status(self.worker(dsec))[0]["Uid"][0])
        for path in [dsec.state, *dsec.state.iterdir()]:
            self.assertEqual(path.stat().st_uid, worker, path)
        dsec.stop()
        self.assertEqual(self.iam.users(), {})

    def test_what_a_worker_has_planted_there_stays_roots(self):
        dsec = self.dsec().start()
        dsec.stop()
        victim = dsec.folder / "victim"
        victim.write_text("root's")
        os.link(victim, dsec.state / "hard")
        os.symlink(victim, dsec.state / "symbolic")
        dsec.start()
        self.assertEqual(victim.stat().st_uid, 0)
        dsec.stop()

    def test_a_folder_out_of_reach_is_told(self):
        dsec = self.dsec()
        dsec.state = dsec.folder / "closed" / "state"
        dsec.state.parent.mkdir(mode=0o700)
        result = dsec.try_mount()
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"the worker, user \d+, cannot reach its state folder .*"
                                        r"chmod o\+x")


if __name__ == "__main__":
    if os.getuid() != 0:
        print("1..0 # SKIP only root's daemon has a worker of another user")
        sys.exit(0)
    tap.main()
