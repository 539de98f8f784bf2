#!/usr/bin/python3
"""Each endpoint and each error over the real sockets, as curl and programs of other users see them."""

import grp
import json
import os
import pathlib
import pwd
import signal
import ssl
import subprocess
import sys
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import asking
import daemon
import localiam
import tap

CONFIG = "project=app&config=dev"
DOWNLOAD = f"/v3/configs/config/secrets/download?{CONFIG}"
LEASED = f"{DOWNLOAD}&include_dynamic_secrets=true"
ISSUE = "/v3/configs/config/dynamic_secrets/dynamic_secret/leases"

# Doppler's own examples.
VALUES = {"Q": 'say "hi"', "N": "l1\nl2", "D": "$HOME", "B": "c:\\new", "TEST__A_SECRET": "1"}
FIXED = 'DOPPLER_CONFIG="golden"\nDOPPLER_ENVIRONMENT="golden"\nDOPPLER_PROJECT="app"'
GOLDEN = {
    "json": '{"B":"c:\\\\new","D":"$HOME","DOPPLER_CONFIG":"golden","DOPPLER_ENVIRONMENT":"golden",'
            '"DOPPLER_PROJECT":"app","N":"l1\\nl2","Q":"say \\"hi\\"","TEST__A_SECRET":"1"}',
    "env": f'B="c:\\\\new"\nD="$HOME"\n{FIXED}\nN="l1\nl2"\nQ="say \\"hi\\""\nTEST__A_SECRET="1"',
    "env-no-quotes": "B=c:\\new\nD=$HOME\n" + FIXED.replace('"', "") +
                     '\nN=l1\nl2\nQ=say "hi"\nTEST__A_SECRET=1',
    "docker": "B=c:\\new\nD=$HOME\n" + FIXED.replace('"', "") +
              '\nN=l1\\nl2\nQ=say "hi"\nTEST__A_SECRET=1',
    "yaml": 'B: "c:\\\\new"\nD: "$HOME"\n' + FIXED.replace("=", ": ") +
            '\nN: "l1\\nl2"\nQ: "say \\"hi\\""\nTEST__A_SECRET: "1"',
    "dotnet-json": '{"B":"c:\\\\new","D":"$HOME","DopplerConfig":"golden",'
                   '"DopplerEnvironment":"golden","DopplerProject":"app","N":"l1\\nl2",'
                   '"Q":"say \\"hi\\"","Test:ASecret":"1"}',
}


class Endpoints(unittest.TestCase):
    """One daemon for all of them."""

    @classmethod
    def setUpClass(cls):
        cls.iam = localiam.LocalIAM().start()
        cls.addClassCleanup(cls.iam.stop)

    def setUp(self):
        configuration = daemon.configuration(self.iam)
        configuration["projects"]["app"]["golden"] = {"secrets": VALUES}
        self.api = asking.Api(self, self.iam, configuration)

    def test_the_formats_are_the_same_bytes_through_the_mount_and_the_api(self):
        for format, text in GOLDEN.items():
            answer = self.api.ask("/v3/configs/config/secrets/download?project=app&config=golden"
                                  f"&format={format}")
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.body.decode(), text)
            self.assertEqual(self.api.dsec.read(f"app/golden/.{format}").decode(), text)

    def test_a_session_with_curl(self):
        token = self.api.token()
        on_unix = ["--unix-socket", self.api.socket]
        plain = asking.curl(*on_unix, f"http://localhost{DOWNLOAD}&format=env&secrets=GREETING")
        self.assertEqual(plain.stdout, b'GREETING="hello"')
        with_token = asking.curl("-H", f"Authorization: Bearer {token}",
                                 f"{self.api.url}/v3/configs/config/secrets/download"
                                 "?include_dynamic_secrets=true&dynamic_secrets_ttl_sec=60")
        lease = json.loads(with_token.stdout)
        self.assertIn(lease["AWS_USER_USERNAME"], self.iam.users())
        basic = asking.curl("-u", f"{token}:", f"{self.api.url}/v3/me")
        self.assertEqual(json.loads(basic.stdout)["type"], "service_token")
        issued = json.loads(asking.curl(
            "-u", f"{token}:", f"{self.api.url}{ISSUE}", "--json",
            json.dumps({"project": "app", "config": "dev", "dynamic_secret": "AWS_USER"})).stdout)
        self.assertEqual(set(issued["value"]),
                         {"ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "ARN", "USERNAME", "POLICY_NAME",
                          "LEASE_ID", "LEASE_EXPIRATION"})
        revoked = asking.curl("-u", f"{token}:", "-X", "DELETE", f"{self.api.url}{ISSUE}/lease",
                              "-d", json.dumps({"slug": issued["id"],
                                                "dynamic_secret": "AWS_USER"}))
        self.assertEqual(json.loads(revoked.stdout), {"success": True})
        daemon.until("the issued user is gone",
                     lambda: issued["value"]["USERNAME"] not in self.iam.users())
        self.assertIn(lease["AWS_USER_USERNAME"], self.iam.users())
        ping = asking.curl("-u", f"{token}:", "-o", "/dev/null", "-w", "%{http_code}",
                           f"{self.api.url}/v3/configs/config/ping")
        self.assertEqual(ping.stdout, b"200")
        metrics = asking.curl(*on_unix, "http://localhost/metrics")
        self.assertEqual(metrics.stdout.split(b"\n")[0],
                         self.api.dsec.read(".dsec/metrics").split(b"\n")[0])

    def test_every_error_is_json_with_a_status(self):
        before = set(self.iam.users())
        token = self.api.token()
        wrong = {"Authorization": "Bearer dp.st.dev.wrong"}
        cases = [
            (401, "Invalid Auth token", {"path": DOWNLOAD, "headers": wrong, "tcp": True}),
            (401, "'dsec tokens create'", {"path": DOWNLOAD, "tcp": True}),
            (403, "does not have access", {"path": DOWNLOAD.replace("dev", "golden"),
                                           "token": token}),
            (404, "Could not find requested config 'prd'",
             {"path": DOWNLOAD.replace("dev", "prd")}),
            (400, "invalid format. Valid formats are json, dotnet-json, env, yaml, docker, "
                  "env-no-quotes", {"path": f"{DOWNLOAD}&format=toml"}),
            (400, "at most 12h", {"path": f"{LEASED}&dynamic_secrets_ttl_sec=43201"}),
            (400, "the body has to be", {"path": ISSUE, "method": "POST", "body": "x"}),
            (404, "dynamic secret 'NONE'",
             {"path": ISSUE, "method": "POST",
              "body": {"project": "app", "config": "dev", "dynamic_secret": "NONE"}}),
            (421, "Host header", {"path": DOWNLOAD, "token": token,
                                  "headers": {"Host": f"evil.example:{self.api.port}"}}),
            (421, "Host header", {"path": DOWNLOAD, "token": token,
                                  "headers": {"Host": "127.0.0.1:1"}}),
        ]
        for status, part, request in cases:
            answer = self.api.ask(**request)
            self.assertEqual(answer.status, status, answer.body)
            self.assertIn(part, answer.message)
            self.assertFalse(answer.json["success"])
            self.assertEqual(answer.headers["Content-Type"], "application/json")
        self.assertEqual(set(self.iam.users()) - before, set())

    def test_a_lease_failure_is_the_sentence_of_the_status_file(self):
        self.iam.fault("CreateUser", kind="error", status=403, code="AccessDenied",
                       message="not authorized to perform: iam:CreateUser")
        self.addCleanup(self.iam.reset)
        answer = self.api.ask(LEASED)
        self.assertEqual(answer.status, 502)
        self.assertIn(answer.message.split(" (AWS")[0], self.api.dsec.status())
        self.assertIn("dsec integration policy", answer.json["messages"][1])

    def test_max_leases_holds_for_downloads(self):
        configuration = daemon.configuration(self.iam, secret={"max_leases": 2})
        api = asking.Api(self, self.iam, configuration)
        for _ in range(2):
            self.assertEqual(api.ask(LEASED).status, 200)
        refused = api.ask(LEASED)
        self.assertEqual(refused.status, 502)
        self.assertIn("max_leases", refused.message)

    def test_a_token_that_is_used_in_a_loop_leaves_leases_to_the_others(self):
        configuration = daemon.configuration(self.iam, secret={"max_rate": "4/h"})
        api = asking.Api(self, self.iam, configuration)
        looping, other = api.token(), api.token()
        statuses = [api.ask(LEASED, token=looping).status for _ in range(5)]
        self.assertEqual(statuses, [200, 200, 502, 502, 502])
        refused = api.ask(LEASED, token=looping)
        self.assertRegex(refused.message, r"\Atoken:[0-9a-f]+ has caused as many leases .* 2 in 1h "
                                          r"\(max_rate_per_holder\): it may try again in \d")
        self.assertEqual(api.ask(LEASED, token=other).status, 200)
        self.assertEqual(api.ask(LEASED).status, 200)

    def test_a_killed_client_leaves_no_user(self):
        self.iam.fault("CreateAccessKey", kind="hold")
        self.addCleanup(self.iam.reset)
        client = subprocess.Popen(["curl", "-sS", "--unix-socket", str(self.api.socket),
                                   f"http://localhost{LEASED}"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        self.iam.wait_held()
        client.kill()
        client.wait()
        # The daemon knows before the call goes on.
        daemon.until("the lease is given up",
                     lambda: not [lease for lease in self.api.leases()
                                  if lease["state"] == "creating"])
        self.iam.release()
        daemon.until("no user is left", lambda: not self.iam.users())


class Peers(unittest.TestCase):
    """Who may what on the Unix socket."""

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        self.nobody = pwd.getpwnam("nobody")
        self.games = grp.getgrnam("games")
        self.iam = localiam.LocalIAM().start()
        self.addCleanup(self.iam.stop)

    def api_with(self, access, **members):
        return asking.Api(self, self.iam,
                          daemon.configuration(self.iam, config={"access": access}), **members)

    def status(self, api, path, groups=(), **request):
        def ask():
            return api.ask(path, **request).status
        return asking.as_user(self.nobody.pw_uid, self.nobody.pw_gid, list(groups), ask)

    def test_access_decides_as_it_does_for_the_files(self):
        api = self.api_with({"user": "root", "group": "games", "mode": "0440"})
        self.assertEqual(self.status(api, DOWNLOAD), 403)
        self.assertEqual(self.status(api, LEASED), 403)
        self.assertEqual(self.status(api, DOWNLOAD, [self.games.gr_gid]), 200)
        self.assertEqual(self.iam.users(), {})

    def test_lists_of_access_count_for_root_too(self):
        api = self.api_with({"user": "root", "group": "games", "mode": "0440",
                             "allow": {"uids": ["nobody"]}})
        self.assertEqual(api.ask(LEASED).status, 403)
        self.assertEqual(self.status(api, DOWNLOAD), 403)
        self.assertEqual(self.iam.users(), {})
        self.assertEqual(self.status(api, DOWNLOAD, [self.games.gr_gid]), 200)

    def test_a_hidden_config_is_not_there(self):
        api = self.api_with({"user": "root", "mode": "0400", "hide": True})
        self.assertEqual(self.status(api, LEASED), 404)
        self.assertEqual(self.status(api, "/metrics"), 403)
        self.assertEqual(api.ask("/metrics", token=api.token()).status, 403)
        self.assertEqual(api.ask(DOWNLOAD).status, 200)
        self.assertEqual(self.iam.users(), {})

    def test_no_client_is_given_anothers_lease_when_the_worker_was_replaced(self):
        api = self.api_with({"user": "nobody", "mode": "0400"})
        first = api.ask(LEASED).json["AWS_USER_LEASE_ID"]
        worker = api.dsec.worker()
        os.kill(worker, signal.SIGKILL)
        daemon.until("another worker serves", lambda: api.dsec.worker() not in (0, worker))

        def lease_of_nobody():
            return api.ask(LEASED).json["AWS_USER_LEASE_ID"]

        second = asking.as_user(self.nobody.pw_uid, self.nobody.pw_gid, [], lease_of_nobody)
        self.assertNotEqual(first, second)
        self.assertEqual({lease["id"] for lease in api.leases()}, {first, second})

    def test_the_owner_of_a_config_may_not_more_than_its_mode_says(self):
        api = self.api_with({"user": "nobody", "group": "games", "mode": "0040"})
        self.assertEqual(self.status(api, DOWNLOAD, [self.games.gr_gid]), 403)

    def test_what_concerns_others_is_for_administrators(self):
        api = self.api_with({"user": "nobody", "mode": "0400"},
                            api={"admin_group": self.games.gr_name})
        lease = api.ask(LEASED).json["AWS_USER_LEASE_ID"]
        body = {"project": "app", "config": "dev", "dynamic_secret": "AWS_USER", "slug": lease}
        for path, request in (("/v3/dsec/leases", {}), ("/v3/dsec/tokens", {}), ("/metrics", {}),
                              ("/v3/dsec/tokens", {"method": "POST", "body": body})):
            self.assertEqual(self.status(api, path, **request), 403)
        self.assertEqual(self.status(api, f"/v3/dsec/leases/{lease}", method="DELETE"), 404)
        self.assertEqual(self.status(api, f"{ISSUE}/lease", method="DELETE", body=body), 404)
        self.assertEqual(self.status(api, "/v3/dsec/leases", [self.games.gr_gid]), 200)
        self.assertEqual(
            self.status(api, f"{ISSUE}/lease", [self.games.gr_gid], method="DELETE", body=body),
            200)
        daemon.until("the user is gone", lambda: not self.iam.users())

    def test_an_administrator_has_the_configuration_read_again(self):
        api = self.api_with({"user": "nobody", "mode": "0400"},
                            api={"admin_group": self.games.gr_name})
        api.configuration["projects"]["app"]["more"] = {"secrets": {"MORE": "1"}}
        api.dsec.configure(api.configuration)
        self.assertEqual(self.status(api, "/v3/dsec/reload", method="POST"), 403)
        more = DOWNLOAD.replace("dev", "more")
        self.assertEqual(api.ask(more).status, 404)
        self.assertEqual(
            self.status(api, "/v3/dsec/reload", [self.games.gr_gid], method="POST"), 200)
        self.assertEqual(api.ask(more).json["MORE"], "1")
        api.dsec.config.write_text("{")
        refused = api.ask("/v3/dsec/reload", "POST")
        self.assertEqual(refused.status, 400)
        self.assertIn("running configuration stays", refused.message)
        self.assertEqual(api.ask(more).status, 200)

    def test_a_lease_of_ones_own_may_be_ended(self):
        api = self.api_with({"user": "nobody", "mode": "0400"})

        def issue_and_revoke():
            issued = api.ask(ISSUE, "POST", {"project": "app", "config": "dev",
                                             "dynamic_secret": "AWS_USER", "ttl_sec": 60}).json
            renewed = api.ask(f"/v3/dsec/leases/{issued['id']}/renew", "POST", {"ttl_sec": 90})
            revoked = api.ask(f"/v3/dsec/leases/{issued['id']}", "DELETE")
            return [issued["success"], renewed.status, revoked.status]

        self.assertEqual(asking.as_user(self.nobody.pw_uid, self.nobody.pw_gid, [],
                                        issue_and_revoke), [True, 200, 200])
        daemon.until("the user is gone", lambda: not self.iam.users())


class Tls(unittest.TestCase):
    def test_beyond_loopback_there_is_tls_with_the_configured_certificate_or_nothing(self):
        api = asking.Api(self)
        token = api.token()
        certificates = localiam.Certificates(api.dsec.folder)
        os.chmod(certificates.key, 0o600)
        api.dsec.stop()
        port = asking.free_port()
        api.configuration["api"] = {"listen": [f"unix:{api.socket}", f"0.0.0.0:{port}"]}
        api.dsec.configure(api.configuration)
        refused = api.dsec.try_mount()
        self.assertEqual(refused.returncode, 1)
        self.assertIn("others need TLS", refused.stderr)

        api.configuration["api"] |= {"tls_certificate": certificates.certificate,
                                     "tls_key": certificates.key}
        api.dsec.configure(api.configuration)
        api.dsec.start()
        request = urllib.request.Request(
            f"https://127.0.0.1:{port}/v3/configs/config/secrets/download",
            headers={"Authorization": f"Bearer {token}"})
        context = ssl.create_default_context(cafile=certificates.ca)
        with urllib.request.urlopen(request, timeout=20, context=context) as answer:
            self.assertEqual(json.load(answer)["GREETING"], "hello")
        # Tokens outlive the daemon. Plain HTTP gets nothing here.
        plain = asking.curl("-H", f"Authorization: Bearer {token}", f"http://127.0.0.1:{port}/v3/me")
        self.assertNotEqual(plain.returncode, 0)
        self.assertEqual(plain.stdout, b"")

    def test_a_key_that_is_not_the_certificates_is_refused_at_start(self):
        api = asking.Api(self)
        api.dsec.stop()
        one, other = api.dsec.folder / "one", api.dsec.folder / "other"
        one.mkdir()
        other.mkdir()
        certificate = localiam.Certificates(one).certificate
        key = localiam.Certificates(other).key
        os.chmod(key, 0o600)
        api.configuration["api"] |= {"listen": [f"0.0.0.0:{api.port}"], "tls_key": key,
                                     "tls_certificate": certificate}
        api.dsec.configure(api.configuration)
        refused = api.dsec.try_mount()
        self.assertEqual(refused.returncode, 1)
        self.assertIn("not usable together", refused.stderr)


if __name__ == "__main__":
    tap.main()
