#!/usr/bin/python3
"""Completion: what the shells offer, and that asking for it leases nothing and never hangs."""

import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from daemon import DSEC, TIMEOUT, Dsec, command, configuration
from localiam import LocalIAM

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "cli" / "completions"


class Case(unittest.TestCase):
    def setUp(self):
        self.iam = LocalIAM().start()
        self.addCleanup(self.stop_iam)
        config = configuration(self.iam)
        config["projects"]["other"] = {"prd": {}, "stg": {}}
        self.dsec = Dsec(self, config).mount()
        self.env = {**os.environ, "DSEC_TREE": str(self.dsec.mountpoint), "DOPPLER_PROJECT": "",
                    "DOPPLER_CONFIG": "", "PATH": f"{pathlib.Path(DSEC).parent}:{os.environ['PATH']}"}

    def stop_iam(self):
        self.assertIn(self.iam.stop(), (0, None))

    def offers(self, line):
        words = shlex.split(line) + ([""] if line.endswith(" ") or not line else [])
        result = subprocess.run([DSEC, "__complete", *words], capture_output=True, text=True,
                                check=True, env=self.env, timeout=TIMEOUT, cwd=self.dsec.folder)
        return [text.split("\t")[0] for text in result.stdout.splitlines()]

    def creations(self):
        return [entry for entry in self.iam.log() if entry["action"] == "CreateUser"]


class Offers(Case):
    def test_what_can_come_next(self):
        for line, expected in (
                ("le", ["leases"]), ("leases r", ["revoke", "renew"]),
                ("secrets ", ["get", "download"]), ("help sec", ["secrets"]),
                ("run --format j", ["json"]), ("run --format=j", ["--format=json"]),
                ("run --name-transformer lower", ["lower-kebab", "lower-snake"]),
                ("secrets download --no", ["--no-file"]),
                ("run -p ", ["app", "other"]), ("run --project=o", ["--project=other"]),
                ("run -p other -c ", ["prd", "stg"]), ("run -p other --config s", ["stg"]),
                ("run -c ", []),
                ("secrets get -p app -c dev AWS_USER_A", ["AWS_USER_ACCESS_KEY_ID", "AWS_USER_ARN"]),
                ("dynamic-secret add ", ["app", "other"]),
                ("dynamic-secret add other ", ["prd", "stg"]),
                (f"integration test --config {self.dsec.config} ", ["aws-main"]),
                ("mount --config ", [":files"]), ("mount ", [":files"]),
                ("run ", [":command 1"]), ("run -p app -- ls ", [":command 4"]),
                ("run -p app ls -", [":command 3"]), ("frobnicate ", []), ("run --nope ", [":command 2"])):
            self.assertEqual(sorted(self.offers(line)), sorted(expected), line)
        self.assertEqual(self.creations(), [])

    def test_leases_are_offered_by_id(self):
        self.dsec.key()
        [lease] = json.loads(self.dsec.read(".dsec/leases.json"))["leases"]
        self.assertEqual(self.offers("leases revoke "), [lease["id"]])

    def test_daemon_that_hangs_does_not_hang_the_shell(self):
        pid = self.dsec.pid()
        stopped = [pid, *map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
                             .split())]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            begin = time.monotonic()
            self.assertEqual(self.offers("run -p "), [])
            self.assertLess(time.monotonic() - begin, 15)
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)


class Shells(Case):
    def test_bash(self):
        script = (f"source {SCRIPTS}/dsec.bash; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); "
                  "compopt() { :; }; _dsec; printf '%s\\n' \"${COMPREPLY[@]}\"")
        for words, expected in ((["dsec", "leases", "ren"], ["renew"]),
                                (["dsec", "run", "-p", "o"], ["other"]),
                                (["dsec", "run", "--format=e"], ["env", "env-no-quotes"])):
            result = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True,
                                    text=True, check=True, env=self.env, timeout=TIMEOUT)
            self.assertEqual(result.stdout.split(), expected, words)

    @unittest.skipUnless(shutil.which("fish"), "there is no fish here")
    def test_fish(self):
        for line, expected in (("dsec leases ren", ["renew"]), ("dsec run -p o", ["other"]),
                               ("dsec run --format=e", ["--format=env", "--format=env-no-quotes"])):
            result = subprocess.run(
                ["fish", "--no-config", "-c",
                 f"source {SCRIPTS}/dsec.fish; complete -C {shlex.quote(line)}"],
                capture_output=True, text=True, check=True, env=self.env, timeout=TIMEOUT)
            self.assertEqual([text.split("\t")[0] for text in result.stdout.splitlines()],
                             expected, line)

    @unittest.skipUnless(shutil.which("zsh"), "there is no zsh here")
    def test_zsh(self):
        script = ("_describe() { print -l -- ${(P)2} }; _files() { print files }; "
                  "_normal() { print -- normal $words[CURRENT] }; words=(\"$@\"); CURRENT=$#; "
                  f"source {SCRIPTS}/_dsec")
        for words, expected in ((["dsec", "leases", "ren"], "renew:move the end of a lease"),
                                (["dsec", "run", "-p", "o"], "other"),
                                (["dsec", "mount", ""], "files"),
                                (["dsec", "run", "--", "ls", "-x"], "normal -x")):
            result = subprocess.run(["zsh", "-f", "-c", script, "zsh", *words], capture_output=True,
                                    text=True, check=True, env=self.env, timeout=TIMEOUT)
            self.assertEqual(result.stdout.strip(), expected, words)


if __name__ == "__main__":
    tap.main()
