#!/usr/bin/python3
"""Starting and ending a daemon, with an AWS that is not there: none of this may need it."""

import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from daemon import DESCRIBE, DSEC, Dsec, command, mounted, until, wait_for_end

NOBODY_LISTENS = "http://127.0.0.1:1"


def configuration(**secret):
    return {
        "integrations": {
            "aws-main": {
                "type": "aws-iam",
                "credentials": {"source": "static", "access_key_id": "AKIAIOSFODNN7EXAMPLE",
                                "secret_access_key": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEYxx"},
                "endpoint": NOBODY_LISTENS,
                "sts_endpoint": NOBODY_LISTENS,
            }
        },
        "projects": {
            "app": {
                "dev": {
                    "secrets": {"GREETING": "hello"},
                    "dynamic_secrets": {
                        "AWS_USER": {"integration": "aws-main", "policy": DESCRIBE, **secret}
                    },
                }
            }
        },
    }


class Mounting(unittest.TestCase):
    def dsec(self):
        return Dsec(self, configuration())

    def refused(self, dsec, *sentences):
        result = dsec.try_mount()
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertEqual(result.stdout, "")
        for sentence in sentences:
            self.assertIn(sentence, result.stderr)
        return result.stderr

    def test_mount_that_returned_serves(self):
        dsec = self.dsec().mount()
        self.assertEqual(dsec.read("app/dev/GREETING"), b"hello")
        dsec.stop()

    def test_mount_keeps_no_caller_waiting_for_its_output(self):
        # try_mount reads stderr to its end: a daemon that kept it would time this out.
        result = self.dsec().try_mount()
        self.assertEqual((result.returncode, result.stdout), (0, ""))

    def test_broken_configuration_is_refused_with_all_its_mistakes(self):
        dsec = self.dsec()
        broken = configuration(ttl="3d", frobnicate=1)
        dsec.configure(broken)
        text = self.refused(dsec, f"{dsec.config}:", "AWS_USER.ttl", "AWS_USER.frobnicate")
        self.assertGreaterEqual(len(text.splitlines()), 2)
        self.assertFalse(mounted(dsec.mountpoint))
        self.assertFalse(dsec.mountpoint.exists())

    def test_absent_configuration_is_refused_by_name(self):
        dsec = self.dsec()
        dsec.config.unlink()
        self.refused(dsec, str(dsec.config), "No such file")

    def test_second_daemon_on_a_state_folder_is_refused(self):
        dsec = self.dsec().mount()
        other = self.dsec()
        other.state = dsec.state
        self.refused(other, f"another dsec (pid {dsec.pid()}) uses the state folder {dsec.state}")
        self.assertFalse(mounted(other.mountpoint))
        self.assertEqual(dsec.read("app/dev/GREETING"), b"hello")

    def test_second_daemon_on_a_mount_is_refused(self):
        dsec = self.dsec().mount()
        other = self.dsec()
        other.mountpoint = dsec.mountpoint
        self.refused(other, f"another dsec (pid {dsec.pid()}) is mounted on {dsec.mountpoint}")
        self.assertEqual(dsec.read("app/dev/GREETING"), b"hello")

    def test_foreign_mount_is_not_covered(self):
        dsec = self.dsec()
        dsec.mountpoint.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", dsec.mountpoint], check=True)
        self.refused(dsec, "something that is no dsec is mounted on")
        result = dsec.unmount()
        self.assertEqual(result.returncode, 1)
        self.assertIn("is no dsec", result.stderr)

    def test_mount_point_that_is_a_file_is_refused(self):
        dsec = self.dsec()
        dsec.mountpoint.write_text("")
        self.refused(dsec, f"cannot make the mount point {dsec.mountpoint}: File exists")

    def test_folder_that_was_made_is_removed_and_another_is_kept(self):
        dsec = self.dsec().mount()
        dsec.stop()
        until("the folder is removed", lambda: not dsec.mountpoint.exists())
        dsec.mountpoint.mkdir()
        dsec.mount().stop()
        self.assertTrue(dsec.mountpoint.exists())

    def test_folder_that_was_made_lets_others_in(self):
        dsec = self.dsec().mount()
        dsec.kill()
        subprocess.run(["umount", "-l", dsec.mountpoint], check=True)
        self.assertEqual(dsec.mountpoint.stat().st_mode & 0o777, 0o755)

    def test_stale_mount_is_taken_over(self):
        dsec = self.dsec().mount()
        first = dsec.pid()
        dsec.kill()
        with self.assertRaises(OSError):
            dsec.read("app/dev/GREETING")
        dsec.mount()
        self.assertNotEqual(dsec.pid(), first)
        self.assertEqual(dsec.read("app/dev/GREETING"), b"hello")
        dsec.stop()
        self.assertFalse(mounted(dsec.mountpoint), "a mount below the mount was left")

    def test_caller_that_gave_up_leaves_no_daemon(self):
        dsec = self.dsec().mount()
        dsec.stop()
        # Holds the next start until the test lets it go on.
        journal = sqlite3.connect(dsec.state / "journal.db", isolation_level=None)
        journal.execute("PRAGMA locking_mode=EXCLUSIVE")
        journal.execute("BEGIN EXCLUSIVE")
        caller = subprocess.Popen([DSEC, "mount", *map(str, dsec.arguments), str(dsec.mountpoint)],
                                  stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        children = pathlib.Path(f"/proc/{caller.pid}/task/{caller.pid}/children")
        daemon = int(until("it forks", children.read_text))
        dsec._pid = daemon
        lock = dsec.state / "lock"
        until("it starts", lambda: lock.read_text() == f"{daemon}\n")
        self.assertIsNone(caller.poll())
        caller.kill()
        caller.wait()
        journal.execute("ROLLBACK")
        journal.close()
        wait_for_end(daemon)
        self.assertFalse(mounted(dsec.mountpoint))


class Ending(unittest.TestCase):
    def started(self, **more):
        return Dsec(self, configuration()).start(**more)

    def ended(self, dsec, status=0):
        self.assertEqual(dsec.process.wait(30), status, dsec.log.read_text())
        self.assertFalse(mounted(dsec.mountpoint))

    def test_sigterm_ends_it_well(self):
        dsec = self.started()
        dsec.process.send_signal(signal.SIGTERM)
        self.ended(dsec)

    def test_sigint_in_the_foreground_ends_it_well(self):
        dsec = self.started()
        dsec.process.send_signal(signal.SIGINT)
        self.ended(dsec)

    def test_plain_umount_ends_it_well(self):
        dsec = self.started()
        subprocess.run(["umount", dsec.mountpoint], check=True)
        self.ended(dsec)

    def test_lazy_umount_with_an_open_file_ends_it_once_the_file_is_closed(self):
        dsec = self.started()
        with open(dsec.path("app/dev/GREETING"), "rb") as file:
            subprocess.run(["umount", "-l", dsec.mountpoint], check=True)
            self.assertEqual(file.read(), b"hello")
            self.assertIsNone(dsec.process.poll())
        self.ended(dsec)

    def test_unmount_while_files_are_open_does_not_wait_for_them(self):
        dsec = self.started()
        with open(dsec.path("app/dev/GREETING"), "rb"):
            result = dsec.unmount()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.ended(dsec)

    def test_unmount_of_nothing_says_so(self):
        dsec = Dsec(self, configuration())
        dsec.mountpoint.mkdir()
        result = dsec.unmount()
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr, f"dsec: no dsec is mounted on {dsec.mountpoint}\n")

    def test_unmount_of_a_dead_daemon_s_mount_detaches_it(self):
        dsec = Dsec(self, configuration()).mount()
        dsec.kill()
        result = dsec.unmount("--state", dsec.state)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("was dead already", result.stderr)
        self.assertFalse(mounted(dsec.mountpoint))

    def test_unmount_of_a_stopped_daemon_does_not_hang(self):
        dsec = self.started()
        worker = dsec.worker()
        dsec.process.send_signal(signal.SIGSTOP)
        os.kill(worker, signal.SIGSTOP)
        try:
            begin = time.monotonic()
            result = command("unmount", dsec.mountpoint)
            self.assertEqual(result.returncode, 1)
            self.assertIn("does not answer", result.stderr)
            self.assertLess(time.monotonic() - begin, 20)
        finally:
            os.kill(worker, signal.SIGCONT)
            dsec.process.send_signal(signal.SIGCONT)

    def test_unmount_signals_no_other_process(self):
        # What a mount looks like that is seen from another pid namespace: its pid is, here, that of
        # something else. A copy by another name is one, too.
        copy = pathlib.Path(tempfile.mkdtemp(prefix="dsec-"), "innocent")
        self.addCleanup(shutil.rmtree, copy.parent)
        shutil.copy(DSEC, copy)
        dsec = self.started(executable=copy)
        result = command("unmount", dsec.mountpoint)
        self.assertEqual(result.returncode, 1)
        self.assertIn("is no dsec here", result.stderr)
        self.assertIsNone(dsec.process.poll())


class Talking(unittest.TestCase):
    """status, reload, and the service manager."""

    def test_status_says_who_serves(self):
        dsec = Dsec(self, configuration()).mount()
        result = command("status", dsec.mountpoint)
        self.assertEqual(result.returncode, 0, result.stderr)
        for text in (f"{dsec.mountpoint} is served by dsec ", f"pid {dsec.pid()}\n",
                     f"configuration {dsec.config}\n", f"state folder {dsec.state}\n",
                     "\napp/dev\n", "AWS_USER"):
            self.assertIn(text, result.stdout)

    def test_status_of_a_dead_mount_fails(self):
        dsec = Dsec(self, configuration()).mount()
        dsec.kill()
        result = command("status", dsec.mountpoint)
        self.assertEqual(result.returncode, 1)
        self.assertIn("is dead", result.stderr)

    def test_reload_brings_new_names_and_takes_old_ones_away(self):
        dsec = Dsec(self, configuration()).mount()
        changed = configuration()
        changed["projects"]["app"]["prd"] = {"secrets": {"OTHER": "new"}}
        del changed["projects"]["app"]["dev"]["secrets"]["GREETING"]
        dsec.configure(changed)
        result = command("reload", dsec.mountpoint)
        self.assertEqual(result.returncode, 0, result.stderr)
        until("the new config is there", lambda: dsec.path("app/prd/OTHER").exists())
        self.assertEqual(dsec.read("app/prd/OTHER"), b"new")
        until("the old key is gone", lambda: not dsec.path("app/dev/GREETING").exists())
        dsec.stop()

    def test_broken_file_is_not_reloaded(self):
        dsec = Dsec(self, configuration()).start()
        dsec.config.write_text("{")
        result = command("reload", dsec.mountpoint)
        self.assertEqual(result.returncode, 1)
        self.assertIn("the running configuration stays", result.stderr)
        # Also when it is told without having been asked.
        dsec.process.send_signal(signal.SIGHUP)
        until("it says so", lambda: "the running configuration stays" in dsec.log.read_text())
        self.assertEqual(dsec.read("app/dev/GREETING"), b"hello")
        dsec.configure(configuration())
        dsec.stop()

    def test_journal_gets_the_priority_and_no_one_else_does(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            found = os.fstat(theirs.fileno())
            stream = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
            command("check", "--config", "/nonexistent", stderr=theirs, env=stream)
            self.assertRegex(ours.recv(4096).decode(), r"\A<3>/nonexistent: .*\n\Z")
        result = command("check", "--config", "/nonexistent", env=stream)
        self.assertRegex(result.stderr, r"\Adsec: /nonexistent: .*\n\Z")

    def test_manager_hears_each_change(self):
        dsec = Dsec(self, configuration())
        name = "\0dsec-test-" + dsec.folder.name
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(name)
            manager.settimeout(20)
            process = subprocess.Popen(
                [DSEC, "mount", "--foreground",
                 *map(str, dsec.arguments), str(dsec.mountpoint)],
                stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env={**os.environ, "NOTIFY_SOCKET": "@" + name[1:]})
            dsec.process, dsec._pid = process, process.pid

            def heard(word):
                while True:
                    lines = manager.recv(4096).decode().split("\n")
                    if word in lines:
                        return lines

            heard("READY=1")
            self.assertEqual(dsec.read("app/dev/GREETING"), b"hello")
            process.send_signal(signal.SIGHUP)
            lines = heard("RELOADING=1")
            self.assertTrue(any(line.startswith("MONOTONIC_USEC=") for line in lines))
            heard("READY=1")
            process.send_signal(signal.SIGTERM)
            heard("STOPPING=1")
            self.assertEqual(process.wait(30), 0)


class Secrecy(unittest.TestCase):
    def test_daemon_cannot_be_dumped(self):
        dsec = Dsec(self, configuration()).mount()
        for pid in (dsec.pid(), dsec.worker()):
            limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
            self.assertRegex(limits, r"Max core file size +0 +0 ")
        dsec.stop()

    def test_files_of_the_daemon_are_its_owner_s(self):
        dsec = Dsec(self, configuration())
        dsec.configure({**configuration(), "audit": {"file": f"{dsec.folder}/audit.jsonl"}})
        dsec.mount().stop()
        for path in [dsec.state, *dsec.state.iterdir(), dsec.folder / "audit.jsonl"]:
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)


if __name__ == "__main__":
    tap.main()
