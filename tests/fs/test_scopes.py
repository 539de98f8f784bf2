#!/usr/bin/python3
"""Whose lease it is: a process's, a container's, a user's; and that it ends with its holder."""

import errno
import json
import os
import pathlib
import subprocess
import tempfile
import time
import unittest

import mounted

PYTHON = "/usr/bin/python3"
OPEN = {"access": {"user": "u0", "group": "u0", "mode": "0444"}}
CONFIGS = {
    "shared": {"dynamic_secrets": {"AWS_USER": mounted.dynamic()}, **OPEN},
    "process": {"dynamic_secrets": {"AWS_USER": mounted.dynamic(scope="process")}, **OPEN},
    "container": {"dynamic_secrets": {"AWS_USER": mounted.dynamic(scope="container")}, **OPEN},
    "mixed": {"dynamic_secrets": {"AWS_USER": mounted.dynamic(scope="user"),
                                  "AWS_CONTAINER": mounted.dynamic(scope="container"),
                                  "AWS_PROCESS": mounted.dynamic(scope="process"),
                                  "AWS_ALL": mounted.dynamic()}, **OPEN},
}
KEY = "AWS_USER_ACCESS_KEY_ID"
UNIFIED = next((pathlib.Path(line.split()[4])
                for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
                if " - cgroup2 " in line and line.split()[3] == "/"), None)
LEGACY = next((pathlib.Path(line.split()[4])
               for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
               if " - cgroup " in line and line.split()[3] == "/"
               and line.rstrip().endswith("name=systemd")), None)


class Reader:
    """A process that reads when it is told to."""

    PROGRAM = """
import os, sys
for line in sys.stdin:
    word, path = line.split()
    try:
        with open(path) as file:
            print(file.read() if word == "read" else os.readlink(path), flush=True)
    except OSError as error:
        print("errno", error.errno, flush=True)
"""

    def __init__(self, case, *prefix, **options):
        self.process = subprocess.Popen([*prefix, PYTHON, "-c", self.PROGRAM], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
        case.addCleanup(self.end)

    def read(self, path):
        self.process.stdin.write(f"read {path}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


class Case(unittest.TestCase):
    def setUp(self):
        self.fs = mounted.Harness(CONFIGS)
        self.addCleanup(self.fs.close)

    def file(self, config, name=KEY):
        return self.fs.path(config, name)

    def cgroup(self, name="", hierarchy=None):
        """A cgroup of one's own, that goes away with the test."""
        hierarchy = hierarchy or UNIFIED
        if not hierarchy or not os.access(hierarchy, os.W_OK):
            self.skipTest("no cgroup hierarchy that we may write to")
        folder = pathlib.Path(tempfile.mkdtemp(prefix="dsec-test-", dir=hierarchy))
        self.addCleanup(self.remove, folder)
        for part in filter(None, name.split("/")):
            folder /= part
            folder.mkdir()
        return folder

    def remove(self, folder):
        for inner, _, _ in os.walk(folder, topdown=False):
            mounted.until(lambda: not (pathlib.Path(inner) / "cgroup.procs").read_text(), inner)
            os.rmdir(inner)

    def within(self, folder, **options):
        """A reader in this cgroup."""
        return Reader(self, "sh", "-c", f'echo $$ >{folder}/cgroup.procs && exec "$@"', "sh",
                      **options)

    def gone(self, n, seconds=1):
        """So many leases end with their holder, within the time that is promised."""
        since = time.monotonic()
        mounted.until(lambda: self.fs.let_go == n, "%d leases let go" % n)
        self.assertLess(time.monotonic() - since, seconds)


class Processes(Case):
    def test_each_process_has_its_own_and_its_threads_share_it(self):
        one, two = Reader(self), Reader(self)
        keys = [reader.read(self.file("process")) for reader in (one, two, one, two)]
        self.assertEqual(keys[:2], keys[2:])
        self.assertNotEqual(keys[0], keys[1])
        program = """
import sys, threading
keys = []
def work():
    with open(sys.argv[1]) as file: keys.append(file.read())
threads = [threading.Thread(target=work) for _ in range(5)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
work()
print(*set(keys))
"""
        said = subprocess.run([PYTHON, "-c", program, self.file("process")], capture_output=True,
                              text=True, check=True).stdout.split()
        self.assertEqual(len(said), 1)
        self.assertNotIn(said[0], keys)
        self.assertEqual(self.fs.leases, 3)

    def test_a_child_is_another_and_a_program_that_it_becomes_is_not(self):
        script = ("read a <'%s'; echo $a; (read a <'%s'; echo $a);"
                  "exec sh -c 'read a <\"%s\"; echo $a'") % ((self.file("process", ".json"),) * 3)
        one, child, same = subprocess.run(["bash", "-c", script], capture_output=True, text=True,
                                          check=True).stdout.split()
        self.assertNotEqual(one, child)
        self.assertEqual(one, same)

    def test_its_end_ends_its_lease_within_a_second(self):
        one, two = Reader(self), Reader(self)
        one.read(self.file("process")), two.read(self.file("process"))
        one.process.kill()
        self.gone(1)
        two.process.stdin.close()  # an orderly end
        self.gone(2)

    def test_one_that_dies_waiting_leaves_no_lease(self):
        self.fs.say("delay", "process", 300)
        reader = subprocess.Popen(["cat", self.file("process")], stdout=subprocess.DEVNULL)
        mounted.until(lambda: self.fs.waiting, "a waiting reader")
        reader.kill()
        reader.wait()
        time.sleep(0.5)
        self.assertEqual(self.fs.leases, self.fs.let_go)

    def test_its_file_is_refused_to_another_who_comes_by_proc(self):
        with open(self.file("process")) as file:
            key, name = file.read(), "/proc/%d/fd/%d" % (os.getpid(), file.fileno())
            self.assertEqual(Reader(self).read(name), "errno %d" % errno.EACCES)
            with open(name) as again:
                self.assertEqual(again.read(), key)
        self.assertEqual((self.fs.leases, self.fs.refused), (1, 1))
        with open(self.file("process", ".status")) as status:
            self.assertIn("bind-mount the folder", status.read())

    def test_its_end_with_an_open_file_elsewhere(self):
        """A passed descriptor reads on: its key is dead, its bytes go with it."""
        fd = os.open(self.file("process"), os.O_RDONLY)
        child = subprocess.Popen(["sh", "-c", "read x; cat <&%d" % fd], pass_fds=[fd],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        os.close(fd)
        said = child.communicate("\n")[0]
        self.assertEqual(len(said), 20)

    def test_many_short_lives_leave_nothing(self):
        readers = [subprocess.Popen(["cat", self.file("process")], stdout=subprocess.PIPE)
                   for _ in range(200)]
        keys = {reader.communicate()[0] for reader in readers}
        self.assertEqual(len(keys), 200)
        self.gone(200, seconds=5)


class Containers(Case):
    def test_each_cgroup_has_its_own_and_who_is_in_it_shares_it(self):
        a, b = self.cgroup(), self.cgroup()
        readers = [self.within(folder) for folder in (a, b, a, b)]
        keys = [reader.read(self.file("container")) for reader in readers]
        self.assertEqual(keys[:2], keys[2:])
        self.assertNotEqual(keys[0], keys[1])

    def test_what_is_nested_in_a_container_counts_as_the_container(self):
        outer = self.cgroup("docker-%s.scope" % ("ab12" * 16))
        inner = outer / ("libpod-%s.scope" % ("cd34" * 16))
        inner.mkdir()
        keys = [self.within(folder).read(self.file("container")) for folder in (outer, inner)]
        self.assertEqual(keys[0], keys[1])

    def test_an_emptied_cgroup_ends_its_lease_within_a_second_and_not_before(self):
        folder = self.cgroup()
        one, two = self.within(folder), self.within(folder)
        key = one.read(self.file("container"))
        one.end()
        self.assertEqual(two.read(self.file("container")), key)
        two.end()
        self.gone(1)
        other = self.within(folder).read(self.file("container"))
        self.assertNotEqual(other, key)

    def test_a_later_cgroup_of_the_same_path_is_another(self):
        folder = self.cgroup("web")
        one = self.within(folder)
        key = one.read(self.file("container"))
        one.end()
        mounted.until(lambda: not (folder / "cgroup.procs").read_text(), "the end")
        folder.rmdir()
        folder.mkdir()
        self.assertNotEqual(self.within(folder).read(self.file("container")), key)
        self.gone(1)

    def test_a_process_that_moves_is_in_another_container(self):
        a, b = self.cgroup(), self.cgroup()
        reader, stays = self.within(a), self.within(a)
        key = reader.read(self.file("container"))
        (b / "cgroup.procs").write_text(str(reader.process.pid))
        self.assertNotEqual(reader.read(self.file("container")), key)
        self.assertEqual(stays.read(self.file("container")), key)

    def test_a_version_1_hierarchy_is_looked_at_once_a_second(self):
        folder, other = self.cgroup(hierarchy=LEGACY), self.cgroup(hierarchy=LEGACY)
        keys = [self.within(where).read(self.file("container")) for where in (folder, other)]
        self.assertNotEqual(*keys)
        reader = self.within(folder / "..")
        self.assertNotIn(reader.read(self.file("container")), keys)

    def test_the_end_of_a_version_1_container(self):
        folder = self.cgroup(hierarchy=LEGACY)
        reader = self.within(folder)
        reader.read(self.file("container"))
        reader.end()
        self.gone(1, seconds=2.5)

    def test_without_cgroups_a_mount_namespace_is_the_container(self):
        roots = {line.split()[4] for line in
                 pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
                 if " - cgroup" in line and line.split()[3] == "/"}
        leave = "".join(f"echo $$ >{root}/cgroup.procs; " for root in roots)
        run = ["sh", "-c", leave + 'exec "$@"', "sh"]
        inside = [Reader(self, *run, "unshare", "--mount") for _ in range(2)]
        for reader in inside:
            reader.read(self.file("shared"))  # by then it is where it is to be
            text = pathlib.Path(f"/proc/{reader.process.pid}/cgroup").read_text()
            if any(line.split(":", 2)[2] != "/" for line in text.splitlines()):
                self.skipTest("processes cannot leave their cgroups here")
        keys = [reader.read(self.file("container")) for reader in inside]
        self.assertNotEqual(*keys)
        inside[0].end()
        self.gone(1)


class Mixed(Case):
    def test_each_secret_of_a_file_is_shared_by_its_own_scope(self):
        a, b = self.cgroup(), self.cgroup()
        readers = {
            "a": self.within(a), "a again": self.within(a), "b": self.within(b),
        }
        got = {name: json.loads(reader.read(self.file("mixed", ".json")))
               for name, reader in readers.items()}
        keys = {name: {secret: values[f"AWS_{secret}_ACCESS_KEY_ID"]
                       for secret in ("USER", "CONTAINER", "PROCESS", "ALL")}
                for name, values in got.items()}
        same = {secret: keys["a"][secret] == keys["a again"][secret] for secret in keys["a"]}
        self.assertEqual(same, {"USER": True, "CONTAINER": True, "PROCESS": False, "ALL": True})
        same = {secret: keys["a"][secret] == keys["b"][secret] for secret in keys["a"]}
        self.assertEqual(same, {"USER": True, "CONTAINER": False, "PROCESS": False, "ALL": True})
        other = subprocess.run(["setpriv", "--reuid", "4001", "--regid", "4001", "--clear-groups",
                                "cat", self.file("mixed", ".json")], capture_output=True,
                               text=True, check=True).stdout
        self.assertNotEqual(json.loads(other)[KEY], keys["a"]["USER"])
        self.assertEqual(json.loads(other)["AWS_ALL_ACCESS_KEY_ID"], keys["a"]["ALL"])


class Unseen(Case):
    def test_a_reader_whose_process_is_not_visible_is_refused_with_a_sentence(self):
        """The daemon in a pid namespace of its own, the reader outside it."""
        self.fs.close()
        fs = mounted.Harness(CONFIGS, command=("unshare", "--pid", "--fork", mounted.HARNESS))
        self.addCleanup(fs.close)
        for config in ("process", "container"):
            with self.assertRaises(OSError) as raised:
                open(fs.path(config, KEY))
            self.assertEqual(raised.exception.errno, errno.EACCES)
            with open(fs.path(config, ".status")) as status:
                self.assertIn("pid namespace", status.read())
        with open(fs.path("shared", KEY)) as file:
            self.assertEqual(len(file.read()), 20)


if __name__ == "__main__":
    mounted.main()
