#!/usr/bin/python3
"""Mounting, unmounting, and what a dead daemon leaves behind."""

import errno
import json
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

import mounted

MOUNT_TOOL = os.environ.get("FS_MOUNT_TOOL", "build/tests/fs/fs_mount_tool")
CONFIGS = {"dev": {"dynamic_secrets": {"AWS_USER": mounted.dynamic()},
                   "secrets": {"REGION": "us-east-1"}}}
KEY = "AWS_USER_ACCESS_KEY_ID"
NOBODY = 65534


def tool(*words):
    result = subprocess.run([MOUNT_TOOL, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, timeout=mounted.PATIENCE)
    return (result.stdout + result.stderr).strip()


class States(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="dsec fs\\\n")  # as mountinfo must escape it
        self.addCleanup(shutil.rmtree, self.folder, True)

    def test_a_plain_folder_is_no_mount(self):
        self.assertEqual(tool("state", self.folder), "none")
        self.assertEqual(tool("state", self.folder + "/not there"), "none")
        self.assertEqual(tool("unmount", self.folder), "ok")

    def test_anothers_mount_is_not_touched(self):
        subprocess.run(["mount", "-t", "tmpfs", "none", self.folder], check=True)
        try:
            self.assertEqual(tool("state", self.folder), "foreign")
            self.assertIn("tmpfs", tool("unmount", self.folder))
            self.assertTrue(os.path.ismount(self.folder))
        finally:
            subprocess.run(["umount", self.folder], check=True)

    def test_a_mount_that_serves_is_alive_by_every_name(self):
        with mounted.Harness(CONFIGS, folder=self.folder) as fs:
            for name in (fs.mountpoint, fs.mountpoint + "/", fs.mountpoint + "/.",
                         os.path.relpath(fs.mountpoint)):
                self.assertEqual(tool("state", name), "alive", name)
            device = os.stat(fs.mountpoint).st_dev
            device = "%d:%d" % (os.major(device), os.minor(device))
            with open("/proc/self/mountinfo") as file:
                line, = [line for line in file if line.split()[2] == device]
            self.assertIn(" fuse.dsec ", line)
            for option in ("ro", "nosuid", "nodev", "noexec", "default_permissions",
                           "allow_other"):
                self.assertIn(option, line.split()[5].split(",") + line.split()[-1].split(","))

    def test_a_stopped_daemon_is_alive_and_asking_it_blocks_nobody(self):
        with mounted.Harness(CONFIGS, folder=self.folder) as fs:
            fs.process.send_signal(signal.SIGSTOP)
            try:
                self.assertEqual(tool("state", fs.mountpoint), "alive")
            finally:
                fs.process.send_signal(signal.SIGCONT)

    def test_a_dead_daemons_mount_is_stale_and_can_be_taken_over(self):
        fs = mounted.Harness(CONFIGS, folder=self.folder)
        try:
            fs.kill()
            self.assertEqual(tool("state", fs.mountpoint), "stale")
            with self.assertRaises(OSError) as raised:
                os.listdir(fs.mountpoint)
            self.assertEqual(raised.exception.errno, errno.ENOTCONN)
            self.assertEqual(tool("unmount", fs.mountpoint), "ok")
            self.assertEqual(tool("state", fs.mountpoint), "none")
            with mounted.Harness(CONFIGS, folder=self.folder) as again:
                self.assertIn("dev", os.listdir(again.path()))
        finally:
            fs.close()

    def test_unmounting_works_while_files_are_open(self):
        with mounted.Harness(CONFIGS, folder=self.folder) as fs:
            with open(fs.path("dev", "REGION")) as held:
                self.assertEqual(tool("unmount", fs.mountpoint), "ok")
                self.assertEqual(tool("state", fs.mountpoint), "none")
                self.assertEqual(held.read(), "us-east-1")

    def test_a_plain_umount_is_noticed(self):
        with mounted.Harness(CONFIGS, folder=self.folder) as fs:
            self.assertEqual(fs.say("ended"), "0")
            subprocess.run(["umount", fs.mountpoint], check=True)
            mounted.until(lambda: fs.say("ended") == "1", "the end of the connection")

    def test_a_descriptor_that_is_no_mount_is_refused(self):
        self.assertIn("/dev/fuse", tool("start", "/dev/fuse"))


class NotRoot(unittest.TestCase):
    """In a mount namespace of its own, whose /dev/fuse is everybody's."""

    def setUp(self):
        if not shutil.which("fusermount3"):
            self.skipTest("no fusermount3")
        if not os.stat(shutil.which("fusermount3")).st_mode & 0o4000:
            self.skipTest("fusermount3 is not setuid root")
        self.folder = tempfile.mkdtemp(prefix="dsec-fs-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        os.chmod(self.folder, 0o755)
        # What nobody is to run must be where nobody gets.
        for program in (mounted.HARNESS, MOUNT_TOOL):
            shutil.copy(program, self.folder)

    def in_namespace(self, script):
        device = os.path.join(self.folder, "fuse")
        whole = """
            set -e
            mknod -m 666 {device} c 10 229
            mount --bind {device} /dev/fuse
            mkdir {folder}/mnt && chown {uid} {folder}/mnt {folder}
            cat > {folder}/script && chmod 755 {folder}/script
            exec setpriv --reuid {uid} --regid {uid} --clear-groups bash -e {folder}/script
        """.format(device=device, folder=self.folder, uid=NOBODY)
        return subprocess.run(["unshare", "-m", "--propagation", "private", "sh", "-c", whole],
                              input=script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=60)

    def test_an_ordinary_user_mounts_reads_and_unmounts(self):
        configuration = os.path.join(self.folder, "dsec.json")
        with open(configuration, "w") as file:
            json.dump(mounted.configuration(CONFIGS), file)
        os.chown(configuration, NOBODY, NOBODY)
        os.chmod(configuration, 0o600)
        result = self.in_namespace("""
            cd {0}
            mkfifo in out
            ASAN_OPTIONS=detect_leaks=0 ./fs_harness mnt dsec.json probe < in > out & pid=$!
            exec 7> in 8< out
            read -u 8 ready mode others; echo "$ready $others"
            ./fs_mount_tool state mnt
            busybox cat mnt/app/dev/{1}; echo
            stat -c %u mnt/app/dev
            grep " $(mountpoint -d mnt) " /proc/self/mountinfo
            kill -9 $pid; wait $pid || true
            ./fs_mount_tool state mnt
            ./fs_mount_tool unmount mnt
            ./fs_mount_tool state mnt
        """.format(self.folder, KEY))
        lines = [line for line in result.stdout.splitlines() if "Killed" not in line]
        self.assertEqual(lines[:4], ["ready 0", "alive", "AKIA0000000000000001", str(NOBODY)],
                         result.stdout)
        self.assertIn("default_permissions", lines[4])
        self.assertEqual(lines[5:], ["stale", "ok", "none"], result.stdout)

    def test_fusermounts_refusal_is_told(self):
        result = self.in_namespace("""
            cd {0}
            ./fs_mount_tool mount /proc || true
        """.format(self.folder))
        self.assertIn("fusermount3", result.stdout)


if __name__ == "__main__":
    mounted.main()
