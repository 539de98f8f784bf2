#!/usr/bin/python3
"""Who may read a config beyond its mode, who may see it; and that nobody is answered from what the
kernel has cached of another."""

import errno
import os
import pathlib
import subprocess
import tempfile
import unittest

import mounted

PYTHON = "/usr/bin/python3"
ID = "4f1c0d" + "0" * 58
WORLD = {"user": "u0", "group": "u0", "mode": "0444"}


def config(**access):
    return {"secrets": {"A": "1"}, "dynamic_secrets": {"AWS_USER": mounted.dynamic()},
            "access": {**WORLD, **access}}


CONFIGS = {
    "open": config(),
    "uids": config(allow={"uids": [4001, "u4002"]}),
    "gids": config(allow={"gids": [4001]}),
    "unit": config(allow={"units": ["web@*.service"]}),
    "container": config(allow={"containers": [ID]}),
    "runtime": config(allow={"containers": ["docker:4f1c*"]}),
    "named": config(allow={"containers": ["dsec-plain*"]}),
    "either": config(allow={"uids": [4001], "units": ["web@*.service"]}),
    "hidden": config(hide=True, allow={"uids": [4001]}),
    "private": config(hide=True, user="u4001", group="u4003", mode="0440"),
}
KEY = "AWS_USER_ACCESS_KEY_ID"
UNIFIED = next((pathlib.Path(line.split()[4])
                for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
                if " - cgroup2 " in line and line.split()[3] == "/"), None)


class Case(unittest.TestCase):
    def setUp(self):
        self.fs = mounted.Harness(CONFIGS)
        self.addCleanup(self.fs.close)

    def run_as(self, uid, *command, groups=(), within=None, gid=None):
        groups = ["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]
        move = ["sh", "-c", f'echo $$ >{within}/cgroup.procs && exec "$@"', "sh"] if within else []
        return subprocess.run([*move, "setpriv", "--reuid", str(uid), "--regid",
                               str(uid if gid is None else gid), *groups, *command],
                              capture_output=True, text=True)

    def reads(self, uid, name, file=KEY, **more):
        """Whether it may; if not, that it is told so."""
        result = self.run_as(uid, "cat", self.fs.path(name, file), **more)
        if result.returncode == 0:
            self.assertTrue(result.stdout)
            return True
        self.assertIn(os.strerror(errno.EACCES), result.stderr)
        self.assertEqual(result.stdout, "")
        return False

    def cgroup(self, *parts):
        if not UNIFIED or not os.access(UNIFIED, os.W_OK):
            self.skipTest("no unified cgroup hierarchy that we may write to")
        folder = pathlib.Path(tempfile.mkdtemp(prefix="dsec-plain-", dir=UNIFIED))
        self.addCleanup(self.remove, folder)
        for part in parts:
            folder /= part
            folder.mkdir()
        return folder

    def remove(self, folder):
        for inner, _, _ in os.walk(folder, topdown=False):
            os.rmdir(inner)


class Allowing(Case):
    def test_only_listed_users_read_and_root_is_no_exception(self):
        for uid, may in ((4001, True), (4002, True), (4003, False), (0, False)):
            self.assertEqual(self.reads(uid, "uids"), may, uid)
            self.assertEqual(self.reads(uid, "uids", "A"), may, uid)
            self.assertEqual(self.reads(uid, "uids@fresh", ".json"), may, uid)
            self.assertTrue(self.reads(uid, "open"))

    def test_the_mode_is_enforced_besides(self):
        self.fs.reload({**CONFIGS, "uids": config(allow={"uids": [4001, 4002]}, user="u4001",
                                                  mode="0400")})
        mounted.until(lambda: not self.reads(4002, "uids"), "the new mode")
        self.assertTrue(self.reads(4001, "uids"))

    def test_a_group_may_be_a_supplementary_one(self):
        self.assertTrue(self.reads(4001, "gids"))
        self.assertTrue(self.reads(4009, "gids", groups=(4008, 4001, 4010)))
        self.assertFalse(self.reads(4009, "gids", groups=(400, 14001, 40010)))

    def test_a_unit_and_what_it_has_started(self):
        web = self.cgroup("web@1.service")
        (web / "worker").mkdir()
        self.assertTrue(self.reads(4005, "unit", within=web))
        self.assertTrue(self.reads(4005, "unit", within=web / "worker"))
        self.assertTrue(self.reads(4005, "either", within=web))
        self.assertTrue(self.reads(4001, "either"))
        self.assertFalse(self.reads(4005, "unit"))
        self.assertFalse(self.reads(4005, "unit", within=self.cgroup("other.service")))

    def test_a_container_by_its_name_or_id(self):
        docker = self.cgroup(f"docker-{ID}.scope")
        for name in ("container", "runtime"):
            self.assertTrue(self.reads(4005, name, within=docker))
            self.assertFalse(self.reads(4005, name))
        self.assertTrue(self.reads(4005, "named", within=self.cgroup()))
        # A unit of that name is no container.
        self.assertFalse(self.reads(4005, "named", within=self.cgroup("x.service")))

    def test_a_name_below_a_folder_that_root_does_not_own_is_not_believed(self):
        docker = self.cgroup("delegated", f"docker-{ID}.scope")
        self.assertTrue(self.reads(4005, "container", within=docker))
        os.chown(docker.parent, 4005, 4005)
        self.assertFalse(self.reads(4005, "container", within=docker))
        nested = self.cgroup(f"docker-{ID}.scope", "inner")
        os.chown(nested.parent, 4005, 4005)  # a delegated container is still itself
        self.assertTrue(self.reads(4005, "container", within=nested))

    def test_who_is_refused_leases_nothing_and_finds_the_reason(self):
        self.assertFalse(self.reads(4003, "uids"))
        self.assertEqual((self.fs.acquires, self.fs.refused), (0, 1))
        status = self.run_as(4003, "cat", self.fs.path("uids", ".status")).stdout
        self.assertIn("access.allow", status)

    def test_what_one_has_cached_is_not_read_by_another(self):
        path = self.fs.path("uids", KEY)
        for _ in range(100):
            self.assertTrue(self.reads(4001, "uids"))
            self.assertFalse(self.reads(4003, "uids"))
        with self.assertRaises(OSError):
            os.open(path, os.O_RDONLY)


class Hiding(Case):
    def sees(self, uid, name, **more):
        listed = self.run_as(uid, "ls", self.fs.path(), **more).stdout.split()
        stat = self.run_as(uid, "stat", self.fs.path(name), **more)
        if stat.returncode:
            self.assertIn(os.strerror(errno.ENOENT), stat.stderr)
        self.assertEqual(name in listed, stat.returncode == 0)
        return name in listed

    def test_who_may_not_read_does_not_see_it(self):
        for uid, may in ((4001, True), (4003, False), (0, False)):
            self.assertEqual(self.sees(uid, "hidden"), may, uid)
            self.assertTrue(self.sees(uid, "open"))
        for uid, groups, may in ((4001, (), True), (4003, (), True), (4009, (), False),
                                 (4009, (4003,), True), (0, (), True)):
            self.assertEqual(self.sees(uid, "private", groups=groups), may, (uid, groups))

    def test_no_name_or_path_in_it_exists_for_who_may_not_read(self):
        for name in ("hidden", "hidden@3h", "hidden@fresh", f"hidden/{KEY}", "hidden/A",
                     "hidden/.status", "hidden/.aws", "hidden/no-such-name"):
            result = self.run_as(4003, "stat", self.fs.path(name))
            self.assertIn(os.strerror(errno.ENOENT), result.stderr)

    def test_it_holds_while_one_who_may_is_reading(self):
        """Nothing that the kernel keeps for the one answers the other, in either order."""
        for _ in range(100):
            self.assertEqual(len(self.run_as(4001, "cat", self.fs.path("hidden", KEY)).stdout), 20)
            for path in ((), (KEY,), ("A",), (".json",)):
                result = self.run_as(4003, "cat", self.fs.path("hidden", *path))
                self.assertIn(os.strerror(errno.ENOENT), result.stderr)

    def test_a_folder_that_was_handed_over_shows_nothing(self):
        program = ("import os, sys\nfd = os.open(sys.argv[1], os.O_RDONLY)\n"
                   "os.setresuid(4003, 4003, 4003)\n"
                   "if os.listdir(fd): sys.exit(1)\n"
                   "try: os.stat('A', dir_fd=fd); sys.exit(1)\n"
                   "except FileNotFoundError: pass\n")
        result = subprocess.run(["setpriv", "--ruid", "4001", "--euid", "4001", "--clear-groups",
                                 "--regid", "4001", "--inh-caps", "+setuid", "--ambient-caps",
                                 "+setuid", PYTHON, "-c", program, self.fs.path("hidden")],
                                capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_reports_that_name_all_configs_are_the_owners(self):
        for name in ("leases.json", "metrics"):
            path = os.path.join(self.fs.mountpoint, ".dsec", name)
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o400)
        self.fs.reload({"open": config()})
        mounted.until(lambda: os.stat(path).st_mode & 0o777 == 0o444, "the new mode")


if __name__ == "__main__":
    mounted.main()
