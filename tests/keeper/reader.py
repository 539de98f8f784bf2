#!/usr/bin/python3
"""Reads secrets as programs do, over and over, until its input ends, and says what went wrong.

    reader.py KIND MOUNTPOINT ENDPOINT

Prints one line of JSON: how often it has read, each error, how long the longest operations took,
and each lease as it was seen: access key id → secret, lease id, user.
"""

import ctypes
import json
import mmap
import os
import pathlib
import random
import select
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

from awscall import works

HALVES = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "LEASE_ID", "USERNAME")
ERRORS_MAX = 20


class Reader:
    def __init__(self, kind, mountpoint, endpoint):
        self.kind = kind
        self.root = pathlib.Path(mountpoint)
        self.endpoint = endpoint
        self.leases = {}
        self.errors = []
        self.n = 0
        self.longest = []
        self.held = []

    # Whatever is read belongs to one lease.

    def expect(self, condition, what):
        if not condition and len(self.errors) < ERRORS_MAX:
            self.errors.append(what)

    def saw(self, key_id, secret, lease_id, user, where):
        found = [secret, lease_id, user]
        first = self.leases.setdefault(key_id, found)
        self.expect(first == found, f"{where}: {key_id} is {first} and {found}")
        self.expect(len(secret) == 40 and len(lease_id) == 36, f"{where}: {key_id} is {found}")
        if first is found:
            self.expect(works(self.endpoint, (key_id, secret)), f"{where}: {key_id} does not work")

    @staticmethod
    def content(path):
        with open(path, "rb") as file:
            return file.read()

    def whole(self, config):
        values = json.loads(self.content(self.root / config / ".json"))
        self.saw(*(values[f"AWS_USER_{half}"] for half in HALVES), config)
        self.expect(values["GREETING"] == "hello", f"{config}: {values}")

    def parts(self, config):
        """One file after the other, as a script would: all of one lease."""
        folder = self.root / config
        self.saw(*(self.content(folder / f"AWS_USER_{half}").decode() for half in HALVES), config)

    # Kinds of readers.

    def cached(self):
        """Also of leases that are rotated every few seconds."""
        self.whole("app/dev")
        self.parts("app/rotating")
        self.expect(self.content(self.root / "app/dev/GREETING") == b"hello", "GREETING")
        self.expect(b"AWS_USER" in self.content(self.root / "app/dev/.status"), ".status")

    def first(self):
        """Of what nobody has leased."""
        self.whole(f"app/dev@{random.randrange(60, 40000)}s")
        if random.random() < 0.5:
            self.parts(f"app/own@{random.randrange(60, 40000)}s")

    def looking(self):
        """Without a lease: folders, from inside and through a bind mount."""
        names = sorted(os.listdir(self.root / "app/dev"))
        self.expect("AWS_USER_ARN" in names and ".json" in names, str(names))
        for name in names:
            (self.root / "app/dev" / name).stat()
        self.expect(os.getcwd() == str(self.root / "app/dev"), os.getcwd())
        self.expect(sorted(os.listdir(".")) == names, "the working directory")
        self.expect(self.content("GREETING") == b"hello", "a file of the working directory")
        bound = self.root.parent / "bound"
        self.expect(self.content(bound / "GREETING") == b"hello", "the bind mount")
        values = json.loads(self.content(bound / ".json"))
        self.saw(*(values[f"AWS_USER_{half}"] for half in HALVES), "bound")

    def holding(self):
        """Descriptors and mappings that are older than the process that serves."""
        if len(self.held) < 20:
            config = random.choice(["app/dev", "app/rotating", f"app/dev@{3600 + self.n % 50}s"])
            fd = os.open(self.root / config / ".json", os.O_RDONLY)
            size = os.fstat(fd).st_size
            self.held.append((fd, mmap.mmap(fd, size, prot=mmap.PROT_READ), os.pread(fd, size, 0)))
        fd, mapped, content = random.choice(self.held)
        self.expect(os.pread(fd, 1 << 20, 0) == content, f"a held file: {content[:60]}")
        self.expect(mapped[:] == content, f"a mapped file: {content[:60]}")
        self.expect(os.fstat(fd).st_size == len(content), "the size of a held file")
        if random.random() < 0.02:
            os.close(fd)
            mapped.close()
            self.held.remove((fd, mapped, content))

    # Over and over.

    def run(self):
        read = getattr(self, self.kind)
        if self.kind == "looking":
            os.chdir(self.root / "app/dev")
        while not select.select([sys.stdin], [], [], 0)[0]:
            begin = time.monotonic()
            try:
                read()
            except Exception as error:  # each is a finding
                self.expect(False, f"{type(error).__name__}: {error}")
            self.n += 1
            self.longest = sorted([*self.longest, time.monotonic() - begin])[-5:]
        os.chdir("/")
        print(json.dumps({"kind": self.kind, "n": self.n, "errors": self.errors,
                          "longest": self.longest, "leases": self.leases}))


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG: it ends with the test
    Reader(*sys.argv[1:]).run()
