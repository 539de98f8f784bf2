#!/usr/bin/python3
"""Each failure has its errno, and .status the sentence, with AWS's code and request id."""

import ctypes
import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from daemon import Dsec, command, configuration, until
from localiam import LocalIAM

REQUEST_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

# open(2) by hand: Python's own opens again after EINTR.
OPEN = """
import ctypes, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.siginterrupt(signal.SIGUSR1, True)
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.open(sys.argv[1].encode(), 0)
print(0 if fd >= 0 else ctypes.get_errno())
"""


class Errors(unittest.TestCase):
    def setUp(self):
        self.iam = LocalIAM().start()
        self.addCleanup(self.stop_iam)

    def stop_iam(self):
        self.assertIn(self.iam.stop(), (0, None))

    def mounted(self, secret=None, **more):
        """A mount whose readers wait no longer than 3 seconds."""
        return Dsec(self, configuration(self.iam, secret, **{"read_timeout": "3s", **more})).mount()

    def fails(self, dsec, number, name="app/dev/.json"):
        begin = time.monotonic()
        try:
            dsec.read(name)
        except OSError as error:
            self.assertEqual(errno.errorcode[error.errno], errno.errorcode[number])
        else:
            self.fail(f"{name} can be read")
        self.assertLess(time.monotonic() - begin, 10)

    def told(self, dsec, *patterns):
        text = dsec.status()
        for pattern in patterns:
            self.assertRegex(text, pattern)

    def answer(self, action, status, code, **more):
        self.iam.fault(action, kind="error", status=status, code=code, message="as told", **more)

    def recovers(self, dsec):
        """The failure over, the next readers are served, and the end is clean."""
        self.iam.reset()
        self.assertTrue(until("it serves again", lambda: self.try_read(dsec)))
        dsec.stop()
        self.assertEqual(self.iam.users(), {})

    def try_read(self, dsec):
        try:
            return dsec.read("app/dev/.json")
        except OSError:
            return None

    def test_enoent_for_what_is_not_configured(self):
        dsec = self.mounted({"max_ttl": "1h"})
        for name in ("app/dev/NOPE", "app/prd/.json", "nope/dev/.json", "app/dev@2h/.json",
                     "app/dev/.aws/NOPE/credentials", "app/dev/.jsonx"):
            self.fails(dsec, errno.ENOENT, name)
        dsec.stop()

    def test_eacces_for_others(self):
        dsec = self.mounted()
        result = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                 "cat", dsec.path("app/dev/GREETING")], capture_output=True,
                                text=True)
        self.assertEqual(result.returncode, 1)
        self.assertIn("Permission denied", result.stderr)
        self.assertEqual([entry for entry in self.iam.log() if entry["action"] == "CreateUser"],
                         [])
        dsec.stop()

    def test_access_of_the_config_lets_its_user_in_and_no_other(self):
        dsec = self.mounted(config={"access": {"user": "nobody", "group": "nogroup",
                                               "mode": "0400"}})
        for uid, allowed in ((65534, True), (65533, False)):
            result = subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={uid}",
                                     "--clear-groups", "cat", dsec.path("app/dev/GREETING")],
                                    capture_output=True)
            self.assertEqual(result.stdout, b"hello" if allowed else b"", uid)
        dsec.stop()

    def test_erofs_for_writes(self):
        dsec = self.mounted()
        for action in (lambda: dsec.path("app/dev/GREETING").write_text("x"),
                       lambda: dsec.path("app/dev/new").write_text("x"),
                       lambda: dsec.path("app/dev/GREETING").unlink(),
                       lambda: dsec.path("app/new").mkdir()):
            with self.assertRaises(OSError) as caught:
                action()
            self.assertEqual(caught.exception.errno, errno.EROFS)
        dsec.stop()

    def test_etimedout_when_aws_does_not_answer(self):
        self.iam.fault("CreateUser", kind="delay", ms=8000)
        dsec = self.mounted()
        self.fails(dsec, errno.ETIMEDOUT)
        self.told(dsec, "last error")
        self.recovers(dsec)

    def test_eagain_when_aws_throttles(self):
        self.iam.throttle("CreateUser")
        dsec = self.mounted()
        self.fails(dsec, errno.EAGAIN)
        self.told(dsec, r"\(AWS: Throttling\)", rf"\(request {REQUEST_ID}\)")
        self.recovers(dsec)

    def test_eagain_beyond_max_rate(self):
        dsec = self.mounted({"max_rate": "1/h", "max_ttl": "1h"})
        dsec.read("app/dev/.json")
        self.fails(dsec, errno.EAGAIN, "app/dev@50m/.json")
        self.told(dsec, "max_rate")
        dsec.stop()

    def test_ehostunreach_when_nobody_listens(self):
        dsec = self.mounted(unmount_timeout="1s",
                            integration={"endpoint": "http://127.0.0.1:1",
                                         "sts_endpoint": "http://127.0.0.1:1"})
        self.fails(dsec, errno.EHOSTUNREACH)
        self.told(dsec, "last error", "endpoint")
        # A user whose creation was never answered is no user that is left... where no connection
        # was ever made.
        dsec.unmount()

    def test_edquot_beyond_the_account_s_users(self):
        self.iam.control(users_quota=len(self.iam.principals))
        dsec = self.mounted()
        self.fails(dsec, errno.EDQUOT)
        self.told(dsec, r"\(AWS: LimitExceeded\)", rf"\(request {REQUEST_ID}\)")
        self.iam.control(users_quota=100)
        self.recovers(dsec)

    def test_edquot_beyond_max_leases(self):
        dsec = self.mounted({"max_leases": 1, "max_ttl": "1h"})
        dsec.read("app/dev/.json")
        self.fails(dsec, errno.EDQUOT, "app/dev@50m/.json")
        self.told(dsec, "max_leases")
        self.assertEqual(len(self.iam.users()), 1)
        dsec.stop()

    def test_ekeyrejected_for_a_wrong_secret(self):
        wrong = configuration(self.iam, read_timeout="3s")
        wrong["integrations"]["aws-main"]["credentials"]["secret_access_key"] = "x" * 40
        dsec = Dsec(self, wrong).mount()
        self.fails(dsec, errno.EKEYREJECTED)
        self.told(dsec, r"\(AWS: SignatureDoesNotMatch\)", rf"\(request {REQUEST_ID}\)")
        self.assertNotIn("x" * 40, dsec.status())
        dsec.stop()

    def test_ekeyrejected_for_an_unknown_key(self):
        wrong = configuration(self.iam, read_timeout="3s")
        wrong["integrations"]["aws-main"]["credentials"]["access_key_id"] = "AKIAQQQQQQQQQQQQQQQQ"
        dsec = Dsec(self, wrong).mount()
        self.fails(dsec, errno.EKEYREJECTED)
        self.told(dsec, r"\(AWS: InvalidClientTokenId\)")
        dsec.stop()

    def test_eio_for_what_the_integration_may_not_do(self):
        self.answer("CreateUser", 403, "AccessDenied")
        dsec = self.mounted()
        self.fails(dsec, errno.EIO)
        self.told(dsec, r"\(AWS: AccessDenied\)", "dsec integration policy")
        self.recovers(dsec)

    def test_eio_for_a_policy_that_aws_refuses(self):
        self.answer("PutUserPolicy", 400, "MalformedPolicyDocument")
        dsec = self.mounted()
        self.fails(dsec, errno.EIO)
        self.told(dsec, r"\(AWS: MalformedPolicyDocument\)", rf"\(request {REQUEST_ID}\)")
        until("its user is removed", lambda: not self.iam.users())
        self.recovers(dsec)

    def test_eintr_for_an_interrupted_reader_and_the_lease_goes_on(self):
        self.iam.fault("CreateUser", kind="delay", ms=2000, times=1)
        dsec = self.mounted()
        reader = subprocess.Popen(["/usr/bin/python3", "-c", OPEN, dsec.path("app/dev/.json")],
                                  stdout=subprocess.PIPE, text=True)
        until("it waits", lambda: [entry for entry in self.iam.log()
                                   if entry["action"] == "CreateUser"])
        until("it is in open", lambda: blocked(reader.pid))
        begin = time.monotonic()
        reader.send_signal(signal.SIGUSR1)
        self.assertEqual(int(reader.communicate(timeout=20)[0]), errno.EINTR)
        self.assertLess(time.monotonic() - begin, 1.5)
        dsec.read("app/dev/.json")
        self.assertEqual(len(self.iam.users()), 1)
        dsec.stop()

    def test_killed_reader_is_gone_at_once(self):
        self.iam.fault("CreateUser", kind="delay", ms=4000, times=1)
        dsec = self.mounted()
        reader = subprocess.Popen(["cat", dsec.path("app/dev/.json")], stdout=subprocess.DEVNULL)
        until("it waits", lambda: blocked(reader.pid))
        begin = time.monotonic()
        reader.kill()
        reader.wait()
        self.assertLess(time.monotonic() - begin, 1.5)
        dsec.stop()

    def test_dead_aws_delays_no_cached_read_and_no_list(self):
        dsec = self.mounted({"max_ttl": "1h"})
        dsec.read("app/dev/.json")
        self.iam.fault("*", kind="delay", ms=3000)
        reader = subprocess.Popen(["cat", dsec.path("app/dev@50m/.json")],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("it waits", lambda: blocked(reader.pid))
        begin = time.monotonic()
        for _ in range(20):
            dsec.read("app/dev/.json")
            os.listdir(dsec.path("app/dev"))
        self.assertLess(time.monotonic() - begin, 1)
        self.assertIsNone(reader.poll())
        self.iam.reset()
        reader.wait()
        dsec.stop()


class Revocation(unittest.TestCase):
    def test_revocation_that_fails_is_told_everywhere_and_stops_no_other(self):
        iam = LocalIAM().start()
        self.addCleanup(iam.stop)
        dsec = Dsec(self, {})
        audit = dsec.folder / "audit"
        dsec.configure(configuration(iam, {"max_ttl": "2h"}, audit={"file": str(audit)}))
        dsec.start()
        stays, goes = (dsec.read(f"app/dev{ttl}/AWS_USER_USERNAME").decode()
                       for ttl in ("", "@1h"))
        iam.fault("DeleteUser", user=stays, kind="error", status=403, code="AccessDenied",
                  message="as told")
        result = command("leases", "revoke", "--all", "--socket", f"{dsec.folder}/socket")
        self.assertEqual(result.returncode, 0, result.stderr)
        until("the other is gone", lambda: list(iam.users()) == [stays])
        until("it is tried again", lambda: len([call for call in iam.log() if call["code"] ==
                                                "AccessDenied"]) > 1)
        self.assertEqual(iam.users()[stays]["access_keys"], [])
        self.assertRegex(dsec.status(), rf"{stays}(.|\n)*\(AWS: AccessDenied\)")
        self.assertIn("\ndsec_users_revocation_failing 1\n", dsec.read(".dsec/metrics").decode())
        self.assertIn(stays, dsec.log.read_text())
        told = [line for line in map(json.loads, audit.read_text().splitlines())
                if line["event"] == "revocation_failed"]
        self.assertEqual({line["user"] for line in told}, {stays})
        self.assertNotIn(dsec.read("app/dev/AWS_USER_USERNAME").decode(), (stays, goes))
        iam.reset()
        until("it is gone, too", lambda: stays not in iam.users(), 60)
        until("the count says so", lambda: "\ndsec_users_revocation_failing 0\n" in
              dsec.read(".dsec/metrics").decode())
        dsec.stop()


def blocked(pid):
    """Does the process sleep in a system call that no signal but a deadly one interrupts, or in one
    of FUSE's?"""
    try:
        return "fuse" in pathlib.Path(f"/proc/{pid}/wchan").read_text() or \
            "request_wait_answer" in pathlib.Path(f"/proc/{pid}/stack").read_text()
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    tap.main()
