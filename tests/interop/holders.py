#!/usr/bin/python3
"""A lease ends with its holder: within a second its user is gone from IAM."""

import errno
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import daemon
import local
import tap

PYTHON = "/usr/bin/python3"
PROMISED_SECONDS = 1
LONG = bool(os.environ.get("DSEC_TESTS_LONG"))
LIVES = 10000 if LONG else 300
MAX_LEASES = 20
KEY = "AWS_USER_ACCESS_KEY_ID"
UNIFIED = next((pathlib.Path(line.split()[4])
                for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
                if " - cgroup2 " in line and line.split()[3] == "/"), None)


def make_group():
    """A control group that everybody can look into, as those of systemd and of runtimes are."""
    folder = tempfile.mkdtemp(prefix="dsec-test-", dir=UNIFIED)
    os.chmod(folder, 0o755)
    return folder


class Holders(unittest.TestCase):
    deadline = 900 if LONG else 120

    def start(self, **secret):
        self.iam = local.iam(self)
        self.dsec = daemon.Dsec(self, {
            "integrations": {"local": local.integration(self.iam, verify=False, rate=1000)},
            "projects": {"app": {"dev": {"dynamic_secrets": {
                "AWS_USER": {**local.SECRET, **secret}}}}},
        }).mount()
        self.config = self.dsec.path("app/dev")

    def gone(self):
        """The only user, within the time that is promised, and what this machine's load adds."""
        since = time.monotonic()
        daemon.until("no user", lambda: not self.iam.users())
        self.assertLess(time.monotonic() - since, PROMISED_SECONDS)

    def reader(self, path, *prefix):
        """A process that has read the file and lives on."""
        process = subprocess.Popen([*prefix, PYTHON, "-c",
                                    "import sys; print(open(sys.argv[1]).read(), flush=True);"
                                    "input()", path],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process, process.stdout.readline().strip()

    def test_an_open_file_of_a_fresh_config(self):
        self.start()
        with open(self.dsec.path("app/dev@fresh/.json")) as file:
            user, = self.iam.users().values()
            self.assertEqual([json.load(file)[KEY]], user["access_keys"])
        self.gone()

    def test_a_fresh_config_whose_reader_is_killed(self):
        self.start()
        process, _ = self.reader("/dev/null", "sh", "-c", 'exec 9<"$0"; exec "$@"',
                                 self.dsec.path("app/dev@fresh/.json"))
        self.assertEqual(len(self.iam.users()), 1)
        process.kill()
        self.gone()

    def test_an_opener_killed_before_its_answer_leaves_no_user(self):
        self.start()
        for action in ("CreateUser", "CreateAccessKey", "PutUserPolicy"):
            self.iam.fault(action, kind="hold", when="after", times=1)
            process = subprocess.Popen(["cat", self.dsec.path("app/dev@fresh/.json")],
                                       stdout=subprocess.DEVNULL)
            self.iam.wait_held()
            process.kill()
            process.wait()
            self.iam.release()
            daemon.until("no user", lambda: not self.iam.users())

    def test_a_process(self):
        self.start(scope="process")
        process, key = self.reader(self.config / KEY)
        user, = self.iam.users().values()
        self.assertEqual([key], user["access_keys"])
        process.kill()
        self.gone()

    def test_a_container(self):
        if not UNIFIED or not os.access(UNIFIED, os.W_OK):
            self.skipTest("no unified cgroup hierarchy that we may write to")
        self.start(scope="container")
        folder = make_group()
        self.addCleanup(os.rmdir, folder)
        within = ["sh", "-c", f'echo $$ >{folder}/cgroup.procs && exec "$@"', "sh"]
        processes = [self.reader(self.config / KEY, *within) for _ in range(3)]
        self.assertEqual(len({key for _, key in processes}), 1)
        self.assertEqual(len(self.iam.users()), 1)
        for process, _ in processes:
            self.assertEqual(len(self.iam.users()), 1)
            process.kill()
        self.gone()

    def test_a_held_fresh_lease_is_renewed(self):
        if not LONG:
            self.skipTest("takes half a minute: only with --long")
        self.start(ttl="10s", min_validity="6s", max_ttl="1m")
        with open(self.dsec.path("app/dev@fresh/.json")) as file:
            key = json.load(file)[KEY]
            time.sleep(25)
            user, = self.iam.users().values()
            self.assertEqual([key], user["access_keys"])
        self.gone()

    SOON = {"ttl": "10s", "max_ttl": "10s", "min_validity": "9s"}  # replaced after a second

    def test_a_replaced_lease_runs_the_configured_command(self):
        done = pathlib.Path(tempfile.mkdtemp(prefix="dsec-test-")) / "done it"
        self.addCleanup(os.rmdir, done.parent)
        self.addCleanup(done.unlink, missing_ok=True)
        self.start(**self.SOON, on_rotate={"command": f"/usr/bin/touch '{done}'"})
        (self.config / KEY).read_bytes()
        self.assertFalse(done.exists())
        daemon.until("the command", done.exists)

    def test_a_replaced_lease_signals_the_process_that_holds_it(self):
        self.start(**self.SOON, scope="process", on_rotate={"signal": "USR1"})
        program = """
import signal, sys, time
def read():
    with open(sys.argv[1]) as file:
        return file.read()
signal.signal(signal.SIGUSR1, lambda *_: None)
old = new = read()
signal.pause()
while new == old:  # two reads of one caller within seconds belong together
    time.sleep(0.1)
    new = read()
print(old, new)
"""
        reader = subprocess.run([PYTHON, "-c", program, self.config / KEY], capture_output=True,
                                text=True, timeout=20, check=True)
        old, new = reader.stdout.split()
        self.assertNotEqual(old, new)

    def test_who_waits_for_a_file_is_woken_before_its_lease_ends(self):
        self.start(**self.SOON)
        with open(self.config / KEY) as file:
            poll = select.poll()
            poll.register(file, select.POLLPRI)
            self.assertEqual(poll.poll(100), [])
            self.kill_worker()  # of which who waits hears nothing
            self.assertTrue(poll.poll(10000))
            key = file.read()
            daemon.until("another key", lambda: (self.config / KEY).read_text() != key)

    def kill_worker(self):
        """As a crash does. Returns when the next one serves."""
        keeper = self.dsec.pid()
        children = pathlib.Path(f"/proc/{keeper}/task/{keeper}/children")
        worker, = map(int, children.read_text().split())
        os.kill(worker, signal.SIGKILL)
        os.listdir(self.dsec.mountpoint)
        daemon.until("another worker", lambda: children.read_text().split() not in ([], [str(worker)]))

    def test_the_worker_may_die_while_holders_live(self):
        self.start(scope="process")
        process, key = self.reader(self.config / KEY)
        file = open(self.dsec.path("app/dev@fresh/.json"))
        self.assertEqual(len(self.iam.users()), 2)
        for _ in range(3):
            self.kill_worker()
            file.seek(0)
            fresh = json.load(file)[KEY]
            self.assertEqual({key, fresh}, {key for user in self.iam.users().values()
                                            for key in user["access_keys"]})
        process.kill()
        daemon.until("one user", lambda: len(self.iam.users()) == 1, seconds=PROMISED_SECONDS)
        file.close()
        self.gone()

    def test_holders_that_end_while_no_worker_serves(self):
        self.start(scope="process")
        process, _ = self.reader(self.config / KEY)
        file = open(self.dsec.path("app/dev@fresh/.json"))
        self.assertEqual(len(self.iam.users()), 2)
        keeper = self.dsec.pid()
        worker, = map(int, pathlib.Path(f"/proc/{keeper}/task/{keeper}/children").read_text()
                      .split())
        os.kill(worker, signal.SIGSTOP)
        process.kill()
        file.close()  # which does not wait for an answer
        os.kill(worker, signal.SIGKILL)
        daemon.until("no user", lambda: not self.iam.users())

    def test_a_container_outlives_the_worker(self):
        if not UNIFIED or not os.access(UNIFIED, os.W_OK):
            self.skipTest("no unified cgroup hierarchy that we may write to")
        self.start(scope="container")
        folder = make_group()
        self.addCleanup(os.rmdir, folder)
        within = ["sh", "-c", f'echo $$ >{folder}/cgroup.procs && exec "$@"', "sh"]
        process, key = self.reader(self.config / KEY, *within)
        self.kill_worker()
        other, same = self.reader(self.config / KEY, *within)
        self.assertEqual(same, key)
        self.assertEqual(len(self.iam.users()), 1)
        process.kill(), other.kill()
        self.gone()

    def test_a_container_that_loops_leaves_leases_to_the_others(self):
        """Each turn of the loop is another process, and the container another one each time."""
        if not UNIFIED or not os.access(UNIFIED, os.W_OK):
            self.skipTest("no unified cgroup hierarchy that we may write to")
        self.start(scope="process", max_rate="8/h")
        looping, other = make_group(), make_group()
        self.addCleanup(os.rmdir, looping)
        self.addCleanup(os.rmdir, other)

        def read(folder, times):
            return subprocess.run(
                ["sh", "-c", f'echo $$ >{folder}/cgroup.procs; i=0; '
                 f'while [ $((i += 1)) -le {times} ]; do cat "$0"; echo; done',
                 self.config / KEY], capture_output=True, text=True)

        first = read(looping, 20)
        self.assertEqual(len(first.stdout.split()), 4)
        self.assertEqual(first.stderr.count(os.strerror(errno.EAGAIN)), 16)
        os.rmdir(looping)
        os.mkdir(looping, 0o755)
        self.assertEqual(read(looping, 5).stdout.split(), [])
        status = self.dsec.status()
        self.assertIn(f"/{os.path.basename(looping)} has caused as many leases of AWS_USER as one "
                      "holder may, 4 in 1h (max_rate_per_holder): it may try again in ", status)
        metrics = self.dsec.read(".dsec/metrics").decode()
        self.assertIn("\ndsec_readers_held_back_total 21\n", metrics)
        # The others have what is left, at once.
        since = time.monotonic()
        self.assertEqual(len(read(other, 4).stdout.split()), 4)
        self.assertLess(time.monotonic() - since, 20)  # of read_timeout's thirty

    def test_a_crash_loop_never_has_more_users_than_max_leases(self):
        """So many short lives, as many at once as find a processor."""
        self.start(scope="process", max_leases=MAX_LEASES, max_rate="1000000/s")
        readers = subprocess.run(
            ["xargs", "-P", "64", "-I{}", "sh", "-c", "exec cat \"$0\" 2>&1", "{}"],
            input=f"{self.config / KEY}\n" * LIVES, capture_output=True, text=True)
        daemon.until("no user", lambda: not self.iam.users())
        refused = readers.stdout.count(os.strerror(122))  # EDQUOT
        made = most = now = 0
        for call in self.iam.log():
            if call["effect"] and call["action"] in ("CreateUser", "DeleteUser"):
                now += 1 if call["action"] == "CreateUser" else -1
                made += call["action"] == "CreateUser"
                most = max(most, now)
        print(f"# {LIVES} lives: {made} users, {most} at once, {refused} refused",
              file=sys.stderr)
        self.assertEqual(now, 0)
        self.assertLessEqual(most, MAX_LEASES)
        self.assertGreater(made, MAX_LEASES)
        self.assertEqual(made + refused, LIVES)
        self.dsec.stop()


if __name__ == "__main__":
    tap.main()
