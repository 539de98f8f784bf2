#!/usr/bin/python3
"""What the command asks of AWS by itself: check, integration, sweep; and the lists."""

import json
import os
import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from awscall import call
from daemon import Dsec, command, configuration, until
from localiam import LocalIAM

EXPIRED = "20200101T000000Z"
FUTURE = "20990101T000000Z"
DAEMON = "0123456789abcdef"
BOUNDARY = "arn:aws:iam::aws:policy/ReadOnlyAccess"


class Case(unittest.TestCase):
    def start_iam(self, **more):
        self.iam = LocalIAM(**more).start()
        self.addCleanup(self.stop_iam)
        return self.iam

    def stop_iam(self):
        self.assertIn(self.iam.stop(), (0, None))

    def dsec(self, secret=None, **more):
        return Dsec(self, configuration(self.iam, secret, **more))

    def run_dsec(self, status, *words, dsec=None):
        # A sweep tries for a minute or two before it gives up.
        result = command(*words, *(["--config", dsec.config] if dsec else []), timeout=110)
        self.assertEqual(result.returncode, status, result.stdout + result.stderr)
        return result


class Policy(Case):
    def test_printed_policy_suffices_for_a_whole_life(self):
        self.start_iam()
        full = {"tags": {"team": "web"}, "permissions_boundary": BOUNDARY,
                "policy_arns": ["arn:aws:iam::aws:policy/IAMReadOnlyAccess"]}
        printed = self.run_dsec(0, "integration", "policy", "aws-main",
                                dsec=self.dsec(full)).stdout
        self.iam.stop()
        self.start_iam(admin_policy=json.loads(printed))
        dsec = self.dsec(full).mount()
        dsec.key()
        self.assertEqual(len(self.iam.users()), 1)
        result = self.run_dsec(0, "check", dsec=dsec)
        self.assertIn("the permissions are sufficient", result.stdout)
        dsec.stop()
        self.assertEqual(self.iam.users(), {})
        self.assertEqual([entry for entry in self.iam.log() if entry["code"] == "AccessDenied"], [])

    def test_printed_policy_is_limited_to_the_path_and_the_account(self):
        self.start_iam()
        dsec = self.dsec(integration={"path": "/team/dsec/"})
        text = self.run_dsec(0, "integration", "policy", "aws-main", "--account", "123456789012",
                             dsec=dsec).stdout
        policy = json.loads(text)
        self.assertEqual(policy["Version"], "2012-10-17")
        self.assertIn('"arn:aws:iam::123456789012:user/team/dsec/*"', text)
        self.assertNotIn(":user/*\"", text)

    def test_unknown_integration_is_refused(self):
        self.start_iam()
        for word in ("policy", "test"):
            result = self.run_dsec(1, "integration", word, "nope", dsec=self.dsec())
            self.assertIn("there is no integration 'nope'", result.stderr)


class Check(Case):
    def test_all_is_well(self):
        self.start_iam()
        result = self.run_dsec(0, "check", dsec=self.dsec())
        self.assertEqual(result.stderr, "")
        self.assertRegex(result.stdout, r"aws-main: the credentials are those of arn:aws:iam::"
                                        r"\d+:user/admin\n")
        self.assertRegex(result.stdout, r"aws-main: the account has \d+ of its \d+ users, \d+ are "
                                        r"left\n")
        self.assertTrue(result.stdout.endswith("\nfine\n"))

    def test_changes_nothing(self):
        self.start_iam()
        self.run_dsec(0, "check", dsec=self.dsec())
        actions = {entry["action"] for entry in self.iam.log()}
        self.assertLessEqual(actions, {"GetUser", "GetAccountSummary", "SimulatePrincipalPolicy",
                                       "GetCallerIdentity"})

    def test_refused_credentials_are_told(self):
        self.start_iam()
        wrong = configuration(self.iam)
        wrong["integrations"]["aws-main"]["credentials"]["secret_access_key"] = "x" * 40
        result = self.run_dsec(1, "check", dsec=Dsec(self, wrong))
        self.assertIn("aws-main: the credentials do not work", result.stdout)
        self.assertIn("SignatureDoesNotMatch", result.stdout)
        self.assertNotIn("x" * 40, result.stdout + result.stderr)

    def test_aws_that_is_not_there_is_told(self):
        self.start_iam()
        nobody = {"endpoint": "http://127.0.0.1:1", "sts_endpoint": "http://127.0.0.1:1"}
        result = self.run_dsec(1, "check", dsec=self.dsec(integration=nobody))
        self.assertIn("aws-main: the credentials do not work", result.stdout)

    def test_lacking_permission_is_named(self):
        policy = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "iam:*", "Resource": "*"},
            {"Effect": "Deny", "Action": ["iam:DeleteUser", "iam:PutUserPolicy"],
             "Resource": "*"}]}
        self.start_iam(admin_policy=policy)
        result = self.run_dsec(1, "check", dsec=self.dsec())
        lacking = re.findall(r"aws-main: lacks (\S+) on (\S+)\n", result.stdout)
        self.assertEqual([action for action, _ in lacking], ["iam:PutUserPolicy", "iam:DeleteUser"])
        self.assertIn("dsec integration policy aws-main", result.stdout)

    def test_full_account_is_told(self):
        self.start_iam()
        self.iam.control(users_quota=len(self.iam.principals))
        result = self.run_dsec(1, "check", dsec=self.dsec())
        self.assertIn("users, 0 are left", result.stdout)

    def test_every_mistake_is_told_with_its_line(self):
        self.start_iam()
        dsec = self.dsec({"ttl": "5s", "frobnicate": True})
        result = self.run_dsec(1, "check", dsec=dsec)
        for member in ("ttl", "frobnicate"):
            self.assertRegex(result.stderr, rf"{dsec.config}:\d+: projects\.app\.dev\."
                                            rf"dynamic_secrets\.AWS_USER\.{member}: ")
        self.assertEqual(self.iam.log(), [])

    def test_policy_that_could_undo_its_end_is_warned_of(self):
        self.start_iam()
        policy = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "iam:*", "Resource": "*"}]}
        result = self.run_dsec(0, "check", dsec=self.dsec({"policy": policy}))
        self.assertIn("warning: ", result.stderr)
        self.assertIn("AWS_USER.policy", result.stderr)
        result = self.run_dsec(0, "check", dsec=self.dsec({"policy": policy,
                                                           "permissions_boundary": BOUNDARY}))
        self.assertNotIn("warning: ", result.stderr)

    def test_integration_test_asks_the_same(self):
        self.start_iam()
        result = self.run_dsec(0, "integration", "test", "aws-main", dsec=self.dsec())
        self.assertIn("the permissions are sufficient", result.stdout)


class Lists(Case):
    def test_lists_say_what_is_configured_and_no_secret(self):
        self.start_iam()
        dsec = self.dsec({"ttl": "90m"})
        result = self.run_dsec(0, "integration", "list", dsec=dsec)
        self.assertEqual(result.stdout, f"aws-main\tstatic\tus-east-1\t{self.iam.endpoint}\t"
                                        "/doppler/\n")
        result = self.run_dsec(0, "dynamic-secret", "list", dsec=dsec)
        self.assertEqual(result.stdout, "app\tdev\tAWS_USER\taws-main\t1h30m\t12h\n")

    def test_leases_are_the_daemon_s_and_then_the_journal_s(self):
        self.start_iam()
        dsec = self.dsec().mount()
        key = dsec.key()
        lease = dsec.read("app/dev/AWS_USER_LEASE_ID").decode()
        result = self.run_dsec(0, "leases", dsec=dsec)
        self.assertIn(lease, result.stdout)
        result = self.run_dsec(0, "leases", "--json", dsec=dsec)
        self.assertEqual(json.loads(result.stdout)["leases"][0]["access_key_id"], key[0])
        self.assertNotIn(key[1], result.stdout)
        dsec.kill()
        result = self.run_dsec(0, "leases", "--state", dsec.state, dsec=dsec)
        self.assertIn("this is what the journal", result.stderr)
        self.assertIn(lease, result.stdout)

    def test_leases_without_daemon_and_journal_fail(self):
        self.start_iam()
        dsec = self.dsec()
        result = self.run_dsec(1, "leases", "--state", dsec.state, dsec=dsec)
        self.assertIn("there is no journal in", result.stderr)


class Sweep(Case):
    def user(self, name, path):
        key = self.iam.root.access_key_id, self.iam.root.secret_access_key
        self.assertEqual(call(self.iam.endpoint, "CreateUser", key, UserName=name, Path=path),
                         (200, ""))

    def prepare(self):
        self.start_iam()
        self.user("Doppler-Dynamic-aaaaaaaaaaaaa", f"/doppler/{DAEMON}/{EXPIRED}/")
        self.user("Doppler-Dynamic-bbbbbbbbbbbbb", f"/doppler/{DAEMON}/{FUTURE}/")
        self.user("mallory", f"/doppler/{DAEMON}/{EXPIRED}/")
        self.user("Doppler-Dynamic-ccccccccccccc", "/doppler/mine/")
        self.user("Doppler-Dynamic-ddddddddddddd", "/other/")

    def test_expired_users_of_any_daemon_are_removed_and_no_others(self):
        self.prepare()
        result = self.run_dsec(0, "sweep", dsec=self.dsec())
        self.assertEqual(sorted(self.iam.users()),
                         ["Doppler-Dynamic-bbbbbbbbbbbbb", "Doppler-Dynamic-ccccccccccccc",
                          "Doppler-Dynamic-ddddddddddddd", "mallory"])
        self.assertIn("aws-main: removed", result.stdout)
        self.assertIn("aws-main: 1 removed, 0 still there\n", result.stdout)

    def test_dry_run_removes_nothing_and_says_what_it_would(self):
        self.prepare()
        result = self.run_dsec(0, "sweep", "--dry-run", dsec=self.dsec())
        self.assertEqual(len(self.iam.users()), 5)
        self.assertRegex(result.stdout, r"would remove \S+ Doppler-Dynamic-aaaaaaaaaaaaa\n")
        self.assertRegex(result.stdout, r"would keep \S+ Doppler-Dynamic-bbbbbbbbbbbbb: ")
        self.assertRegex(result.stdout, r"would keep \S+ mallory: ")
        self.assertIn("aws-main: 1 expired\n", result.stdout)

    def test_user_that_cannot_be_removed_is_a_failure(self):
        self.prepare()
        self.iam.fault("DeleteUser", kind="error", status=403, code="AccessDenied", message="no")
        result = self.run_dsec(1, "sweep", dsec=self.dsec())
        self.assertIn("Doppler-Dynamic-aaaaaaaaaaaaa is still there", result.stderr)
        self.assertIn("0 removed, 1 still there\n", result.stdout)

    def test_aws_that_is_not_there_is_a_failure(self):
        """Said at once, and soon for good."""
        self.start_iam()
        nobody = {"endpoint": "http://127.0.0.1:1", "sts_endpoint": "http://127.0.0.1:1"}
        result = self.run_dsec(1, "sweep", dsec=self.dsec(integration=nobody))
        self.assertRegex(result.stderr, "cannot list the users, trying again: .*(?i:connect)")
        self.assertRegex(result.stderr, "cannot list the users: .*(?i:connect)")

    def test_live_daemon_s_leases_are_left_alone(self):
        self.start_iam()
        dsec = self.dsec().mount()
        dsec.key()
        self.run_dsec(0, "sweep", dsec=dsec)
        self.assertEqual(len(self.iam.users()), 1)
        dsec.stop()


if __name__ == "__main__":
    tap.main()
