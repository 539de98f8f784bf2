#!/usr/bin/python3
"""The state folder: its disk is full, its journal is damaged, another daemon has it."""

import errno
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from awscall import works
from daemon import Dsec, configuration, mounted, until
from scene import CONSISTENCY, POLL, Scene, at_once

DISK = "256k"


@at_once
class Full(unittest.TestCase):
    """A small disk of its own for the state folder."""

    def setUp(self):
        self.scene = Scene(self, {"ttl": "20s", "max_ttl": "12h"})
        self.state = self.scene.dsec.state
        self.state.mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "dsec-test",
                        self.state], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", self.state], check=True)
        self.ballast = self.state / "ballast"

    def fill(self):
        with open(self.ballast, "wb", buffering=0) as file:
            with self.assertRaises(OSError) as failed:
                while True:
                    file.write(bytes(4096))
        self.assertEqual(failed.exception.errno, errno.ENOSPC)

    def refused(self, config):
        with self.assertRaises(OSError) as failed:
            self.scene.dsec.read(f"{config}/.json")
        self.assertEqual(failed.exception.errno, errno.ENOSPC, failed.exception)

    def test_full_disk_refuses_new_leases_and_endangers_no_old_one(self):
        scene = self.scene
        scene.dsec.start()
        *key, user = scene.key()
        self.fill()
        self.refused("app/dev@1h")
        self.assertEqual(list(scene.iam.users()), [user], "a user without a line in the journal")
        self.assertRegex(scene.dsec.status(), "(?i)no space left on device|disk is full")
        self.assertEqual(scene.dsec.key(), tuple(key))
        self.assertTrue(works(scene.iam.endpoint, key))
        until("its end revokes it", lambda: not scene.iam.users(), 40, POLL)
        self.refused("app/dev@2h")
        self.assertEqual(scene.iam.users(), {})

        self.ballast.unlink()
        until("a reader is served again", lambda: self.served("app/dev@3h"), 40, POLL)
        scene.dsec.stop()
        self.assertEqual(scene.iam.users(), {})

    def served(self, config):
        try:
            return self.scene.dsec.read(f"{config}/.json")
        except OSError as error:
            self.assertEqual(error.errno, errno.ENOSPC)
            return None

    def test_start_on_a_full_disk_is_refused_with_its_reason(self):
        self.fill()
        result = self.scene.dsec.try_mount()
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "(?i)no space left on device|disk is full")
        self.assertIn(str(self.state), result.stderr)
        self.assertFalse(mounted(self.scene.dsec.mountpoint))

    def test_daemon_that_dies_on_a_full_disk_leaves_nobody(self):
        """Also on the full disk the next one knows what there is, and removes it."""
        scene = self.scene
        scene.dsec.start()
        *_, user = scene.key()
        self.fill()
        scene.dsec.kill()
        self.ballast.unlink()
        scene.dsec.start()
        self.assertIn(user, scene.iam.users())
        scene.settled()


@at_once
class Damaged(unittest.TestCase):
    def crashed(self):
        """With one lease in the journal, whose last possible end is near, but not so near that a
        loaded machine gets there before it has looked."""
        scene = Scene(self, {"ttl": "10s", "max_ttl": f"{CONSISTENCY}s"})
        scene.dsec.start()
        *key, user = scene.key()
        scene.dsec.kill()
        return scene, key, user

    def overwrite(self, path, offset, data):
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(data)

    def fold(self, scene):
        """All into the database itself, out of the log."""
        subprocess.run(["/usr/bin/python3", "-c", "import sqlite3, sys\n"
                        "c = sqlite3.connect(sys.argv[1])\n"
                        "c.execute('PRAGMA wal_checkpoint(TRUNCATE)')",
                        scene.dsec.state / "journal.db"], check=True)

    def rebuilt(self, scene, user):
        scene.dsec.start()
        scene.serve()
        self.assertIn("damaged", scene.log())
        self.assertTrue(list(scene.dsec.state.glob("journal.db.damaged-*")))
        until("the user is known again", lambda: user in scene.journal())
        scene.settled()

    def test_overwritten_head_is_set_aside_and_rebuilt_from_iam(self):
        scene, _, user = self.crashed()
        self.fold(scene)
        self.overwrite(scene.dsec.state / "journal.db", 0, b"\xff" * 100)
        self.rebuilt(scene, user)

    def test_overwritten_page_is_set_aside_and_rebuilt_from_iam(self):
        scene, _, user = self.crashed()
        self.fold(scene)
        self.overwrite(scene.dsec.state / "journal.db", 4096, os.urandom(4096))
        self.rebuilt(scene, user)

    def test_truncated_journal_is_set_aside_and_rebuilt_from_iam(self):
        scene, _, user = self.crashed()
        self.fold(scene)
        os.truncate(scene.dsec.state / "journal.db", 4096)
        self.rebuilt(scene, user)

    def test_overwritten_log_loses_its_end_and_no_user(self):
        """SQLite takes a frame whose sum is wrong for the end of the log, and says nothing."""
        scene, _, user = self.crashed()
        log = scene.dsec.state / "journal.db-wal"
        self.overwrite(log, 32, os.urandom(log.stat().st_size - 32))
        # As soon as the daemon has its list from IAM, the user is in the journal again.
        scene.iam.fault("ListUsers", kind="hold", when="before", times=1)
        scene.dsec.start()
        scene.iam.wait_held()
        self.assertNotIn(user, scene.journal())
        scene.serve()
        scene.iam.release()
        until("the user is known again", lambda: user in scene.journal())
        scene.settled()

    def test_removed_journal_is_rebuilt_from_iam(self):
        scene, _, user = self.crashed()
        for path in scene.dsec.state.glob("journal.db*"):
            path.unlink()
        scene.dsec.start()
        scene.serve()
        until("the user is known again", lambda: user in scene.journal())
        scene.settled()


class Shared(unittest.TestCase):
    def test_second_daemon_is_refused_with_the_first_one_s_pid(self):
        scene = Scene(self)
        scene.dsec.start()
        *key, user = scene.key()
        other = Dsec(self, configuration(scene.iam))
        other.state = scene.dsec.state
        result = other.try_mount()
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"another dsec (pid {scene.dsec.pid()}) uses the state folder", result.stderr)
        self.assertFalse(mounted(other.mountpoint))
        self.assertTrue(works(scene.iam.endpoint, key))
        self.assertEqual(list(scene.iam.users()), [user])
        scene.dsec.stop()


if __name__ == "__main__":
    tap.main()
