#!/usr/bin/python3
"""Looking is free, and nothing can be changed."""

import errno
import os
import stat
import subprocess
import time
import unittest

import mounted

CONFIGS = {
    "dev": {"secrets": {"REGION": "us-east-1"}, "dynamic_secrets": {"AWS_USER": mounted.dynamic()},
            "access": {"user": "u4001", "group": "u4002", "mode": "0440"}},
    "open": {"secrets": {"A": "1"}, "dynamic_secrets": {"AWS_USER": mounted.dynamic()},
             "access": {"user": "u0", "group": "u0", "mode": "0444"}},
    "two": {"dynamic_secrets": {"AWS_ONE": mounted.dynamic(), "AWS_TWO": mounted.dynamic()}},
}
SUFFIXES = ("ACCESS_KEY_ID SECRET_ACCESS_KEY ARN USERNAME POLICY_NAME LEASE_ID "
            "LEASE_EXPIRATION").split()
KEY = "AWS_USER_ACCESS_KEY_ID"
DEV = {"AWS_USER_" + suffix for suffix in SUFFIXES} | {
    "REGION", "DOPPLER_PROJECT", "DOPPLER_CONFIG", "DOPPLER_ENVIRONMENT"}
DOT = {".json", ".env", ".env-no-quotes", ".docker", ".yaml", ".dotnet-json", ".aws", ".status"}


def read(path):
    with open(path) as file:
        return file.read()


class Case(unittest.TestCase):
    def setUp(self):
        self.fs = mounted.Harness(CONFIGS)
        self.addCleanup(self.fs.close)
        self.dev = self.fs.path("dev")

    def run_quietly(self, *command, **options):
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=60, **options)


class Looking(Case):
    def test_looking_never_leases(self):
        root = self.fs.mountpoint
        self.fs.say("delay", "dev", -1)  # what does lease hangs
        for command in (["ls", "-lR", root], ["ls", "-laR", root], ["find", root, "-ls"],
                        ["du", "-a", root], ["stat", os.path.join(self.dev, KEY)],
                        ["test", "-r", os.path.join(self.dev, KEY)],
                        ["bash", "-c", "shopt -s globstar; echo %s/**" % root],
                        ["bash", "-c", "compgen -f %s/AWS" % self.dev],
                        ["getfattr", "-dR", root], ["busybox", "ls", "-lR", root],
                        ["tar", "-cf", os.path.join(self.fs.folder, "a.tar"), "-C", self.dev, "."],
                        ["grep", "-r", "AKIA", self.dev],
                        ["file", os.path.join(self.dev, KEY)]):
            with self.subTest(command=command[0]):
                self.run_quietly(*command)
                self.assertEqual(self.fs.acquires, 0)
        os.close(os.open(os.path.join(self.dev, KEY), os.O_PATH))
        self.assertEqual(self.fs.acquires, 0)

    def test_who_only_looked_takes_nothing_from_who_reads(self):
        path = os.path.join(self.fs.path("open"), KEY)
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.assertEqual(os.read(fd, 100), b"")
        key = read(path)
        self.assertEqual(len(key), 20)
        self.assertEqual(os.pread(fd, 100, 0), b"")
        os.close(fd)
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.assertEqual(os.read(fd, 100).decode(), key)
        os.close(fd)

    def test_a_config_lists_exactly_its_download_leased_or_not(self):
        for _ in range(2):
            self.assertEqual(set(os.listdir(self.dev)), DEV | DOT)
            self.assertEqual(set(os.listdir(os.path.join(self.dev, ".aws"))), {"AWS_USER"})
            self.assertEqual(set(os.listdir(os.path.join(self.dev, ".aws", "AWS_USER"))),
                             {"credentials", "process.json"})
            read(os.path.join(self.dev, ".json"))
        self.assertEqual(set(os.listdir(self.fs.mountpoint)), {"app", ".dsec"})
        self.assertEqual(set(os.listdir(self.fs.path())), set(CONFIGS))
        self.assertEqual(set(os.listdir(os.path.join(self.fs.mountpoint, ".dsec"))),
                         {"version", "metrics", "leases.json"})
        self.assertEqual(set(os.listdir(self.fs.path("two"))) - DOT,
                         {name + suffix for name in ("AWS_ONE_", "AWS_TWO_")
                          for suffix in SUFFIXES}
                         | {"DOPPLER_PROJECT", "DOPPLER_CONFIG", "DOPPLER_ENVIRONMENT"})

    def test_sizes_are_true_and_unleased_files_are_empty(self):
        self.assertEqual(os.stat(os.path.join(self.dev, "REGION")).st_size, 9)
        self.assertEqual(os.stat(os.path.join(self.dev, KEY)).st_size, 0)
        read(os.path.join(self.dev, ".json"))
        for name in DEV | DOT - {".aws"}:
            path = os.path.join(self.dev, name)
            self.assertEqual(os.stat(path).st_size, len(read(path)), name)

    def test_owner_and_mode_are_the_configs(self):
        at = os.stat(self.dev)
        self.assertEqual((at.st_uid, at.st_gid, stat.S_IMODE(at.st_mode)), (4001, 4002, 0o550))
        for name in (KEY, ".json", ".status", "REGION", ".aws/AWS_USER/credentials"):
            at = os.stat(os.path.join(self.dev, name))
            self.assertEqual((at.st_uid, at.st_gid, stat.S_IMODE(at.st_mode)),
                             (4001, 4002, 0o440), name)
        path = os.path.join(self.dev, KEY)
        for uid, code in ((4001, 0), (4002, 0), (4003, 1)):
            self.assertEqual(mounted.as_user(uid, ["cat", path], stdout=subprocess.DEVNULL,
                                             stderr=subprocess.DEVNULL).returncode, code)

    def test_attributes_tell_the_lease(self):
        path = os.path.join(self.dev, KEY)
        self.assertEqual(os.listxattr(path), [])
        with self.assertRaises(OSError) as raised:
            os.getxattr(path, "user.dsec.lease_id")
        self.assertEqual(raised.exception.errno, errno.ENODATA)
        before = time.time()
        read(path)
        self.assertEqual(os.getxattr(path, "user.dsec.lease_id").decode(),
                         read(os.path.join(self.dev, "AWS_USER_LEASE_ID")))
        self.assertEqual(os.getxattr(path, "user.dsec.expires").decode(),
                         read(os.path.join(self.dev, "AWS_USER_LEASE_EXPIRATION")))
        self.assertAlmostEqual(os.stat(path).st_mtime, before, delta=5)
        both = self.fs.path("two", ".json")
        read(both)
        self.assertEqual(len(os.getxattr(both, "user.dsec.lease_id").split(b",")), 2)
        self.assertEqual(set(os.listxattr(both)), {"user.dsec.lease_id", "user.dsec.expires"})
        self.assertEqual(os.getxattr(self.fs.mountpoint, "user.dsec.pid").decode(),
                         str(self.fs.process.pid))
        self.assertEqual(os.getxattr(self.fs.mountpoint, "user.dsec.state"),
                         b"/state/of/the/test")

    def test_a_report_is_written_at_each_look_and_of_true_size(self):
        status = os.path.join(self.dev, ".status")
        self.assertEqual(read(status), "app/dev: 0 leases, 0 waiting\n")
        read(os.path.join(self.dev, KEY))
        self.assertEqual(read(status), "app/dev: 1 leases, 0 waiting\n")
        said = self.run_quietly("busybox", "cat", status).stdout
        self.assertEqual(said, "app/dev: 1 leases, 0 waiting\n")
        self.assertEqual(read(os.path.join(self.fs.mountpoint, ".dsec", "version")), "0.0-test\n")

    def test_made_up_names_do_not_fill_the_memory(self):
        """The kernel is asked to forget all but a thousand."""
        before = self.inodes()
        for i in range(8000):
            os.stat(self.fs.path("dev@%dms" % (20000 + i)))
        mounted.until(lambda: self.inodes() - before < 4000, "forgotten names")
        with open(self.fs.path("dev@20000ms", "REGION")) as file:
            self.assertEqual(file.read(), "us-east-1")

    def inodes(self):
        """How many the kernel has of all FUSE mounts."""
        with open("/proc/slabinfo") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("fuse_inode"))

    def test_odd_names_do_not_exist(self):
        for name in (b"\xff\xfe", b"a" * 255, b"dev@" + b"1" * 200, b" ", b"dev@1h\n", b"%s%n"):
            with self.assertRaises(FileNotFoundError):
                os.stat(os.path.join(self.fs.path().encode(), name))


class Changing(Case):
    """By errno, from the kernel and, where it was remounted read-write, from us."""

    def expect_erofs(self):
        file, folder = os.path.join(self.dev, "REGION"), self.dev
        unleased = os.path.join(self.dev, KEY)
        new = os.path.join(folder, "new")
        attempts = {
            "open for writing": lambda: os.open(file, os.O_WRONLY),
            "open for both": lambda: os.open(file, os.O_RDWR),
            "open unleased": lambda: os.open(unleased, os.O_WRONLY | os.O_TRUNC),
            "truncate": lambda: os.truncate(file, 0),
            "create": lambda: os.open(new, os.O_CREAT | os.O_WRONLY, 0o600),
            "mkdir": lambda: os.mkdir(new),
            "mknod": lambda: os.mknod(new),
            "symlink": lambda: os.symlink("x", new),
            "link": lambda: os.link(file, new),
            "unlink": lambda: os.unlink(file),
            "rmdir": lambda: os.rmdir(os.path.join(folder, ".aws")),
            "rename": lambda: os.rename(file, new),
            "chmod": lambda: os.chmod(file, 0o777),
            "chown": lambda: os.chown(file, 1, 1),
            "utime": lambda: os.utime(file),
            "setxattr": lambda: os.setxattr(file, "user.x", b"y"),
            "removexattr": lambda: os.removexattr(file, "user.x"),
            "config": lambda: os.mkdir(self.fs.path("new")),
            "project": lambda: os.mkdir(os.path.join(self.fs.mountpoint, "new")),
        }
        for name, attempt in attempts.items():
            with self.subTest(attempt=name):
                with self.assertRaises(OSError) as raised:
                    attempt()
                self.assertEqual(raised.exception.errno, errno.EROFS)
        self.assertEqual(self.fs.acquires, 0)

    def test_nothing_can_be_changed(self):
        self.expect_erofs()

    def test_nothing_can_be_changed_after_a_remount(self):
        subprocess.run(["mount", "-i", "-o", "remount,rw", self.fs.mountpoint], check=True)
        self.expect_erofs()

    def test_an_existing_file_can_be_read_with_o_creat(self):
        fd = os.open(os.path.join(self.dev, "REGION"), os.O_RDONLY | os.O_CREAT)
        self.assertEqual(os.read(fd, 100), b"us-east-1")
        os.close(fd)


if __name__ == "__main__":
    mounted.main()
