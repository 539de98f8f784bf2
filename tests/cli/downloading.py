#!/usr/bin/python3
"""What Doppler's commands print, from the mount and from the socket; which config is meant; and
every wrong flag."""

import http.client
import itertools
import json
import os
import pathlib
import re
import socket
import stat
import subprocess
import sys
import tempfile
import unittest
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from awscall import works
from daemon import DSEC, TIMEOUT, Dsec, command, configuration, until
from localiam import LocalIAM

NAMES = ["-p", "app", "-c", "dev"]
GOLDEN = pathlib.Path(__file__).resolve().parent / "formats"
FORMATS = ["json", "env", "env-no-quotes", "docker", "yaml", "dotnet-json"]
TRANSFORMERS = ["upper-camel", "camel", "lower-snake", "lower-kebab", "tf-var", "dotnet",
                "dotnet-env"]
# Doppler's examples, and what is most likely to be got wrong.
VALUES = {"Q": 'say "hi"', "N": "l1\nl2", "D": "$HOME", "B": "c:\\new", "EMPTY": "",
          "TEST_SECRET": "é ☃ \t", "TEST__SECRET": "\u0001'`#", "YES": "no", "_": " x "}


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=TIMEOUT)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def ask(dsec, what, **parameters):
    connection = UnixConnection(dsec.folder / "socket")
    connection.request("GET", what + "?" + urllib.parse.urlencode(parameters))
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.status == 200, body
    return body


class Case(unittest.TestCase):
    def setUp(self):
        self.iam = LocalIAM().start()
        self.addCleanup(self.stop_iam)

    def stop_iam(self):
        self.assertIn(self.iam.stop(), (0, None))

    def mount(self, projects=None, secret=None):
        config = configuration(self.iam, secret)
        if projects:
            config["projects"] = projects
        self.dsec = Dsec(self, config).mount()
        self.tree = ["--tree", str(self.dsec.mountpoint)]
        self.socket = ["--socket", str(self.dsec.folder / "socket")]
        return self.dsec

    def run_dsec(self, status, *words, **more):
        result = command(*words, **more)
        self.assertEqual(result.returncode, status, result.stdout + result.stderr)
        return result

    def creations(self):
        return [entry for entry in self.iam.log() if entry["action"] == "CreateUser"]


class Formats(Case):
    def golden(self, name):
        return (GOLDEN / name).read_bytes()

    def test_same_bytes_from_mount_api_and_command(self):
        dsec = self.mount({"app": {"dev": {"secrets": VALUES}}})
        for name in FORMATS:
            expected = self.golden(name)
            self.assertEqual(dsec.read(f"app/dev/.{name}"), expected, name)
            self.assertEqual(ask(dsec, "/v3/configs/config/secrets/download", project="app",
                                 config="dev", format=name, include_dynamic_secrets="true"),
                             expected, name)
            for where in (self.tree, self.socket):
                result = subprocess.run([DSEC, "secrets", "download", "--no-file", "--format", name,
                                         *NAMES, *where], capture_output=True, check=True,
                                        timeout=TIMEOUT)
                self.assertEqual(result.stdout, expected + b"\n", (name, where))
                path = dsec.folder / "download"
                subprocess.run([DSEC, "secrets", "download", path, "--format", name, *NAMES,
                                *where], check=True, timeout=TIMEOUT, stderr=subprocess.DEVNULL)
                self.assertEqual(path.read_bytes(), expected, (name, where))
                self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)

    def test_same_names_from_api_and_command(self):
        dsec = self.mount({"app": {"dev": {"secrets": VALUES}}})
        for name in TRANSFORMERS:
            expected = ask(dsec, "/v3/configs/config/secrets/download", project="app",
                           config="dev", format="json", name_transformer=name).decode()
            self.assertEqual(expected.encode(), self.golden(f"names-{name}"))
            for where in (self.tree, self.socket):
                result = self.run_dsec(0, "secrets", "download", "--no-file", "--name-transformer",
                                       name, *NAMES, *where)
                self.assertEqual(result.stdout, expected + "\n", (name, where))

    def test_file_is_replaced_whole_and_a_folder_is_refused(self):
        dsec = self.mount({"app": {"dev": {"secrets": VALUES}}})
        path = dsec.folder / "download"
        path.write_text("x")
        path.chmod(0o666)
        self.run_dsec(0, "secrets", "download", path, *NAMES, *self.tree)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.run_dsec(1, "secrets", "download", dsec.folder / "no" / "file", *NAMES, *self.tree)
        self.run_dsec(1, "secrets", "download", dsec.folder / "state", *NAMES, *self.tree)
        self.assertEqual([name for name in os.listdir(dsec.folder) if "." in name],
                         ["dsec.json"])

    def test_full_disk_is_no_success(self):
        self.mount({"app": {"dev": {"secrets": VALUES}}})
        with open("/dev/full", "w") as full:
            result = command("secrets", "download", "--no-file", *NAMES, *self.tree, stdout=full)
        self.assertEqual(result.returncode, 1)
        self.assertIn("No space left", result.stderr)


class Printing(Case):
    def test_listing_leases_nothing_and_shows_what_would_be(self):
        self.mount()
        for where in (self.tree, self.socket):
            text = self.run_dsec(0, "secrets", *NAMES, *where).stdout
            lines = text.splitlines()
            self.assertRegex(lines[0], "┌─+┬─+┬─+┐")
            self.assertRegex(lines[1], r"│ NAME +│ VALUE +│ NOTE │")
            self.assertRegex(text, r"│ AWS_USER_SECRET_ACCESS_KEY +│ \(leased when it is read\) +│")
            self.assertRegex(text, r"│ GREETING +│ hello +│")
            self.assertEqual(len({len(line) for line in lines}), 1)
            values = json.loads(self.run_dsec(0, "secrets", "--json", *NAMES, *where).stdout)
            self.assertEqual(values["GREETING"],
                             {"computed": "hello", "computedValueType": {"type": "string"},
                              "computedVisibility": "masked", "note": ""})
            self.assertIsNone(values["AWS_USER_ARN"]["computed"])
            self.assertEqual(len(values), 11)
            names = json.loads(self.run_dsec(0, "secrets", "--only-names", "--json", *NAMES,
                                             *where).stdout)
            self.assertEqual(names, {name: {} for name in values})
            text = self.run_dsec(0, "secrets", "--only-names", *NAMES, *where).stdout
            self.assertNotIn("hello", text)
        self.assertEqual(self.creations(), [])

    def test_get_prints_plain_json_or_a_table(self):
        self.mount()
        for where in (self.tree, self.socket):
            words = ["secrets", "get", "GREETING", "DOPPLER_CONFIG", *NAMES, *where]
            self.assertEqual(self.run_dsec(0, *words, "--plain").stdout, "hello\ndev\n")
            values = json.loads(self.run_dsec(0, *words, "--json").stdout)
            self.assertEqual({name: value["computed"] for name, value in values.items()},
                             {"GREETING": "hello", "DOPPLER_CONFIG": "dev"})
            self.assertRegex(self.run_dsec(0, *words).stdout, r"│ GREETING +│ hello │ +│")
        self.assertEqual(self.creations(), [])

    def test_missing_secret_fails_unless_told_not_to(self):
        self.mount()
        for where in (self.tree, self.socket):
            words = ["secrets", "get", "--plain", *NAMES, *where]
            result = self.run_dsec(1, *words, "NOPE")
            self.assertEqual((result.stdout, result.stderr),
                             ("", "dsec: Could not find requested secret: NOPE\n"))
            result = self.run_dsec(1, *words, "NOPE", "GREETING", "NADA")
            self.assertIn("Could not find requested secrets: NOPE, NADA\n", result.stderr)
            result = self.run_dsec(0, *words, "NOPE", "GREETING", "--no-exit-on-missing-secret")
            self.assertEqual(result.stdout, "hello\n")
            # No key is a way out of the config's folder.
            self.run_dsec(1, *words, "../../.dsec/version")
            self.run_dsec(1, *words, ".json")

    def test_keys_that_are_got_together_are_of_one_lease(self):
        self.mount()
        for where in (self.tree, self.socket):
            result = self.run_dsec(0, "secrets", "get", "AWS_USER_ACCESS_KEY_ID",
                                   "AWS_USER_SECRET_ACCESS_KEY", "--plain", *NAMES, *where)
            self.assertTrue(works(self.iam.endpoint, tuple(result.stdout.split())))

    def test_download_takes_the_ttl(self):
        self.mount(secret={"max_ttl": "2h"})
        for where in (self.tree, self.socket):
            for ttl, minutes in (("90m", 90), ("0", 30), ("-5m", 30), ("1.5h", 90)):
                before = len(self.creations())
                text = self.run_dsec(0, "secrets", "download", "--no-file", f"--dynamic-ttl={ttl}",
                                     *NAMES, *where).stdout
                lease = json.loads(text)["AWS_USER_LEASE_ID"]
                leases = json.loads(self.dsec.read(".dsec/leases.json"))["leases"]
                [found] = [entry for entry in leases if entry["id"] == lease]
                times = [int(found[name][11:13]) * 60 + int(found[name][14:16])
                         for name in ("start", "expires")]
                self.assertAlmostEqual((times[1] - times[0]) % 1440, minutes, delta=1)
                self.assertLessEqual(len(self.creations()), before + 1)
            result = self.run_dsec(1, "secrets", "download", "--no-file", "--dynamic-ttl", "3h",
                                   *NAMES, *where)
            self.assertEqual(result.stdout, "")

    def test_credential_process_prints_what_aws_wants(self):
        self.mount()
        for words in (["AWS_USER", *self.tree], self.tree, ["AWS_USER", *self.socket]):
            text = self.run_dsec(0, "credential-process", *NAMES, *words).stdout
            value = json.loads(text)
            self.assertEqual(sorted(value), ["AccessKeyId", "Expiration", "SecretAccessKey",
                                             "Version"])
            self.assertEqual(value["Version"], 1)
            self.assertRegex(value["Expiration"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
            self.assertTrue(works(self.iam.endpoint,
                                  (value["AccessKeyId"], value["SecretAccessKey"])))
        result = self.run_dsec(1, "credential-process", "NOPE", *NAMES, *self.tree)
        self.assertIn("app/dev has no dynamic secret NOPE", result.stderr)


class Names(Case):
    """Which config is meant."""

    def setUp(self):
        super().setUp()
        config = {"secrets": {"X": "x"}}
        self.mount({project: {name: config for name in ("flag", "env", "file")}
                    for project in ("flag", "env", "file")})
        self.work = self.dsec.folder / "work" / "deep" / "below"
        self.work.mkdir(parents=True)
        self.file = self.dsec.folder / "work" / "doppler.yaml"

    def which(self, *words, env=None, cwd=None, status=0):
        result = self.run_dsec(status, "secrets", "get", "DOPPLER_PROJECT", "DOPPLER_CONFIG",
                               "--plain", *words, *self.tree, cwd=cwd or self.work,
                               env={"DOPPLER_PROJECT": "", "DOPPLER_CONFIG": "", **(env or {})})
        return tuple(result.stdout.split()) if status == 0 else result.stderr

    def test_flag_before_environment_before_file_each_by_itself(self):
        sources = ["flag", "env", "file"]
        choices = [[name for name, used in zip(sources, use) if used]
                   for use in itertools.product((True, False), repeat=3)]
        for project, config in [(p, c) for p in choices for c in choices if p and c]:
            words, env, lines = [], {}, []
            for given, option, variable, member in (
                    (project, "--project", "DOPPLER_PROJECT", "project"),
                    (config, "--config", "DOPPLER_CONFIG", "config")):
                if "flag" in given:
                    words += [option, "flag"]
                if "env" in given:
                    env[variable] = "env"
                if "file" in given:
                    lines.append(f"  {member}: file\n")
            self.file.write_text("setup:\n" + "".join(lines))
            self.assertEqual(self.which(*words, env=env), (project[0], config[0]),
                             (project, config))

    def test_yaml_is_read_as_yaml_is(self):
        for text in ("setup:\n  project: file\n  config: env\n",
                     "# a comment\nsetup: {project: 'file', config: \"env\"}\nflags: {}\n",
                     "setup:\n  - project: file\n    config: env\n",
                     "setup:\n- {config: env, project: file, path: .}\n",
                     "x: &a env\nsetup:\n  project: file\n  config: *a\n"):
            self.file.write_text(text)
            self.assertEqual(self.which(), ("file", "env"), text)

    def test_list_goes_by_the_longest_path_that_one_is_in(self):
        self.file.write_text("setup:\n"
                             "  - {project: file, config: file}\n"
                             "  - {project: env, config: env, path: ./deep/}\n"
                             "  - {project: flag, config: flag, path: dee}\n"
                             "  - {project: flag, config: file, path: deep/below}\n")
        self.assertEqual(self.which(), ("flag", "file"))
        self.assertEqual(self.which(cwd=self.work.parent), ("env", "env"))
        self.assertEqual(self.which(cwd=self.file.parent), ("file", "file"))

    def test_nearest_file_counts(self):
        self.file.write_text("setup: {project: file, config: file}\n")
        (self.work / "doppler.yaml").write_text("setup: {project: env, config: env}\n")
        self.assertEqual(self.which(), ("env", "env"))

    def test_wrong_file_is_told_with_its_line_and_only_when_it_is_needed(self):
        for text, message in (("setup: [", r"doppler\.yaml:\d+: this is no YAML"),
                              ("setup: x\n", r"doppler\.yaml:1: setup has to be"),
                              ("setup:\n  project: [a]\n", r"doppler\.yaml:2: this has to be a "
                                                           "text"),
                              ("setup:\n- x\n", r"doppler\.yaml:2: an entry of setup"),
                              ("- x\n", r"doppler\.yaml:1: this has to begin with setup"),
                              ("setup: {project: a/b, config: c}\n",
                               r'doppler\.yaml: "a/b" is no name of a project')):
            self.file.write_text(text)
            self.assertRegex(self.which(status=1), message)
            self.assertEqual(self.which("-p", "flag", "-c", "env"), ("flag", "env"))

    def test_what_nobody_names_is_asked_for(self):
        self.assertIn("which project? Say -p PROJECT", self.which(status=1))
        self.assertIn("which config of env?", self.which("-p", "env", status=1))
        self.assertIn("there is no config env/nope in", self.which("-p", "env", "-c", "nope",
                                                                   status=1))
        self.assertIn('"a/b" is no name of a config', self.which("-p", "env", "-c", "a/b",
                                                                 status=1))

    def test_variable_says_where_the_tree_is(self):
        result = self.run_dsec(0, "secrets", "get", "X", "--plain", "-p", "env", "-c", "env",
                               env={"DSEC_TREE": str(self.dsec.mountpoint)})
        self.assertEqual(result.stdout, "x\n")
        result = self.run_dsec(1, "secrets", "get", "X", "-p", "env", "-c", "env",
                               env={"DSEC_TREE": "/nonexistent"})
        self.assertIn("there is no config env/env in /nonexistent", result.stderr)

    def test_daemon_that_is_not_there_is_told(self):
        result = self.run_dsec(1, "secrets", "-p", "env", "-c", "env", "--socket", "/nonexistent")
        self.assertIn("no daemon answers on /nonexistent", result.stderr)


@unittest.skipUnless(os.getuid() == 0, "a mount namespace of one's own needs root")
class Containers(Case):
    """What a container sees: a part of the tree, bind-mounted, and nothing else of the machine."""

    def inside(self, bound, words, status=0):
        place = self.dsec.folder / "place"
        place.mkdir(exist_ok=True)
        script = (f'mount --bind "{self.dsec.path(bound)}" "{place}" && '
                  f'for m in $(awk \'$0 ~ / fuse.dsec / && $5 != "{place}" {{print $5}}\' '
                  '/proc/self/mountinfo | sort -r); do umount -l "$m"; done; exec "$@"')
        result = subprocess.run(["unshare", "-m", "--propagation", "private", "sh", "-c", script,
                                 "sh", DSEC, *map(str, words)], capture_output=True, text=True,
                                check=False, timeout=TIMEOUT,
                                env={**os.environ, "DOPPLER_PROJECT": "", "DOPPLER_CONFIG": ""})
        self.assertEqual(result.returncode, status, result.stdout + result.stderr)
        return result

    def test_part_of_the_tree_is_found(self):
        self.mount()
        for bound in ("", "app", "app/dev"):
            result = self.inside(bound, ["secrets", "get", "GREETING", "--plain", *NAMES])
            self.assertEqual(result.stdout, "hello\n", bound)
        # Where there is one config alone, it need not be named.
        result = self.inside("app/dev", ["run", "--", "sh", "-c", "echo $DOPPLER_PROJECT; "
                                         "echo $AWS_USER_ACCESS_KEY_ID"])
        self.assertRegex(result.stdout, r"\Aapp\nAKIA\w{16}\n\Z")
        result = self.inside("app/dev", ["run", "--dynamic-ttl", "1h", "--", "true"], status=1)
        self.assertIn("only the folder of app/dev can be seen here", result.stderr)
        before = len(self.iam.users())
        result = self.inside("app", ["run", *NAMES, "--dynamic-ttl", "1h", "--", "true"])
        until("that lease is gone", lambda: len(self.iam.users()) == before)


class Wrong(unittest.TestCase):
    """Every wrong flag, with its message and its status; nothing is needed for that."""

    CASES = [
        # words, status, message
        ("run", 2, "say what to run: dsec run -- COMMAND"),
        ("run --", 2, "say what to run"),
        ("run --command x -- y", 2, "two command lines"),
        ("run --command=", 2, "--command needs a value that is not empty"),
        ("run --frobnicate -- x", 2, "unrecognized option '--frobnicate'"),
        ("run -x -- x", 2, "invalid option -- 'x'"),
        ("run --format env -- true", 2, "--format goes with --mount"),
        ("run --mount-format env -- true", 2, "--format goes with --mount"),
        ("run --mount-max-reads 1 -- true", 2, "--mount-max-reads goes with --mount"),
        ("run --mount f --mount-max-reads x -- true", 2, '"x" is no whole number'),
        ("run --mount f --mount-max-reads -1 -- true", 2, '"-1" is no whole number'),
        ("run --mount f --format yaml -- true", 2, "invalid mount format. Valid formats are env, "),
        ("run --mount f --format xml -- true", 2, "invalid mount format"),
        ("run --mount /nonexistent/f -- true", 1, "--mount: /nonexistent: No such file"),
        ("run --name-transformer dotnet -- true", 2, "invalid name transformer. Valid transformers "
         "are upper-camel, camel, lower-kebab, lower-snake, tf-var, dotnet-env\n"),
        ("run --name-transformer x -- true", 2, "invalid name transformer"),
        ("run --aws A --aws-keys B -- true", 2, "not both"),
        ("run --dynamic-ttl 3 -- true", 2, '"3" is no duration'),
        ("run --dynamic-ttl 3d -- true", 2, '"3d" is no duration'),
        ("run --dynamic-ttl 3H -- true", 2, '"3H" is no duration'),
        ("run --dynamic-ttl= -- true", 2, "--dynamic-ttl needs a value that is not empty"),
        ("run --dynamic-ttl 1500ms -- true", 2, "a lease lives for at least 10 s"),
        ("run --dynamic-ttl 9999h -- true", 2, "is too long"),
        ("run --json -- true", 2, "unrecognized option '--json'"),
        ("run -p a/b -c c -- true", 1, '"a/b" is no name of a project'),
        ("run -p a -c /etc/dsec/dsec.json -- true", 1, "the daemon is found by --tree or --socket"),
        ("secrets x", 2, "too many operands"),
        ("secrets --plain", 2, "unrecognized option '--plain'"),
        ("secrets get", 2, "an operand is missing"),
        ("secrets get --frobnicate X", 2, "unrecognized option"),
        ("secrets get --dynamic-ttl 3 X", 1, '"3" is no duration'),
        ("secrets download", 2, "say --no-file to print them, or name the FILE"),
        ("secrets download --no-file f", 2, "say --no-file to print them, or name the FILE"),
        ("secrets download a b", 2, "too many operands"),
        ("secrets download --no-file --format xml", 2, "invalid format. Valid formats are json, "
         "dotnet-json, env, yaml, docker, env-no-quotes\n"),
        ("secrets download --no-file --name-transformer x", 2, "Valid transformers are upper-camel, "
         "camel, lower-kebab, lower-snake, tf-var, dotnet, dotnet-env\n"),
        ("secrets download --no-file --dynamic-ttl x", 2, '"x" is no duration'),
        ("credential-process a b", 2, "too many operands"),
        ("leases --watch --json", 2, "leave --json out"),
        ("tokens create --expires x", 2, '--expires: "x" is no duration'),
        ("tokens revoke", 2, "an operand is missing"),
        ("tokens list x", 2, "too many operands"),
        ("integration add a b", 2, "too many operands"),
        ("integration add", 2, "NAME is missing"),
        ("integration add a/b", 2, '"a/b" is no name'),
        ("integration add a --source x", 2, '"x" is none of static, environment, profile'),
        ("integration add a --access-key-id x", 2, "--secret-access-key-file is missing"),
        ("integration add a --source process", 2, "--credential-process is missing"),
        ("dynamic-secret add", 2, "PROJECT is missing"),
        ("dynamic-secret add a b", 2, "NAME is missing"),
        ("dynamic-secret add a b c --integration x --policy-arns y", 2,
         '"c" is no name of a secret'),
        ("dynamic-secret add a b C --integration x", 2, "--policy or --policy-arns is missing"),
        ("dynamic-secret add a b C --integration x --policy /nonexistent", 2, "No such file"),
    ]

    def test_every_wrong_flag_has_its_message_and_status(self):
        with tempfile.TemporaryDirectory() as folder:
            for line, status, message in self.CASES:
                result = command(*line.split(), cwd=folder,
                                 env={"DOPPLER_PROJECT": "", "DOPPLER_CONFIG": "",
                                      "DSEC_TREE": "/nonexistent", "HOME": folder})
                self.assertEqual((result.returncode, result.stdout), (status, ""),
                                 (line, result.stderr))
                self.assertIn(message, result.stderr, line)
                if status == 2 and "missing" not in message and "add a" not in line:
                    self.assertIn("Try 'dsec", result.stderr, line)

    def test_flags_of_doppler_that_change_nothing_are_taken(self):
        for word in ("--no-fallback", "--no-cache", "--no-liveness-ping", "--silent-exit",
                     "--forward-signals", "--forward-signals=false"):
            result = command("run", word, "-p", "a", "-c", "b", "--tree", "/nonexistent", "--",
                             "true")
            self.assertEqual(result.returncode, 1)
            self.assertRegex(result.stderr, re.escape("there is no config a/b in /nonexistent"))


if __name__ == "__main__":
    tap.main()
