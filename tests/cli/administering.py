#!/usr/bin/python3
"""Leases and tokens as an administrator sees them, and AWS's SDKs on a lease by themselves."""

import json
import os
import pathlib
import re
import select
import signal
import socket
import struct
import fcntl
import subprocess
import sys
import termios
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from awscall import works
from daemon import DSEC, TIMEOUT, Dsec, command, configuration, until
from localiam import LocalIAM

NAMES = ["-p", "app", "-c", "dev"]


def kill_quietly(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def proc_state(pid):
    """The letter in /proc/PID/stat; None: it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return None


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Case(unittest.TestCase):
    def setUp(self):
        self.iam = LocalIAM().start()
        self.addCleanup(self.stop_iam)
        config = configuration(self.iam)
        self.dsec = Dsec(self, config)
        self.port = free_port()
        self.dsec.configure({**config, "api": {"listen": [f"unix:{self.dsec.folder}/socket",
                                                          f"127.0.0.1:{self.port}"]}})
        self.dsec.mount()
        self.socket = ["--socket", str(self.dsec.folder / "socket")]

    def stop_iam(self):
        self.assertIn(self.iam.stop(), (0, None))

    def run_dsec(self, status, *words, **more):
        result = command(*words, **more)
        self.assertEqual(result.returncode, status, result.stdout + result.stderr)
        return result

    def on_a_terminal(self, columns, *words, env=None, until_seen=None):
        """What a terminal of so many columns gets."""
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen([DSEC, *map(str, words)], stdin=subprocess.DEVNULL,
                                   stdout=theirs, stderr=theirs,
                                   env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **(env or {})})
        os.close(theirs)
        seen = b""
        try:
            while not (until_seen and until_seen(seen)):
                ready, _, _ = select.select([ours], [], [], TIMEOUT)
                self.assertTrue(ready, seen)
                try:
                    got = os.read(ours, 4096)
                except OSError:  # Linux's end of a terminal
                    break
                if not got:
                    break
                seen += got
        finally:
            os.close(ours)
            process.kill() if until_seen else None
            process.wait(TIMEOUT)
        return seen.decode().replace("\r\n", "\n")


class Leases(Case):
    def test_table_says_who_holds_what_for_how_long(self):
        self.assertIn("no leases", self.run_dsec(0, "leases", *self.socket).stdout)
        self.dsec.key()
        [lease] = json.loads(self.run_dsec(0, "leases", "--json", *self.socket).stdout)["leases"]
        self.assertEqual(lease["holder"], "shared")
        text = self.run_dsec(0, "leases", *self.socket).stdout
        self.assertRegex(text.splitlines()[0], r"\AID +SECRET +USER +HOLDER +AGE +LEFT\Z")
        self.assertRegex(text.splitlines()[1],
                         rf"\A{lease['id']}  app/dev/AWS_USER  {lease['user']}  shared  \d+s +"
                         r"█{10} (30|29)m\Z")
        with open(self.dsec.path("app/dev@fresh/.json"), "rb") as held:
            held.read()
            text = self.run_dsec(0, "leases", *self.socket).stdout
            self.assertEqual(len(text.splitlines()), 3)
            self.assertRegex(text, r"  open file +\d+s")

    def test_terminal_has_colour_and_what_fits_into_it(self):
        self.dsec.key()
        text = self.on_a_terminal(80, "leases", *self.socket)
        self.assertIn("\x1b[32m██████████\x1b[0m ", text)
        plain = re.sub(r"\x1b\[\d+m", "", text)
        for line in plain.splitlines():
            self.assertLessEqual(len(line), 80, line)
        self.assertRegex(plain, r"\n[0-9a-f]{8}  app/dev/AWS_USER  …\w{13}  shared")
        wide = self.on_a_terminal(200, "leases", *self.socket)
        self.assertRegex(wide, r"\n[0-9a-f-]{36}  ")
        for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            self.assertNotIn("\x1b", self.on_a_terminal(80, "leases", *self.socket, env=env))
        self.assertNotIn("\x1b", self.run_dsec(0, "leases", *self.socket,
                                               env={"TERM": "xterm"}).stdout)

    def test_watching_shows_them_again(self):
        seen = self.on_a_terminal(80, "leases", "--watch", *self.socket,
                                  until_seen=lambda text: text.count(b"\x1b[H\x1b[2J") >= 3)
        self.assertGreaterEqual(seen.count("no leases"), 2)

    def test_lease_is_named_by_the_beginning_of_its_id(self):
        self.dsec.key()
        [lease] = json.loads(self.dsec.read(".dsec/leases.json"))["leases"]
        result = self.run_dsec(1, "leases", "revoke", "zzzz", *self.socket)
        self.assertIn('"zzzz" is no lease\'s id', result.stderr)
        result = self.run_dsec(1, "leases", "revoke", lease["id"][:3], *self.socket)
        self.assertIn("is no lease's id", result.stderr)
        other = "0000" if not lease["id"].startswith("0000") else "1111"
        result = self.run_dsec(1, "leases", "revoke", other, *self.socket)
        self.assertIn(f'no lease\'s id begins with "{other}"', result.stderr)
        self.run_dsec(0, "leases", "renew", lease["id"][:8], "45m", *self.socket)
        self.run_dsec(0, "leases", "revoke", lease["id"][:8], *self.socket)
        until("the user is gone", lambda: not self.iam.users())


class Tokens(Case):
    def ask(self, token, config="dev"):
        """The status of a download with the token."""
        result = subprocess.run(
            ["curl", "--noproxy", "*", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H",
             f"Authorization: Bearer {token}", f"http://127.0.0.1:{self.port}/v3/configs/config/"
             f"secrets/download?project=app&config={config}&format=json"],
            capture_output=True, text=True, check=True, timeout=TIMEOUT)
        return int(result.stdout)

    def test_token_is_made_listed_and_revoked(self):
        self.assertIn("no tokens", self.run_dsec(0, "tokens", "list", *self.socket).stdout)
        result = self.run_dsec(0, "tokens", "create", *NAMES, "--expires", "24h", *self.socket)
        self.assertRegex(result.stdout, r"\Adp\.st\.dev\.\w{40,}\n\Z")
        self.assertEqual(result.stderr, "")
        token = result.stdout.strip()
        self.assertEqual(self.ask(token), 200)
        [listed] = json.loads(self.run_dsec(0, "tokens", "list", "--json",
                                            *self.socket).stdout)["tokens"]
        self.assertEqual((listed["project"], listed["config"]), ("app", "dev"))
        text = self.run_dsec(0, "tokens", "list", *self.socket).stdout
        self.assertRegex(text, rf"\n{listed['slug']} +app/dev +\d{{4}}-\d\d-\d\dT")
        self.assertNotIn(token.rsplit(".", 1)[1], text)
        result = self.run_dsec(1, "tokens", "revoke", token, *self.socket)
        self.assertIn("is no token's id", result.stderr)
        self.run_dsec(0, "tokens", "revoke", listed["slug"], *self.socket)
        self.assertEqual(self.ask(token), 401)
        self.run_dsec(1, "tokens", "revoke", listed["slug"], *self.socket)

    def test_token_of_a_config_that_is_not_there_is_refused(self):
        result = self.run_dsec(1, "tokens", "create", "-p", "app", "-c", "nope", *self.socket)
        self.assertIn("Could not find requested config 'nope'", result.stderr)
        self.assertEqual(result.stdout, "")


class Endpoint(Case):
    SCRIPT = """
import os, botocore.session
for name in ("AWS_USER_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
    assert name not in os.environ, name
assert os.environ["GREETING"] == "hello"
print(os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
credentials = botocore.session.get_session().get_credentials()
print(credentials.method, credentials.access_key, credentials.secret_key)
"""

    def test_sdk_finds_the_lease_by_itself_and_the_token_ends_with_the_command(self):
        if subprocess.run(["/usr/bin/python3", "-c", "import botocore"], check=False,
                          stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("there is no botocore here")
        for where in (["--tree", str(self.dsec.mountpoint)],):
            result = self.run_dsec(0, "run", *NAMES, *where, "--aws", "AWS_USER", "--",
                                   "/usr/bin/python3", "-c", self.SCRIPT,
                                   env={"AWS_ACCESS_KEY_ID": "old", "AWS_PROFILE": "old"})
            file, words = result.stdout.splitlines()
            method, *key = words.split()
            self.assertEqual(method, "container-role")
            self.assertTrue(works(self.iam.endpoint, tuple(key)))
            self.assertFalse(os.path.exists(file))
            self.assertFalse(os.path.exists(os.path.dirname(file)))
            self.assertIn("no tokens", self.run_dsec(0, "tokens", "list", *self.socket).stdout)
            # The shared lease, and none of the command's own.
            self.assertEqual(len(self.iam.users()), 1)

    # Its environment goes out; then it waits, whoever is killed around it.
    WAITING = ('echo "$AWS_CONTAINER_CREDENTIALS_FULL_URI $AWS_CONTAINER_AUTHORIZATION_TOKEN $PPID";'
               'exec sleep 600')

    def endpoint_of_a_run(self):
        """A run that goes on, as (wrapper, holder, what asks its endpoint and gives the status)."""
        wrapper = subprocess.Popen([DSEC, "run", *NAMES, "--tree", self.dsec.mountpoint,
                                    "--aws", "AWS_USER", "--", "sh", "-c", self.WAITING],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.addCleanup(wrapper.communicate)
        self.addCleanup(wrapper.kill)
        url, token, holder = wrapper.stdout.readline().split()
        command = int(pathlib.Path(f"/proc/{holder}/task/{holder}/children").read_text())
        self.addCleanup(kill_quietly, command)

        def ask():
            request = urllib.request.Request(url, headers={"Authorization": token})
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                return error.code

        return wrapper, int(holder), ask

    def hold(self, token_id):
        """What the daemon says to who wants to hold it, too."""
        return subprocess.run(["curl", "-s", "--unix-socket", self.dsec.folder / "socket", "-X",
                               "POST", f"http://localhost/v3/dsec/tokens/{token_id}/hold"],
                              capture_output=True, text=True, check=True).stdout

    def test_token_ends_when_both_helpers_are_killed(self):
        wrapper, holder, ask = self.endpoint_of_a_run()
        listed = self.run_dsec(0, "tokens", "list", *self.socket).stdout
        self.assertIn("with its process", listed)
        text = self.run_dsec(0, "tokens", "list", "--json", *self.socket).stdout
        token_id = json.loads(text)["tokens"][0]["slug"]
        self.assertEqual(ask(), 200)
        os.kill(wrapper.pid, signal.SIGSTOP)  # else it would take over, and end it by itself
        os.kill(holder, signal.SIGKILL)
        self.assertEqual(ask(), 200)
        wrapper.kill()
        until("it has ended, though nobody has waited for it",
              lambda: proc_state(wrapper.pid) == "Z")
        self.assertEqual(ask(), 401)
        # Nor does anybody who takes it up now make it good again.
        self.assertIn("that a process holds", self.hold(token_id))
        self.assertEqual(ask(), 401)
        self.assertIn("no tokens", self.run_dsec(0, "tokens", "list", *self.socket).stdout)

    def test_token_lives_with_either_helper(self):
        wrapper, holder, ask = self.endpoint_of_a_run()
        def processes():
            text = self.run_dsec(0, "tokens", "list", "--json", *self.socket).stdout
            return set(json.loads(text)["tokens"][0]["processes"])
        until("both hold it", lambda: processes() == {wrapper.pid, holder})
        wrapper.kill()
        wrapper.wait()
        self.assertEqual(ask(), 200)
        os.kill(self.dsec.worker(), signal.SIGKILL)
        until("the next worker, which knows whose it is", lambda: self.dsec.restarts() == 1)
        self.assertEqual(ask(), 200)
        os.kill(holder, signal.SIGKILL)
        until("the kernel is done with it", lambda: proc_state(holder) in ("Z", None))
        self.assertEqual(ask(), 401)

    def test_nobody_holds_what_was_made_to_go_on_by_itself(self):
        self.run_dsec(0, "tokens", "create", *NAMES, *self.socket)
        text = self.run_dsec(0, "tokens", "list", "--json", *self.socket).stdout
        [token] = json.loads(text)["tokens"]
        self.assertEqual((token["processes"], token["expires_at"]), ([], None))
        self.assertIn("that a process holds", self.hold(token["slug"]))

    def test_daemon_without_tcp_is_told(self):
        dsec = Dsec(self, configuration(self.iam)).mount()
        result = self.run_dsec(1, "run", *NAMES, "--tree", dsec.mountpoint, "--aws", "AWS_USER",
                               "--", "echo", "ran")
        self.assertIn("the daemon does not listen on loopback TCP", result.stderr)
        self.assertIn("--aws-keys", result.stderr)
        self.assertEqual(result.stdout, "")


if __name__ == "__main__":
    tap.main()
