#!/usr/bin/python3
"""Readers do not notice that dsec becomes another version under them."""

import os
import pathlib
import shutil
import subprocess
import time
import unittest

import scene
import tap
from daemon import DSEC, command, until

UPGRADES = 50 if scene.LONG else 6


def version(path):
    return subprocess.run([path, "version"], check=True, capture_output=True,
                          text=True).stdout.split()[1]


class Upgrades(unittest.TestCase):
    deadline = 600

    def setUp(self):
        self.scene = scene.Scene(self)
        self.dsec = self.scene.dsec
        self.bin = self.dsec.folder / "bin"
        self.bin.mkdir()
        self.installed = self.bin / "dsec"
        shutil.copy(DSEC, self.installed)

    def other_version(self):
        """The same program, by another name of the same length."""
        now = version(DSEC).encode()
        other = now[:-1] + bytes([now[-1] ^ 1])
        program = pathlib.Path(DSEC).read_bytes().replace(now, other)
        path = self.bin / "other"
        path.write_bytes(program)
        path.chmod(0o755)
        self.assertEqual(version(path).encode(), other)
        return path

    def install(self, path):
        """As a package manager does: a new file by the old name."""
        copy = self.bin / "new"
        shutil.copy(path, copy)
        copy.rename(self.installed)

    def upgrade(self):
        return command("upgrade", self.dsec.mountpoint, timeout=90)

    def served_by(self):
        return self.dsec.read(".dsec/version").decode().strip()

    def test_upgrade_replaces_both_processes_and_keeps_leases_and_files(self):
        self.scene.start(executable=self.installed)
        before, keeper, worker = self.dsec.read("app/dev/.json"), self.dsec.pid(), self.dsec.worker()
        old, other = version(DSEC), self.other_version()
        new = version(other)
        with open(self.dsec.path("app/dev/.json"), "rb") as file:
            self.install(other)
            result = self.upgrade()
            self.assertEqual((result.returncode, result.stderr), (0, ""), self.scene.log())
            self.assertEqual(result.stdout, f"{self.dsec.mountpoint} was served by dsec {old}, "
                                            f"and is now by dsec {new}\n")
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            self.assertEqual(file.read(), before)
        self.assertEqual(self.served_by(), new)
        self.assertEqual(self.dsec.read("app/dev/.json"), before)
        self.assertEqual(self.dsec.pid(), keeper)
        self.assertNotEqual(self.dsec.worker(), worker)
        for pid in (keeper, self.dsec.worker()):
            self.assertEqual(os.stat(f"/proc/{pid}/exe").st_ino, self.installed.stat().st_ino)
            self.assertEqual(pathlib.Path(f"/proc/{pid}/comm").read_text(), "dsec\n")
        self.assertEqual(len(self.scene.iam.users()), 1)
        # The keeper is whole: it starts another one, and ends in order.
        self.scene.kill_served()
        self.assertEqual(self.served_by(), new)
        self.scene.stop()

    def test_reader_that_waits_gets_its_bytes_from_the_new_version(self):
        self.scene.start(executable=self.installed)
        self.scene.iam.fault("CreateAccessKey", kind="hold", times=1)
        waiting = subprocess.Popen(["cat", self.dsec.path("app/dev/.json")],
                                   stdout=subprocess.PIPE)
        self.scene.iam.wait_held()
        self.install(self.other_version())
        self.assertEqual(self.upgrade().returncode, 0)
        said, _ = waiting.communicate(timeout=60)
        self.assertEqual(said, self.dsec.read("app/dev/.json"))
        self.scene.iam.release(drop=True)
        self.scene.stop()

    def test_what_cannot_take_over_changes_nothing(self):
        self.scene.start(executable=self.installed)
        before, worker = self.dsec.read("app/dev/.json"), self.dsec.worker()
        script = self.bin / "script"
        for text, why in (("#!/bin/sh\necho 4711\n", "a version that cannot take over"),
                          ("#!/nonexistent\n", "No such file"),
                          ("garbage", "Exec format error")):
            script.write_text(text)
            script.chmod(0o755)
            self.install(script)
            result = self.upgrade()
            self.assertEqual(result.returncode, 1)
            self.assertIn("not upgraded: ", result.stderr)
            self.assertIn(why, result.stderr)
            self.assertIn(why, command("status", self.dsec.mountpoint).stdout)
            self.assertEqual(self.dsec.worker(), worker)
            self.assertEqual(self.dsec.read("app/dev/.json"), before)
        self.scene.stop()

    def test_manager_is_told_by_the_new_keeper_too(self):
        self.scene.start(executable=self.installed)
        self.install(self.other_version())
        self.assertEqual(self.upgrade().returncode, 0)
        self.dsec.process.send_signal(15)
        self.assertEqual(self.dsec.process.wait(30), 0)
        self.assertIn("every lease is revoked", self.scene.log())

    def test_background_daemon_is_upgraded(self):
        result = command("mount", *self.dsec.arguments, self.dsec.mountpoint,
                         executable=self.installed)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.dsec._pid = self.dsec.pid()
        self.install(self.other_version())
        result = self.upgrade()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.scene.stop()
        until("the folder is removed", lambda: not self.dsec.mountpoint.exists())

    def test_readers_do_not_notice(self):
        self.scene.start(executable=self.installed)
        versions = [self.other_version(), pathlib.Path(DSEC)]
        self.scene.begin_readers()
        pauses = []
        for i in range(UPGRADES):
            time.sleep(0.3)
            self.install(versions[i % 2])
            begin = time.monotonic()
            result = self.upgrade()
            pauses.append(time.monotonic() - begin)
            self.assertEqual(result.returncode, 0, result.stderr + self.scene.log())
            self.assertEqual(self.served_by(), version(versions[i % 2]))
        self.scene.finish_readers()
        print("# %d upgrades, the longest command took %.0f ms" % (UPGRADES, 1000 * max(pauses)))
        self.scene.stop()


if __name__ == "__main__":
    tap.main()
