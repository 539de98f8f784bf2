#!/usr/bin/python3
"""systemd asks the API's socket for what a unit names in LoadCredential=. Here a process asks as it
does: from an address that names unit and credential, without a word, and reads to the end."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import daemon
import local
import tap

PYTHON = "/usr/bin/python3"
SECONDS = 30
UNITS = 200  # more than one user may have connections of another kind
CREDENTIAL_MAX = 1 << 20  # what systemd takes; it fails the unit where there is more
TOLD_A_MINUTE = 60
KEY = "AWS_USER_ACCESS_KEY_ID"
OPEN = {"access": {"user": "root", "group": "root", "mode": "0444"}}
UNIFIED = next((pathlib.Path(line.split()[4])
                for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
                if " - cgroup2 " in line and line.split()[3] == "/"), None)

# argv: socket, unit, credential, cgroup ("": none), uid
ASKS = r"""
import os, socket, sys
path, unit, name, group, uid = sys.argv[1:]
if group:
    with open(f"{group}/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
os.setresuid(int(uid), int(uid), int(uid))
with socket.socket(socket.AF_UNIX) as asking:
    asking.bind(f"\0{os.urandom(8).hex()}/unit/{unit}/{name}")
    asking.connect(path)
    asking.shutdown(socket.SHUT_WR)
    while part := asking.recv(1 << 16):
        sys.stdout.buffer.write(part)
sys.stdout.buffer.flush()
sys.stdin.read()
"""


class Services(unittest.TestCase):
    deadline = 120

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("it is root's systemd that asks")
        self.iam = local.iam(self)

    def start(self, config=None, members=None, **secret):
        self.dsec = daemon.Dsec(self, {
            "integrations": {"local": local.integration(self.iam, verify=False, rate=1000)},
            "projects": {"app": {"dev": {
                "secrets": {"GREETING": "hello"},
                "dynamic_secrets": {"AWS_USER": {**local.SECRET, **secret}}, **(config or {})}}},
            **(members or {}),
        }).start()
        return self.dsec

    def unit(self, name):
        """A cgroup as a unit has it."""
        if not UNIFIED or not os.access(UNIFIED, os.W_OK):
            self.skipTest("no unified cgroup hierarchy that we may write to")
        folder = tempfile.mkdtemp(prefix="dsec-test-", suffix=f"-{name}", dir=UNIFIED)
        os.chmod(folder, 0o755)
        self.addCleanup(os.rmdir, folder)
        return pathlib.Path(folder)

    def begin(self, name, group=None, unit="web.service", uid=0):
        process = subprocess.Popen([PYTHON, "-c", ASKS, self.dsec.folder / "socket", unit, name,
                                    group or "", str(uid)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def ask(self, name, **more):
        return self.begin(name, **more).communicate(timeout=SECONDS)[0]

    def refused(self, reason, name, **more):
        """An answer that is empty, or short, would be what the service starts with."""
        answer = self.ask(name, **more)
        self.assertGreater(len(answer), CREDENTIAL_MAX, answer[:500])
        sentence, _, rest = answer.partition(b"\n")
        self.assertIn(reason, sentence.decode())
        self.assertEqual(rest.strip(), b"")
        self.assertIn(sentence.decode(), self.dsec.log.read_text())

    def test_a_credential_is_the_file_that_its_name_spells(self):
        self.start()
        for path in [f"app/dev/{KEY}", "app/dev/.aws/AWS_USER/credentials", "app/dev/.json",
                     "app/dev/GREETING", "app/dev/.env", "app/dev@1h/.json"]:
            answer = self.ask(path.replace("/", "+"))
            self.assertEqual(answer, self.dsec.read(path), path)
        self.assertEqual(len(self.iam.users()), 2)

    def test_one_that_is_long_comes_whole(self):
        self.start(config={"secrets": {f"A{i}": "x" * 60000 for i in range(12)}})
        answer = self.ask("app+dev+.json")
        self.assertEqual(answer, self.dsec.read("app/dev/.json"))
        self.assertGreater(len(answer), 700000)

    def test_what_is_not_there_is_never_an_empty_credential(self):
        self.start()
        for name in ["app+dev+NOTHING", "app+dev", "app+nothing+.json", "app+dev@99h+.json",
                     "app+dev+.status", ".dsec+leases.json", "+", "app+dev+..+dev+.json"]:
            self.refused("there is no such file", name)
        self.refused("@fresh", "app+dev@fresh+.json")
        self.assertEqual(self.iam.users(), {})

    def test_a_lease_that_cannot_be_had_is_never_an_empty_credential(self):
        self.start()
        self.iam.fault("CreateUser", kind="error", status=403, code="AccessDenied", message="no")
        self.refused("AccessDenied", "app+dev+.json")

    def test_another_user_who_takes_such_an_address_gets_nothing(self):
        self.start(config=OPEN)
        os.chmod(self.dsec.folder, 0o755)
        self.refused("only root's systemd", f"app+dev+{KEY}", uid=65534)
        self.assertEqual(self.iam.users(), {})

    def test_refusals_do_not_fill_the_log(self):
        self.start()
        for _ in range(TOLD_A_MINUTE + 20):
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(f"\0{os.urandom(8).hex()}/unit/web.service/nothing")
                one.connect(str(self.dsec.folder / "socket"))
                one.settimeout(SECONDS)
                self.assertIn(b"was refused", one.recv(1 << 16))
        lines = self.dsec.log.read_text().count("was refused")
        self.assertGreaterEqual(lines, TOLD_A_MINUTE)
        self.assertLess(lines, TOLD_A_MINUTE + 20)

    def test_a_lease_of_a_process_would_end_before_it_is_used(self):
        self.start(scope="process")
        self.refused("scope process", f"app+dev+{KEY}")
        self.assertIn("scope process", self.dsec.status())

    def test_a_unit_has_a_lease_of_its_own_that_ends_with_it(self):
        self.start(scope="container")
        groups = [self.unit("web.service"), self.unit("other.service")]
        asking = [self.begin(f"app+dev+{KEY}", group=group) for group in groups]
        keys = {process.stdout.read(20).decode() for process in asking}
        self.assertEqual(keys, {key for user in self.iam.users().values()
                                for key in user["access_keys"]})
        self.assertEqual(len(keys), 2)
        # It is the one that its processes read from the mount.
        reads = subprocess.run(["sh", "-c", f'echo $$ >{groups[0]}/cgroup.procs && exec cat "$0"',
                                self.dsec.path(f"app/dev/{KEY}")], capture_output=True, check=True)
        self.assertIn(reads.stdout.decode(), keys)
        self.assertEqual(len(self.iam.users()), 2)
        for process, left in zip(asking, [1, 0]):
            process.communicate(timeout=SECONDS)
            daemon.until("its user gone", lambda: len(self.iam.users()) == left, seconds=5)

    def test_a_unit_is_believed_by_its_cgroup_and_not_by_what_it_says(self):
        self.start(config={"access": {"allow": {"units": ["dsec-test-*-web.service"]}}})
        group = self.unit("web.service")
        other = self.unit("other.service")
        self.refused("access.allow", f"app+dev+{KEY}", group=other, unit=group.name)
        self.assertEqual(self.iam.users(), {})
        self.assertRegex(self.ask(f"app+dev+{KEY}", group=group).decode(), "^AKIA")

    def test_the_audit_log_names_the_unit(self):
        log = pathlib.Path(tempfile.mkdtemp(prefix="dsec-services-")) / "audit.jsonl"
        self.addCleanup(subprocess.run, ["rm", "-rf", log.parent])
        self.start(members={"audit": {"file": str(log)}})
        group = self.unit("web.service")
        user = self.ask("app+dev+AWS_USER_USERNAME", group=group).decode()
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        handed, = [line for line in lines if line["event"] == "handed_out"]
        self.assertIn(user, json.dumps(handed))
        self.assertIn(group.name, json.dumps(handed))

    def test_systemd_that_gives_up_leaves_no_lease_that_is_its_own(self):
        self.start(scope="container")
        group = self.unit("web.service")
        self.iam.fault("CreateUser", kind="hold", when="after", times=1)
        process = self.begin(f"app+dev+{KEY}", group=group)
        self.iam.wait_held()
        process.kill()
        process.wait()
        self.iam.release()
        daemon.until("no user", lambda: not self.iam.users())
        self.assertEqual(self.ask("app+dev+GREETING"), b"hello")

    def test_a_machine_that_starts_all_its_units_at_once(self):
        """All of them wait for one lease, and keep nobody else from the socket."""
        self.start()
        self.iam.fault("CreateUser", kind="hold", when="after", times=1)
        asking = []
        for number in range(UNITS):
            one = socket.socket(socket.AF_UNIX)
            self.addCleanup(one.close)
            one.bind(f"\0{os.urandom(8).hex()}/unit/web{number}.service/app+dev+.json")
            one.connect(str(self.dsec.folder / "socket"))
            one.shutdown(socket.SHUT_WR)
            asking.append(one)
        self.iam.wait_held()
        self.assertEqual(daemon.command("tokens", "list", "--config", self.dsec.config).returncode, 0)
        self.iam.release()
        answers = {b"".join(iter(lambda: one.recv(1 << 16), b"")) for one in asking}
        self.assertEqual(answers, {self.dsec.read("app/dev/.json")})
        self.assertEqual(len(self.iam.users()), 1)


if __name__ == "__main__":
    tap.main()
