#!/usr/bin/python3
"""What the local IAM promises: IAM's rules, enforced policies, and misbehaviour on demand."""

import datetime
import email.utils
import http.client
import json
import pathlib
import re
import sys
import tempfile
import threading
import time
import unittest

import botocore.exceptions

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

import clients
import localiam
import tap

EC2_ONLY = {"Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}]}
CONNECTION_FAILURES = (botocore.exceptions.ConnectionClosedError,
                       botocore.exceptions.HTTPClientError)
DEADLINE = 30


def ends_at(moment):
    """A policy that allows everything, until a moment."""
    return {"Version": "2012-10-17", "Statement": [
        *clients.EVERYTHING["Statement"],
        {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"DateGreaterThan": {
            "aws:CurrentTime": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}}}]}


def now():
    return datetime.datetime.now(datetime.timezone.utc)


class Case(unittest.TestCase):
    server = {}

    def setUp(self):
        self.iam = localiam.LocalIAM(**self.server)
        self.iam.start()
        self.addCleanup(self.stop)
        self.admin = self.client("iam")

    def stop(self):
        self.assertEqual(self.iam.stop(), 0, "the server's own end, sanitizers included")

    def client(self, service, key=None, **options):
        """With a key that CreateAccessKey answered; the admin's without one."""
        principal = self.iam.admin
        pair = ((key["AccessKeyId"], key["SecretAccessKey"]) if key else
                (principal.access_key_id, principal.secret_access_key))
        return clients.client(service, self.iam.endpoint, *pair, region=self.iam.region,
                              ca=self.iam.certificates and self.iam.certificates.ca, **options)

    def new_key(self, name, policy=None, path="/"):
        self.admin.create_user(UserName=name, Path=path)
        if policy:
            self.put_policy(name, policy)
        return self.admin.create_access_key(UserName=name)["AccessKey"]

    def put_policy(self, user, policy, name="p"):
        self.admin.put_user_policy(UserName=user, PolicyName=name,
                                   PolicyDocument=json.dumps(policy))

    def assert_error(self, right, function, *arguments, **parameters):
        self.assertEqual(clients.error_of(function, *arguments, **parameters), right)

    def in_background(self, function, **parameters):
        """Starts the call; returns a function that waits for it, and gives its answer or error."""
        outcome = []

        def call():
            try:
                outcome.append(function(**parameters))
            except Exception as error:
                outcome.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        self.addCleanup(thread.join)

        def join():
            thread.join(DEADLINE)
            self.assertFalse(thread.is_alive(), "the call is still not answered")
            return outcome[0]

        return join


class Shapes(Case):
    def test_ids_look_like_aws_s(self):
        user = self.admin.create_user(UserName="u", Path="/a/b/")["User"]
        key = self.admin.create_access_key(UserName="u")["AccessKey"]
        self.assertRegex(user["UserId"], r"\AAIDA[A-Z2-7]{16}\Z")
        self.assertEqual(user["Arn"], "arn:aws:iam::123456789012:user/a/b/u")
        self.assertRegex(key["AccessKeyId"], r"\AAKIA[A-Z2-7]{16}\Z")
        self.assertRegex(key["SecretAccessKey"], r"\A[A-Za-z0-9/+]{40}\Z")

    def test_answers_and_errors_are_shaped_like_aws_s(self):
        answer = self.admin.create_user(UserName="u")["ResponseMetadata"]
        self.assertRegex(answer["RequestId"], r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
        self.assertEqual(answer["HTTPHeaders"]["x-amzn-requestid"], answer["RequestId"])
        self.assertTrue(email.utils.parsedate_to_datetime(answer["HTTPHeaders"]["date"]))
        connection = http.client.HTTPConnection("127.0.0.1", self.iam.port)
        self.addCleanup(connection.close)
        connection.request("POST", "/", "Action=ListUsers&Version=2010-05-08",
                           {"Content-Type": "application/x-www-form-urlencoded"})
        response = connection.getresponse()
        self.assertEqual(response.status, 403)
        self.assertTrue(re.fullmatch(
            r'<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">\s*<Error>\s*'
            r"<Type>Sender</Type>\s*<Code>MissingAuthenticationToken</Code>\s*"
            r"<Message>Request is missing Authentication Token</Message>\s*</Error>\s*"
            r"<RequestId>[0-9a-f-]+</RequestId>\s*</ErrorResponse>\s*",
            response.read().decode()))

    def test_errors_have_the_status_of_amazon_s_own_model(self):
        model = self.admin.meta.service_model
        right = {shape.metadata["error"]["code"]: shape.metadata["error"]["httpStatusCode"]
                 for shape in model.error_shapes if "error" in shape.metadata}
        self.admin.create_user(UserName="u")
        self.put_policy("u", EC2_ONLY)
        self.iam.control(users_quota=3)
        for code, call, parameters in (
                ("NoSuchEntity", "get_user", {"UserName": "none"}),
                ("EntityAlreadyExists", "create_user", {"UserName": "u"}),
                ("LimitExceeded", "create_user", {"UserName": "v"}),
                ("DeleteConflict", "delete_user", {"UserName": "u"}),
                ("MalformedPolicyDocument", "put_user_policy",
                 {"UserName": "u", "PolicyName": "p", "PolicyDocument": "{"}),
                ("MalformedCertificate", "upload_signing_certificate",
                 {"UserName": "u", "CertificateBody": "x"}),
                ("InvalidInput", "tag_user", {"UserName": "u", "Tags": [
                    {"Key": "k", "Value": "1"}, {"Key": "K", "Value": "2"}]})):
            self.assert_error((code, right[code]), getattr(self.admin, call), **parameters)

    def test_awkward_characters_survive(self):
        document = json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::a+b/%20 <&>\"é"}]})
        self.admin.create_user(UserName="a+b=c,d.e@f_g-h", Tags=[{"Key": "k", "Value": "<&> é"}])
        self.admin.put_user_policy(UserName="a+b=c,d.e@f_g-h", PolicyName="p",
                                   PolicyDocument=document)
        got = self.admin.get_user_policy(UserName="a+b=c,d.e@f_g-h", PolicyName="p")
        self.assertEqual(got["PolicyDocument"], json.loads(document))
        tags = self.admin.list_user_tags(UserName="a+b=c,d.e@f_g-h")["Tags"]
        self.assertEqual(tags, [{"Key": "k", "Value": "<&> é"}])


class Signatures(Case):
    def test_wrong_keys_are_told_apart(self):
        key = self.new_key("u")
        wrong = {**key, "SecretAccessKey": "x" * 40}
        unknown = {**key, "AccessKeyId": "AKIA" + "A" * 16}
        self.assert_error((None, 200), self.client("sts", key).get_caller_identity)
        self.assert_error(("SignatureDoesNotMatch", 403),
                          self.client("sts", wrong).get_caller_identity)
        for service in "sts", "iam":
            call = self.client(service, unknown)
            call = call.get_caller_identity if service == "sts" else call.get_user
            self.assert_error(("InvalidClientTokenId", 403), call)
        self.assert_error(("AuthFailure", 401), self.client("ec2", unknown).describe_instances)

    def test_inactive_and_deleted_keys_are_refused(self):
        key = self.new_key("u")
        sts = self.client("sts", key)
        self.admin.update_access_key(UserName="u", AccessKeyId=key["AccessKeyId"],
                                     Status="Inactive")
        self.assert_error(("InvalidClientTokenId", 403), sts.get_caller_identity)
        self.admin.update_access_key(UserName="u", AccessKeyId=key["AccessKeyId"],
                                     Status="Active")
        self.assert_error((None, 200), sts.get_caller_identity)
        self.admin.delete_access_key(UserName="u", AccessKeyId=key["AccessKeyId"])
        self.assert_error(("InvalidClientTokenId", 403), sts.get_caller_identity)

    def test_wrong_region_is_refused(self):
        principal = self.iam.admin
        far = clients.client("iam", self.iam.endpoint, principal.access_key_id,
                             principal.secret_access_key, region="eu-west-1")
        self.assert_error(("SignatureDoesNotMatch", 403), far.get_user)

    def test_session_tokens_are_checked(self):
        self.new_key("u")
        session = self.client("sts").get_session_token()["Credentials"]
        pair = session["AccessKeyId"], session["SecretAccessKey"]
        for token, right in ((session["SessionToken"], (None, 200)),
                             ("x" + session["SessionToken"][1:], ("InvalidClientTokenId", 403)),
                             (None, ("InvalidClientTokenId", 403))):
            sts = clients.client("sts", self.iam.endpoint, *pair, session_token=token)
            self.assert_error(right, sts.get_caller_identity)
        iam = clients.client("iam", self.iam.endpoint, *pair,
                             session_token=session["SessionToken"])
        self.assert_error(("InvalidClientTokenId", 403), iam.get_user)

    def test_clock_that_is_off_refuses_and_says_so_in_its_date(self):
        self.iam.control(clock={"date_s": 7200, "signatures_s": 7200})
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            self.admin.get_user()
        error = caught.exception.response
        self.assertEqual(error["Error"]["Code"], "SignatureDoesNotMatch")
        self.assertIn("Signature expired: ", error["Error"]["Message"])
        date = email.utils.parsedate_to_datetime(error["ResponseMetadata"]["HTTPHeaders"]["date"])
        self.assertAlmostEqual((date - now()).total_seconds(), 7200, delta=60)
        self.iam.control(clock={"signatures_s": -7200})
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            self.admin.get_user()
        self.assertIn("Signature not yet current: ", str(caught.exception))
        self.iam.control(clock={"signatures_s": 240})
        self.assert_error((None, 200), self.admin.get_user)


class BootstrapWithToken(Case):
    server = {"admin_token": "token/with+characters=="}

    def test_admin_may_hold_session_credentials(self):
        admin = self.iam.admin
        self.assert_error(("InvalidClientTokenId", 403), self.admin.get_user)
        with_token = clients.client("iam", self.iam.endpoint, admin.access_key_id,
                                    admin.secret_access_key, session_token=admin.session_token)
        self.assert_error((None, 200), with_token.get_user)


class OverTLS(Case):
    server = {"tls": True, "region": "eu-central-1"}

    def test_serves_https_with_a_private_ca(self):
        sts = self.client("sts")
        self.assertEqual(sts.get_caller_identity()["Account"], "123456789012")
        self.assertIn("admin", {user["name"] for user in self.iam.state()["users"]})
        untrusting = clients.client("sts", self.iam.endpoint, "a", "b")
        with self.assertRaises(botocore.exceptions.SSLError):
            untrusting.get_caller_identity()

    def test_iam_is_signed_for_its_own_region(self):
        self.assert_error(("SignatureDoesNotMatch", 403), self.admin.get_user)
        admin = self.iam.admin
        iam = clients.client("iam", self.iam.endpoint, admin.access_key_id,
                             admin.secret_access_key, ca=self.iam.certificates.ca)
        self.assert_error((None, 200), iam.get_user)


class Rules(Case):
    def test_names_are_unique_whatever_their_case(self):
        self.admin.create_user(UserName="Same")
        self.assert_error(("EntityAlreadyExists", 409), self.admin.create_user, UserName="sAME")
        self.assertEqual(self.admin.get_user(UserName="SAME")["User"]["UserName"], "Same")

    def test_malformed_names_and_paths_are_refused(self):
        for name in "a b", "a/b", "a:b", "é", "a" * 65, "":
            self.assert_error(("ValidationError", 400), self.admin.create_user, UserName=name)
        for path in "x", "/x", "x/", "/ /", "/" + "a" * 511 + "/", "":
            self.assert_error(("ValidationError", 400), self.admin.create_user, UserName="u",
                              Path=path)
        self.admin.create_user(UserName="a" * 64, Path="/" + "a" * 510 + "/")
        self.assert_error(("ValidationError", 400), self.admin.create_user)

    def test_quotas_hold(self):
        self.iam.control(users_quota=3)
        self.admin.create_user(UserName="u")
        self.assert_error(("LimitExceeded", 409), self.admin.create_user, UserName="v")
        for _ in range(2):
            self.admin.create_access_key(UserName="u")
        self.assert_error(("LimitExceeded", 409), self.admin.create_access_key, UserName="u")
        for i in range(10):
            self.admin.attach_user_policy(UserName="u", PolicyArn=f"arn:aws:iam::aws:policy/P{i}")
        self.assert_error(("LimitExceeded", 409), self.admin.attach_user_policy, UserName="u",
                          PolicyArn="arn:aws:iam::aws:policy/P10")
        tags = [{"Key": f"k{i}", "Value": ""} for i in range(51)]
        self.assert_error(("ValidationError", 400), self.admin.tag_user, UserName="u", Tags=tags)
        self.admin.tag_user(UserName="u", Tags=tags[:50])
        self.assert_error(("LimitExceeded", 409), self.admin.tag_user, UserName="u",
                          Tags=tags[50:])

    def test_inline_policies_count_together_without_white_space(self):
        self.admin.create_user(UserName="u")

        def policy(size):
            bare = json.dumps({**EC2_ONLY, "Id": ""}, separators=(",", ":"))
            return {**EC2_ONLY, "Id": "x" * (size - len(bare))}

        def put(name, size):
            return clients.error_of(self.admin.put_user_policy, UserName="u", PolicyName=name,
                                    PolicyDocument=json.dumps(policy(size), indent=8))

        self.assertEqual(put("one", 2049), ("LimitExceeded", 409))
        self.assertEqual(put("one", 2048), (None, 200))
        self.assertEqual(put("one", 2048), (None, 200), "in its own place")
        self.assertEqual(put("one", 1000), (None, 200))
        self.assertEqual(put("two", 1049), ("LimitExceeded", 409))
        self.assertEqual(put("two", 1048), (None, 200))

    def test_malformed_policy_is_refused(self):
        self.admin.create_user(UserName="u")
        for document in "{", "{}", '{"Version":"2012-10-17","Statement":[{"Effect":"Allow"}]}':
            self.assert_error(("MalformedPolicyDocument", 400), self.admin.put_user_policy,
                              UserName="u", PolicyName="p", PolicyDocument=document)

    def test_user_goes_only_after_all_nine_attachments(self):
        iam = self.admin
        user = {"UserName": "u"}
        iam.create_user(**user)
        key = iam.create_access_key(**user)["AccessKey"]["AccessKeyId"]
        self.put_policy("u", EC2_ONLY)
        arn = iam.create_policy(PolicyName="m", PolicyDocument=json.dumps(EC2_ONLY))
        arn = arn["Policy"]["Arn"]
        iam.attach_user_policy(**user, PolicyArn=arn)
        iam.create_group(GroupName="g")
        iam.add_user_to_group(GroupName="g", **user)
        iam.create_login_profile(**user, Password="a long one!")
        device = iam.create_virtual_mfa_device(VirtualMFADeviceName="d")
        serial = device["VirtualMFADevice"]["SerialNumber"]
        iam.enable_mfa_device(**user, SerialNumber=serial, AuthenticationCode1="123456",
                              AuthenticationCode2="234567")
        with tempfile.TemporaryDirectory() as folder:
            certificate = pathlib.Path(localiam.Certificates(folder).certificate).read_text()
        certificate = iam.upload_signing_certificate(**user, CertificateBody=certificate)
        certificate = certificate["Certificate"]["CertificateId"]
        ssh = iam.upload_ssh_public_key(**user, SSHPublicKeyBody="ssh-rsa AAAA")
        ssh = ssh["SSHPublicKey"]["SSHPublicKeyId"]
        service = iam.create_service_specific_credential(
            **user, ServiceName="codecommit.amazonaws.com")
        service = service["ServiceSpecificCredential"]["ServiceSpecificCredentialId"]

        self.assert_error(("DeleteConflict", 409), iam.delete_virtual_mfa_device,
                          SerialNumber=serial)
        for remove, parameters in (
                (iam.delete_access_key, {"AccessKeyId": key}),
                (iam.delete_user_policy, {"PolicyName": "p"}),
                (iam.detach_user_policy, {"PolicyArn": arn}),
                (iam.remove_user_from_group, {"GroupName": "g"}),
                (iam.delete_login_profile, {}),
                (iam.deactivate_mfa_device, {"SerialNumber": serial}),
                (iam.delete_signing_certificate, {"CertificateId": certificate}),
                (iam.delete_ssh_public_key, {"SSHPublicKeyId": ssh}),
                (iam.delete_service_specific_credential, {"ServiceSpecificCredentialId": service})):
            with self.subTest(remove.__name__):
                self.assert_error(("DeleteConflict", 409), iam.delete_user, **user)
                self.assert_error((None, 200), remove, **user, **parameters)
                self.assert_error(("NoSuchEntity", 404), remove, **user, **parameters)
        self.assert_error((None, 200), iam.delete_user, **user)
        self.assert_error(("NoSuchEntity", 404), iam.delete_user, **user)
        self.assert_error((None, 200), iam.delete_virtual_mfa_device, SerialNumber=serial)
        self.assertEqual(self.iam.users(), {})

    def test_what_the_state_shows_is_what_hangs_on_a_user(self):
        self.admin.create_user(UserName="u", Path="/p/", Tags=[{"Key": "k", "Value": "v"}],
                               PermissionsBoundary="arn:aws:iam::aws:policy/ReadOnlyAccess")
        key = self.admin.create_access_key(UserName="u")["AccessKey"]["AccessKeyId"]
        self.admin.put_user_policy(UserName="u", PolicyName="p",
                                   PolicyDocument=json.dumps(EC2_ONLY))
        user = self.iam.users("/p/")["u"]
        self.assertEqual(user["access_keys"], [key])
        self.assertEqual(json.loads(user["inline_policies"]["p"]), EC2_ONLY)
        self.assertEqual(user["tags"], {"k": "v"})
        self.assertEqual(user["permissions_boundary"], "arn:aws:iam::aws:policy/ReadOnlyAccess")
        self.assertEqual(self.iam.state()["calls"]["CreateUser"], {"received": 1, "effects": 1})

    def test_moved_user_keeps_its_id_and_changes_its_arn(self):
        before = self.admin.create_user(UserName="u", Path="/a/")["User"]
        self.admin.update_user(UserName="u", NewPath="/b/", NewUserName="v")
        after = self.admin.get_user(UserName="v")["User"]
        self.assertEqual(after["UserId"], before["UserId"])
        self.assertEqual(after["Arn"], "arn:aws:iam::123456789012:user/b/v")
        self.assert_error(("NoSuchEntity", 404), self.admin.get_user, UserName="u")


class Pages(Case):
    def names(self, **parameters):
        """What all pages have, and how many there were."""
        names, pages, marker = [], 0, {}
        while True:
            answer = self.admin.list_users(**parameters, **marker)
            names += [user["UserName"] for user in answer["Users"]]
            pages += 1
            if not answer["IsTruncated"]:
                return names, pages
            marker = {"Marker": answer["Marker"]}

    def test_pages_join_to_the_whole(self):
        names = [f"u{i:03}" for i in range(25)]
        for name in names:
            self.admin.create_user(UserName=name, Path="/p/")
        self.admin.create_user(UserName="outside", Path="/q/")
        self.assertEqual(self.names(PathPrefix="/p/", MaxItems=10), (names, 3))
        self.iam.control(page_size=7)
        self.assertEqual(self.names(PathPrefix="/p/"), (names, 4))
        self.iam.control(page_size=0, empty_pages=True)
        self.assertEqual(self.names(PathPrefix="/p/", MaxItems=10), (names, 6))
        self.assertEqual(self.names(PathPrefix="/none/"), ([], 1))
        self.assert_error(("ValidationError", 400), self.admin.list_users, Marker="nonsense")
        self.assert_error(("ValidationError", 400), self.admin.list_users, MaxItems=1001)

    def test_deleting_between_pages_loses_nothing(self):
        for i in range(6):
            self.admin.create_user(UserName=f"u{i}", Path="/p/")
        first = self.admin.list_users(PathPrefix="/p/", MaxItems=3)
        for user in first["Users"]:
            self.admin.delete_user(UserName=user["UserName"])
        second = self.admin.list_users(PathPrefix="/p/", Marker=first["Marker"])
        self.assertEqual([user["UserName"] for user in second["Users"]], ["u3", "u4", "u5"])


class Policies(Case):
    server = {"admin_policy": {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["iam:*User*", "iam:*AccessKey*"],
         "Resource": "arn:aws:iam::123456789012:user/own/*"},
        {"Effect": "Allow", "Action": "iam:SimulatePrincipalPolicy", "Resource": "*"}]}}

    def setUp(self):
        super().setUp()
        root = self.iam.root
        self.bound = self.admin
        self.admin = clients.client("iam", self.iam.endpoint, root.access_key_id,
                                    root.secret_access_key)

    def test_principal_is_held_to_its_path(self):
        self.bound.create_user(UserName="u", Path="/own/")
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            self.bound.create_user(UserName="v", Path="/other/")
        self.assertEqual(
            caught.exception.response["Error"]["Message"],
            "User: arn:aws:iam::123456789012:user/admin is not authorized to perform: "
            "iam:CreateUser on resource: arn:aws:iam::123456789012:user/other/v because no "
            "identity-based policy allows the iam:CreateUser action")
        self.assert_error((None, 200), self.bound.list_users, PathPrefix="/own/")
        self.assert_error(("AccessDenied", 403), self.bound.list_users)
        self.assert_error(("AccessDenied", 403), self.bound.update_user, UserName="u",
                          NewPath="/other/")
        self.assert_error(("AccessDenied", 403), self.bound.get_user, UserName="root")
        self.assert_error(("AccessDenied", 403), self.bound.get_account_summary)

    def test_leased_key_has_the_power_of_its_policies_alone(self):
        key = self.new_key("u")
        ec2, iam, sts = (self.client(service, key) for service in ("ec2", "iam", "sts"))
        self.assert_error(("UnauthorizedOperation", 403), ec2.describe_instances)
        self.put_policy("u", EC2_ONLY)
        self.assert_error((None, 200), ec2.describe_instances)
        self.assert_error(("AccessDenied", 403), iam.list_users)
        self.assert_error((None, 200), sts.get_caller_identity)
        self.admin.attach_user_policy(UserName="u",
                                      PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")
        self.assert_error((None, 200), iam.list_users)

    def test_boundary_bounds(self):
        arn = self.admin.create_policy(PolicyName="b", PolicyDocument=json.dumps(EC2_ONLY))
        self.admin.create_user(UserName="u", PermissionsBoundary=arn["Policy"]["Arn"])
        self.put_policy("u", clients.EVERYTHING)
        key = self.admin.create_access_key(UserName="u")["AccessKey"]
        self.assert_error((None, 200), self.client("ec2", key).describe_instances)
        self.assert_error(("AccessDenied", 403), self.client("iam", key).list_users)
        self.assert_error(("NoSuchEntity", 404), self.admin.create_user, UserName="v",
                          PermissionsBoundary="arn:aws:iam::123456789012:policy/none")

    def test_dead_man_switch_makes_the_key_powerless_and_lets_it_say_who_it_is(self):
        key = self.new_key("u", ends_at(now() + datetime.timedelta(minutes=10)))
        ec2, sts = self.client("ec2", key), self.client("sts", key)
        self.assert_error((None, 200), ec2.describe_instances)
        self.iam.control(clock={"policies_s": 601})
        self.assert_error(("UnauthorizedOperation", 403), ec2.describe_instances)
        self.assert_error((None, 200), sts.get_caller_identity)
        self.put_policy("u", ends_at(now() + datetime.timedelta(minutes=20)))
        self.assert_error((None, 200), ec2.describe_instances)

    def test_tags_at_creation_need_a_permission_of_their_own(self):
        policy = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "iam:CreateUser", "Resource": "*"}]}
        iam = self.client("iam", self.new_key("u", policy))
        tags = [{"Key": "k", "Value": "v"}]
        self.assert_error((None, 200), iam.create_user, UserName="v")
        self.assert_error(("AccessDenied", 403), iam.create_user, UserName="w", Tags=tags)

    def test_simulation_says_what_a_call_would_get(self):
        answer = self.bound.simulate_principal_policy(
            PolicySourceArn="arn:aws:iam::123456789012:user/admin",
            ActionNames=["iam:CreateUser", "ec2:RunInstances"],
            ResourceArns=["arn:aws:iam::123456789012:user/own/x",
                          "arn:aws:iam::123456789012:user/other/x"])
        decisions = [result["EvalDecision"] for result in answer["EvaluationResults"]]
        self.assertEqual(decisions, ["allowed", "implicitDeny", "implicitDeny", "implicitDeny"])


class Misbehaviour(Case):
    def users_after(self, **parameters):
        """What a call of CreateUser that goes wrong leaves behind."""
        outcome = None
        try:
            self.admin.create_user(UserName="u", **parameters)
        except Exception as error:
            outcome = error
        return outcome, set(self.iam.users())

    def test_drop_before_leaves_nothing_and_drop_after_leaves_the_user(self):
        self.iam.fault("CreateUser", kind="drop", times=1)
        outcome, users = self.users_after()
        self.assertIsInstance(outcome, CONNECTION_FAILURES)
        self.assertEqual(users, set())
        self.iam.fault("CreateUser", kind="drop", when="after", times=1)
        outcome, users = self.users_after()
        self.assertIsInstance(outcome, CONNECTION_FAILURES)
        self.assertEqual(users, {"u"})
        self.assert_error(("EntityAlreadyExists", 409), self.admin.create_user, UserName="u")

    def test_errors_have_the_asked_code_status_and_number(self):
        self.iam.throttle("CreateUser", times=2)
        for _ in range(2):
            self.assert_error(("Throttling", 400), self.admin.create_user, UserName="u")
        self.assert_error((None, 200), self.admin.get_user)
        self.assert_error((None, 200), self.admin.create_user, UserName="u")
        self.iam.fault("DeleteUser", kind="error", status=409, code="EntityTemporarilyUnmodifiable",
                       message="later", when="after", times=1)
        self.assert_error(("EntityTemporarilyUnmodifiable", 409), self.admin.delete_user,
                          UserName="u")
        self.assertEqual(self.iam.users(), {})

    def test_faults_pick_their_calls(self):
        self.iam.fault("GetUser", kind="error", user="b*", code="ServiceFailure", status=500)
        self.iam.fault("GetUser", kind="error", user="admin", skip=1, every=3)
        self.assert_error(("NoSuchEntity", 404), self.admin.get_user, UserName="a")
        self.assert_error(("ServiceFailure", 500), self.admin.get_user, UserName="bob")
        codes = [clients.error_of(self.admin.get_user)[0] for _ in range(8)]
        self.assertEqual([i for i, code in enumerate(codes) if code], [1, 4, 7])
        self.iam.control(clear_faults=True)
        self.assert_error(("NoSuchEntity", 404), self.admin.get_user, UserName="bob")
        with self.assertRaises(ValueError):
            self.iam.fault("GetUser", kind="explode")
        with self.assertRaises(ValueError):
            self.iam.control(no_such_setting=1)

    def raw_answer(self, kind, limit, **members):
        """The answer to a spoilt GetUser, and its body: at most `limit` bytes; all: None."""
        self.iam.fault("GetUser", kind=kind, times=1, **members)
        import botocore.auth
        import botocore.awsrequest
        import botocore.credentials
        request = botocore.awsrequest.AWSRequest(
            "POST", self.iam.endpoint + "/", data="Action=GetUser&Version=2010-05-08",
            headers={"Content-Type": "application/x-www-form-urlencoded"})
        credentials = botocore.credentials.Credentials(self.iam.admin.access_key_id,
                                                       self.iam.admin.secret_access_key)
        botocore.auth.SigV4Auth(credentials, "iam", "us-east-1").add_auth(request)
        connection = http.client.HTTPConnection("127.0.0.1", self.iam.port, timeout=DEADLINE)
        self.addCleanup(connection.close)
        connection.request("POST", "/", request.data, dict(request.headers))
        response = connection.getresponse()
        return response, response.read(limit)

    def test_garbage_is_the_garbage_asked_for(self):
        limit = 200 * 1024 * 1024
        for kind, size, looks in (("empty", 0, b""), ("text", None, b"upstream"),
                                  ("cut", None, b"<GetUserResponse"), ("wrong", None, b"<ListB"),
                                  ("huge", 64 * 1024 * 1024, b"<GetUserResponse")):
            with self.subTest(kind):
                response, body = self.raw_answer(kind, limit)
                self.assertEqual(response.status, 200)
                self.assertTrue(body.startswith(looks), body[:100])
                self.assertFalse(body.rstrip().endswith(b"</GetUserResponse>"))
                if size is not None:
                    self.assertLess(abs(len(body) - size), 1024)
        for status in 500, 502, 503:
            response, body = self.raw_answer("html", limit, status=status)
            self.assertEqual(response.status, status)
            self.assertTrue(body.startswith(b"<html>"))
        with self.assertRaises(http.client.IncompleteRead):
            self.raw_answer("broken", None)
        _, body = self.raw_answer("endless", 100 * 1024 * 1024)
        self.assertEqual(len(body), 100 * 1024 * 1024)

    def test_latency_delays_its_call_and_no_other(self):
        self.iam.fault("CreateUser", kind="delay", ms=1500, times=1)
        started = time.monotonic()
        join = self.in_background(self.admin.create_user, UserName="u")
        self.iam.wait_calls("CreateUser", received=1)
        self.assert_error((None, 200), self.client("iam").get_user)
        self.assertLess(time.monotonic() - started, 1.4, "another call waited, too")
        self.assertEqual(self.iam.users(), {})
        self.assertEqual(join()["User"]["UserName"], "u")
        self.assertGreaterEqual(time.monotonic() - started, 1.5)

    def test_held_calls_wait_before_or_after_their_effect(self):
        for when, users in (("before", set()), ("after", {"u"})):
            with self.subTest(when):
                self.iam.fault("CreateUser", kind="hold", when=when, times=1)
                join = self.in_background(self.admin.create_user, UserName="u")
                held = self.iam.wait_held()
                self.assertEqual(held, [{"action": "CreateUser", "user": "u",
                                         "after": when == "after"}])
                self.assertEqual(set(self.iam.users()), users)
                self.iam.release()
                self.assertEqual(join()["User"]["UserName"], "u")
                self.admin.delete_user(UserName="u")

    def test_held_call_takes_effect_although_its_client_is_gone(self):
        self.iam.fault("CreateUser", kind="hold", times=2)
        impatient = self.client("iam", read_timeout=1)
        for name, drop, users in (("u", False, {"u"}), ("v", True, {"u"})):
            join = self.in_background(impatient.create_user, UserName=name)
            self.iam.wait_held()
            self.assertIsInstance(join(), botocore.exceptions.ReadTimeoutError)
            self.iam.release(drop=drop)
            self.assertEqual(set(self.iam.users()), users)

    def test_dropped_hold_ends_the_connection(self):
        self.iam.fault("CreateUser", kind="hold", when="after", times=1)
        join = self.in_background(self.admin.create_user, UserName="u")
        self.iam.wait_held()
        self.iam.release(action="GetUser", drop=True)
        self.iam.wait_held()
        self.iam.release(action="Create*", user="u", drop=True)
        self.assertIsInstance(join(), CONNECTION_FAILURES)
        self.assertEqual(set(self.iam.users()), {"u"})

    def test_end_comes_also_while_calls_are_held(self):
        self.iam.fault("GetUser", kind="hold")
        join = self.in_background(self.admin.get_user)
        self.iam.wait_held()
        self.iam.process.terminate()
        self.assertEqual(self.iam.process.wait(DEADLINE), 0)
        self.assertIsInstance(join(), CONNECTION_FAILURES)

    def test_sts_and_summary_can_be_missing(self):
        self.iam.control(sts=False, account_summary=False)
        self.assert_error(("MethodNotAllowed", 405), self.client("sts").get_caller_identity)
        self.assert_error(("MethodNotAllowed", 405), self.admin.get_account_summary)
        self.iam.reset()
        self.assert_error((None, 200), self.client("sts").get_caller_identity)
        summary = self.admin.get_account_summary()["SummaryMap"]
        self.assertEqual((summary["Users"], summary["UsersQuota"]), (2, 5000))

    def test_log_has_the_order_of_calls(self):
        self.admin.create_user(UserName="u")
        self.assert_error(("EntityAlreadyExists", 409), self.admin.create_user, UserName="u")
        calls = [(call["action"], call["user"], call["effect"], call["status"], call["code"])
                 for call in self.iam.log()]
        self.assertEqual(calls, [("CreateUser", "u", True, 200, ""),
                                 ("CreateUser", "u", False, 409, "EntityAlreadyExists")])
        self.assertEqual([call["n"] for call in self.iam.log(since=1)], [2])


class Consistency(Case):
    def until(self, condition):
        deadline = time.monotonic() + DEADLINE
        while not condition():
            self.assertLess(time.monotonic(), deadline, "it never came to be seen")
            time.sleep(0.05)

    def test_new_users_and_keys_are_seen_late(self):
        key = self.new_key("early")
        self.iam.control(consistency={"users_s": 1, "keys_s": 1})
        self.admin.create_user(UserName="u")
        self.assert_error(("NoSuchEntity", 404), self.admin.get_user, UserName="u")
        self.assert_error(("EntityAlreadyExists", 409), self.admin.create_user, UserName="u")
        self.until(lambda: clients.error_of(self.admin.get_user, UserName="u")[1] == 200)
        new = self.admin.create_access_key(UserName="u")["AccessKey"]
        sts = self.client("sts", new)
        self.assert_error(("InvalidClientTokenId", 403), sts.get_caller_identity)
        self.assert_error((None, 200), self.client("sts", key).get_caller_identity)
        self.until(lambda: clients.error_of(sts.get_caller_identity)[1] == 200)

    def test_old_policy_is_in_force_until_the_new_one_is(self):
        key = self.new_key("u", EC2_ONLY)
        ec2 = self.client("ec2", key)
        self.iam.control(consistency={"policies_s": 1})
        self.put_policy("u", {"Version": "2012-10-17", "Statement": [
            {"Effect": "Deny", "Action": "*", "Resource": "*"}]})
        self.assert_error((None, 200), ec2.describe_instances)
        got = self.admin.get_user_policy(UserName="u", PolicyName="p")["PolicyDocument"]
        self.assertEqual(got, EC2_ONLY)
        self.until(lambda: clients.error_of(ec2.describe_instances)[1] == 403)
        self.assertEqual(self.admin.list_user_policies(UserName="u")["PolicyNames"], ["p"])

    def test_deleted_keys_and_users_linger(self):
        key = self.new_key("u")
        sts = self.client("sts", key)
        self.iam.control(consistency={"deletions_s": 1})
        self.admin.delete_access_key(UserName="u", AccessKeyId=key["AccessKeyId"])
        self.assert_error((None, 200), sts.get_caller_identity)
        self.admin.delete_user(UserName="u")
        self.assert_error((None, 200), self.admin.get_user, UserName="u")
        self.assert_error(("NoSuchEntity", 404), self.admin.delete_user, UserName="u")
        self.admin.create_user(UserName="u")
        self.assertEqual(self.iam.users()["u"]["access_keys"], [])
        self.until(lambda: clients.error_of(sts.get_caller_identity)[1] == 403)

    def test_endpoints_differ(self):
        self.iam.control(consistency={"users_s": 3600, "fresh": 1, "of": 3})
        self.admin.create_user(UserName="u")
        seen = [clients.error_of(self.admin.get_user, UserName="u")[1] == 200 for _ in range(9)]
        self.assertEqual(sum(seen), 3)


class Scale(Case):
    def test_six_thousand_users_are_served_with_speed(self):
        self.iam.control(users_quota=6000, principals=[
            {"name": f"u{i}", "path": f"/p/{i % 100}/", "access_key_id": f"AKIA{i:016}",
             "secret_access_key": "x" * 40} for i in range(5998)])
        started = time.monotonic()
        pages = self.admin.get_paginator("list_users").paginate(
            PathPrefix="/p/", PaginationConfig={"PageSize": 1000})
        self.assertEqual(sum(len(page["Users"]) for page in pages), 5998)
        key = {"AccessKeyId": f"AKIA{5997:016}", "SecretAccessKey": "x" * 40}
        self.assert_error((None, 200), self.client("sts", key).get_caller_identity)
        self.assert_error(("LimitExceeded", 409), self.admin.create_user, UserName="one-more")
        self.assertLess(time.monotonic() - started, 10)

    def test_many_connections_at_once(self):
        joins = [self.in_background(self.client("iam").create_user, UserName=f"u{i}")
                 for i in range(40)]
        for join in joins:
            self.assertIn("User", join())
        self.assertEqual(len(self.iam.users()), 40)


if __name__ == "__main__":
    tap.main()
