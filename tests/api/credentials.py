#!/usr/bin/python3
"""AWS's own clients with the container credentials endpoint, over a rotation."""

import os
import pathlib
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import asking
import daemon
import localiam
import tap

AWS = "/usr/bin/aws"
AWS_SECONDS = 60
TTL = 10  # the shortest that there is
LIST = {"Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "iam:ListUsers", "Resource": "*"}]}
PATH = "/v3/dsec/credentials/app/dev/AWS_USER"


class Credentials(unittest.TestCase):
    def setUp(self):
        self.iam = localiam.LocalIAM().start()
        self.addCleanup(self.iam.stop)

    def api(self, **secret):
        return asking.Api(self, self.iam, daemon.configuration(
            self.iam, secret={"policy": LIST, **secret}))

    def environment(self, api):
        """What a program is given. Older clients know the token's file not yet."""
        token = api.token()
        file = api.dsec.folder / "token"
        file.write_text(token)
        return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": api.url + PATH,
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file),
                "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
                "AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
                "PATH": os.environ["PATH"], "HOME": str(api.dsec.folder), "AWS_PAGER": ""}

    def test_botocore_refreshes_over_rotations_without_a_failed_call(self):
        try:
            import botocore.config
            import botocore.session
        except ModuleNotFoundError:
            self.skipTest("python3-botocore is not installed")
        api = self.api(ttl=f"{TTL}s")
        config = botocore.config.Config(retries={"total_max_attempts": 1})
        before, environment = dict(os.environ), self.environment(api)
        self.addCleanup(lambda: (os.environ.clear(), os.environ.update(before)))
        os.environ.clear()
        os.environ.update(environment)
        session = botocore.session.Session()
        client = session.create_client("iam", endpoint_url=self.iam.endpoint, config=config)
        keys = set()
        end = time.monotonic() + 1.5 * TTL
        while time.monotonic() < end:
            client.list_users()
            keys.add(session.get_credentials().access_key)
            time.sleep(0.1)
        self.assertGreater(len(keys), 2)
        # What is over is gone, however often it was asked for.
        self.assertLessEqual(len(self.iam.users()), 2)

    def test_the_aws_command(self):
        if not os.access(AWS, os.X_OK):
            self.skipTest("awscli is not installed")
        api = self.api()
        answer = subprocess.run([AWS, "--endpoint-url", self.iam.endpoint, "iam", "list-users"],
                                env=self.environment(api), stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, timeout=AWS_SECONDS)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertIn('"Users"', answer.stdout)

    def test_they_are_the_lease_that_the_files_have(self):
        api = self.api()
        token = api.token()
        answers = [api.ask(PATH, headers={"Authorization": token}, tcp=True) for _ in range(3)]
        for answer in answers:
            self.assertEqual(answer.status, 200, answer.body)
            self.assertEqual(answer.json["Token"], "")
            self.assertEqual((answer.json["AccessKeyId"], answer.json["SecretAccessKey"]),
                             api.dsec.key())
        self.assertEqual(api.ask(PATH).json["AccessKeyId"], api.dsec.key()[0])
        self.assertEqual(len(self.iam.users()), 1)

    def test_a_token_is_a_user_to_the_scope_user(self):
        api = self.api(scope="user")
        tokens = [api.token(), api.token()]
        keys = [api.ask(PATH, token=token).json["AccessKeyId"] for token in 2 * tokens]
        self.assertEqual(keys[:2], keys[2:])
        self.assertNotEqual(*keys[:2])
        self.assertNotIn(api.dsec.key()[0], keys)

    def test_a_failure_is_told_and_the_next_call_mends_it(self):
        api = self.api()
        token = api.token()
        self.iam.fault("CreateUser", kind="error", status=403, code="AccessDenied", message="no",
                       times=1)
        self.assertEqual(api.ask(PATH, token=token).status, 502)
        daemon.until("it is tried again", lambda: api.ask(PATH, token=token).status == 200)


if __name__ == "__main__":
    tap.main()
