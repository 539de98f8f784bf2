#!/usr/bin/python3
"""Doppler's own SDK for Node against the daemon, with the local IAM and with moto."""

import json
import pathlib
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))

import asking
import daemon
import localiam
import moto
import tap

NODE_SECONDS = 60


def sdk_module():
    """Skips the test where there is none to be had."""
    found = subprocess.run([HERE.parent / "lib" / "sdk.sh"], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=300)
    if found.returncode:
        raise unittest.SkipTest(found.stderr.strip().splitlines()[-1])
    return f"{found.stdout.strip()}/node_modules/@dopplerhq/node-sdk/dist/index.js"


class Sdk(unittest.TestCase):
    def node(self, script, *arguments):
        result = subprocess.run(["node", HERE / script, sdk_module(), *arguments],
                                stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                timeout=NODE_SECONDS)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def drive(self, api, users):
        """Every endpoint; what it must have given, and left in IAM."""
        results = self.node("sdk.mjs", api.url, api.token())
        static = {"DOPPLER_CONFIG": "dev", "DOPPLER_ENVIRONMENT": "dev", "DOPPLER_PROJECT": "app",
                  "GREETING": "hello"}
        self.assertEqual(results["me"]["workplace"]["name"], "dsec")
        self.assertEqual(results["download"], static)
        self.assertEqual(results["transformed"], {"greeting": "hello"})
        self.assertEqual(results["list"]["secrets"]["GREETING"]["computed"], "hello")
        self.assertEqual(results["get"]["value"]["raw"], "hello")
        self.assertIn("AWS_USER_SECRET_ACCESS_KEY", results["names"]["names"])
        leased = results["leased"]
        self.assertEqual({name: leased[name] for name in static}, static)
        listed = results["leasedList"]["secrets"]["AWS_USER_USERNAME"]["raw"]
        issued = results["issue"]
        self.assertEqual(issued["value"]["LEASE_ID"], issued["id"])
        self.assertEqual(results["revoke"], {"success": True})
        # Each of the three was a lease of its own, and the revoked one ends.
        left = {leased["AWS_USER_USERNAME"], listed}
        self.assertEqual(len(left | {issued["value"]["USERNAME"]}), 3)
        daemon.until("only the revoked user is gone", lambda: set(users()) == left)
        self.assertEqual(results["otherConfig"]["status"], 403)
        self.assertEqual(results["otherFormat"]["status"], 400)
        self.assertEqual(results["otherSecret"]["status"], 404)
        return leased

    def test_every_endpoint_with_the_local_iam(self):
        api = asking.Api(self)
        self.drive(api, api.iam.users)

    def test_every_endpoint_with_moto(self):
        sdk_module()
        server = moto.Moto()
        self.addCleanup(server.stop)
        secret = {"integration": "moto", "policy": daemon.DESCRIBE}
        api = asking.Api(self, configuration={
            "integrations": {"moto": {
                "type": "aws-iam",
                "credentials": {"source": "static", "access_key_id": server.access_key_id,
                                "secret_access_key": server.secret_access_key},
                "region": moto.REGION,
                "endpoint": server.endpoint,
                "sts_endpoint": server.endpoint,
                "expiry_in_policy": False,
            }},
            "projects": {"app": {"dev": {"secrets": {"GREETING": "hello"},
                                         "dynamic_secrets": {"AWS_USER": secret}}}},
        })
        leased = self.drive(api, server.users)
        ec2 = server.client("ec2", leased["AWS_USER_ACCESS_KEY_ID"],
                            leased["AWS_USER_SECRET_ACCESS_KEY"])
        self.assertIn("Reservations", ec2.describe_instances())

    def test_a_retry_collects_the_lease_that_took_too_long(self):
        with localiam.LocalIAM() as iam:
            api = asking.Api(self, iam)
            iam.fault("CreateAccessKey", kind="delay", ms=9500, times=1)
            results = self.node("issue.mjs", api.url, api.token())
            self.assertTrue(results["success"])
            self.assertEqual(set(iam.users()), {results["value"]["USERNAME"]})
            # One of them, asked for twice.
            self.assertEqual(len([call for call in iam.log() if call["action"] == "CreateUser"]),
                             1)


if __name__ == "__main__":
    tap.main()
