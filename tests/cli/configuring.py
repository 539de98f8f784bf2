#!/usr/bin/python3
"""`integration add` and `dynamic-secret add`: a configuration is tested before it is written, and
what people wrote in it stays."""

import json
import os
import pathlib
import pty
import re
import select
import stat
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from awscall import works
from daemon import DESCRIBE, DSEC, TIMEOUT, Dsec, command, configuration, until
from localiam import LocalIAM

BY_HAND = """{
    "integrations": {
        "main": {"type": "aws-iam", "credentials": {"source": "environment"}}
    },

    "projects": {
        "app": {
            "dev": {"secrets": {"A": "\\u00e9 } {"}},   "prd": {
                "dynamic_secrets": {
                    "ONE": {"integration": "main", "policy": %s}
                }
            }
        },
        "none": {}
    }
}
""" % json.dumps(DESCRIBE)


class Case(unittest.TestCase):
    def setUp(self):
        self.iam = LocalIAM().start()
        self.addCleanup(self.stop_iam)
        self.dsec = Dsec(self, configuration(self.iam))
        self.policy = self.dsec.folder / "policy.json"
        self.policy.write_text(json.dumps(DESCRIBE))

    def stop_iam(self):
        self.assertIn(self.iam.stop(), (0, None))

    def endpoints(self):
        return ["--endpoint", self.iam.endpoint, "--sts-endpoint", self.iam.endpoint]

    def add(self, status, *words, **more):
        more = {"env": {"DSEC_TREE": str(self.dsec.mountpoint)}, **more}
        if "input" in more:
            more["stdin"] = None
            run = subprocess.run([DSEC, *map(str, words), "--config", str(self.dsec.config)],
                                 input=more["input"], capture_output=True, text=True, check=False,
                                 timeout=TIMEOUT, env={**os.environ, **more["env"]})
        else:
            run = command(*words, "--config", self.dsec.config, **more)
        self.assertEqual(run.returncode, status, run.stdout + run.stderr)
        return run

    def left_over(self):
        return [name for name in os.listdir(self.dsec.folder)
                if name.startswith(".dsec") or name.endswith(".key")]


class Adding(Case):
    def test_integration_with_a_typed_key_serves(self):
        self.dsec.mount()
        result = self.add(0, "integration", "add", "second", "--access-key-id",
                          self.iam.admin.access_key_id, "--secret-access-key-file", "-",
                          *self.endpoints(), input=self.iam.admin.secret_access_key + "\n")
        self.assertIn("second: the permissions are sufficient", result.stdout)
        self.assertIn("was told to read it", result.stderr)
        key = self.dsec.folder / "second.key"
        self.assertEqual(stat.S_IMODE(key.stat().st_mode), 0o600)
        # It stands in no other file, and nobody prints it.
        text = self.dsec.config.read_text()
        self.assertEqual(text.count(self.iam.admin.secret_access_key), 1)  # the first integration's
        self.assertNotIn(self.iam.admin.secret_access_key, result.stdout + result.stderr)
        self.add(0, "dynamic-secret", "add", "new", "prd", "AWS", "--integration", "second",
                 "--policy", self.policy, "--ttl", "20m", "--max-ttl", "1h")
        until("the daemon has read it", self.dsec.path("new/prd").exists)
        self.assertTrue(works(self.iam.endpoint, self.dsec.key("new/prd", "AWS")))
        self.dsec.stop()

    def test_what_does_not_work_is_not_written(self):
        before = self.dsec.config.read_bytes()
        result = self.add(1, "integration", "add", "second", "--access-key-id",
                          self.iam.admin.access_key_id, "--secret-access-key-file", "-",
                          *self.endpoints(), input="x" * 40)
        self.assertIn("second: the credentials do not work", result.stdout)
        self.assertIn("nothing was written", result.stderr)
        for words, message in (
                (["--integration", "nope", "--policy", self.policy], 'there is no integration'),
                (["--policy", self.dsec.config], "AWS.policy"),
                (["--policy", self.policy, "--ttl", "1s"], "AWS.ttl"),
                (["--policy", self.policy, "--scope", "all"], "AWS.scope")):
            if "--integration" not in words:
                words += ["--integration", "aws-main"]
            result = self.add(1, "dynamic-secret", "add", "app", "dev", "AWS", *words)
            self.assertIn(message, result.stderr)
            self.assertIn("was not changed", result.stderr)
        self.assertEqual(self.dsec.config.read_bytes(), before)
        self.assertEqual(self.left_over(), [])
        # Whoever knows better may.
        self.add(0, "integration", "add", "second", "--access-key-id", "AKIAIOSFODNN7EXAMPLE",
                 "--secret-access-key-file", "-", *self.endpoints(), "--no-test", input="x" * 40)
        self.assertEqual(self.left_over(), ["second.key"])

    def test_name_that_is_there_is_refused(self):
        before = self.dsec.config.read_bytes()
        result = self.add(1, "integration", "add", "aws-main", "--source", "environment")
        self.assertIn('there is a "aws-main" already', result.stderr)
        result = self.add(1, "dynamic-secret", "add", "app", "dev", "AWS_USER", "--integration",
                          "aws-main", "--policy", self.policy)
        self.assertIn('there is a "AWS_USER" already', result.stderr)
        self.assertEqual(self.dsec.config.read_bytes(), before)

    def test_what_people_wrote_stays_as_it_is(self):
        self.dsec.config.write_text(BY_HAND)
        self.dsec.config.chmod(0o640)
        link = self.dsec.folder / "link.json"
        link.symlink_to("dsec.json")
        owner = (12345, 12345) if os.getuid() == 0 else (os.getuid(), os.getgid())
        os.chown(self.dsec.config, *owner)
        for words in (["app", "dev", "TWO"], ["app", "prd", "TWO"], ["none", "x", "TWO"],
                      ["other", "x", "TWO"]):
            result = command("dynamic-secret", "add", *words, "--integration", "main",
                             "--policy-arns", "arn:aws:iam::aws:policy/ReadOnlyAccess", "--no-test",
                             "--config", link, env={"DSEC_TREE": "/nonexistent"})
            self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(link.is_symlink())
        found = self.dsec.config.stat()
        self.assertEqual((found.st_uid, found.st_gid), owner)
        self.assertEqual(stat.S_IMODE(found.st_mode), 0o640)
        secret = ('{"integration": "main", "policy_arns": '
                  '["arn:aws:iam::aws:policy/ReadOnlyAccess"]}')

        def lines(depth):
            text = json.dumps(json.loads(secret), indent=4)
            return text.replace("\n", "\n" + "    " * depth)

        expected = BY_HAND.replace(
            '"A": "\\u00e9 } {"}}', '"A": "\\u00e9 } {"}, "dynamic_secrets": {"TWO": %s}}' % secret)
        expected = expected.replace('"policy": %s}\n' % json.dumps(DESCRIBE),
                                    '"policy": %s},\n                    "TWO": %s\n'
                                    % (json.dumps(DESCRIBE), lines(5)))
        config = '"x": {\n%s"dynamic_secrets": {\n%s"TWO": %s\n%s}\n%s}'
        expected = expected.replace(
            '"none": {}', '"none": {\n            %s\n        },\n        "other": {\n'
            '            %s\n        }' % ((config % (" " * 16, " " * 20, lines(5), " " * 16,
                                                      " " * 12),) * 2))
        self.assertEqual(self.dsec.config.read_text(), expected)
        json.loads(expected)

    def test_first_configuration_is_made_for_the_owner_alone(self):
        self.dsec.config.unlink()
        key = self.dsec.folder / "my.key"
        key.write_text(self.iam.admin.secret_access_key)
        key.chmod(0o600)
        self.add(0, "integration", "add", "main", "--access-key-id", self.iam.admin.access_key_id,
                 "--secret-access-key-file", "my.key", *self.endpoints(), cwd=self.dsec.folder)
        self.assertEqual(stat.S_IMODE(self.dsec.config.stat().st_mode), 0o600)
        written = json.loads(self.dsec.config.read_text())
        self.assertEqual(written["integrations"]["main"]["credentials"]["secret_access_key_file"],
                         str(key))
        self.assertEqual(written["integrations"]["main"]["region"], "us-east-1")

    def test_two_at_once_lose_nothing(self):
        self.dsec.config.write_text(BY_HAND)
        adding = [subprocess.Popen([DSEC, "dynamic-secret", "add", "app", "dev", f"S{i}",
                                    "--integration", "main", "--policy", self.policy, "--no-test",
                                    "--config", self.dsec.config], stderr=subprocess.DEVNULL,
                                   stdin=subprocess.DEVNULL,
                                   env={**os.environ, "DSEC_TREE": "/nonexistent"})
                  for i in range(6)]
        added = [f"S{i}" for i, process in enumerate(adding) if process.wait(TIMEOUT) == 0]
        written = json.loads(self.dsec.config.read_text())
        self.assertEqual(sorted(written["projects"]["app"]["dev"]["dynamic_secrets"]), added)
        self.assertTrue(added)
        self.assertEqual(self.left_over(), [])


class Asking(Case):
    """On a terminal."""

    def start(self, *words):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ["DSEC_TREE"] = "/nonexistent"
            try:
                os.execv(DSEC, [DSEC, *words, "--config", str(self.dsec.config)])
            finally:
                os._exit(127)
        self.addCleanup(os.close, self.terminal)
        self.seen = self.all = ""

    def expect(self, pattern):
        deadline = time.monotonic() + TIMEOUT
        while not re.search(pattern, self.seen):
            ready, _, _ = select.select([self.terminal], [], [], deadline - time.monotonic())
            self.assertTrue(ready, (pattern, self.seen))
            try:
                text = os.read(self.terminal, 4096).decode()
            except OSError:
                self.fail((pattern, self.seen))
            self.seen += text
            self.all += text
        self.seen = self.seen[re.search(pattern, self.seen).end():]

    def answer(self, pattern, text):
        self.expect(pattern)
        os.write(self.terminal, text.encode() + b"\n")

    def status(self):
        while True:
            try:
                if not os.read(self.terminal, 4096):
                    break
            except OSError:
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def test_walk_through_an_integration(self):
        self.start("integration", "add", *self.endpoints())
        self.answer(r"Name of the integration \[aws-main\]: ", "second")
        self.answer(r"Credentials: .*\[static\]: ", "")
        self.answer(r"Access key id .*: ", self.iam.admin.access_key_id)
        self.answer(r"Secret access key \(it is not shown\): ", self.iam.admin.secret_access_key)
        self.answer(r"Region \[us-east-1\]: ", "")
        self.expect(r"added second")
        self.assertEqual(self.status(), 0)
        self.assertNotIn(self.iam.admin.secret_access_key, self.all)
        self.assertEqual((self.dsec.folder / "second.key").read_text(),
                         self.iam.admin.secret_access_key)

    def test_walk_through_a_dynamic_secret_with_a_typed_policy(self):
        self.start("dynamic-secret", "add")
        self.answer(r"Project: ", "")
        self.answer(r"Project: ", "web")
        self.answer(r"Config \[dev\]: ", "")
        self.answer(r"Name, .*\[AWS\]: ", "")
        self.answer(r"Integration \[aws-main\]: ", "")
        self.answer(r"File with the policy .*: ", "")
        self.expect(r"The policy of the leased users .*:\r\n")
        os.write(self.terminal, json.dumps(DESCRIBE, indent=1).encode() + b"\n")
        self.answer(r"TTL \[30m\]: ", "15m")
        self.answer(r"Longest TTL \[12h\]: ", "")
        self.expect(r"dsec run -p web -c dev")
        self.assertEqual(self.status(), 0)
        written = json.loads(self.dsec.config.read_text())["projects"]["web"]["dev"]
        self.assertEqual(written, {"dynamic_secrets": {"AWS": {
            "integration": "aws-main", "policy": DESCRIBE, "ttl": "15m", "max_ttl": "12h"}}})

    def test_giving_up_changes_nothing(self):
        before = self.dsec.config.read_bytes()
        self.start("integration", "add", *self.endpoints())
        self.answer(r"Name of the integration \[aws-main\]: ", "second")
        self.answer(r"Credentials: .*\[static\]: ", "")
        self.answer(r"Access key id .*: ", "x")
        self.expect(r"Secret access key .*: ")
        os.write(self.terminal, b"\x03")
        self.expect("given up: nothing was changed")
        self.assertEqual(self.status(), 1)
        self.assertEqual(self.dsec.config.read_bytes(), before)
        self.assertEqual(self.left_over(), [])


if __name__ == "__main__":
    tap.main()
