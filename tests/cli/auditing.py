#!/usr/bin/python3
"""Who held this IAM user, and is the log that says so what was written?"""

import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from daemon import Dsec, command, configuration, until
from localiam import LocalIAM

ROOT = os.geteuid() == 0


def program_of(line):
    """By its executable; of a process that was gone before the keeper could look, by its name."""
    caller = line["caller"]
    return os.path.basename(caller.get("executable") or caller["command"])


class Case(unittest.TestCase):
    def setUp(self):
        self.iam = LocalIAM().start()
        self.addCleanup(lambda: self.assertIn(self.iam.stop(), (0, None)))

    def dsec(self, folder=None, secret=None, **audit):
        dsec = Dsec(self, {})
        dsec.audit = pathlib.Path(folder or dsec.folder) / "audit.jsonl"
        dsec.configure(configuration(self.iam, secret,
                                     audit={"file": str(dsec.audit), **audit}))
        return dsec

    def program(self, dsec, name):
        """A cat of its own, so that the log can tell it from others."""
        path = dsec.folder / name
        shutil.copy(shutil.which("cat"), path)
        return str(path)

    def lines(self, dsec, *words):
        result = command("audit", "--config", dsec.config, "--json", *words)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def verify(self, dsec, *words):
        return command("audit", "verify", *dsec.arguments, *words)

    def assertWhole(self, dsec, *words):
        result = self.verify(dsec, *words)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout


class Who(Case):
    def test_user_name_alone_names_every_reader(self):
        dsec = self.dsec().mount()
        first, second = self.program(dsec, "first"), self.program(dsec, "second")
        path = dsec.path("app/dev/AWS_USER_USERNAME")
        user = subprocess.run([first, path], check=True, capture_output=True, text=True).stdout
        # From the cache, and gone the moment it has it.
        for _ in range(3):
            subprocess.run([second, path], check=True, stdout=subprocess.DEVNULL)
        until("the second reader is named", lambda: "second" in str(self.lines(dsec)))
        # The same process with another program.
        subprocess.run(["sh", "-c", f'{first} "$0" >/dev/null; exec {second} "$0"', path],
                       check=True, stdout=subprocess.DEVNULL)
        dsec.stop()
        lines = self.lines(dsec, "--user", user)
        events = [line["event"] for line in lines]
        self.assertEqual(events[0], "intended")
        self.assertEqual(events[-1], "gone")
        named = {program_of(line): line["caller"] for line in lines
                 if line["event"] in ("handed_out", "read")}
        self.assertEqual(set(named), {"first", "second"})
        # Whoever waited for the lease is known by more than a name.
        self.assertEqual(lines[2]["caller"]["executable"], first)
        for caller in named.values():
            self.assertEqual(caller["uid"], os.getuid())
            self.assertRegex(caller["started"], r"\A2\d{3}-\d\d-\d\dT")
            self.assertTrue(caller["cgroup"].startswith("/"))
        counts = {"first": 0, "second": 0}
        for line in lines:
            if line["event"] == "reads":
                counts[program_of(line)] += line["count"]
        self.assertEqual(counts, {"first": 2, "second": 4})
        # And of another user it says nothing.
        other = command("audit", "--config", dsec.config, "--user", "Doppler-Dynamic-0")
        self.assertEqual((other.returncode, other.stdout), (1, ""))
        text = command("audit", "--config", dsec.config, "--user", f"arn:aws:iam::1:user/x/{user}")
        self.assertRegex(text.stdout, rf"\thanded_out\tapp/dev/AWS_USER\t{user}\t.*uid 0?\d*.*first")

    def test_all_who_wait_for_one_lease_are_named(self):
        dsec = self.dsec().mount()
        programs = [self.program(dsec, f"waiter{i}") for i in range(5)]
        self.iam.fault("CreateUser", kind="hold", times=1)
        readers = [subprocess.Popen([program, dsec.path("app/dev/.json")],
                                    stdout=subprocess.DEVNULL) for program in programs]
        self.iam.wait_held()
        until("all of them wait", lambda: all(
            pathlib.Path(f"/proc/{reader.pid}/stat").read_text().rpartition(")")[2].split()[0]
            in "SD" and os.readlink(f"/proc/{reader.pid}/exe") == program
            for reader, program in zip(readers, programs)))
        self.iam.release()
        for reader in readers:
            self.assertEqual(reader.wait(30), 0)
        dsec.stop()
        named = {program_of(line) for line in self.lines(dsec)
                 if line["event"] in ("handed_out", "read")}
        self.assertEqual(named, {os.path.basename(program) for program in programs})

    @unittest.skipUnless(ROOT, "reading as other users needs root")
    def test_other_user_is_named_though_the_bytes_are_cached(self):
        dsec = self.dsec()
        config = configuration(self.iam, config={"access": {"mode": "0444"}},
                               audit={"file": str(dsec.audit)})
        dsec.configure(config)
        dsec.mount()
        path = dsec.path("app/dev/AWS_USER_ACCESS_KEY_ID")
        key = path.read_text()
        subprocess.run(["cat", path], check=True, user=12345, group=23456,
                       stdout=subprocess.DEVNULL)
        dsec.stop()
        callers = {line["caller"]["uid"]: line for line in self.lines(dsec)
                   if line["event"] in ("handed_out", "read")}
        self.assertEqual(set(callers), {0, 12345})
        self.assertEqual(callers[12345]["caller"]["gid"], 23456)
        self.assertEqual(callers[12345]["access_key_id"], key)

    def test_refusal_is_a_line_with_who_and_why(self):
        dsec = self.dsec(secret={"max_leases": 1, "scope": "user"}).mount()
        self.iam.fault("CreateUser", kind="error", status=403, code="AccessDenied", message="no")
        with self.assertRaises(OSError):
            dsec.read("app/dev/.json")
        dsec.stop()
        failed = [line for line in self.lines(dsec) if line["event"] == "failed"]
        self.assertEqual(len(failed), 1)
        self.assertEqual(failed[0]["caller"]["pid"], os.getpid())
        self.assertEqual(failed[0]["error"]["code"], "AccessDenied")

    def test_who_has_caused_too_many_leases_is_refused_with_a_line(self):
        dsec = self.dsec(secret={"max_rate": "2/h"}).mount()
        dsec.read("app/dev/.json")
        with self.assertRaises(OSError):
            dsec.read("app/dev@1h/.json")
        dsec.stop()
        failed, = [line for line in self.lines(dsec) if line["event"] == "failed"]
        self.assertEqual(failed["caller"]["pid"], os.getpid())
        self.assertEqual(failed["error"]["kind"], "throttled")
        self.assertIn("max_rate_per_holder", failed["error"]["message"])

    def test_lines_can_be_chosen_by_lease_and_time(self):
        dsec = self.dsec().mount()
        lease = dsec.read("app/dev/AWS_USER_LEASE_ID").decode()
        dsec.stop()
        self.assertEqual({line["lease_id"] for line in self.lines(dsec, "--lease", lease)},
                         {lease})
        everything = len(self.lines(dsec))
        self.assertEqual(len(self.lines(dsec, "--since", "1h")), everything)
        self.assertEqual(len(self.lines(dsec, "--since", "2022-02-15")), everything)
        self.assertEqual(self.lines(dsec, "--since", "2099-01-01T00:00:00Z"), [])
        for wrong in ("yesterday", "3d", "2022", "2022-02-15 17:00"):
            result = command("audit", "--config", dsec.config, "--since", wrong)
            self.assertEqual(result.returncode, 2, wrong)
            self.assertIn("is no time", result.stderr)

    def test_reload_and_stop_name_who_asked_for_it(self):
        dsec = self.dsec().mount()
        me = os.readlink("/proc/self/exe")

        def those(event):
            lines = map(json.loads, dsec.audit.read_text().splitlines())
            return [line for line in lines if line["event"] == event]

        def last(event, n):
            until(f"{n} {event}", lambda: len(those(event)) >= n)
            return those(event)[-1]["caller"]

        os.kill(dsec.pid(), signal.SIGHUP)
        caller = last("reloaded", 1)
        self.assertEqual((caller["pid"], caller["uid"]), (os.getpid(), os.getuid()))
        self.assertEqual(caller["executable"], me)
        self.assertRegex(caller["started"], r"\A2\d{3}-\d\d-\d\dT")
        self.assertTrue(caller["cgroup"].startswith("/"))
        # One that may be gone when it is looked at is known by its number at least.
        child = subprocess.Popen(["sh", "-c", f"kill -HUP {dsec.pid()}"])
        child.wait()
        caller = last("reloaded", 2)
        self.assertEqual((caller["pid"], caller["uid"]), (child.pid, os.getuid()))
        # Who sends by sigqueue(3) could say that he is anybody.
        self.assertEqual(ctypes.CDLL(None).sigqueue(dsec.pid(), signal.SIGHUP, None), 0)
        until("3 reloaded", lambda: len(those("reloaded")) >= 3)
        self.assertNotIn("caller", those("reloaded")[-1])
        # By the API.
        with socket.socket(socket.AF_UNIX) as api:
            api.settimeout(20)
            api.connect(str(dsec.folder / "socket"))
            api.sendall(b"POST /v3/dsec/reload HTTP/1.1\r\nHost: localhost\r\n"
                        b"Content-Length: 0\r\n\r\n")
            self.assertIn(b" 200 ", api.recv(4096))
        caller = last("reloaded", 4)
        self.assertEqual((caller["pid"], caller["executable"]), (os.getpid(), me))
        right = dsec.config.read_text()
        dsec.config.write_text("{")
        os.kill(dsec.pid(), signal.SIGHUP)
        self.assertEqual(last("reload_failed", 1)["pid"], os.getpid())
        dsec.config.write_text(right)
        dsec.stop()
        stopped = self.lines(dsec)[-1]
        self.assertEqual(stopped["event"], "stopped")
        self.assertRegex(stopped["caller"]["executable"], "dsec$")

    @unittest.skipUnless(ROOT, "asking as another user needs root")
    def test_refusal_by_the_api_is_a_line(self):
        dsec = self.dsec().mount()
        asked = subprocess.run(
            ["curl", "-sS", "--unix-socket", dsec.folder / "socket",
             "http://localhost/v3/configs/config/secrets/download?project=app&config=dev"],
            check=True, user=12345, group=23456, capture_output=True, text=True)
        self.assertIn("may not read", asked.stdout)
        dsec.stop()
        refused, = [line for line in self.lines(dsec) if line["event"] == "refused"]
        self.assertEqual((refused["project"], refused["config"]), ("app", "dev"))
        self.assertEqual(refused["caller"]["uid"], 12345)
        self.assertEqual(refused["peer"], "uid:12345")
        self.assertIn("may not read app/dev", refused["error"]["message"])

    def test_log_holds_every_event_and_no_secret(self):
        dsec = self.dsec(secret={"ttl": "1h"}).mount()
        secrets = [dsec.key()[1], self.iam.admin.secret_access_key]
        lease = dsec.read("app/dev/AWS_USER_LEASE_ID").decode()
        result = command("leases", "renew", "--config", dsec.config, lease, "2h")
        self.assertEqual(result.returncode, 0, result.stderr)
        until("it is renewed", lambda: "renewed" in str(self.lines(dsec)))
        self.assertEqual(command("reload", dsec.mountpoint).returncode, 0)
        until("it is reloaded", lambda: "reloaded" in str(self.lines(dsec)))
        dsec.stop()
        lines = self.lines(dsec)
        self.assertEqual([line["event"] for line in lines],
                         ["started", "intended", "active", "handed_out", "renew_asked", "renewed", "reloaded",
                          "ended", "reads", "gone", "stopped"])
        self.assertEqual(lines[4]["lease_id"], lease)
        self.assertRegex(lines[4]["caller"]["executable"], "dsec$")
        for secret in secrets:
            self.assertNotIn(secret, dsec.audit.read_text())


class Chain(Case):
    def test_chain_outlives_crashes_rotations_and_reloads(self):
        dsec = self.dsec().start()
        dsec.key()
        dsec.kill()
        with open(dsec.audit, "a") as file:
            file.write('{"n":99,"time":"20')  # what a power cut leaves
        dsec.start()
        dsec.key()
        self.assertIn("ended within a line", dsec.log.read_text())
        dsec.audit.rename(f"{dsec.audit}.1")
        os.kill(dsec.pid(), signal.SIGHUP)
        until("it has another file", dsec.audit.exists)
        dsec.stop()
        text = self.assertWhole(dsec)
        self.assertIn("1 fragments", text)
        # Both files answer.
        self.assertLess(len(dsec.audit.read_text().splitlines()), len(self.lines(dsec)))
        # The heads in the daemon's log are heads of lines.
        heads = re.findall(r"number (\d+) has the head ([0-9a-f]{64})", dsec.log.read_text())
        self.assertGreaterEqual(len(heads), 2)
        for _, head in heads:
            self.assertWhole(dsec, "--head", head[:16])
        result = self.verify(dsec, "--head", "0" * 16)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(self.verify(dsec, "--head", "xyz").returncode, 2)

    def test_verify_names_file_and_line_of_what_was_done(self):
        dsec = self.dsec().mount()
        dsec.key()
        dsec.stop()
        text = dsec.audit.read_text()
        lines = text.splitlines(keepends=True)
        cases = {
            "changed": (text.replace('"uid":', '"uid":1', 1), 4),
            "cut out": ("".join(lines[:2] + lines[3:]), 3),
            "put in": ("".join(lines[:3] + lines[1:]), 4),
            "begun later": ("".join(lines[2:]), 1),
        }
        for name, (other, line) in cases.items():
            dsec.audit.write_text(other)
            result = self.verify(dsec)
            self.assertEqual(result.returncode, 1, name)
            self.assertIn(f"{dsec.audit}:{line}: ", result.stderr, name)
        for n in range(len(lines)):
            dsec.audit.write_text("".join(lines[:n]))
            result = self.verify(dsec)
            self.assertEqual(result.returncode, 1, n)
        dsec.audit.write_text(text)
        self.assertWhole(dsec)

    def test_verify_of_a_log_that_is_being_written(self):
        dsec = self.dsec().mount()
        for _ in range(10):
            dsec.key()
            self.assertWhole(dsec)
            command("leases", "revoke", "--config", dsec.config, "--all")
        dsec.stop()
        self.assertWhole(dsec)

    def test_file_that_is_full_is_followed_by_another(self):
        dsec = self.dsec(max_size="64K", keep=2, secret={"max_rate": "1000/s"})
        if ROOT:  # the folder has to be the worker's, as the package makes it
            dsec.mount().stop()
            dsec.audit.unlink()
            os.chown(dsec.folder, dsec.state.stat().st_uid, -1)
            shutil.rmtree(dsec.state)
        dsec.mount()
        self.iam.fault("CreateUser", kind="error", status=403, code="AccessDenied", message="no")
        for _ in range(600):
            with self.assertRaises(OSError):
                dsec.read("app/dev/.json")
        dsec.stop()
        files = sorted(path.name for path in dsec.folder.glob("audit.jsonl*"))
        self.assertEqual(len(files), 3, files)
        self.assertWhole(dsec)
        self.assertLess(max((dsec.folder / name).stat().st_size for name in files), 70000)


@unittest.skipUnless(ROOT, "mounting needs root")
class Unwritable(Case):
    def tmpfs(self, size):
        folder = Dsec(self, {}).folder  # goes away at the end
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", folder],
                       check=True)
        self.addCleanup(lambda: subprocess.run(["umount", "-l", folder], check=True))
        return folder

    def fill(self, folder):
        with open(folder / "filler", "wb", 0) as filler:
            try:
                while True:
                    filler.write(b"x" * 512)
            except OSError:
                pass

    def test_full_disk_refuses_leases_until_there_is_room(self):
        folder = self.tmpfs("64k")
        dsec = self.dsec(folder).start()
        self.fill(folder)
        with self.assertRaises(OSError) as raised:
            while True:  # the last page has room for some lines
                dsec.read("app/dev/.json")
                command("leases", "revoke", "--config", dsec.config, "--all")
        self.assertEqual(raised.exception.errno, 28)
        self.assertIn("no new lease without a line in the audit log", dsec.status())
        self.assertIn("no leases are made until it can be written", dsec.log.read_text())
        until("no user is left", lambda: not self.iam.users())
        n = len(self.iam.log())
        with self.assertRaises(OSError):
            dsec.read("app/dev/.json")
        self.assertEqual(len(self.iam.log()), n)  # and AWS hears nothing of it
        (folder / "filler").unlink()
        self.assertTrue(dsec.key())
        dsec.stop()
        lost = [line for line in self.lines(dsec) if line["event"] == "lost"]
        self.assertGreaterEqual(lost[0]["count"], 1)
        self.assertWhole(dsec)

    def test_full_disk_is_shouted_about_where_the_log_is_not_required(self):
        folder = self.tmpfs("64k")
        dsec = self.dsec(folder, required=False).start()
        self.fill(folder)

        def unwritable():
            self.assertTrue(dsec.key())
            command("leases", "revoke", "--config", dsec.config, "--all")
            return "leases are made without it" in dsec.log.read_text()

        until("it shouts", unwritable)
        self.assertTrue(dsec.key())
        self.assertIn("dsec_audit_writable 0", dsec.read(".dsec/metrics").decode())
        dsec.stop()

    def test_file_that_cannot_be_opened(self):
        dsec = self.dsec()
        dsec.audit.touch(0o600)
        subprocess.run(["mount", "--bind", dsec.audit, dsec.audit], check=True)
        self.addCleanup(lambda: subprocess.run(["umount", "-l", dsec.audit], check=False,
                                               stderr=subprocess.DEVNULL))
        subprocess.run(["mount", "-o", "remount,bind,ro", dsec.audit], check=True)
        result = dsec.try_mount()
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"cannot open the audit log {dsec.audit}: Read-only file system",
                      result.stderr)
        dsec.configure(configuration(self.iam, audit={"file": str(dsec.audit),
                                                      "required": False}))
        dsec.start()
        self.assertTrue(dsec.key())
        self.assertIn("leases are made without it", dsec.log.read_text())
        subprocess.run(["umount", "-l", dsec.audit], check=True)
        command("leases", "revoke", "--config", dsec.config, "--all")
        until("it is written again", lambda: "lost" in dsec.audit.read_text())
        dsec.stop()
        self.assertWhole(dsec)


class Manager(Case):
    def test_watchdog_is_told_while_the_loop_turns(self):
        dsec = self.dsec().start(env={"WATCHDOG_USEC": "400000"})
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(dsec.folder / "notify"))
            notify.settimeout(20)
            times = []
            while len(times) < 4:
                if notify.recv(4096) == b"WATCHDOG=1":
                    times.append(time.monotonic())
            # A stopped one is not told for.
            os.kill(dsec.pid(), signal.SIGSTOP)
            notify.settimeout(1)
            with self.assertRaises(TimeoutError):
                while True:
                    notify.recv(4096)
            os.kill(dsec._pid, signal.SIGCONT)
        self.assertGreaterEqual(times[3] - times[0], 0.55)
        dsec.stop()


if __name__ == "__main__":
    tap.main()
