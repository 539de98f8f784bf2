#!/usr/bin/python3
"""The same calls by botocore against the local IAM and against moto give the same answers.

Where moto does not do what Amazon documents, the test says what it does instead."""

import datetime
import json
import pathlib
import re
import sys
import tempfile
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


def without(value, names):
    """An answer without the members of these names, wherever they stand."""
    if isinstance(value, dict):
        return {key: without(part, names) for key, part in value.items() if key not in names}
    if isinstance(value, list):
        return [without(part, names) for part in value]
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

    @classmethod
    def setUpClass(cls):
        cls.moto = moto.Moto()
        cls.addClassCleanup(cls.moto.stop)
        cls.local = localiam.LocalIAM()
        cls.addClassCleanup(cls.local.stop)
        cls.local.start()

    def setUp(self):
        admin = self.local.admin
        self.accounts = [
            Account(self.local.endpoint, admin.access_key_id, admin.secret_access_key),
            Account(self.moto.endpoint, self.moto.access_key_id, self.moto.secret_access_key)]
        # The tests share the two servers, and no user.
        self.user = self.id().rpartition(".")[2]

    def same(self, service, action, *, moto_lacks=(), **parameters):
        """Makes the call on both. `moto_lacks`: members of the answer that it leaves out."""
        ours, theirs = (account.call(service, action, **parameters) for account in self.accounts)
        self.assertNotIsInstance(ours, tuple, f"{action} {parameters}")
        for name in moto_lacks:
            self.assertNotEqual(ours, without(ours, [name]), f"we lack {name}, too")
        self.assertEqual(without(ours, moto_lacks), theirs, f"{action} {parameters}")

    def fails(self, code, service, action, *, moto_says=None, **parameters):
        """Makes the call on both. `moto_says`: what moto answers in place of Amazon's error."""
        ours, theirs = (account.call(service, action, **parameters) for account in self.accounts)
        self.assertEqual(ours[0], code, f"{action} {parameters}")
        self.assertEqual(moto_says or ours, theirs, f"{action} {parameters}")

    def test_users(self):
        self.same("iam", "create_user", UserName=self.user, Path="/a/b/",
                  Tags=[{"Key": "k", "Value": "v"}, {"Key": "k2", "Value": "a é+/=:"}])
        self.same("iam", "get_user", UserName=self.user)
        self.same("iam", "list_user_tags", UserName=self.user)
        self.same("iam", "create_user", UserName="v", Path="/c/")
        self.same("iam", "list_users", PathPrefix="/a/")
        self.same("iam", "list_users", PathPrefix="/c/")
        self.same("iam", "tag_user", UserName="v", Tags=[{"Key": "x", "Value": "y"}])
        self.same("iam", "list_user_tags", UserName="v")
        self.same("iam", "update_user", UserName="v", NewUserName="w", NewPath="/d/")
        self.same("iam", "get_user", UserName="w", moto_lacks=["Tags"])
        self.fails("NoSuchEntity", "iam", "get_user", UserName="v")
        self.fails("EntityAlreadyExists", "iam", "create_user", UserName="w")
        self.same("iam", "delete_user", UserName="w")
        self.fails("NoSuchEntity", "iam", "delete_user", UserName="w")

    def test_inline_policies(self):
        self.same("iam", "create_user", UserName=self.user)
        self.same("iam", "put_user_policy", UserName=self.user, PolicyName="p",
                  PolicyDocument=DOCUMENT)
        self.same("iam", "get_user_policy", UserName=self.user, PolicyName="p")
        self.same("iam", "list_user_policies", UserName=self.user)
        for document in BAD_DOCUMENTS:
            self.fails("MalformedPolicyDocument", "iam", "put_user_policy", UserName=self.user,
                       PolicyName="bad", PolicyDocument=document)
        self.fails("NoSuchEntity", "iam", "put_user_policy", UserName="none", PolicyName="p",
                   PolicyDocument=DOCUMENT)
        self.fails("DeleteConflict", "iam", "delete_user", UserName=self.user)
        self.same("iam", "delete_user_policy", UserName=self.user, PolicyName="p")
        self.fails("NoSuchEntity", "iam", "get_user_policy", UserName=self.user, PolicyName="p")
        self.fails("NoSuchEntity", "iam", "delete_user_policy", UserName=self.user, PolicyName="p")
        self.same("iam", "list_user_policies", UserName=self.user)
        self.same("iam", "delete_user", UserName=self.user)

    def test_managed_policies(self):
        self.same("iam", "create_user", UserName=self.user)
        self.same("iam", "create_policy", PolicyName="m",
                  moto_lacks=["IsAttachable", "PermissionsBoundaryUsageCount"],
                  Path="/x/", PolicyDocument=DOCUMENT)
        arns = ["arn:aws:iam::123456789012:policy/x/m", "arn:aws:iam::123456789012:policy/n"]
        self.same("iam", "create_policy", PolicyName="n", PolicyDocument=DOCUMENT,
                  moto_lacks=["IsAttachable", "PermissionsBoundaryUsageCount"])
        for arn in arns:
            self.same("iam", "attach_user_policy", UserName=self.user, PolicyArn=arn)
        self.same("iam", "list_attached_user_policies", UserName=self.user)
        self.fails("NoSuchEntity", "iam", "attach_user_policy", UserName=self.user,
                   PolicyArn="arn:aws:iam::123456789012:policy/none")
        self.fails("DeleteConflict", "iam", "delete_user", UserName=self.user)
        for arn in arns:
            self.same("iam", "detach_user_policy", UserName=self.user, PolicyArn=arn)
            self.fails("NoSuchEntity", "iam", "detach_user_policy", UserName=self.user,
                       PolicyArn=arn)
        self.same("iam", "delete_user", UserName=self.user)

    def test_access_keys(self):
        self.same("iam", "create_user", UserName=self.user)
        self.same("iam", "create_access_key", UserName=self.user)
        self.same("iam", "create_access_key", UserName=self.user)
        self.fails("LimitExceeded", "iam", "create_access_key", UserName=self.user,
                   moto_says=("LimitExceeded", 400))
        self.same("iam", "list_access_keys", UserName=self.user)
        self.fails("NoSuchEntity", "iam", "list_access_keys", UserName="none")
        self.fails("NoSuchEntity", "iam", "create_access_key", UserName="none")
        for account in self.accounts:
            key = account.leased_key[0]
            for right in {}, ("NoSuchEntity", 404):
                answer = account.call("iam", "delete_access_key", UserName=self.user,
                                      AccessKeyId=key)
                self.assertEqual(answer, right)
        self.same("iam", "list_access_keys", UserName=self.user)

    def test_groups(self):
        self.same("iam", "create_user", UserName=self.user)
        self.same("iam", "create_group", GroupName="g", Path="/x/")
        self.fails("EntityAlreadyExists", "iam", "create_group", GroupName="g",
                   moto_says=("Group g already exists", 409))
        self.same("iam", "add_user_to_group", GroupName="g", UserName=self.user)
        self.same("iam", "list_groups_for_user", UserName=self.user)
        self.fails("NoSuchEntity", "iam", "add_user_to_group", GroupName="none", UserName=self.user)
        self.same("iam", "remove_user_from_group", GroupName="g", UserName=self.user)
        self.fails("NoSuchEntity", "iam", "remove_user_from_group", GroupName="g",
                   UserName=self.user)
        self.same("iam", "list_groups_for_user", UserName=self.user)

    def test_login_profiles(self):
        self.same("iam", "create_user", UserName=self.user)
        self.fails("NoSuchEntity", "iam", "get_login_profile", UserName=self.user)
        self.same("iam", "create_login_profile", UserName=self.user, Password="a long one!",
                  moto_lacks=["PasswordResetRequired"])
        self.same("iam", "get_login_profile", UserName=self.user,
                  moto_lacks=["PasswordResetRequired"])
        self.fails("EntityAlreadyExists", "iam", "create_login_profile", UserName=self.user,
                   Password="another", moto_says=(f"User {self.user} already has password", 409))
        self.same("iam", "delete_login_profile", UserName=self.user)
        self.fails("NoSuchEntity", "iam", "delete_login_profile", UserName=self.user)

    def test_mfa_devices(self):
        serial = "arn:aws:iam::123456789012:mfa/d"
        codes = {"AuthenticationCode1": "123456", "AuthenticationCode2": "234567"}
        self.same("iam", "create_user", UserName=self.user)
        for account in self.accounts:
            device = account.call("iam", "create_virtual_mfa_device", VirtualMFADeviceName="d")
            self.assertEqual(device["VirtualMFADevice"]["SerialNumber"], serial)
        self.same("iam", "list_mfa_devices", UserName=self.user)
        self.same("iam", "enable_mfa_device", UserName=self.user, SerialNumber=serial, **codes)
        self.same("iam", "list_mfa_devices", UserName=self.user)
        self.same("iam", "deactivate_mfa_device", UserName=self.user, SerialNumber=serial)
        self.fails("NoSuchEntity", "iam", "deactivate_mfa_device", UserName=self.user,
                   SerialNumber=serial)
        self.same("iam", "delete_virtual_mfa_device", SerialNumber=serial)
        self.fails("NoSuchEntity", "iam", "delete_virtual_mfa_device", SerialNumber=serial)

    def test_ssh_keys_and_certificates(self):
        self.same("iam", "create_user", UserName=self.user)
        self.same("iam", "list_signing_certificates", UserName=self.user)
        with tempfile.TemporaryDirectory() as folder:
            certificate = pathlib.Path(localiam.Certificates(folder).certificate).read_text()
        self.same("iam", "upload_signing_certificate", UserName=self.user,
                  CertificateBody=certificate, moto_lacks=["UploadDate"])
        self.fails("MalformedCertificate", "iam", "upload_signing_certificate", UserName=self.user,
                   CertificateBody="-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----")
        self.same("iam", "list_signing_certificates", UserName=self.user, moto_lacks=["UploadDate"])
        self.fails("NoSuchEntity", "iam", "delete_signing_certificate", UserName=self.user,
                   CertificateId="x" * 32)
        self.same("iam", "list_ssh_public_keys", UserName=self.user)

    def test_a_leased_key_and_what_it_may(self):
        self.same("iam", "create_user", UserName=self.user)
        self.same("iam", "create_access_key", UserName=self.user)
        self.same("sts", "get_caller_identity", leased=True)
        self.fails("UnauthorizedOperation", "ec2", "describe_instances", leased=True,
                   moto_says=("AccessDenied", 403))
        self.fails("AccessDenied", "iam", "list_users", leased=True)
        self.same("iam", "put_user_policy", UserName=self.user, PolicyName="p",
                  PolicyDocument=DOCUMENT)
        self.same("ec2", "describe_instances", leased=True)
        self.fails("AccessDenied", "iam", "list_users", leased=True)
        for account in self.accounts:
            account.call("iam", "delete_access_key", UserName=self.user,
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
