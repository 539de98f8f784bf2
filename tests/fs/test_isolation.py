#!/usr/bin/python3
"""The isolation attack: A puts its key wherever the kernel keeps pages, and B reads the same path
by every means, at the same time, while generations change. B must never see a byte of A's."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import mounted

PYTHON = "/usr/bin/python3"
ROUNDS = 1000
OPEN = {"access": {"user": "u0", "group": "u0", "mode": "0444"}}
CONFIGS = {scope: {"dynamic_secrets": {"AWS_USER": mounted.dynamic(scope=scope)}, **OPEN}
           for scope in ("container", "process", "user")}
KEY = "AWS_USER_ACCESS_KEY_ID"
UNIFIED = next((pathlib.Path(line.split()[4])
                for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
                if " - cgroup2 " in line and line.split()[3] == "/"), None)

# Fills the page cache in every way, and holds on to it, until its input ends. Prints its keys.
ATTACKER = """
import mmap, os, select, sys
path, null, keys, held = sys.argv[1], os.open("/dev/null", os.O_WRONLY), set(), []
print("ready", flush=True)
while not select.select([0], [], [], 0)[0]:
    fd = os.open(path, os.O_RDONLY)
    os.sendfile(null, fd, 0, 4096)
    mapped = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    keys.add(mapped[:].decode())
    held.append((fd, mapped))
    if len(held) > 50:
        fd, mapped = held.pop(0)
        mapped.close()
        os.close(fd)
print(*keys)
"""

# Reads by each means in turn, so often. Prints what it saw, each once.
VICTIM = """
import mmap, os, shutil, subprocess, sys, tempfile
path, rounds, programs = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "programs"
folder = tempfile.mkdtemp()
copy = os.path.join(folder, "copy")

def opened(read):
    def means():
        fd = os.open(path, os.O_RDONLY)
        try:
            return read(fd)
        finally:
            os.close(fd)
    return means

def by_sendfile(fd):
    with open(copy, "wb") as to:
        os.sendfile(to.fileno(), fd, 0, 4096)
    with open(copy, "rb") as file:
        return file.read()

def by_splice(fd):
    r, w = os.pipe()
    try:
        return os.read(r, os.splice(fd, w, 4096))
    finally:
        os.close(r), os.close(w)

def by_mmap(fd):
    with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as mapped:
        return mapped[:]

def by_copy():
    shutil.copyfile(path, copy)
    with open(copy, "rb") as file:
        return file.read()

def by_program(*words):
    return lambda: subprocess.run([*words, path], stdout=subprocess.PIPE).stdout

means = [opened(lambda fd: os.read(fd, 4096)), opened(lambda fd: os.pread(fd, 4096, 0)),
         opened(by_sendfile), opened(by_splice), opened(by_mmap), by_copy,
         opened(lambda fd: b"".join(os.pread(fd, 1, i) for i in range(os.fstat(fd).st_size)))]
if programs:
    # A program is another process: only where it is the same holder.
    means += [by_program("cat"), by_program("busybox", "cat"), by_program("base64", "-w0"),
              by_program("head", "-c", "4096"), by_program("perl", "-pe", "")]
saw = set()
for i in range(rounds):
    got = means[i % len(means)]()
    if programs and i % len(means) == len(means) - 3:
        import base64
        got = base64.b64decode(got)
    # What sendfile(2) has put into a pipe shares the page, which is zeroed when its lease is dead.
    if got.strip(bytes(1)):
        saw.add(got.decode())
shutil.rmtree(folder)
print(*saw)
"""


def holders(text):
    """Whose keys these are; all of them whole."""
    keys = text.split()
    assert keys, "nothing was read"
    found = {re.fullmatch(r"AKIA(\d{6})\d{10}", key) for key in keys}
    assert None not in found, keys
    return {match.group(1) for match in found}


class Isolation(unittest.TestCase):
    def setUp(self):
        self.fs = mounted.Harness(CONFIGS)
        self.addCleanup(self.fs.close)

    def attack(self, config, attacker, victim, programs="no"):
        path = self.fs.path(config, KEY)
        self.fs.say("rotating", config, 20)
        a = subprocess.Popen([*attacker, PYTHON, "-c", ATTACKER, path], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
        self.assertEqual(a.stdout.readline(), "ready\n")
        try:
            b = subprocess.run([*victim, PYTHON, "-c", VICTIM, path, str(ROUNDS), programs],
                               capture_output=True, text=True)
        finally:
            of_a = a.communicate("\n")[0]
        self.assertEqual((b.returncode, b.stderr), (0, ""))
        self.assertEqual(len(holders(of_a)), 1)
        self.assertEqual(len(holders(b.stdout)), 1)
        self.assertNotEqual(holders(of_a), holders(b.stdout))

    def cgroup(self):
        if not UNIFIED or not os.access(UNIFIED, os.W_OK):
            self.skipTest("no unified cgroup hierarchy that we may write to")
        folder = tempfile.mkdtemp(prefix="dsec-test-", dir=UNIFIED)
        self.addCleanup(self.remove, folder)
        return ["sh", "-c", f'echo $$ >{folder}/cgroup.procs && exec "$@"', "sh"]

    def remove(self, folder):
        procs = pathlib.Path(folder) / "cgroup.procs"
        mounted.until(lambda: not procs.read_text(), "an empty cgroup")
        os.rmdir(folder)

    def test_a_container_never_reads_anothers_bytes(self):
        self.attack("container", self.cgroup(), self.cgroup(), "programs")

    def test_a_process_never_reads_anothers_bytes(self):
        self.attack("process", [], [])

    def test_a_user_never_reads_anothers_bytes(self):
        user = ["setpriv", "--reuid", "4001", "--regid", "4001", "--clear-groups"]
        self.attack("user", user, [], "programs")


if __name__ == "__main__":
    mounted.main()
