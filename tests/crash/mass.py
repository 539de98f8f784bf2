#!/usr/bin/python3
"""Five thousand users at once: the unmount takes all of them away, whatever some calls answer,
whoever was faster, and whatever somebody hung on them."""

import concurrent.futures
import json
import os
import pathlib
import pty
import re
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from awscall import call
from daemon import DSEC
from localiam import Certificates
from scene import MANAGED, Scene

USERS = 5000
READERS = 64
RATE = 1000  # the most that may be configured
DEADLINE = 300

GROUP = "somebody-s"
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})


class Account:
    """What its owner does behind dsec's back."""

    def __init__(self, case, iam):
        self.case = case
        self.iam = iam
        self.key = iam.root.access_key_id, iam.root.secret_access_key
        with tempfile.TemporaryDirectory() as folder:
            self.certificate = pathlib.Path(Certificates(folder).certificate).read_text()

    def do(self, action, **parameters):
        self.case.assertEqual(call(self.iam.endpoint, action, self.key, **parameters), (200, ""))

    def attach_mfa(self, user):
        serial = f"arn:aws:iam::{self.iam.account}:mfa/{user}"
        self.do("CreateVirtualMFADevice", VirtualMFADeviceName=user)
        self.do("EnableMFADevice", UserName=user, SerialNumber=serial,
                AuthenticationCode1="123456", AuthenticationCode2="654321")

    def attach(self, user):
        """One of each kind."""
        self.do("CreateAccessKey", UserName=user)
        self.do("PutUserPolicy", UserName=user, PolicyName="more", PolicyDocument=POLICY)
        self.do("AttachUserPolicy", UserName=user, PolicyArn=MANAGED)
        self.do("AddUserToGroup", UserName=user, GroupName=GROUP)
        self.do("CreateLoginProfile", UserName=user, Password="correct horse battery staple")
        self.attach_mfa(user)
        self.do("UploadSigningCertificate", UserName=user, CertificateBody=self.certificate)
        self.do("UploadSSHPublicKey", UserName=user, SSHPublicKeyBody="ssh-rsa AAAA")
        self.do("CreateServiceSpecificCredential", UserName=user,
                ServiceName="codecommit.amazonaws.com")

    def delete(self, name, user):
        for key in user["access_keys"]:
            self.do("DeleteAccessKey", UserName=name, AccessKeyId=key)
        for policy in user["inline_policies"]:
            self.do("DeleteUserPolicy", UserName=name, PolicyName=policy)
        self.do("DeleteUser", UserName=name)


class Terminal:
    """What a command writes to one, read to the end by a thread."""

    def __init__(self):
        self.master, self.slave = pty.openpty()
        self.text = b""
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self):
        try:
            while data := os.read(self.master, 4096):
                self.text += data
        except OSError:  # the last writer is gone
            pass

    def end(self):
        self._thread.join()
        os.close(self.master)
        return self.text.decode()


class Mass(unittest.TestCase):
    deadline = 2 * DEADLINE

    def setUp(self):
        self.scene = Scene(
            self,
            {"max_leases": USERS, "max_rate": "1000000/m", "max_ttl": "12h"},
            {"rate": RATE, "verify": False})
        self.iam = self.scene.iam
        self.iam.control(users_quota=USERS + len(self.iam.principals))
        self.account = Account(self, self.iam)

    def lease(self):
        """Each TTL has leases of its own."""
        begin = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
            list(pool.map(lambda i: self.scene.dsec.read(f"app/dev@{i + 3600}s/.json"),
                          range(USERS)))
        self.report("leased", begin)
        users = self.iam.users()
        self.assertEqual(len(users), USERS)
        return users

    def report(self, what, begin, calls_before=0):
        seconds = time.monotonic() - begin
        calls = len(self.iam.log()) - calls_before
        print(f"# {USERS} users {what} in {seconds:.1f} s: {calls} calls, "
              f"{calls / seconds:.0f} calls/s", flush=True)

    def spoil(self):
        """Of the calls that remove, each tenth fails."""
        every = {"every": 30}
        self.iam.fault("De*", kind="error", status=503, code="ServiceUnavailable", **every)
        self.iam.fault("De*", kind="drop", when="before", skip=10, **every)
        self.iam.fault("De*", kind="drop", when="after", skip=20, **every)

    def unmount(self):
        terminal = Terminal()
        begin, calls = time.monotonic(), len(self.iam.log())
        result = subprocess.run([DSEC, "unmount", "--wait", self.scene.dsec.mountpoint],
                                stdin=subprocess.DEVNULL, stderr=terminal.slave, check=False,
                                timeout=DEADLINE)
        os.close(terminal.slave)
        text = terminal.end()
        self.assertEqual(result.returncode, 0, text)
        self.report("removed", begin, calls)
        return text

    def test_unmount_leaves_nobody_of_five_thousand(self):
        self.scene.dsec.start()
        users = list(self.lease().items())
        self.account.do("CreateGroup", GroupName=GROUP)
        for name, _ in users[:20]:
            self.account.attach(name)
        for name, user in users[-50:]:
            self.account.delete(name, user)
        self.spoil()
        text = self.unmount()
        self.assertEqual(self.iam.users(), {})
        self.assertEqual(self.scene.journal(), {})
        shown = [int(count.replace(",", ""))
                 for count in re.findall(r"revoking ([\d,]+) of 5,000", text)]
        self.assertGreater(len(set(shown)), 2, text)
        self.assertEqual(shown, sorted(shown, reverse=True))
        self.assertIn("left", text)


if __name__ == "__main__":
    tap.main()
