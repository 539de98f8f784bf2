"""moto, another's IAM, STS and EC2, with signatures verified and policies enforced."""

import json
import os
import pathlib
import subprocess
import unittest

HERE = pathlib.Path(__file__).resolve().parent
REGION = "us-east-1"

# Its three first calls are not authenticated: they make the administrator. Port 0, so that any
# number of tests runs side by side; it ends when the test that started it does.
SERVER = """
import sys
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
EVERYTHING = {"Version": "2012-10-17",
              "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def python_path():
    """The PYTHONPATH that moto needs; skips the test where there is none to be had."""
    found = subprocess.run([HERE / "moto.sh"], stdin=subprocess.DEVNULL, capture_output=True,
                           text=True, timeout=300)
    if found.returncode:
        raise unittest.SkipTest(found.stderr.strip())
    return found.stdout.strip()


class Moto:
    """A running server; `access_key_id` and `secret_access_key` are its administrator's."""

    def __init__(self):
        env = {"PATH": os.environ["PATH"], "INITIAL_NO_AUTH_ACTION_COUNT": "3",
               "PYTHONPATH": python_path(), "PYTHONDONTWRITEBYTECODE": "1"}
        env |= {name: os.environ[name] for name in ("DSEC_TESTS",) if name in os.environ}
        self.process = subprocess.Popen(["/usr/bin/python3", "-c", SERVER], env=env,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)
        try:
            self.endpoint = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
            self._bootstrap()
        except BaseException:
            self.stop()
            raise

    def _bootstrap(self):
        iam = self.client("iam", "unchecked", "unchecked")
        iam.create_user(UserName="administrator")
        iam.put_user_policy(UserName="administrator", PolicyName="everything",
                            PolicyDocument=json.dumps(EVERYTHING))
        key = iam.create_access_key(UserName="administrator")["AccessKey"]
        self.access_key_id, self.secret_access_key = key["AccessKeyId"], key["SecretAccessKey"]

    def client(self, service, access_key_id=None, secret_access_key=None):
        """A botocore client with this key; the administrator's without one."""
        try:
            import botocore.config
            import botocore.session
        except ModuleNotFoundError:
            raise unittest.SkipTest("python3-botocore is not installed") from None
        config = botocore.config.Config(retries={"total_max_attempts": 1}, connect_timeout=10,
                                        read_timeout=20)
        return botocore.session.Session().create_client(
            service, region_name=REGION, endpoint_url=self.endpoint, config=config,
            aws_access_key_id=access_key_id or self.access_key_id,
            aws_secret_access_key=secret_access_key or self.secret_access_key)

    def users(self):
        """The names of all users but the administrator."""
        users = self.client("iam").list_users()["Users"]
        return sorted(user["UserName"] for user in users if user["UserName"] != "administrator")

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
