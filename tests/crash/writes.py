#!/usr/bin/python3
"""The daemon is killed at each write to its journal, and at each sync: what stands on the disk is
the last line, half of the next one, or the next one that nobody has been told of."""

import pathlib
import sqlite3
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from daemon import DSEC, until
from scene import BUSY, READ_TIMEOUT, Scene, at_once

# The lines of a lease's life. Each is one commit: the head of a frame, the page, the sync. An empty
# log begins with a head of its own, and its sync.
STATES = ["intended", "created", "active", "revoking", "gone"]
HEAD = ("pwrite64", lambda line: 2 * line + 2)
PAGE = ("pwrite64", lambda line: 2 * line + 3)
SYNC = ("fdatasync", lambda line: line + 2)

FIRST_START_CALLS_MAX = 60  # of one kind: far more than there are


def injecting(effect, files, call, number, output="/dev/null"):
    """What runs the daemon and has this effect instead of its number-th call of this kind on the
    files."""
    return ["strace", "-f", "-qq", "-o", output, "-e", f"trace={call}",
            "-e", f"inject={call}:{effect}:when={number}",
            *[word for file in files for word in ("-P", file)]]


class Life(Scene):
    def __init__(self, case):
        # So short that also a lease is over in time whose end did not get to the disk.
        super().__init__(case, {"ttl": "30s"})

    def begin(self):
        """With a journal that another daemon has left, and an empty log."""
        self.dsec.start()
        self.dsec.stop()
        journal = sqlite3.connect(self.dsec.state / "journal.db")
        journal.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        journal.close()

    def start_stopping(self, call, number):
        """A worker that is killed is followed by another one at once. So it is stopped, in the
        place of the call, until its keeper is killed, and it with that. (Of a call that is no
        call at all its filter would have to end it, so it makes a harmless one.)"""
        wal = f"{self.dsec.state}/journal.db-wal"
        self.trace = self.dsec.folder / "trace"
        self.dsec.start(injecting("error=EIO:syscall=getpid:signal=STOP", [wal], call, number,
                                  self.trace))

    def stopped(self):
        return "stopped by SIGSTOP" in self.trace.read_text()

    def live(self):
        """Makes a lease and revokes it, until the daemon is stopped; and kills it."""
        reader = subprocess.Popen(["cat", self.dsec.path("app/dev/.json")],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        until("it is served, or there is nobody to serve it",
              lambda: reader.poll() is not None or self.stopped(), READ_TIMEOUT + 30)
        if not self.stopped() and reader.communicate()[0]:
            user = next(iter(self.iam.users()))
            subprocess.run([DSEC, "leases", "revoke", self.lease(user)["id"], "--socket",
                            self.socket], timeout=READ_TIMEOUT, check=False)
        until("the daemon is stopped", self.stopped)
        self.dsec.kill()
        reader.communicate(timeout=READ_TIMEOUT)

    def states(self):
        return [line["state"] for line in self.journal().values()]


def killed(self, call, number, states):
    """Just before the call: then the journal says this, and the next daemon makes the best of
    it."""
    with BUSY:
        life = Life(self)
        life.begin()
        life.start_stopping(call, number)
        life.live()
        self.assertEqual(life.states(), states)
        life.no_allow_without_its_deny()
        life.dsec.start()
        life.serve()
    life.settled()


def killed_at(step, line):
    call, number = step
    standing = STATES[line] if step is SYNC else STATES[line - 1] if line else "gone"
    states = [standing] if standing != "gone" else []
    return lambda self: killed(self, call, number(line), states)


def add_tests(cls):
    for line, state in enumerate(STATES):
        for name, step in (("head", HEAD), ("page", PAGE), ("sync", SYNC)):
            setattr(cls, f"test_at_the_{name}_of_the_line_that_says_{state}",
                    killed_at(step, line))
    return cls


@at_once
@add_tests
class Killed(unittest.TestCase):
    def test_at_the_head_of_the_log(self):
        killed(self, "pwrite64", 1, [])

    def test_at_the_sync_of_the_log_s_head(self):
        killed(self, "fdatasync", 1, [])


@at_once
class FirstStart(unittest.TestCase):
    """Killed at any step, also half-way through its id, it is followed by one that serves."""

    def killed_at_each(self, calls):
        number = 1
        while self.killed(calls, number):
            number += 1
            self.assertLess(number, FIRST_START_CALLS_MAX)
        self.assertGreater(number, 1, f"the first start does no {calls}")

    def test_at_each_write(self):
        self.killed_at_each("pwrite64,write")

    def test_at_each_sync(self):
        self.killed_at_each("fdatasync,fsync")

    def test_at_the_renaming_of_the_id(self):
        self.killed_at_each("rename,renameat,renameat2")

    def killed(self, call, number):
        """Was there such a call?"""
        with BUSY:
            return self.killed_once(call, number)

    def killed_once(self, call, number):
        scene = Scene(self)
        state = scene.dsec.state
        files = [f"{state}/{name}" for name in ("journal.db", "journal.db-wal", "daemon.salt.new")]
        try:
            scene.dsec.start(injecting("signal=KILL", files + [state], call, number))
        except AssertionError:
            self.assertIsNotNone(scene.dsec.process.poll())
            scene.dsec.start()
            scene.serve()
            scene.dsec.stop()
            return True
        scene.dsec.stop()
        return False


if __name__ == "__main__":
    tap.main()
