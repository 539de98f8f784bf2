#!/usr/bin/python3
"""dsec against a server that is not ours, and AWS's own client with what dsec serves.

moto is the IAM, STS and EC2: it verifies signatures, enforces policies and forgets deleted keys. It
takes every conditional Deny for a Deny, so the integration says `expiry_in_policy: false`.
"""

import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import daemon
import moto
import tap

AWS = "/usr/bin/aws"
AWS_SECONDS = 60


class AwsClients(unittest.TestCase):
    def setUp(self):
        if not os.access(AWS, os.X_OK):
            self.skipTest("awscli is not installed")
        self.moto = moto.Moto()
        self.addCleanup(self.moto.stop)
        self.dsec = daemon.Dsec(self, self.configuration()).mount()
        self.config = self.dsec.path("app/dev")

    def configuration(self):
        secret = {"integration": "moto", "policy": daemon.DESCRIBE}
        return {
            "integrations": {"moto": {
                "type": "aws-iam",
                "credentials": {"source": "static",
                                "access_key_id": self.moto.access_key_id,
                                "secret_access_key": self.moto.secret_access_key},
                "region": moto.REGION,
                "endpoint": self.moto.endpoint,
                "sts_endpoint": self.moto.endpoint,
                "expiry_in_policy": False,
            }},
            "projects": {"app": {
                "dev": {"dynamic_secrets": {"AWS_USER": secret}},
                "shell": {"secrets": {"AWS_DEFAULT_REGION": moto.REGION},
                          "dynamic_secrets": {"AWS": secret}},
            }},
        }

    def aws(self, *arguments, **environment):
        """Runs AWS's client with this environment and no other."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.dsec.folder), "AWS_PAGER": "",
                       "AWS_DEFAULT_REGION": moto.REGION, "AWS_EC2_METADATA_DISABLED": "true",
                       "AWS_MAX_ATTEMPTS": "1"} | environment
        return subprocess.run([AWS, "--endpoint-url", self.moto.endpoint, *arguments],
                              env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=AWS_SECONDS)

    def keys(self):
        """The two keys, by two cats, as an environment."""
        return {name: subprocess.run(["cat", self.config / name.replace("AWS_", "AWS_USER_")],
                                     capture_output=True, text=True, check=True).stdout
                for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}

    def assert_may_describe(self, answer):
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertIn('"Reservations"', answer.stdout)

    def test_the_two_keys_do_what_the_policy_allows_and_nothing_else(self):
        keys = self.keys()
        self.assertEqual(len(self.moto.users()), 1)
        self.assert_may_describe(self.aws("ec2", "describe-instances", **keys))
        refused = self.aws("iam", "list-users", **keys)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("AccessDenied", refused.stderr)

    def test_credential_process(self):
        (self.dsec.folder / "config").write_text(
            "[default]\n"
            f"credential_process = cat {self.config}/.aws/AWS_USER/process.json\n")
        answer = self.aws("ec2", "describe-instances",
                          AWS_CONFIG_FILE=str(self.dsec.folder / "config"))
        self.assert_may_describe(answer)
        self.assertEqual(len(self.moto.users()), 1)

    def test_shared_credentials_file(self):
        credentials = self.config / ".aws/AWS_USER/credentials"
        answer = self.aws("ec2", "describe-instances",
                          AWS_SHARED_CREDENTIALS_FILE=str(credentials))
        self.assert_may_describe(answer)

    def test_the_whole_environment_by_env(self):
        file = self.dsec.path("app/shell/.env-no-quotes")
        script = (f"env $(cat {file})"
                  f" {AWS} --endpoint-url {self.moto.endpoint} ec2 describe-instances")
        answer = subprocess.run(["sh", "-c", script], capture_output=True, text=True,
                                timeout=AWS_SECONDS, stdin=subprocess.DEVNULL,
                                env={"PATH": os.environ["PATH"], "HOME": str(self.dsec.folder)})
        self.assert_may_describe(answer)

    def test_unmount_leaves_no_user_and_no_key(self):
        keys = self.keys()
        self.assert_may_describe(self.aws("ec2", "describe-instances", **keys))
        self.dsec.stop()
        self.assertEqual(self.moto.users(), [])
        refused = self.aws("sts", "get-caller-identity", **keys)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("InvalidClientTokenId", refused.stderr)


if __name__ == "__main__":
    tap.main()
