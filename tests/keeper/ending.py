#!/usr/bin/python3
"""The end of a mount leaves nobody waiting for it."""

import ctypes
import errno
import os
import pathlib
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import daemon
import tap
from localiam import LocalIAM

LONG = bool(os.environ.get("DSEC_TESTS_LONG"))
ROUNDS = 30 if LONG else 3  # without what this guards against it hung in one of two
READERS = 8
NAMES = 200
SECONDS = 15


def abort_connection(device):
    """What a hang takes to end, which nothing else does: kill -9 neither."""
    libc = ctypes.CDLL(None, use_errno=True)
    folder = tempfile.mkdtemp(prefix="dsec-fusectl-")
    if libc.mount(b"none", folder.encode(), b"fusectl", 0, None) == 0:
        pathlib.Path(folder, str(os.minor(device)), "abort").write_text("1")
        libc.umount2(folder.encode(), 0)
    os.rmdir(folder)


class Ending(unittest.TestCase):
    deadline = 600 if LONG else 120

    def configuration(self, iam, value):
        return daemon.configuration(iam, config={
            "secrets": {f"S{i}": f"{value}{i}" for i in range(NAMES)}})

    def look(self, folder, going, errors, number):
        """Names that nobody has, so that each is a LOOKUP."""
        for i in range(1 << 30):
            if not going.is_set():
                return
            try:
                os.stat(f"none-{number}-{i}", dir_fd=folder)
            except FileNotFoundError:
                pass
            except OSError as error:
                errors.append(error.errno)
                return

    def end_while_names_change(self, iam):
        """Each changed name is announced, which takes the lock of the folder that others search."""
        dsec = daemon.Dsec(self, self.configuration(iam, "a")).mount()
        folder = os.open(dsec.path("app/dev"), os.O_RDONLY)
        for i in range(NAMES):
            os.stat(f"S{i}", dir_fd=folder)
        going, errors = threading.Event(), []
        going.set()
        readers = [threading.Thread(target=self.look, args=(folder, going, errors, i), daemon=True)
                   for i in range(READERS)]
        for reader in readers:
            reader.start()
        dsec.configure(self.configuration(iam, "b"))
        daemon.command("reload", dsec.mountpoint)
        device = os.fstat(folder).st_dev
        dsec.stop()
        end = time.monotonic() + SECONDS
        for reader in readers:
            reader.join(max(0, end - time.monotonic()))
        waiting = sum(reader.is_alive() for reader in readers)
        if waiting:
            abort_connection(device)
        going.clear()
        os.close(folder)
        self.assertEqual(waiting, 0)
        self.assertLessEqual(set(errors), {errno.ENOTCONN, errno.ECONNABORTED})

    def test_a_lookup_at_the_end_does_not_wait_for_ever(self):
        if os.geteuid() != 0:
            self.skipTest("without root nothing could end the hang that is looked for")
        with LocalIAM() as iam:
            for _ in range(ROUNDS):
                self.end_while_names_change(iam)


if __name__ == "__main__":
    tap.main()
