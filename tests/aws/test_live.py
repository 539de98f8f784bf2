#!/usr/bin/python3
"""The provider for AWS against the local IAM, and against servers that are broken in every way."""

import datetime
import json
import os
import pathlib
import socket
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]

import moto  # noqa: E402
import tap  # noqa: E402
from localiam import Certificates, LocalIAM, Principal  # noqa: E402
from provider import (ANSWER_TIMEOUT, ATTACHMENTS, Gate, Provider, Script, answer,  # noqa: E402
                      drop, error_xml, xml)

POLICY = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}]})
SECRET = "not/a+Secret/but+of/the+form/of+oneXXXXX"
STATIC = {"source": "static", "access_key_id": "AKIAIOSFODNN7EXAMPLE",
          "secret_access_key": SECRET}
USER = ("<User><Path>/test/</Path><UserName>u</UserName><UserId>AIDA</UserId>"
        "<Arn>arn:aws:iam::1:user/test/u</Arn></User>")


def static(principal):
    ret = {"source": "static", "access_key_id": principal.access_key_id,
           "secret_access_key": principal.secret_access_key}
    if principal.session_token:
        ret["session_token"] = principal.session_token
    return ret


class TestCase(unittest.TestCase):
    def refused(self, got, kind, *, ambiguous, code=None):
        self.assertEqual(got.get("error"), kind, got)
        self.assertEqual(got["ambiguous"], ambiguous, got)
        if code is not None:
            self.assertEqual(got["code"], code)
        return got["message"]


class Operations(TestCase):
    """What each operation does to an account."""

    @classmethod
    def setUpClass(cls):
        cls.iam = LocalIAM().start()
        cls.addClassCleanup(cls.iam.stop)

    def setUp(self):
        self.iam.reset()
        self.provider = self.enterContext(Provider(self.iam.endpoint, static(self.iam.admin)))

    def test_a_lease_lives_and_dies(self):
        made = self.provider.good("CreateUser", user="lease-1", path="/test/a/",
                                  tags={"team": "a b+c/ü"})
        self.assertEqual(made["users"][0]["name"], "lease-1")
        self.assertEqual(made["users"][0]["path"], "/test/a/")
        self.assertTrue(made["users"][0]["arn"].endswith(":user/test/a/lease-1"))
        self.assertAlmostEqual(made["users"][0]["created_ms"], made["server_ms"], delta=3000)
        self.provider.good("PutUserPolicy", user="lease-1", name="dsec", document=POLICY)
        key = self.provider.good("CreateAccessKey", user="lease-1")
        listed = self.provider.good("List", user="lease-1", attachment=0)
        self.assertEqual(listed["names"], [key["access_key_id"]])
        self.assertEqual(self.provider.good("List", user="lease-1", attachment=1)["names"],
                         ["dsec"])
        self.refused(self.provider.call("DeleteUser", user="lease-1"), "conflict",
                     ambiguous=False, code="DeleteConflict")
        self.provider.good("Remove", user="lease-1", attachment=0, name=key["access_key_id"])
        self.provider.good("Remove", user="lease-1", attachment=1, name="dsec")
        self.provider.good("DeleteUser", user="lease-1")
        self.refused(self.provider.call("GetUser", user="lease-1"), "no_such_entity",
                     ambiguous=False, code="NoSuchEntity")
        self.assertEqual(self.iam.users("/test/a/"), {})

    def test_a_user_that_exists_is_told_apart(self):
        self.provider.good("CreateUser", user="twice", path="/test/b/")
        self.refused(self.provider.call("CreateUser", user="twice", path="/test/b/"), "exists",
                     ambiguous=False, code="EntityAlreadyExists")

    def test_empty_pages_are_not_the_last(self):
        self.iam.control(page_size=2, empty_pages=True)
        for i in range(5):
            self.provider.good("CreateUser", user=f"page-{i}", path="/test/pages/")
        names, marker, pages = [], None, 0
        while pages == 0 or marker:
            page = self.provider.good("ListUsers", path="/test/pages/",
                                      **({"marker": marker} if marker else {}))
            names += [user["name"] for user in page["users"]]
            marker, pages = page["marker"], pages + 1
        self.assertEqual(sorted(names), [f"page-{i}" for i in range(5)])
        self.assertGreater(pages, 3)

    def test_every_kind_of_attachment_can_be_listed(self):
        self.provider.good("CreateUser", user="bare", path="/test/c/")
        for kind, name in enumerate(ATTACHMENTS):
            with self.subTest(name):
                self.assertEqual(
                    self.provider.good("List", user="bare", attachment=kind)["names"], [])

    def test_a_quota_says_so(self):
        self.iam.control(users_quota=0)
        message = self.refused(self.provider.call("CreateUser", user="over", path="/test/"),
                               "quota", ambiguous=False, code="LimitExceeded")
        self.assertIn("quota", message)

    def test_who_am_i(self):
        self.assertEqual(self.provider.good("GetUser")["users"][0]["name"], "admin")

    def test_the_quota_is_told(self):
        told = self.provider.good("GetAccountSummary")
        self.assertGreater(told["users_quota"], told["users_used"])

    def test_a_server_without_a_summary_is_none_that_fails(self):
        self.iam.control(account_summary=False)
        told = self.provider.good("GetAccountSummary")
        self.assertEqual((told["users_used"], told["users_quota"]), (-1, -1))

    def test_a_key_is_verified_by_sts(self):
        self._verify()
        self.assertIn("GetCallerIdentity", [call["action"] for call in self.iam.log()])

    def test_a_key_is_verified_by_iam_where_there_is_no_sts(self):
        self.iam.control(sts=False)
        self._verify()
        asked = [call["action"] for call in self.iam.log() if call["action"] in
                 ("GetCallerIdentity", "GetUser")]
        self.assertEqual(asked[-3:], ["GetUser"] * 3, "STS is asked once")

    def _verify(self):
        name = f"verify-{time.monotonic_ns()}"
        environment = {"AWS_CALL_SHOWS_SECRETS": "1"}
        with Provider(self.iam.endpoint, static(self.iam.admin),
                      environment=environment) as provider:
            provider.good("CreateUser", user=name, path="/test/")
            self.iam.control(consistency={"keys_s": 2})
            key = provider.good("CreateAccessKey", user=name)
            key = {"access_key_id": key["access_key_id"],
                   "secret_access_key": key["secret_access_key"]}
            self.refused(provider.call("GetCallerIdentity", **key), "key_not_ready",
                         ambiguous=False)
            deadline = time.monotonic() + 30
            while "error" in provider.call("GetCallerIdentity", **key):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.1)
            provider.good("GetCallerIdentity", **key)
            wrong = {**key, "secret_access_key": SECRET}
            self.refused(provider.call("GetCallerIdentity", **wrong), "key_not_ready",
                         ambiguous=False)


class Credentials(TestCase):
    """An integration's keys, from each source."""

    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.iam = self.enterContext(LocalIAM(admin_token="token/" + "t" * 600))

    def file(self, name, text):
        path = pathlib.Path(self.folder, name)
        path.write_text(text)
        path.chmod(0o700)
        return str(path)

    def ini(self, principal):
        token = f"aws_session_token={principal.session_token}\n" if principal.session_token else ""
        return (f"aws_access_key_id = {principal.access_key_id}\n"
                f"aws_secret_access_key={principal.secret_access_key}\n{token}")

    def works(self, credentials, name, environment=None):
        with Provider(self.iam.endpoint, credentials, environment=environment) as provider:
            self.assertEqual(provider.good("GetUser")["users"][0]["name"], name)

    def test_session_tokens_are_signed(self):
        self.works(static(self.iam.admin), "admin")

    def test_a_file(self):
        root = self.iam.root
        self.works({"source": "static", "access_key_id": root.access_key_id,
                    "secret_access_key_file": self.file("key", root.secret_access_key + "\n")},
                   "root")

    def test_the_environment(self):
        self.works({"source": "environment"}, "admin", self.iam.admin.environment())

    def test_a_profile(self):
        files = {"shared_credentials_file": self.file(
            "credentials", "[default]\n" + self.ini(self.iam.root) + "[me]\n" +
            self.ini(self.iam.admin)), "config_file": self.file("config", "[default]\n")}
        self.works({"source": "profile", "profile": "me", **files}, "admin")
        self.works({"source": "profile", "profile": "default", **files}, "root")

    def process_output(self, principal, **more):
        return json.dumps({"Version": 1, "AccessKeyId": principal.access_key_id,
                           "SecretAccessKey": principal.secret_access_key,
                           **({"SessionToken": principal.session_token}
                              if principal.session_token else {}), **more})

    def test_a_process_of_a_profile(self):
        output = self.file("output", self.process_output(self.iam.admin))
        config = self.file("config", f"[profile me]\ncredential_process = /bin/cat '{output}'\n")
        self.works({"source": "profile", "profile": "me", "config_file": config,
                    "shared_credentials_file": self.file("none", "# nobody\n")}, "admin")

    def test_a_process_is_run_again_before_its_keys_end(self):
        soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=12)
        count = self.file("count", "")
        output = self.file("output", self.process_output(
            self.iam.admin, Expiration=soon.strftime("%Y-%m-%dT%H:%M:%SZ")))
        command = self.file("run", f"#!/bin/sh\necho >> {count}\nexec cat {output}\n")
        with Provider(self.iam.endpoint, {"source": "process", "command": command}) as provider:
            provider.good("GetUser")
            self.assertEqual(pathlib.Path(count).read_text(), "\n")
            deadline = time.monotonic() + 20
            while pathlib.Path(count).read_text() == "\n":
                self.assertLess(time.monotonic(), deadline)
                provider.good("GetUser")
                time.sleep(0.2)

    def test_many_calls_wait_for_one_process(self):
        count = self.file("count", "")
        output = self.file("output", self.process_output(self.iam.admin))
        fifo = os.path.join(self.folder, "gate")
        os.mkfifo(fifo)
        command = self.file("run", f"#!/bin/sh\necho >> {count}\nread x < {fifo}\nexec cat {output}\n")
        with Provider(self.iam.endpoint, {"source": "process", "command": command}) as provider:
            calls = [provider.start("GetUser") for _ in range(10)]
            with open(fifo, "w", encoding="ascii") as gate:
                gate.write("go\n")
            for call in calls:
                self.assertEqual(provider.answer(call)["users"][0]["name"], "admin")
            self.assertEqual(pathlib.Path(count).read_text(), "\n")

    def test_a_process_that_never_ends_holds_no_call_past_its_deadline(self):
        with Provider(self.iam.endpoint,
                      {"source": "process", "command": "/bin/sleep 1000"}) as provider:
            self.refused(provider.call("GetUser", timeout_ms=300), "timeout", ambiguous=False)

    def test_a_process_that_fails_says_so_and_nothing_else(self):
        command = self.file("run", f"#!/bin/sh\necho {SECRET}\necho {SECRET} >&2\nexit 3\n")
        with Provider(self.iam.endpoint, {"source": "process", "command": command}) as provider:
            message = self.refused(provider.call("GetUser"), "credentials", ambiguous=False)
            self.assertIn("status 3", message)
            self.assertNotIn(SECRET, message)

    def test_a_refused_key_is_read_again(self):
        root = self.iam.root
        path = self.file("key", "wrong" * 8)
        with Provider(self.iam.endpoint, {
                "source": "static", "access_key_id": root.access_key_id,
                "secret_access_key_file": path}) as provider:
            message = self.refused(provider.call("GetUser"), "credentials", ambiguous=False,
                                   code="SignatureDoesNotMatch")
            self.assertIn("does not belong", message)
            self.file("key", root.secret_access_key)
            deadline = time.monotonic() + 30
            while "error" in provider.call("GetUser"):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.1)

    def test_a_key_that_nobody_knows(self):
        with Provider(self.iam.endpoint, STATIC) as provider:
            message = self.refused(provider.call("GetUser"), "credentials", ambiguous=False,
                                   code="InvalidClientTokenId")
            self.assertIn("not known", message)


class Clock(TestCase):
    """A local clock that differs from AWS's."""

    def setUp(self):
        self.iam = self.enterContext(LocalIAM(admin_token="t" * 2000))
        self.provider = self.enterContext(Provider(self.iam.endpoint, static(self.iam.admin)))

    def off(self, seconds):
        self.iam.control(clock={"date_s": seconds, "signatures_s": seconds})

    def test_minutes_are_mended(self):
        for minutes in (10, -10):
            with self.subTest(minutes):
                self.off(minutes * 60)
                message = self.refused(self.provider.call("GetUser"), "busy", ambiguous=False)
                self.assertIn("the next attempt is signed with AWS's", message)
                got = self.provider.good("GetUser")
                self.assertAlmostEqual(got["server_ms"], (time.time() + minutes * 60) * 1000,
                                       delta=5000)
                self.provider.good("CreateUser", user=f"at{minutes}", path="/test/")

    def test_a_difference_that_is_known_costs_no_refusal(self):
        self.iam.control(clock={"date_s": 240, "signatures_s": 240})
        self.provider.good("GetUser")
        self.iam.control(clock={"date_s": 420, "signatures_s": 420})
        self.provider.good("GetUser")

    def test_hours_are_refused(self):
        self.off(3 * 3600)
        for _ in range(2):
            message = self.refused(self.provider.call("GetUser"), "clock_skew", ambiguous=False)
            self.assertIn(time.strftime("%Y-%m-%dT", time.gmtime()), message)
            self.assertIn("set the local clock", message)

    def test_a_clock_that_is_set_right_is_believed(self):
        self.off(600)
        self.provider.call("GetUser")
        self.provider.good("GetUser")
        self.off(0)
        self.refused(self.provider.call("GetUser"), "busy", ambiguous=False)
        self.provider.good("GetUser")


class Trouble(TestCase):
    """Servers that break in every way. One attempt a call, and no guess at what came of it."""

    def setUp(self):
        self.iam = self.enterContext(LocalIAM())
        self.provider = self.enterContext(Provider(self.iam.endpoint, static(self.iam.admin)))

    def create(self, user="u", **fault):
        self.iam.fault("CreateUser", times=1, **fault)
        return self.provider.call("CreateUser", user=user, path="/test/")

    def attempts(self):
        return len([call for call in self.iam.log() if call["action"] == "CreateUser"])

    def test_a_lost_answer_is_ambiguous(self):
        self.refused(self.create(kind="drop", when="after"), "unreachable", ambiguous=True)
        self.assertIn("u", self.iam.users())
        self.assertEqual(self.attempts(), 1)

    def test_a_kept_connection_that_dies_is_no_second_attempt(self):
        for _ in range(3):
            self.provider.good("GetUser")
        self.refused(self.create(kind="drop", when="after"), "unreachable", ambiguous=True)
        self.assertEqual(self.attempts(), 1)

    def test_answers_that_are_none(self):
        for kind, error in (("empty", "fault"), ("text", "fault"), ("cut", "fault"),
                            ("broken", "unreachable"), ("wrong", "fault"), ("huge", "fault")):
            with self.subTest(kind):
                self.refused(self.create(user=kind, kind=kind), error, ambiguous=True)

    def test_html_is_no_answer(self):
        self.refused(self.create(kind="html", status=200), "fault", ambiguous=True)
        self.refused(self.create(kind="html", status=502), "busy", ambiguous=True)

    def test_the_deadline_holds(self):
        for kind in ("hold", "endless"):
            with self.subTest(kind):
                self.iam.fault("CreateUser", kind=kind, times=1)
                begun = time.monotonic()
                got = self.provider.call("CreateUser", user=kind, path="/test/", timeout_ms=400)
                self.refused(got, "fault" if kind == "endless" and got["error"] == "fault"
                             else "timeout", ambiguous=True)
                self.assertLess(time.monotonic() - begun, 5)

    def test_5xx_is_ambiguous_and_throttling_is_not(self):
        self.refused(self.create(kind="error", status=500, code="ServiceFailure",
                                 message="oops"), "busy", ambiguous=True)
        self.refused(self.create(kind="error", status=503, code="Throttling",
                                 message="Rate exceeded"), "throttled", ambiguous=False)
        self.refused(self.create(kind="error", status=400, code="Throttling",
                                 message="Rate exceeded"), "throttled", ambiguous=False)

    def test_a_server_that_is_not_there_has_done_nothing(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            with Provider(f"http://127.0.0.1:{port}", STATIC) as provider:
                self.refused(provider.call("CreateUser", user="u", path="/"), "unreachable",
                             ambiguous=False)

    def test_more_calls_than_connections_all_get_answers(self):
        calls = [self.provider.start("GetUser", user="admin") for _ in range(60)]
        for call in calls:
            self.assertEqual(self.provider.answer(call)["users"][0]["name"], "admin")


class Scripted(TestCase):
    """What the local IAM would never answer."""

    def play(self, *answers, op="GetUser", tls=None, credentials=STATIC, **call):
        with Script(*answers, tls=tls) as script, \
                Provider(script.endpoint, credentials) as provider:
            return provider.call(op, **call), script.requests

    def test_the_request_is_what_the_pickiest_server_wants(self):
        got, requests = self.play(answer(xml("PutUserPolicy")), op="PutUserPolicy", user="a+b",
                                  name="n~.-_", document='{"a": "ü/=&%"}')
        self.assertNotIn("error", got)
        self.assertEqual(requests[0].body, "Action=PutUserPolicy&Version=2010-05-08&UserName=a%2Bb"
                         "&PolicyName=n~.-_&PolicyDocument=%7B%22a%22%3A+%22%C3%BC%2F%3D%26%25%22"
                         "%7D")
        headers = requests[0].headers
        self.assertIn("content-type;host;x-amz-date", headers["Authorization"])
        self.assertIn("/us-east-1/iam/aws4_request", headers["Authorization"])
        self.assertTrue(headers["User-Agent"].startswith("dsec/"))
        self.assertEqual(len(headers.get_all("X-Amz-Date")), 1)

    def test_a_mended_time_is_sent_once(self):
        ahead = time.time() + 600
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(ahead))

        def with_date(handler):
            handler.date_time_string = lambda timestamp=None: date
            answer(xml("GetUser", USER))(handler)

        with Script(with_date) as script, Provider(script.endpoint, STATIC) as provider:
            provider.good("GetUser", user="u")
            provider.good("GetUser", user="u")
        first, second = (request.headers.get_all("X-Amz-Date") for request in script.requests)
        self.assertEqual((len(first), len(second)), (1, 1))
        mended = datetime.datetime.strptime(second[0] + "+0000", "%Y%m%dT%H%M%SZ%z").timestamp()
        self.assertAlmostEqual(mended, ahead, delta=5)
        self.assertEqual(len(script.requests[1].headers.get_all("Authorization")), 1)
        self.assertEqual(script.requests[1].headers.get_all("Host"),
                         [f"127.0.0.1:{script.port}"])

    def test_chunks_and_closed_connections(self):
        def chunked(handler):
            text = xml("GetUser", USER)
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            for i in range(0, len(text), 7):
                handler.wfile.write(f"{len(text[i:i + 7]):x}\r\n{text[i:i + 7]}\r\n".encode())
            handler.wfile.write(b"0\r\n\r\n")

        def closed(handler):
            handler.send_response(200)
            handler.send_header("Connection", "close")
            handler.end_headers()
            handler.wfile.write(xml("GetUser", USER).encode())
            handler.close_connection = True

        with Script(chunked, closed, chunked) as script, \
                Provider(script.endpoint, STATIC) as provider:
            for _ in range(3):
                self.assertEqual(provider.good("GetUser", user="u")["users"][0]["name"], "u")

    def test_a_cancelled_call_is_not_answered(self):
        gate = Gate(answer(xml("GetUser", USER)))
        with Script(gate.hold, answer(xml("GetUser", USER))) as script, \
                Provider(script.endpoint, STATIC) as provider:
            held = provider.start("GetUser", user="u")
            gate.wait()
            provider.cancel(held)
            gate.open()
            provider.good("GetUser", user="u")
            self.assertNotIn(held, provider.answers)

    def test_dropping_everything_leaks_nothing(self):
        gate = Gate(drop)
        with Script(gate.hold) as script, Provider(script.endpoint, STATIC) as provider:
            for _ in range(3):
                provider.start("GetUser", user="u")
            gate.wait()
            self.assertEqual(provider.close(), 0)
            gate.open()

    def test_redirects_are_not_followed(self):
        def redirect(handler):
            answer("", 302, Location=f"http://127.0.0.1:{handler.server.server_address[1]}/x")(
                handler)

        got, requests = self.play(redirect, user="u")
        self.assertIn("endpoint", self.refused(got, "fault", ambiguous=True))
        self.assertEqual(len(requests), 1)

    def test_a_dead_kept_connection_is_not_asked_twice(self):
        with Script(answer(xml("GetUser", USER)), drop, answer(xml("GetUser", USER))) as script, \
                Provider(script.endpoint, STATIC) as provider:
            provider.good("GetUser", user="u")
            self.refused(provider.call("CreateAccessKey", user="u"), "unreachable",
                         ambiguous=True)
        self.assertEqual(len(script.requests), 2)

    def test_the_same_page_again_is_no_list(self):
        page = "<IsTruncated>true</IsTruncated><Marker>m</Marker><Users/>"
        got, _ = self.play(answer(xml("ListUsers", page)), op="ListUsers", path="/", marker="m")
        self.refused(got, "fault", ambiguous=True)

    def test_a_truncated_page_without_a_marker_is_no_list(self):
        got, _ = self.play(answer(xml("ListUsers", "<IsTruncated>true</IsTruncated>")),
                           op="ListUsers", path="/")
        self.refused(got, "fault", ambiguous=True)

    def test_a_key_without_its_secret_is_no_key(self):
        got, _ = self.play(answer(xml("CreateAccessKey", "<AccessKey><AccessKeyId>AKIA1"
                                      "</AccessKeyId></AccessKey>")), op="CreateAccessKey",
                           user="u")
        self.refused(got, "fault", ambiguous=True)

    def test_a_virtual_device_is_deactivated_and_deleted(self):
        serial = "arn:aws:iam::1:mfa/test/u"
        for first in (answer(xml("DeactivateMFADevice")),
                      answer(error_xml("NoSuchEntity"), 404)):
            for second in (answer(xml("DeleteVirtualMFADevice")),
                           answer(error_xml("NoSuchEntity"), 404)):
                got, requests = self.play(first, second, op="Remove", user="u", name=serial,
                                          attachment=ATTACHMENTS.index("MFA device"))
                self.assertNotIn("error", got)
                self.assertIn("DeleteVirtualMFADevice", requests[1].body)
        got, requests = self.play(answer(xml("DeactivateMFADevice")), op="Remove", user="u",
                                  name="GAHT12345678", attachment=5)
        self.assertNotIn("error", got)
        self.assertEqual(len(requests), 1)

    def test_a_login_profile_is_a_list_of_at_most_one(self):
        profile = "<LoginProfile><UserName>u</UserName></LoginProfile>"
        got, _ = self.play(answer(xml("GetLoginProfile", profile)), op="List", attachment=4,
                           user="u")
        self.assertEqual(got["names"], [""])
        got, _ = self.play(answer(error_xml("NoSuchEntity"), 404), op="List", attachment=4,
                           user="u")
        self.assertEqual(got["names"], [])
        self.assertNotIn("error", got)

    def test_who_may_not_ask_iam_asks_sts(self):
        identity = ("<Arn>arn:aws:iam::12:user/ops/dsec</Arn><UserId>AIDA</UserId>"
                    "<Account>12</Account>")
        got, requests = self.play(answer(error_xml("AccessDenied"), 403),
                                  answer(xml("GetCallerIdentity", identity)))
        self.assertEqual(got["users"][0], {"name": "dsec", "path": "/ops/", "created_ms": 0,
                                           "arn": "arn:aws:iam::12:user/ops/dsec"})
        self.assertIn("Version=2011-06-15", requests[1].body)
        self.assertIn("/sts/aws4_request", requests[1].headers["Authorization"])
        got, _ = self.play(answer(error_xml("AccessDenied"), 403),
                           answer(error_xml("InvalidAction"), 400))
        self.refused(got, "denied", ambiguous=False, code="AccessDenied")

    def test_what_is_denied_is_named(self):
        def member(action, decision):
            return (f"<member><EvalActionName>{action}</EvalActionName><EvalDecision>{decision}"
                    "</EvalDecision><ResourceSpecificResults><member><EvalResourceDecision>allowed"
                    "</EvalResourceDecision></member></ResourceSpecificResults></member>")
        results = (member("iam:CreateUser", "allowed") + member("iam:TagUser", "implicitDeny") +
                   member("iam:DeleteUser", "explicitDeny"))
        got, requests = self.play(
            answer(xml("SimulatePrincipalPolicy",
                       f"<EvaluationResults>{results}</EvaluationResults>")),
            op="SimulatePrincipalPolicy", name="arn:aws:iam::1:user/me",
            actions=["iam:CreateUser", "iam:TagUser"], resource="arn:aws:iam::1:user/test/*",
            tags={"iam:PolicyARN": "arn:aws:iam::aws:policy/X"})
        self.assertEqual(got["names"], ["iam:TagUser", "iam:DeleteUser"])
        self.assertIn("&ActionNames.member.2=iam%3ATagUser&ResourceArns.member.1=arn",
                      requests[0].body)
        self.assertIn("&ContextEntries.member.1.ContextKeyName=iam%3APolicyARN",
                      requests[0].body)

    def test_a_server_that_repeats_the_request_gives_no_secret_away(self):
        token = "session+token/of/the+integration/0123456789"
        for code in ("SignatureDoesNotMatch", "AccessDenied", "MalformedPolicyDocument", "Odd"):
            body = error_xml(code, f"should have been x-amz-security-token:{token} {SECRET}")
            got, requests = self.play(answer(body, 403), user="u",
                                      credentials={**STATIC, "session_token": token})
            self.assertEqual(requests[0].headers["X-Amz-Security-Token"], token)
            self.assertIn("error", got)
            self.assertNotIn(token, json.dumps(got))
            self.assertNotIn(SECRET, json.dumps(got))
        got, _ = self.play(answer(error_xml(SECRET), 403), user="u")
        self.assertNotIn(SECRET, json.dumps(got))

    def test_what_a_terminal_could_misread_is_escaped(self):
        got, _ = self.play(answer(error_xml("AccessDenied", "a&#13;&#10;\u009b31mb"), 403),
                           user="u")
        self.assertNotRegex(got["message"], "[\x00-\x1f\x7f-\x9f]")

    def test_the_environments_proxies_are_not_used(self):
        nowhere = "http://127.0.0.1:9"
        with Script(answer(xml("GetUser", USER))) as script, \
                Provider(script.endpoint, STATIC,
                         environment={"http_proxy": nowhere, "all_proxy": nowhere}) as provider:
            provider.good("GetUser", user="u")


class Ahead(TestCase):
    def test_a_lease_waits_for_one_connection_and_not_for_one_after_the_other(self):
        key = ("<AccessKey><AccessKeyId>AKIAIOSFODNN7EXAMPLE</AccessKeyId>"
               f"<SecretAccessKey>{SECRET}</SecretAccessKey></AccessKey>")
        user, policy = Gate(answer(xml("CreateUser", USER))), Gate(answer(xml("PutUserPolicy")))
        with Script(user.hold, policy.hold, answer(xml("CreateAccessKey", key)),
                    answer(xml("CreateUser", USER))) as server, \
                Provider(server.endpoint, STATIC) as provider:
            made = provider.start("CreateUser", user="u", path="/test/")
            user.wait()
            self.assertTrue(server.head.wait(ANSWER_TIMEOUT), "nothing is opened beside it")
            user.open()
            self.assertNotIn("error", provider.answer(made))
            put = provider.start("PutUserPolicy", user="u", name="dsec", document=POLICY)
            policy.wait()
            provider.good("CreateAccessKey", user="u")
            policy.open()
            self.assertNotIn("error", provider.answer(put))
            provider.good("CreateUser", user="v", path="/test/")  # there are enough by now
            self.assertEqual(len(server.heads), 1)
            self.assertNotIn("Authorization", server.heads[0])
            self.assertEqual(len({asked.client_address for asked in server.requests}), 2)


class Tls(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.certificates = Certificates(cls.folder)

    def play(self, host="127.0.0.1", **integration):
        with Script(answer(xml("GetUser", USER)), tls=self.certificates) as script, \
                Provider(f"https://{host}:{script.port}", STATIC, **integration) as provider:
            return provider.call("GetUser", user="u"), script.requests

    def test_a_named_ca_is_trusted(self):
        got, _ = self.play(ca_file=self.certificates.ca)
        self.assertEqual(got["users"][0]["name"], "u")

    def test_an_unknown_ca_is_not(self):
        got, requests = self.play()
        self.assertIn("certificate", self.refused(got, "unreachable", ambiguous=False))
        self.assertEqual(got["server_ms"], 0, "AWS's time, from nobody knows whom")
        self.assertEqual(requests, [])

    def test_a_certificate_for_another_name_is_not(self):
        got, requests = self.play(host="127.0.0.2", ca_file=self.certificates.ca)
        self.refused(got, "unreachable", ambiguous=False)
        self.assertEqual(requests, [])

    def test_a_named_ca_is_trusted_alone(self):
        other = Certificates(self.enterContext(tempfile.TemporaryDirectory()))
        got, requests = self.play(ca_file=other.ca)
        self.refused(got, "unreachable", ambiguous=False)
        self.assertEqual(requests, [])

    def test_keys_are_not_logged_for_a_debugger(self):
        path = os.path.join(self.folder, "keylog")
        with Script(answer(xml("GetUser", USER)), tls=self.certificates) as script, \
                Provider(script.endpoint, STATIC, ca_file=self.certificates.ca,
                         environment={"SSLKEYLOGFILE": path}) as provider:
            provider.good("GetUser", user="u")
        self.assertFalse(os.path.exists(path))


class Others(TestCase):
    """Another's server, which verifies signatures and writes its own XML."""

    def test_moto_gets_along(self):
        server = moto.Moto()
        self.addCleanup(server.stop)
        credentials = {"source": "static", "access_key_id": server.access_key_id,
                       "secret_access_key": server.secret_access_key}
        with Provider(server.endpoint, credentials,
                      environment={"AWS_CALL_SHOWS_SECRETS": "1"}) as provider:
            self._lease(provider)
            self._attachments(provider, server.client("iam"))
            self.assertEqual(server.users(), [])
            self.refused(provider.call("DeleteUser", user="nobody"), "no_such_entity",
                         ambiguous=False, code="NoSuchEntity")
        with Provider(server.endpoint, {**credentials, "secret_access_key": SECRET}) as provider:
            self.refused(provider.call("GetUser"), "credentials", ambiguous=False,
                         code="SignatureDoesNotMatch")

    def _lease(self, provider):
        self.assertEqual(provider.good("GetUser")["users"][0]["name"], "administrator")
        made = provider.good("CreateUser", user="u+x", path="/test/a/", tags={"a b": "c/d+e"})
        self.assertEqual(made["users"][0]["path"], "/test/a/")
        self.refused(provider.call("CreateUser", user="u+x", path="/test/a/"), "exists",
                     ambiguous=False)
        provider.good("PutUserPolicy", user="u+x", name="dsec", document=POLICY)
        key = provider.good("CreateAccessKey", user="u+x")
        provider.good("GetCallerIdentity", access_key_id=key["access_key_id"],
                      secret_access_key=key["secret_access_key"])
        self.refused(provider.call("GetCallerIdentity", access_key_id=key["access_key_id"],
                                   secret_access_key=SECRET), "key_not_ready", ambiguous=False)
        listed = provider.good("ListUsers", path="/test/")
        self.assertEqual([user["name"] for user in listed["users"]], ["u+x"])
        self.refused(provider.call("DeleteUser", user="u+x"), "conflict", ambiguous=False)

    def _attachments(self, provider, iam):
        iam.create_group(GroupName="g")
        iam.add_user_to_group(GroupName="g", UserName="u+x")
        iam.create_login_profile(UserName="u+x", Password="a-Password-1")
        arn = iam.create_policy(PolicyName="p", PolicyDocument=POLICY)["Policy"]["Arn"]
        provider.good("AttachUserPolicy", user="u+x", name=arn)
        serial = iam.create_virtual_mfa_device(VirtualMFADeviceName="m")[
            "VirtualMFADevice"]["SerialNumber"]
        iam.enable_mfa_device(UserName="u+x", SerialNumber=serial, AuthenticationCode1="123456",
                              AuthenticationCode2="654321")
        iam.upload_ssh_public_key(UserName="u+x", SSHPublicKeyBody="ssh-rsa AAAA")
        found = {}
        for kind, name in enumerate(ATTACHMENTS):
            got = provider.call("List", user="u+x", attachment=kind)
            for entry in got["names"]:
                provider.good("Remove", user="u+x", attachment=kind, name=entry)
                found.setdefault(name, entry)
        self.assertEqual(set(found), set(ATTACHMENTS) - {"signing certificate",
                                                         "service credential"})
        self.assertEqual((found["group"], found["managed policy"], found["MFA device"]),
                         ("g", arn, serial))
        provider.good("DeleteUser", user="u+x")


class Memory(TestCase):
    """Secrets stay in the arena."""

    def test_no_copy_of_a_key_is_left_behind(self):
        own, leased = "own/secret+" + "o" * 29, "leased/secret+" + "l" * 26
        token = "session/token+" + "t" * 600
        key = (f"<AccessKey><AccessKeyId>AKIALEASED</AccessKeyId><SecretAccessKey>{leased}"
               "</SecretAccessKey></AccessKey>")
        answers = [answer(xml("CreateAccessKey", key))] * 3
        with tempfile.TemporaryDirectory() as folder:
            tls = Certificates(folder)
            path = pathlib.Path(folder, "output")
            path.write_text(json.dumps({"Version": 1, "AccessKeyId": "AKIAOWN",
                                        "SecretAccessKey": own, "SessionToken": token}))
            credentials = {"source": "process", "command": f"/bin/cat {path}"}
            with Script(*answers, tls=tls) as script, \
                    Provider(script.endpoint, credentials, ca_file=tls.ca) as provider:
                for _ in answers:
                    provider.good("CreateAccessKey", user="leased-user")
                self.assertGreater(provider.scan(tls.ca), 0, "the scan finds")
                for secret in (own, token, leased):
                    self.assertEqual(provider.scan(secret), 0)


if __name__ == "__main__":
    tap.main()
