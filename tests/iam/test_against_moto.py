#!/usr/bin/python3
"""The same calls by botocore against the local IAM and against moto give the same answers.

Where the two differ on purpose, the local IAM does what Amazon documents and moto does not; such
calls are not compared here but tested in test_behaviour.py."""

import datetime
import json
import pathlib
import re
import sys
import unittest

import botocore.exceptions

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

import clients
import localiam
import moto
import tap

DESCRIBE = {"Version": "2012-10-17", "Statement": [
    {"Sid": "a", "Effect": "Allow", "Action": ["ec2:Describe*"], "Resource": "*"}]}
DOCUMENT = json.dumps(DESCRIBE)
BAD_DOCUMENTS = [
    "{",
    json.dumps({"Version": "2012-10-17"}),
    json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "Describe", "Resource": "*"}]}),
    json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "bucket"}]}),
    json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:*"}]}),
]
CERTIFICATE = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----"

# What is made up anew by each server; the value says what it must look like.
MADE_UP = {
    "UserId": r"AIDA[A-Z2-7]{16}|[A-Za-z0-9]{16,32}",
    "AccessKeyId": r"AKIA[A-Z0-9]{16}",
    "SecretAccessKey": r"[A-Za-z0-9/+]{40}",
    "PolicyId": r"ANPA[A-Z2-7]{16}|[A-Za-z0-9]{16,32}",
    "GroupId": r"AGPA[A-Z2-7]{16}|[A-Za-z0-9]{16,32}",
    "CertificateId": r"[A-Za-z0-9]{20,32}",
}


def normalised(value, name=""):
    """An answer without what must differ: ids, dates, and the request's own."""
    if isinstance(value, dict):
        return {key: normalised(part, key) for key, part in value.items()
                if key != "ResponseMetadata"}
    if isinstance(value, list):
        return [normalised(part, name) for part in value]
    if isinstance(value, datetime.datetime):
        return "a date"
    if name in MADE_UP:
        assert re.fullmatch(MADE_UP[name], value), f"{name}: {value}"
        return f"a {name}"
    return value


class Account:
    """One server, as a sequence of calls sees it."""

    def __init__(self, endpoint, access_key_id, secret_access_key):
        self.endpoint = endpoint
        self.first_key = access_key_id, secret_access_key
        self.leased_key = None

    def call(self, service, action, leased=False, **parameters):
        """What botocore makes of the answer, normalised; or the error's code and status."""
        client = clients.client(service, self.endpoint,
                                *(self.leased_key if leased else self.first_key))
        try:
            answer = getattr(client, action)(**parameters)
        except botocore.exceptions.ClientError as error:
            return (error.response["Error"]["Code"],
                    error.response["ResponseMetadata"]["HTTPStatusCode"])
        if action == "create_access_key" and not self.leased_key:
            key = answer["AccessKey"]
            self.leased_key = key["AccessKeyId"], key["SecretAccessKey"]
        return normalised(answer)


class AgainstMoto(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        other = moto.Moto()
        self.addCleanup(other.stop)
        local = localiam.LocalIAM()
        self.addCleanup(local.stop)
        local.start()
        self.accounts = [
            Account(local.endpoint, local.admin.access_key_id, local.admin.secret_access_key),
            Account(other.endpoint, other.access_key_id, other.secret_access_key)]

    def same(self, service, action, **parameters):
        """Makes the call on both; returns the answer that they agree on."""
        ours, theirs = (account.call(service, action, **parameters) for account in self.accounts)
        self.assertEqual(ours, theirs, f"{action} {parameters}")
        return ours

    def fails(self, code, service, action, **parameters):
        answer = self.same(service, action, **parameters)
        self.assertIsInstance(answer, tuple, f"{action} {parameters}")
        self.assertEqual(answer[0], code)

    def test_users(self):
        self.same("iam", "create_user", UserName="u", Path="/a/b/",
                  Tags=[{"Key": "k", "Value": "v"}, {"Key": "k2", "Value": "<&> é"}])
        self.same("iam", "get_user", UserName="u")
        self.same("iam", "list_user_tags", UserName="u")
        self.same("iam", "create_user", UserName="v", Path="/c/")
        self.same("iam", "list_users", PathPrefix="/a/")
        self.same("iam", "list_users", PathPrefix="/c/")
        self.same("iam", "tag_user", UserName="v", Tags=[{"Key": "x", "Value": "y"}])
        self.same("iam", "list_user_tags", UserName="v")
        self.same("iam", "update_user", UserName="v", NewUserName="w", NewPath="/d/")
        self.same("iam", "get_user", UserName="w")
        self.fails("NoSuchEntity", "iam", "get_user", UserName="v")
        self.fails("EntityAlreadyExists", "iam", "create_user", UserName="w")
        self.same("iam", "delete_user", UserName="w")
        self.fails("NoSuchEntity", "iam", "delete_user", UserName="w")

    def test_inline_policies(self):
        self.same("iam", "create_user", UserName="u")
        self.same("iam", "put_user_policy", UserName="u", PolicyName="p", PolicyDocument=DOCUMENT)
        self.same("iam", "get_user_policy", UserName="u", PolicyName="p")
        self.same("iam", "list_user_policies", UserName="u")
        for document in BAD_DOCUMENTS:
            self.fails("MalformedPolicyDocument", "iam", "put_user_policy", UserName="u",
                       PolicyName="bad", PolicyDocument=document)
        self.fails("NoSuchEntity", "iam", "put_user_policy", UserName="none", PolicyName="p",
                   PolicyDocument=DOCUMENT)
        self.fails("DeleteConflict", "iam", "delete_user", UserName="u")
        self.same("iam", "delete_user_policy", UserName="u", PolicyName="p")
        self.fails("NoSuchEntity", "iam", "get_user_policy", UserName="u", PolicyName="p")
        self.fails("NoSuchEntity", "iam", "delete_user_policy", UserName="u", PolicyName="p")
        self.same("iam", "list_user_policies", UserName="u")
        self.same("iam", "delete_user", UserName="u")

    def test_managed_policies(self):
        self.same("iam", "create_user", UserName="u")
        self.same("iam", "create_policy", PolicyName="m", Path="/x/", PolicyDocument=DOCUMENT)
        arns = ["arn:aws:iam::123456789012:policy/x/m", "arn:aws:iam::aws:policy/ReadOnlyAccess"]
        for arn in arns:
            self.same("iam", "attach_user_policy", UserName="u", PolicyArn=arn)
        self.same("iam", "list_attached_user_policies", UserName="u")
        self.fails("NoSuchEntity", "iam", "attach_user_policy", UserName="u",
                   PolicyArn="arn:aws:iam::123456789012:policy/none")
        self.fails("DeleteConflict", "iam", "delete_user", UserName="u")
        for arn in arns:
            self.same("iam", "detach_user_policy", UserName="u", PolicyArn=arn)
            self.fails("NoSuchEntity", "iam", "detach_user_policy", UserName="u", PolicyArn=arn)
        self.same("iam", "delete_user", UserName="u")

    def test_access_keys(self):
        self.same("iam", "create_user", UserName="u")
        self.same("iam", "create_access_key", UserName="u")
        self.same("iam", "create_access_key", UserName="u")
        self.fails("LimitExceeded", "iam", "create_access_key", UserName="u")
        self.same("iam", "list_access_keys", UserName="u")
        self.fails("NoSuchEntity", "iam", "list_access_keys", UserName="none")
        self.fails("NoSuchEntity", "iam", "create_access_key", UserName="none")
        for account in self.accounts:
            key = account.leased_key[0]
            for right in {}, ("NoSuchEntity", 404):
                answer = account.call("iam", "delete_access_key", UserName="u", AccessKeyId=key)
                self.assertEqual(answer, right)
        self.same("iam", "list_access_keys", UserName="u")
        self.fails("DeleteConflict", "iam", "delete_user", UserName="u")

    def test_groups(self):
        self.same("iam", "create_user", UserName="u")
        self.same("iam", "create_group", GroupName="g", Path="/x/")
        self.fails("EntityAlreadyExists", "iam", "create_group", GroupName="g")
        self.same("iam", "add_user_to_group", GroupName="g", UserName="u")
        self.same("iam", "list_groups_for_user", UserName="u")
        self.fails("NoSuchEntity", "iam", "add_user_to_group", GroupName="none", UserName="u")
        self.same("iam", "remove_user_from_group", GroupName="g", UserName="u")
        self.fails("NoSuchEntity", "iam", "remove_user_from_group", GroupName="g", UserName="u")
        self.same("iam", "list_groups_for_user", UserName="u")

    def test_login_profiles(self):
        self.same("iam", "create_user", UserName="u")
        self.fails("NoSuchEntity", "iam", "get_login_profile", UserName="u")
        self.same("iam", "create_login_profile", UserName="u", Password="a long one!")
        self.same("iam", "get_login_profile", UserName="u")
        self.fails("EntityAlreadyExists", "iam", "create_login_profile", UserName="u",
                   Password="another")
        self.same("iam", "delete_login_profile", UserName="u")
        self.fails("NoSuchEntity", "iam", "delete_login_profile", UserName="u")

    def test_mfa_devices(self):
        serial = "arn:aws:iam::123456789012:mfa/d"
        codes = {"AuthenticationCode1": "123456", "AuthenticationCode2": "234567"}
        self.same("iam", "create_user", UserName="u")
        for account in self.accounts:
            device = account.call("iam", "create_virtual_mfa_device", VirtualMFADeviceName="d")
            self.assertEqual(device["VirtualMFADevice"]["SerialNumber"], serial)
        self.same("iam", "list_mfa_devices", UserName="u")
        self.same("iam", "enable_mfa_device", UserName="u", SerialNumber=serial, **codes)
        self.same("iam", "list_mfa_devices", UserName="u")
        self.same("iam", "deactivate_mfa_device", UserName="u", SerialNumber=serial)
        self.fails("NoSuchEntity", "iam", "deactivate_mfa_device", UserName="u",
                   SerialNumber=serial)
        self.same("iam", "delete_virtual_mfa_device", SerialNumber=serial)
        self.fails("NoSuchEntity", "iam", "delete_virtual_mfa_device", SerialNumber=serial)

    def test_ssh_keys_and_certificates(self):
        self.same("iam", "create_user", UserName="u")
        self.same("iam", "list_signing_certificates", UserName="u")
        self.same("iam", "upload_signing_certificate", UserName="u",
                  CertificateBody=CERTIFICATE.format("MIIB"))
        self.same("iam", "list_signing_certificates", UserName="u")
        self.fails("NoSuchEntity", "iam", "delete_signing_certificate", UserName="u",
                   CertificateId="x" * 32)
        self.same("iam", "list_ssh_public_keys", UserName="u")

    def test_a_leased_key_and_what_it_may(self):
        self.same("iam", "create_user", UserName="u")
        self.same("iam", "create_access_key", UserName="u")
        self.same("sts", "get_caller_identity", leased=True)
        self.fails("UnauthorizedOperation", "ec2", "describe_instances", leased=True)
        self.fails("AccessDenied", "iam", "list_users", leased=True)
        self.same("iam", "put_user_policy", UserName="u", PolicyName="p", PolicyDocument=DOCUMENT)
        self.same("ec2", "describe_instances", leased=True)
        self.fails("AccessDenied", "iam", "list_users", leased=True)
        for account in self.accounts:
            account.call("iam", "delete_access_key", UserName="u",
                         AccessKeyId=account.leased_key[0])
        self.fails("InvalidClientTokenId", "sts", "get_caller_identity", leased=True)
        self.fails("AuthFailure", "ec2", "describe_instances", leased=True)

    def test_wrong_signatures(self):
        for account in self.accounts:
            account.leased_key = account.first_key[0], "x" * 40
        self.fails("SignatureDoesNotMatch", "iam", "list_users", leased=True)
        for account in self.accounts:
            account.leased_key = "AKIA" + "A" * 16, "x" * 40
        self.fails("InvalidClientTokenId", "iam", "list_users", leased=True)


if __name__ == "__main__":
    tap.main()
