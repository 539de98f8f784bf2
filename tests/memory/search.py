#!/usr/bin/python3
"""A secret is in the memory for secrets and nowhere else, and after its lease nowhere at all."""

import json
import os
import pathlib
import re
import secrets
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import memory
import tap
from daemon import Dsec, command, configuration, until
from localiam import LocalIAM

SOON = 1  # second that the daemon has for it: all of it looked at as it is after that
LONG = "DSEC_TESTS_LONG" in os.environ

FILES = ["AWS_USER_SECRET_ACCESS_KEY", "AWS_USER_ACCESS_KEY_ID", "STATIC_SECRET", ".json", ".env",
         ".env-no-quotes", ".docker", ".yaml", ".dotnet-json", ".aws/AWS_USER/credentials",
         ".aws/AWS_USER/process.json"]


class Tool(unittest.TestCase):
    """What cannot find anything finds nothing, too."""

    def hold(self, data):
        """A process with the data in its memory."""
        process = subprocess.Popen([sys.executable, "-c",
                                    "import sys; data = sys.stdin.buffer.readline(); "
                                    "print(flush=True); sys.stdin.buffer.readline()"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def end():
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

        self.addCleanup(end)
        process.stdin.write(data + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        return process.pid

    def test_every_form_is_found(self):
        secret = ("+/" + secrets.token_hex(18) + '/"').encode()
        for needle, name in memory.needles(key=secret).items():
            with self.subTest(name):
                pid = self.hold(b"x" + needle + b"y")
                self.assertTrue(any(name in line
                                    for line in memory.search(pid, memory.needles(key=secret))))

    def test_part_of_a_longer_base64_text_is_found(self):
        secret = secrets.token_hex(20).encode()
        for before in range(3):
            text = memory.base64.b64encode(b"b" * before + secret + b"behind")
            self.assertTrue(list(memory.find(text, memory.needles(key=secret))))

    def test_what_is_not_there_is_not_found(self):
        pid = self.hold(b"nothing of interest")
        self.assertEqual(memory.search(pid, memory.needles(key=secrets.token_hex(20).encode())), [])


class Secrets(unittest.TestCase):
    deadline = 240

    def setUp(self):
        self.token = secrets.token_urlsafe(90)
        self.iam = LocalIAM(tls=True, admin_token=self.token).start()
        self.addCleanup(self.iam.stop)

    def mount(self, ttl, prefix=()):
        """Over TLS, with the integration's key from a file, and a static secret with characters
        that every format has to escape."""
        self.static = 'st"at/ic+' + secrets.token_hex(20)
        dsec = Dsec(self, {})
        self.key_file = dsec.folder / "aws-main.key"
        self.key_file.write_text(self.iam.admin.secret_access_key + "\n")
        self.key_file.chmod(0o600)
        settings = configuration(
            self.iam, {"ttl": ttl},
            integration={"ca_file": self.iam.certificates.ca,
                         "credentials": {"source": "static",
                                         "access_key_id": self.iam.admin.access_key_id,
                                         "secret_access_key_file": str(self.key_file),
                                         "session_token": self.token}},
            config={"secrets": {"STATIC_SECRET": self.static}},
            audit={"file": str(dsec.folder / "audit.jsonl")})
        dsec.configure(settings)
        return dsec.start(prefix)

    def needles(self, dsec, lease=None):
        ret = {"integration_key": self.iam.admin.secret_access_key.encode(),
               "session_token": self.token.encode(), "static": self.static.encode()}
        if lease:
            ret["lease"] = lease
        return memory.needles(**ret)

    def found(self, dsec, sought, pids):
        ret = []
        with memory.frozen(pids):
            for pid in pids:
                ret += memory.search(pid, sought)
            ret += memory.search_files(dsec.state, sought)
            for file in (dsec.log, dsec.folder / "audit.jsonl"):
                ret += [f"{file}: {name}" for _, name in memory.find(file.read_bytes(), sought)]
        return ret

    def assert_soon_nowhere(self, dsec, sought):
        pids = memory.family(dsec.pid())
        memory.let_run(pids, SOON)
        found = self.found(dsec, sought, pids)
        self.assertFalse(found, "\n".join(found))

    def until_over(self, dsec, lease, seconds=20):
        """It is over when who asks is told so; its user may be there for longer."""

        def over():
            leases = json.loads(dsec.read(".dsec/leases.json"))["leases"]
            return not any(one["id"] == lease and one["state"] == "active" for one in leases)

        until("the lease is over", over, seconds)

    def read_everything(self, dsec):
        for name in FILES:
            self.assertTrue(dsec.read("app/dev/" + name), name)
        dsec.status()
        dsec.read(".dsec/leases.json")

    def test_while_a_lease_lives_its_secret_is_in_the_arena_alone(self):
        dsec = self.mount(ttl="10m")
        secret = dsec.read("app/dev/AWS_USER_SECRET_ACCESS_KEY")
        self.read_everything(dsec)
        self.assertGreater(sum(memory.arena_size(pid) for pid in memory.family(dsec.pid())), 0)
        self.assert_soon_nowhere(dsec, self.needles(dsec, secret))
        dsec.stop()

    def test_after_its_end_a_lease_has_left_nothing(self):
        dsec = self.mount(ttl="10m")
        secret = dsec.read("app/dev/AWS_USER_SECRET_ACCESS_KEY")
        self.read_everything(dsec)
        lease = dsec.read("app/dev/AWS_USER_LEASE_ID").decode()
        result = command("leases", "revoke", "--config", dsec.config, lease)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.until_over(dsec, lease)
        self.assert_soon_nowhere(dsec, self.needles(dsec, secret))
        dsec.stop()

    @unittest.skipUnless(LONG, "it waits for a TTL to end: tests/run --long")
    def test_after_its_ttl_a_lease_has_left_nothing(self):
        dsec = self.mount(ttl="10s")
        secret = dsec.read("app/dev/AWS_USER_SECRET_ACCESS_KEY")
        self.read_everything(dsec)
        self.until_over(dsec, dsec.read("app/dev/AWS_USER_LEASE_ID").decode(), 60)
        self.assert_soon_nowhere(dsec, self.needles(dsec, secret))
        dsec.stop()

    def test_reload_and_a_mistake_in_a_configuration_leave_nothing(self):
        dsec = self.mount(ttl="10m")
        self.read_everything(dsec)
        good = json.loads(dsec.config.read_text())
        command("reload", dsec.mountpoint)
        bad = dict(good, surplus=True)
        dsec.config.write_text(json.dumps(bad))
        result = command("reload", dsec.mountpoint)
        self.assertEqual(result.returncode, 1)
        os.kill(dsec.pid(), 1)
        until("it says so", lambda: "not reloaded" in dsec.log.read_text())
        self.read_everything(dsec)
        self.assert_soon_nowhere(dsec, self.needles(dsec))
        dsec.stop()

    def test_pages_of_a_dead_lease_are_zeroed_before_they_are_dropped(self):
        trace = pathlib.Path(tempfile.mkdtemp(prefix="dsec-trace-")) / "trace"
        self.addCleanup(shutil.rmtree, trace.parent)
        dsec = self.mount("10m", ["strace", "-f", "-xx", "-s", "65536", "-e", "trace=writev",
                                  "-o", trace])
        secret = dsec.read("app/dev/AWS_USER_SECRET_ACCESS_KEY")
        lease = dsec.read("app/dev/AWS_USER_LEASE_ID").decode()
        # What the kernel has forgotten by itself has no pages any more.
        for name in ("SECRET_ACCESS_KEY", "LEASE_ID"):
            self.addCleanup(os.close, os.open(dsec.path(f"app/dev/AWS_USER_{name}"), os.O_PATH))
        self.assertEqual(notifications(trace, INVALIDATE), [])
        result = command("leases", "revoke", "--config", dsec.config, lease)
        self.assertEqual(result.returncode, 0, result.stderr)
        until("pages are dropped", lambda: len(notifications(trace, INVALIDATE)) >= 2)
        stored = {}
        for code, body in notifications(trace, STORE, INVALIDATE):
            if code == STORE:
                node, offset, size = struct.unpack_from("<QQI", body)
                stored.setdefault(node, []).append(body[24:24 + size])
            else:
                self.assertFalse(any(stored[struct.unpack_from("<Q", body)[0]][-1]))
        self.assertIn([secret, bytes(len(secret))], list(stored.values()))
        dsec.stop()


STORE, INVALIDATE = 4, 2  # enum fuse_notify_code


def notifications(trace, *codes):
    """What a traced daemon has told the kernel of its own accord: code and body, in order."""
    ret = []
    for line in trace.read_text().splitlines():
        data = b"".join(bytes.fromhex(part.replace("\\x", ""))
                        for part in re.findall(r'iov_base="((?:\\x..)*)"', line))
        if len(data) >= 16:
            _, code, unique = struct.unpack_from("<IiQ", data)
            if unique == 0 and code in codes:
                ret.append((code, data[16:]))
    return ret


if __name__ == "__main__":
    if os.getuid() != 0:
        print("1..0 # SKIP only root may read another process's memory")
        sys.exit(0)
    tap.main()
