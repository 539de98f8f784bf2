#!/usr/bin/python3
"""Without root: an ordinary user's mount, through fusermount3, in the user's own folders.

Runs itself again in a mount namespace of its own, where /dev/fuse is open to all, as it is on an
ordinary system, and where fusermount3's table of mounts is nobody else's."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from daemon import DSEC, configuration, mounted, until, wait_for_end
from localiam import LocalIAM

INSIDE = "DSEC_TEST_INSIDE"
UID = 65534
SETPRIV = shutil.which("setpriv")


class Unprivileged(unittest.TestCase):
    def setUp(self):
        if not shutil.which("fusermount3"):
            self.skipTest("fusermount3 is not installed")
        self.iam = LocalIAM().start()
        self.addCleanup(self.stop_iam)
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="dsec-home-"))
        self.addCleanup(shutil.rmtree, self.home)
        self.runtime = self.home / "run"
        self.mountpoint = self.runtime / "dsec"
        file = self.home / ".config/dsec/dsec.json"
        file.parent.mkdir(parents=True)
        self.runtime.mkdir(mode=0o700)
        socket = f"unix:{self.runtime}/dsec.sock"
        file.write_text(json.dumps(configuration(self.iam, api={"listen": [socket]})))
        file.chmod(0o600)
        for path in [self.home, *self.home.rglob("*")]:
            os.chown(path, UID, UID)
        self.pid = None
        self.addCleanup(self.clean_up)

    def stop_iam(self):
        self.assertIn(self.iam.stop(), (0, None))

    def clean_up(self):
        if mounted(self.mountpoint):
            subprocess.run(["umount", "-l", self.mountpoint], check=False)
        if self.pid:
            wait_for_end(self.pid)

    def run_as_user(self, *words, **env):
        kept = {name: os.environ[name] for name in
                ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "DSEC_TESTS", "TMPDIR")
                if name in os.environ}
        env = {**kept, "HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.runtime), **env}
        return subprocess.run([SETPRIV, f"--reuid={UID}", f"--regid={UID}", "--clear-groups",
                               *map(str, words)], env={k: v for k, v in env.items() if v},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    def mount(self):
        result = self.run_as_user(DSEC, "mount")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.pid = int((self.home / ".local/state/dsec/lock").read_text())

    def test_main_job_in_the_user_s_own_folders(self):
        self.mount()
        result = self.run_as_user("cat", self.mountpoint / "app/dev/AWS_USER_ACCESS_KEY_ID")
        self.assertRegex(result.stdout, r"\AAKIA[A-Z2-7]{16}\Z")
        self.assertEqual(len(self.iam.users()), 1)
        result = self.run_as_user(DSEC, "unmount")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.iam.users(), {})
        self.assertFalse(mounted(self.mountpoint))

    def with_locked(self, kib, *words):
        """Runs it where no more memory may be locked, and nothing can change that."""
        return self.run_as_user("sh", "-c", f'ulimit -l {kib} && exec "$@"', "sh", *words)

    def configure(self, **secret):
        file = self.home / ".config/dsec/dsec.json"
        settings = json.loads(file.read_text())
        settings["projects"]["app"]["dev"]["dynamic_secrets"]["AWS_USER"].update(secret)
        file.write_text(json.dumps(settings))

    def test_little_memory_that_may_be_locked_holds_so_many_leases_as_it_says(self):
        self.configure(max_rate="1000/s")
        result = self.with_locked(156, DSEC, "mount")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.pid = int((self.home / ".local/state/dsec/lock").read_text())
        status = self.run_as_user(DSEC, "status").stdout
        room = int(re.search(r"^secrets are in .*, with room for (\d+) leases$", status, re.M)[1])
        self.assertIn(room, range(1, 60))
        self.assertRegex(result.stderr, rf"RLIMIT_MEMLOCK .* leaves room for the secrets of {room} "
                                        r"leases: 5000 take \d+ KiB")
        # Each open file of CONFIG@fresh is a lease.
        reader = subprocess.run(
            [SETPRIV, f"--reuid={UID}", f"--regid={UID}", "--clear-groups", sys.executable, "-c",
             "import errno, sys\n"
             "files = [open(sys.argv[1]) for _ in range(int(sys.argv[2]))]\n"
             "assert all(len(file.read()) > 100 for file in files)\n"
             "try:\n    open(sys.argv[1])\n"
             "except OSError as error:\n    print(errno.errorcode[error.errno])\n"
             "files.pop().close()\n",
             self.mountpoint / "app/dev@fresh/.json", str(room)],
            capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual((reader.returncode, reader.stdout), (0, "ENOSPC\n"), reader.stderr)
        self.assertIn(f"has room for {room} leases, and so many there are",
                      self.run_as_user("cat", self.mountpoint / "app/dev/.status").stdout)
        # They ended with their reader, and there is room again.
        until("a lease is to be had", lambda: self.run_as_user(
            "cat", self.mountpoint / "app/dev/AWS_USER_ACCESS_KEY_ID").returncode == 0)
        self.assertEqual(self.run_as_user(DSEC, "unmount").returncode, 0)
        self.assertEqual(self.iam.users(), {})

    def test_little_memory_has_room_for_a_long_file(self):
        file = self.home / ".config/dsec/dsec.json"
        settings = json.loads(file.read_text())
        settings["projects"]["app"]["dev"]["secrets"] = {"LONG": "x" * 20000}
        file.write_text(json.dumps(settings))
        result = self.with_locked(640, DSEC, "mount")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.pid = int((self.home / ".local/state/dsec/lock").read_text())
        self.assertIn("RLIMIT_MEMLOCK", result.stderr)  # all that may be locked is taken
        result = self.run_as_user("cat", self.mountpoint / "app/dev/.json")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("x" * 20000, result.stdout)
        self.assertEqual(self.run_as_user(DSEC, "unmount").returncode, 0)

    def test_no_memory_that_may_be_locked_is_told_at_start(self):
        result = self.with_locked(64, DSEC, "mount")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"no more than 64 KiB of memory may be locked for secrets "
                                        r"\(RLIMIT_MEMLOCK: .*\): one lease takes \d+ KiB, 5000 "
                                        r"take \d+ KiB")
        self.assertFalse(mounted(self.mountpoint))

    def test_fusermount3_u_ends_it_like_an_unmount(self):
        self.mount()
        self.run_as_user("cat", self.mountpoint / "app/dev/.json")
        self.assertEqual(self.run_as_user("fusermount3", "-u", self.mountpoint).returncode, 0)
        wait_for_end(self.pid)
        self.assertEqual(self.iam.users(), {})

    def test_stale_mount_of_one_s_own_is_taken_over(self):
        self.mount()
        os.kill(self.pid, 9)
        wait_for_end(self.pid)
        self.mount()
        result = self.run_as_user("cat", self.mountpoint / "app/dev/GREETING")
        self.assertEqual(result.stdout, "hello")
        self.assertEqual(self.run_as_user(DSEC, "unmount").returncode, 0)
        self.assertFalse(mounted(self.mountpoint))

    def test_unmount_that_leaves_the_mount_is_no_success(self):
        """No lease is left, but whatever is read there blames a daemon that is gone."""
        self.mount()
        helper = shutil.which("fusermount3")
        subprocess.run(["mount", "--bind", shutil.which("false"), helper], check=True)
        self.addCleanup(subprocess.run, ["umount", helper], check=True)
        result = self.run_as_user(DSEC, "unmount")
        self.assertTrue(mounted(self.mountpoint))
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertIn(f"cannot unmount {self.mountpoint}", result.stderr)
        self.assertNotIn("is unmounted", result.stdout)
        self.assertEqual(self.iam.users(), {})

    def test_daemon_cannot_be_read_by_its_own_user(self):
        self.mount()
        # What is not dumpable belongs to root in /proc.
        self.assertEqual(os.stat(f"/proc/{self.pid}/mem").st_uid, 0)
        result = self.run_as_user("cat", f"/proc/{self.pid}/environ")
        self.assertIn("Permission denied", result.stderr)
        self.assertEqual(self.run_as_user(DSEC, "unmount").returncode, 0)

    def test_missing_runtime_folder_is_told(self):
        result = self.run_as_user(DSEC, "mount", XDG_RUNTIME_DIR="")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr, "dsec: XDG_RUNTIME_DIR is not set, as it is in a login "
                                        "session: say where\n")

    def test_relative_folder_in_the_environment_is_ignored(self):
        result = self.run_as_user(DSEC, "mount", XDG_CONFIG_HOME="elsewhere",
                                  XDG_STATE_HOME="elsewhere")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.pid = int((self.home / ".local/state/dsec/lock").read_text())
        self.assertEqual(self.run_as_user(DSEC, "unmount").returncode, 0)

    def test_another_user_s_daemon_cannot_be_ended(self):
        self.mount()
        result = subprocess.run([SETPRIV, "--reuid=65533", "--regid=65533", "--clear-groups",
                                 DSEC, "unmount", self.mountpoint], capture_output=True, text=True)
        self.assertEqual(result.returncode, 1)
        self.assertNotEqual(result.stderr, "")
        self.assertTrue(mounted(self.mountpoint))
        self.assertEqual(self.run_as_user(DSEC, "unmount").returncode, 0)

    def test_check_says_that_others_will_not_see_it(self):
        result = self.run_as_user(DSEC, "check")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("only you will see the mount", result.stdout)

    def test_check_says_that_the_device_is_closed(self):
        os.chmod("/dev/fuse", 0o600)
        self.addCleanup(os.chmod, "/dev/fuse", 0o666)
        result = self.run_as_user(DSEC, "check")
        self.assertEqual(result.returncode, 1)
        self.assertIn("mount: /dev/fuse cannot be opened by this user", result.stdout)

    def test_check_says_that_fusermount3_is_missing(self):
        with tempfile.TemporaryDirectory() as empty:
            result = self.run_as_user(DSEC, "check", PATH=empty)
        self.assertEqual(result.returncode, 1)
        self.assertIn("fusermount3 is not installed", result.stdout)

    def test_mount_without_a_device_is_told(self):
        os.chmod("/dev/fuse", 0o600)
        self.addCleanup(os.chmod, "/dev/fuse", 0o666)
        result = self.run_as_user(DSEC, "mount")
        self.assertEqual(result.returncode, 1)
        self.assertIn("/dev/fuse", result.stderr)


def prepare_namespace():
    """An own /dev/fuse for all and an own fuse.conf, in this namespace alone."""
    folder = tempfile.mkdtemp(prefix="dsec-ns-")
    device = os.path.join(folder, "fuse")
    os.mknod(device, 0o20666, os.makedev(10, 229))
    os.chmod(device, 0o666)
    subprocess.run(["mount", "--bind", device, "/dev/fuse"], check=True)
    plain = os.path.join(folder, "fuse.conf")
    pathlib.Path(plain).write_text("# nothing is allowed\n")
    subprocess.run(["mount", "--bind", plain, "/etc/fuse.conf"], check=True)
    return folder


def main():
    if os.getuid() != 0:
        print("1..0 # SKIP needs root, to be somebody else")
        return
    if INSIDE not in os.environ:
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable,
                              *sys.argv])
    folder = prepare_namespace()
    try:
        tap.main()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
