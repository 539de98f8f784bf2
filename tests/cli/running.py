#!/usr/bin/python3
"""`dsec run`: the lease lives exactly as long as what was started, and the command notices nothing."""

import json
import os
import pathlib
import pty
import re
import select
import shlex
import signal
import stat
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from awscall import works
from daemon import DSEC, TIMEOUT, Dsec, command, configuration, mounted, until
from localiam import LocalIAM

NAMES = ["-p", "app", "-c", "dev"]
DETACHED = """
import subprocess, sys
print(subprocess.Popen(["sleep", "1000"], start_new_session=True, stdin=subprocess.DEVNULL,
      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)
sys.exit(3)
"""


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children(pid):
    try:
        return [int(word) for word in
                pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


class Case(unittest.TestCase):
    socket = False  # else the mount

    def setUp(self):
        self.iam = LocalIAM().start()
        self.addCleanup(self.stop_iam)
        self.started = []
        self.addCleanup(self.kill_started)

    def stop_iam(self):
        self.assertIn(self.iam.stop(), (0, None))

    def kill_started(self):
        for pid in self.started:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)

    def mount(self, secret=None, **more):
        self.dsec = Dsec(self, configuration(self.iam, secret, **more)).mount()
        return self.dsec

    def where(self):
        if self.socket:
            return ["--socket", str(self.dsec.folder / "socket")]
        return ["--tree", str(self.dsec.mountpoint)]

    def words(self, *words):
        return ["run", *NAMES, *self.where(), *map(str, words)]

    def run_it(self, *words, **more):
        return command(*self.words(*words), **more)

    def popen(self, *words, **more):
        process = subprocess.Popen([DSEC, *self.words(*words)], text=True,
                                   **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                                      "stderr": subprocess.PIPE, **more})
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait, TIMEOUT)
        self.addCleanup(process.kill)
        return process

    def line(self, process):
        """The next line of what it prints."""
        line = b""
        while not line.endswith(b"\n"):  # byte by byte: nothing waits unseen in a buffer
            ready, _, _ = select.select([process.stdout], [], [], TIMEOUT)
            self.assertTrue(ready, "it says nothing")
            byte = os.read(process.stdout.fileno(), 1)
            self.assertTrue(byte, "it has ended: " + process.stderr.read() if not byte else "")
            line += byte
        return line.decode().rstrip("\n")

    def leased(self):
        self.assertEqual(len(self.iam.users()), 1)

    def gone(self):
        until("the user is gone", lambda: not self.iam.users())


class Life(Case):
    def test_lease_is_the_command_s_own_and_ends_with_it(self):
        self.mount()
        shared = None if self.socket else self.dsec.key()
        process = self.popen("--", "sh", "-c", "echo $AWS_USER_ACCESS_KEY_ID; "
                             "echo $AWS_USER_SECRET_ACCESS_KEY; read line",
                             stdin=subprocess.PIPE)
        key = self.line(process), self.line(process)
        self.assertNotEqual(key, shared)
        self.assertTrue(works(self.iam.endpoint, key))
        process.communicate("\n", TIMEOUT)
        self.assertEqual(process.returncode, 0)
        until("its user is gone", lambda: not works(self.iam.endpoint, key))
        self.assertEqual(len(self.iam.users()), 1 if shared else 0)
        self.dsec.stop()

    def test_killed_command_leaves_no_lease(self):
        self.mount()
        process = self.popen("--", "sh", "-c", "echo $$; exec sleep 1000")
        pid = int(self.line(process))
        self.leased()
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(process.wait(TIMEOUT), 128 + signal.SIGKILL)
        self.gone()

    def test_what_forks_away_and_closes_everything_keeps_its_lease(self):
        self.mount()
        result = self.run_it("--", sys.executable, "-c", DETACHED)
        # The wrapper does not wait for what goes on, and has its command's status.
        self.assertEqual((result.returncode, result.stderr), (3, ""))
        pid = int(result.stdout)
        self.started.append(pid)
        self.assertTrue(alive(pid))
        self.leased()
        time.sleep(1.5)  # longer than a released lease takes to be revoked
        self.leased()
        os.kill(pid, signal.SIGKILL)
        self.gone()

    def test_killed_wrapper_harms_nothing(self):
        self.mount()
        process = self.popen("--", sys.executable, "-c", DETACHED + "\n")
        pid = int(self.line(process))
        self.started.append(pid)
        process.wait(TIMEOUT)
        process = self.popen("--", "sh", "-c", "echo $$; exec sleep 1000")
        second = int(self.line(process))
        self.started.append(second)
        process.kill()
        process.wait(TIMEOUT)
        time.sleep(1.5)
        self.assertTrue(alive(second))
        self.assertEqual(len(self.iam.users()), 2)
        os.kill(second, signal.SIGKILL)
        until("its user is gone", lambda: len(self.iam.users()) == 1)
        os.kill(pid, signal.SIGKILL)
        self.gone()

    def test_killed_holder_harms_nothing(self):
        self.mount()
        process = self.popen("--", "sh", "-c", "echo $$; read line; exit 7",
                             stdin=subprocess.PIPE)
        pid = int(self.line(process))
        [holder] = children(process.pid)
        self.assertEqual(children(holder), [pid])
        os.kill(holder, signal.SIGKILL)
        until("the wrapper takes it over", lambda: pid in children(process.pid))
        time.sleep(1.5)
        self.leased()
        process.communicate("\n", TIMEOUT)
        self.assertEqual(process.returncode, 7)
        self.gone()

    def test_signal_is_passed_on_and_the_status_comes_back(self):
        self.mount()
        process = self.popen("--", "sh", "-c", "trap 'exit 42' TERM; echo on; "
                             "while :; do sleep 0.1; done")
        self.assertEqual(self.line(process), "on")
        process.terminate()
        self.assertEqual(process.wait(TIMEOUT), 42)
        self.gone()

    def test_command_that_ignores_signals_keeps_its_lease(self):
        self.mount()
        process = self.popen("--", "sh", "-c", "trap '' TERM INT HUP; echo $$; exec sleep 1000")
        pid = int(self.line(process))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process.send_signal(number)
        time.sleep(1)
        self.assertIsNone(process.poll())
        self.leased()
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(process.wait(TIMEOUT), 137)
        self.gone()

    def test_command_that_is_not_there_leases_nothing(self):
        self.mount()
        script = self.dsec.folder / "script"
        script.write_text("#!/bin/sh\n")
        script.chmod(0o644)
        for words, status, text in ((["frobnicate"], 127, "there is no such command in PATH"),
                                    (["/nonexistent/it"], 127, "No such file or directory"),
                                    ([""], 127, "No such file"),
                                    ([self.dsec.folder], 126, "Is a directory")):
            result = self.run_it("--", *words)
            self.assertEqual(result.returncode, status, words)
            self.assertIn(text, result.stderr)
            self.assertIn("nothing was leased", result.stderr)
        result = subprocess.run([DSEC, *self.words("--", script)], capture_output=True, text=True,
                                check=False, user=65534, group=65534, extra_groups=[]) \
            if os.getuid() == 0 else self.run_it("--", script)
        self.assertEqual(result.returncode, 126, result.stderr)
        self.assertEqual([entry for entry in self.iam.log() if entry["action"] == "CreateUser"], [])

    def test_failed_lease_runs_nothing(self):
        self.mount()
        self.iam.fault("CreateUser", kind="error", status=403, code="AccessDenied", message="no")
        result = self.run_it("--", "echo", "ran")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("AccessDenied", result.stderr)
        self.assertIn("CreateUser", result.stderr)


class LifeAtTheSocket(Life):
    socket = True

    def setUp(self):
        # What differs there is who renews and revokes.
        if "DSEC_TESTS_LONG" not in os.environ and self._testMethodName not in (
                "test_lease_is_the_command_s_own_and_ends_with_it",
                "test_what_forks_away_and_closes_everything_keeps_its_lease",
                "test_killed_wrapper_harms_nothing", "test_failed_lease_runs_nothing"):
            self.skipTest("it takes long: --long")
        super().setUp()


class Command(Case):
    def test_command_inherits_what_the_wrapper_had(self):
        self.mount()
        script = ("import json, os, resource, signal, sys; print(json.dumps([os.umask(0), "
                  "resource.getrlimit(resource.RLIMIT_CORE), "
                  "resource.getrlimit(resource.RLIMIT_MEMLOCK), "
                  "signal.getsignal(signal.SIGPIPE).name, "
                  "sorted(n.name for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])), "
                  "os.getcwd(), sys.argv[1:], os.read(0, 10).decode()]))")
        # The sanitizer would set the limit of cores before anybody can see it.
        env = {**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "verbosity=0") +
               ":disable_coredump=0"}
        shell = "umask 022; ulimit -S -c 1000; exec " + shlex.join(
            [DSEC, *self.words("--", sys.executable, "-c", "S"), "--x", "", "a b"])
        plain = "umask 022; ulimit -S -c 1000; exec " + shlex.join(
            [sys.executable, "-c", "S", "--x", "", "a b"])
        results = [subprocess.run(["sh", "-c", text.replace(" S ", " " + shlex.quote(script) + " ")],
                                  input="typed", capture_output=True, text=True, check=True,
                                  cwd=self.dsec.folder, env=env).stdout for text in (shell, plain)]
        self.assertEqual(json.loads(results[0]), json.loads(results[1]))

    def test_script_without_an_interpreter_is_run_by_sh(self):
        self.mount()
        script = self.dsec.folder / "script"
        script.write_text('echo "$1" $GREETING\n')
        script.chmod(0o755)
        self.assertEqual(self.run_it("--", script, "a b").stdout, "a b hello\n")

    def test_values_win_over_the_environment_but_for_path_home_and_ps1(self):
        self.mount(config={"secrets": {"GREETING": "hello", "HOME": "/x", "PATH": "/x", "PS1": "x",
                                       "MINE": "theirs", "LD_PRELOAD": ""}})
        script = ["--", "printenv", "HOME", "PS1", "MINE", "GREETING"]
        env = {"HOME": "/home", "PS1": "p", "MINE": "mine", "GREETING": "mine"}
        for words, expected in (([], "/home p theirs hello"),
                                (["--preserve-env"], "/home p mine mine"),
                                (["--preserve-env=true"], "/home p mine mine"),
                                (["--preserve-env=false"], "/home p theirs hello"),
                                (["--preserve-env=MINE,OTHER"], "/home p mine hello")):
            result = self.run_it("--only-secrets", "GREETING,HOME,PATH,PS1,MINE,LD_PRELOAD", *words,
                                 *script, env=env)
            self.assertEqual(result.stdout.split(), expected.split(), result.stderr)
            self.assertIn("a secret LD_PRELOAD", result.stderr)
        # None of these is leased.
        self.assertEqual(self.iam.users(), {})

    def test_command_is_run_by_the_user_s_shell(self):
        self.mount()
        for shell, expected in (("/bin/bash", "bash"), ("/bin/false", "sh"), ("", "sh")):
            result = self.run_it("--only-secrets", "GREETING", "--command",
                                 'echo "$0" "$GREETING"', env={"SHELL": shell})
            self.assertEqual(result.stdout.split("/")[-1], f"{expected} hello\n")

    def test_only_secrets_and_name_transformer(self):
        self.mount()
        result = self.run_it("--only-secrets", "GREETING, DOPPLER_CONFIG", "--name-transformer",
                             "tf-var", "--", "env")
        self.assertIn("\nTF_VAR_greeting=hello\n", "\n" + result.stdout)
        self.assertIn("\nTF_VAR_doppler_config=dev\n", "\n" + result.stdout)
        self.assertNotIn("DOPPLER_PROJECT", result.stdout)
        result = self.run_it("--only-secrets", "GREETING,NOPE,NADA", "--", "echo", "ran")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("app/dev does not have NOPE, NADA", result.stderr)
        result = self.run_it("--only-secrets", "NOPE", "--no-exit-on-missing-only-secrets", "--",
                             "echo", "ran")
        self.assertEqual((result.returncode, result.stdout), (0, "ran\n"))
        self.assertIn("does not have NOPE", result.stderr)
        self.assertEqual(self.iam.users(), {})

    def test_aws_keys_are_where_programs_of_aws_look(self):
        self.mount()
        for words in ([], ["--only-secrets", "GREETING"]):
            result = self.run_it("--aws-keys", "AWS_USER", *words, "--", "env",
                                 env={"AWS_SESSION_TOKEN": "old", "AWS_PROFILE": "old"})
            values = dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)
            self.assertRegex(values["AWS_ACCESS_KEY_ID"], r"\AAKIA")
            self.assertEqual(len(values["AWS_SECRET_ACCESS_KEY"]), 40)
            self.assertNotIn("AWS_SESSION_TOKEN", values)
            self.assertNotIn("AWS_PROFILE", values)
            self.assertEqual("AWS_USER_ARN" in values, not words)
        result = self.run_it("--aws-keys", "NOPE", "--", "echo", "ran")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("app/dev has no dynamic secret NOPE", result.stderr)

    def test_lease_of_a_ttl_and_one_that_is_too_long(self):
        self.mount({"max_ttl": "2h"})
        process = self.popen("--dynamic-ttl", "1.5h", "--", "sh", "-c", "echo on; read line",
                             stdin=subprocess.PIPE)
        self.line(process)
        [lease] = json.loads(self.dsec.read(".dsec/leases.json"))["leases"]
        hours = [int(lease[name][11:13]) * 60 + int(lease[name][14:16])
                 for name in ("start", "expires")]
        self.assertAlmostEqual((hours[1] - hours[0]) % 1440, 90, delta=1)
        process.communicate("\n", TIMEOUT)
        result = self.run_it("--dynamic-ttl", "3h", "--", "echo", "ran")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("above the max_ttl", result.stderr)

    def test_command_is_told_when_its_lease_can_be_renewed_no_more(self):
        self.mount({"ttl": "10s", "max_ttl": "16s"})
        process = self.popen("--", "sh", "-c", "echo $AWS_USER_LEASE_EXPIRATION; exec sleep 1000")
        first = self.line(process)

        def end():
            return json.loads(self.dsec.read(".dsec/leases.json"))["leases"][0]["expires"]

        until("it is renewed", lambda: end() > first)
        ready, _, _ = select.select([process.stderr], [], [], TIMEOUT)
        self.assertTrue(ready)
        self.assertRegex(process.stderr.readline(),
                         rf"\Adsec: the lease of app/dev ends at {end()[:19]}Z, in \d+s, since its "
                         "max_ttl is reached")
        process.terminate()
        self.assertEqual(process.wait(TIMEOUT), 128 + signal.SIGTERM)


class Mount(Case):
    def read(self, path):
        return subprocess.run(["cat", path], stdout=subprocess.PIPE, check=True, timeout=TIMEOUT,
                              text=True).stdout

    def test_each_reader_of_the_pipe_gets_all_of_it(self):
        self.mount()
        path = self.dsec.folder / "secrets.env"
        process = self.popen("--mount", "secrets.env", "--", "sh", "-c",
                             "echo $DOPPLER_CLI_SECRETS_PATH; echo .$GREETING.; read line",
                             stdin=subprocess.PIPE, cwd=self.dsec.folder)
        self.assertEqual(self.line(process), str(path))
        self.assertEqual(self.line(process), "..")  # in the pipe, not in the environment
        found = path.lstat()
        self.assertTrue(stat.S_ISFIFO(found.st_mode))
        self.assertEqual(stat.S_IMODE(found.st_mode), 0o600)
        texts = [self.read(path) for _ in range(5)]
        self.assertEqual(len(set(texts)), 1)
        self.assertIn('\nGREETING="hello"', texts[0])
        self.assertIn('AWS_USER_ACCESS_KEY_ID="AKIA', texts[0])
        process.communicate("\n", TIMEOUT)
        self.assertEqual(process.returncode, 0)
        self.assertFalse(os.path.lexists(path))
        self.assertEqual([name for name in os.listdir(self.dsec.folder) if "secrets" in name], [])

    def test_pipe_is_removed_after_a_signal_and_a_kill(self):
        self.mount()
        path = self.dsec.folder / "secrets.json"
        for number, status in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
            process = self.popen("--mount", path, "--", "sh", "-c", "echo $$; exec sleep 1000")
            pid = int(self.line(process))
            self.started.append(pid)
            self.assertTrue(path.is_fifo())
            process.send_signal(number)
            self.assertEqual(process.wait(TIMEOUT), status)
            if number == signal.SIGKILL:
                self.assertEqual(json.loads(self.read(path))["GREETING"], "hello")
                os.kill(pid, signal.SIGTERM)
            until("the pipe is gone", lambda: not os.path.lexists(path))

    def test_pipe_ends_after_its_last_reader(self):
        self.mount()
        path = self.dsec.folder / "secrets.json"
        process = self.popen("--mount", path, "--mount-max-reads", "2", "--", "sh", "-c",
                             "echo on; read line", stdin=subprocess.PIPE)
        self.line(process)
        self.assertEqual(json.loads(self.read(path)), json.loads(self.read(path)))
        until("the pipe is gone", lambda: not os.path.lexists(path))
        process.communicate("\n", TIMEOUT)

    def test_format_goes_by_the_name_unless_it_is_said(self):
        self.mount()
        for name, words, begin in (("x.env", [], 'AWS_USER_ACCESS_KEY_ID="'),
                                   ("x.json", [], '{"AWS_USER_ACCESS_KEY_ID":"'),
                                   ("appsettings.Dev.json", [], '{"AwsUserAccessKeyId":"'),
                                   ("x.txt", [], '{"AWS_USER_ACCESS_KEY_ID":"'),
                                   ("x.txt", ["--format", "docker"], "AWS_USER_ACCESS_KEY_ID=AKIA"),
                                   ("x.json", ["--mount-format", "env"],
                                    'AWS_USER_ACCESS_KEY_ID="')):
            result = self.run_it("--mount", self.dsec.folder / name, *words, "--", "sh", "-c",
                                 'cat "$DOPPLER_CLI_SECRETS_PATH"')
            self.assertTrue(result.stdout.startswith(begin), (name, result.stdout, result.stderr))

    def test_file_that_is_there_is_left_alone(self):
        self.mount()
        path = self.dsec.folder / "secrets.json"
        path.write_text("mine")
        result = self.run_it("--mount", path, "--", "echo", "ran")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("File exists", result.stderr)
        self.assertEqual(path.read_text(), "mine")
        self.gone()


class Terminal(Case):
    """A shell on a terminal, in which a person types."""

    def start(self):
        self.mount()
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ.update(PS1="ready> ", SHELL="/bin/bash", HISTFILE="")
            try:
                os.execv(DSEC, [DSEC, *self.words("--", "/bin/bash", "--norc", "--noediting", "-i")])
            finally:
                os._exit(127)
        self.addCleanup(os.close, self.terminal)
        self.started.append(self.pid)
        self.seen = ""
        self.expect(r"ready> $")

    def expect(self, pattern):
        deadline = time.monotonic() + TIMEOUT
        while not re.search(pattern, self.seen):
            ready, _, _ = select.select([self.terminal], [], [], deadline - time.monotonic())
            self.assertTrue(ready, (pattern, self.seen))
            try:
                self.seen += os.read(self.terminal, 4096).decode()
            except OSError:
                self.fail((pattern, self.seen))
        found = re.search(pattern, self.seen)
        self.seen = self.seen[found.end():]
        return found

    def type(self, text):
        os.write(self.terminal, text.encode())

    def status(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def test_shell_has_jobs_interrupts_and_its_status(self):
        self.start()
        self.leased()
        self.type("echo =$GREETING=\n")
        self.expect(r"=hello=\r\n")
        self.type("sleep 1000\n")
        self.expect(r"sleep 1000\r\n")
        until("it sleeps", lambda: "sleep" in self.foreground())
        self.type("\x03")
        self.expect(r"ready> $")
        self.type("echo =$?=\n")
        self.expect(r"=130=\r\n")
        self.type("sleep 1000\n")
        until("it sleeps", lambda: "sleep" in self.foreground())
        self.type("\x1a")
        self.expect(r"Stopped")
        # While it knows of a stopped job, bash does not exit.
        self.type("kill -9 %1; while kill -0 %1 2>/dev/null; do sleep 0.05; done; echo =done=\n")
        self.expect(r"=done=\r\n")
        self.leased()
        self.type("exit 5\n")
        self.assertEqual(self.status(), 5)
        self.gone()

    def foreground(self):
        group = os.tcgetpgrp(self.terminal)
        try:
            return pathlib.Path(f"/proc/{group}/comm").read_text()
        except FileNotFoundError:
            return ""

    def test_hang_up_ends_the_shell_and_the_lease(self):
        self.start()
        os.close(os.dup(self.terminal))
        os.kill(self.pid, signal.SIGHUP)
        self.assertEqual(self.status(), 128 + signal.SIGHUP)
        self.gone()


if __name__ == "__main__":
    tap.main()
