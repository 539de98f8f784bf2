#!/usr/bin/python3
"""What the configuration asks for is what IAM, the wire and the disk get to see."""

import errno
import json
import os
import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from awscall import works
from daemon import DESCRIBE, Dsec, configuration
from localiam import LocalIAM

BOUNDARY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
MANAGED = ["arn:aws:iam::aws:policy/IAMReadOnlyAccess", "arn:aws:iam::aws:policy/ReadOnlyAccess"]


class Case(unittest.TestCase):
    def start_iam(self, **more):
        self.iam = LocalIAM(**more).start()
        self.addCleanup(self.stop_iam)

    def stop_iam(self):
        self.assertIn(self.iam.stop(), (0, None))

    def dsec(self, secret=None, **more):
        return Dsec(self, configuration(self.iam, secret, **more))

    def user(self):
        """The one that there is."""
        user, = self.iam.users().values()
        return user

    def statements(self):
        """Of its one inline policy, and that policy's text."""
        text, = self.user()["inline_policies"].values()
        return json.loads(text)["Statement"], text


class Lease(Case):
    def test_user_has_all_that_its_secret_configures(self):
        self.start_iam()
        dsec = self.dsec({"tags": {"team": "web", "cost-centre": "1 2"}, "policy_arns": MANAGED,
                          "permissions_boundary": BOUNDARY}).start()
        dsec.key()
        user = self.user()
        self.assertEqual(user["tags"], {"team": "web", "cost-centre": "1 2"})
        self.assertEqual(user["permissions_boundary"], BOUNDARY)
        self.assertEqual(sorted(user["attached_policies"]), MANAGED)
        self.assertRegex(user["path"], r"\A/doppler/[0-9a-f]{16}/\d{8}T\d{6}Z/\Z")
        self.assertRegex(user["name"], r"\ADoppler-Dynamic-[A-Za-z0-9]{13}\Z")
        statements, text = self.statements()
        self.assertEqual(statements[0], DESCRIBE["Statement"][0])
        self.assertEqual([statement["Effect"] for statement in statements], ["Allow", "Deny"])
        self.assertIsNone(re.search(r"\s", text), "white space is sent, and counts for nothing")
        dsec.stop()
        self.assertEqual(self.iam.users(), {})

    def test_no_end_in_the_policy_of_who_does_not_want_it(self):
        self.start_iam()
        dsec = self.dsec(integration={"expiry_in_policy": False}).start()
        dsec.key()
        self.assertEqual(self.statements()[0], DESCRIBE["Statement"])
        dsec.stop()

    def tried(self, key):
        """How often it was used before its reader had it."""
        return len([call for call in self.iam.log() if call["access_key_id"] == key[0]])

    def test_key_is_tried_unless_verify_is_off(self):
        self.start_iam()
        for verify in (True, False):
            dsec = self.dsec(integration={"verify": verify}).start()
            key = dsec.key()
            self.assertEqual(self.tried(key) >= 3, verify)
            self.assertEqual(self.tried(key) == 0, not verify)
            dsec.stop()


class Credentials(Case):
    """The integration's own, from each source."""

    def setUp(self):
        self.start_iam(admin_token="token/" + "t" * 400)

    def file(self, dsec, name, text):
        path = dsec.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    def leases(self, dsec, credentials, env=None):
        settings = configuration(self.iam)
        settings["integrations"]["aws-main"]["credentials"] = credentials
        dsec.configure(settings)
        dsec.start(env=env)
        self.assertTrue(works(self.iam.endpoint, dsec.key()))
        dsec.stop()

    def test_secret_key_of_a_file(self):
        dsec, root = self.dsec(), self.iam.root
        file = self.file(dsec, "key", root.secret_access_key + "\n")
        self.leases(dsec, {"source": "static", "access_key_id": root.access_key_id,
                           "secret_access_key_file": file})

    def test_session_of_the_file_itself(self):
        admin = self.iam.admin
        self.leases(self.dsec(), {"source": "static", "access_key_id": admin.access_key_id,
                                  "secret_access_key": admin.secret_access_key,
                                  "session_token": admin.session_token})

    def test_environment(self):
        self.leases(self.dsec(), {"source": "environment"}, self.iam.admin.environment())

    def test_profile_of_the_shared_files(self):
        dsec, admin = self.dsec(), self.iam.admin
        credentials = self.file(dsec, "credentials", (
            f"[me]\naws_access_key_id = {admin.access_key_id}\n"
            f"aws_secret_access_key = {admin.secret_access_key}\n"
            f"aws_session_token = {admin.session_token}\n"))
        self.leases(dsec, {"source": "profile", "profile": "me",
                           "shared_credentials_file": credentials,
                           "config_file": self.file(dsec, "config", "[profile me]\n")})

    def test_credential_process(self):
        dsec, admin = self.dsec(), self.iam.admin
        output = self.file(dsec, "output", json.dumps({
            "Version": 1, "AccessKeyId": admin.access_key_id,
            "SecretAccessKey": admin.secret_access_key, "SessionToken": admin.session_token}))
        self.leases(dsec, {"source": "process", "command": f"/bin/cat '{output}'"})


class Wire(Case):
    def setUp(self):
        self.start_iam(tls=True)

    def test_private_ca_that_is_named_is_trusted(self):
        dsec = self.dsec(integration={"ca_file": self.iam.certificates.ca}).start()
        dsec.key()
        self.assertEqual(len(self.iam.users()), 1)
        dsec.stop()
        self.assertEqual(self.iam.users(), {})

    def test_server_that_nobody_vouches_for_is_told_nothing(self):
        dsec = self.dsec(read_timeout="2s", unmount_timeout="1s").start()
        with self.assertRaises(OSError) as failed:
            dsec.read("app/dev/.json")
        self.assertEqual(failed.exception.errno, errno.EHOSTUNREACH)
        self.assertIn("certificate", dsec.status())
        self.assertEqual(self.iam.log(), [])
        dsec.unmount()

    def test_clock_that_is_hours_off_is_refused_with_a_sentence(self):
        self.iam.control(clock={"date_s": 3 * 3600, "signatures_s": 3 * 3600})
        dsec = self.dsec(integration={"ca_file": self.iam.certificates.ca},
                         read_timeout="3s").start()
        with self.assertRaises(OSError) as failed:
            dsec.read("app/dev/.json")
        self.assertEqual(failed.exception.errno, errno.EIO)
        self.assertIn("set the local clock", dsec.status())
        self.assertEqual(self.iam.users(), {})
        self.iam.reset()
        dsec.unmount()


class Secrecy(Case):
    def test_secret_is_in_no_file_and_no_answer_but_its_reader_s(self):
        self.start_iam()
        dsec = self.dsec()
        dsec.configure(configuration(self.iam, audit={"file": str(dsec.folder / "audit")}))
        dsec.start()
        key, secret = (half.encode() for half in dsec.key())
        own = self.iam.admin.secret_access_key.encode()
        texts = {path: path.read_bytes() for path in dsec.folder.rglob("*")
                 if path.is_file() and dsec.mountpoint not in path.parents}
        self.assertIn(own, texts.pop(dsec.config), "what is searched for would be found")
        self.assertTrue([path for path in texts if key in texts[path]])
        for name in ("version", "metrics", "leases.json"):
            texts[name] = dsec.read(f".dsec/{name}")
        texts["status"] = dsec.read("app/dev/.status")
        for name in ("cmdline", "environ"):
            texts[name] = pathlib.Path(f"/proc/{dsec.pid()}/{name}").read_bytes()
        self.assertIn(key, texts["leases.json"])
        self.assertIn(b'\ndsec_users{state="active"} 1\n', texts["metrics"])
        for name, text in texts.items():
            for what in (secret, own):
                self.assertNotIn(what, text, name)
        dsec.stop()


if __name__ == "__main__":
    tap.main()
