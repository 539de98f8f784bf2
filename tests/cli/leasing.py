#!/usr/bin/python3
"""The main job, from end to end: a secret you can cat, and its user gone at the end."""

import datetime
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from awscall import call, works
from daemon import DSEC, Dsec, command, configuration, mounted, until
from localiam import LocalIAM

KEYS = ["AWS_USER_ACCESS_KEY_ID", "AWS_USER_ARN", "AWS_USER_LEASE_EXPIRATION",
        "AWS_USER_LEASE_ID", "AWS_USER_POLICY_NAME", "AWS_USER_SECRET_ACCESS_KEY",
        "AWS_USER_USERNAME", "DOPPLER_CONFIG", "DOPPLER_ENVIRONMENT", "DOPPLER_PROJECT", "GREETING"]


class Case(unittest.TestCase):
    def setUp(self):
        self.iam = LocalIAM().start()
        self.addCleanup(self.stop_iam)

    def stop_iam(self):
        self.assertIn(self.iam.stop(), (0, None))

    def dsec(self, secret=None, **more):
        return Dsec(self, configuration(self.iam, secret, **more))

    def calls(self, action):
        return [entry for entry in self.iam.log() if entry["action"] == action]


class MainJob(Case):
    def test_key_works_until_the_unmount_and_its_user_is_gone_then(self):
        dsec = self.dsec().mount()
        self.assertEqual(self.iam.users(), {})
        key = dsec.key()
        name = dsec.read("app/dev/AWS_USER_USERNAME").decode()
        self.assertEqual(list(self.iam.users()), [name])
        self.assertTrue(works(self.iam.endpoint, key))
        dsec.stop()
        self.assertEqual(self.iam.users(), {})
        self.assertEqual(call(self.iam.endpoint, "GetCallerIdentity", key, service="sts"),
                         (403, "InvalidClientTokenId"))

    def test_key_may_do_what_the_policy_allows_and_nothing_else(self):
        policy = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "iam:ListUsers", "Resource": "*"}]}
        dsec = self.dsec({"policy": policy}).mount()
        key = dsec.key()
        self.assertEqual(call(self.iam.endpoint, "ListUsers", key), (200, ""))
        self.assertEqual(call(self.iam.endpoint, "CreateUser", key, UserName="mallory"),
                         (403, "AccessDenied"))
        dsec.stop()

    def test_looking_leases_nothing(self):
        dsec = self.dsec().mount()
        listed = sorted(name for name in os.listdir(dsec.path("app/dev")) if name[0] != ".")
        self.assertEqual(listed, KEYS)
        for words in (["ls", "-laR"], ["find"], ["du", "-a"], ["stat"]):
            subprocess.run([*words, dsec.mountpoint], check=True, stdout=subprocess.DEVNULL)
        for name in KEYS + [".json", ".aws/AWS_USER/credentials"]:
            os.close(os.open(dsec.path(f"app/dev/{name}"), os.O_PATH))
        dsec.status()
        self.assertEqual(self.calls("CreateUser"), [])
        dsec.stop()

    def test_cat_and_a_whole_file_come_from_one_lease(self):
        dsec = self.dsec().mount()
        values = {name: subprocess.run(["cat", dsec.path(f"app/dev/{name}")], check=True,
                                       capture_output=True, text=True).stdout for name in KEYS}
        self.assertEqual(json.loads(dsec.read("app/dev/.json")), values)
        self.assertEqual(len(self.calls("CreateUser")), 1)
        dsec.stop()

    def ready(self, dsec, n):
        until(f"{n} leases are ready", lambda: f"\ndsec_leases_ready {n}\n" in
              dsec.read(".dsec/metrics").decode())

    def test_lease_that_is_kept_ready_is_read_while_aws_is_silent(self):
        for scope, events in (("shared", ["intended", "active", "read"]),
                              ("user", ["intended", "active", "active", "handed_out"])):
            audit = {"audit": {"file": f"/tmp/dsec-warm-{os.getpid()}-{scope}.jsonl"}}
            self.addCleanup(pathlib.Path(audit["audit"]["file"]).unlink)
            dsec = self.dsec({"warm": 1, "scope": scope}, **audit).mount()
            self.ready(dsec, 1)
            self.iam.fault("*", kind="hold", times=1000)
            key = dsec.key()
            name = dsec.read("app/dev/AWS_USER_USERNAME").decode()

            def told():  # a reader from the cache is told when it has been served
                lines = pathlib.Path(audit["audit"]["file"]).read_text().splitlines()
                return [line["event"] for line in map(json.loads, lines)
                        if line.get("user") == name]

            until("all of it is told", lambda: len(told()) >= len(events))
            self.assertEqual(told(), events)
            self.iam.reset()
            self.iam.release()
            self.assertIn(name, self.iam.users())
            self.assertTrue(works(self.iam.endpoint, key))
            dsec.stop()
            self.assertEqual(self.iam.users(), {})

    def test_fifty_readers_at_once_make_one_user(self):
        dsec = self.dsec().mount()
        self.iam.fault("CreateUser", kind="hold", times=1)
        readers = [subprocess.Popen(["cat", dsec.path("app/dev/AWS_USER_ACCESS_KEY_ID")],
                                    stdout=subprocess.PIPE) for _ in range(50)]
        self.iam.wait_held()
        self.iam.release()
        values = {reader.communicate(timeout=60)[0] for reader in readers}
        self.assertEqual(len(values), 1)
        self.assertRegex(values.pop().decode(), r"\AAKIA[A-Z2-7]{16}\Z")
        self.assertEqual(len(self.calls("CreateUser")), 1)
        dsec.stop()

    def test_seed_example_runs_with_the_key_in_its_environment(self):
        dsec = self.dsec().mount()
        result = subprocess.run(
            ["sh", "-c", 'env $(cat "$0") env', dsec.path("app/dev/.env-no-quotes")],
            check=True, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
        values = dict(line.split("=", 1) for line in result.stdout.splitlines())
        key = values["AWS_USER_ACCESS_KEY_ID"], values["AWS_USER_SECRET_ACCESS_KEY"]
        self.assertTrue(works(self.iam.endpoint, key))
        self.assertEqual(values["GREETING"], "hello")
        dsec.stop()

    def test_files_for_sdks_hold_the_key(self):
        dsec = self.dsec().mount()
        key = dsec.key()
        process = json.loads(dsec.read("app/dev/.aws/AWS_USER/process.json"))
        self.assertEqual((process["AccessKeyId"], process["SecretAccessKey"]), key)
        self.assertEqual(process["Version"], 1)
        # To the second, and not later than the end.
        self.assertEqual(process["Expiration"].removesuffix("Z"),
                         dsec.read("app/dev/AWS_USER_LEASE_EXPIRATION").decode()[:19])
        text = dsec.read("app/dev/.aws/AWS_USER/credentials").decode()
        self.assertIn(f"[default]\naws_access_key_id = {key[0]}\n", text)
        dsec.stop()

    def test_lease_is_told_in_the_attributes(self):
        dsec = self.dsec().mount()
        path = dsec.path("app/dev/.json")
        values = json.loads(path.read_bytes())
        self.assertEqual(os.getxattr(path, "user.dsec.lease_id").decode(),
                         values["AWS_USER_LEASE_ID"])
        self.assertEqual(os.getxattr(path, "user.dsec.expires").decode(),
                         values["AWS_USER_LEASE_EXPIRATION"])
        dsec.stop()

    def test_audit_log_says_who_held_the_key_and_never_the_key(self):
        dsec = self.dsec()
        audit = dsec.folder / "audit.jsonl"
        dsec.configure(configuration(self.iam, audit={"file": str(audit)}))
        dsec.mount()
        key = dsec.key()
        dsec.stop()
        events = [json.loads(line) for line in audit.read_text().splitlines()]
        kinds = [event["event"] for event in events]
        for kind in ("active", "handed_out", "ended", "gone"):
            self.assertIn(kind, kinds)
        handed_out = events[kinds.index("handed_out")]
        self.assertEqual(handed_out["access_key_id"], key[0])
        self.assertEqual(handed_out["caller"]["uid"], os.getuid())
        self.assertNotIn(key[1], audit.read_text())


class Time(Case):
    def test_user_is_deleted_at_its_ttl(self):
        dsec = self.dsec({"ttl": "10s"}).mount()
        key = dsec.key()
        self.assertEqual(len(self.iam.users()), 1)
        until("the user is gone", lambda: not self.iam.users(), 25)
        self.assertFalse(works(self.iam.endpoint, key))
        dsec.stop()

    def test_name_with_a_ttl_has_leases_of_that_ttl(self):
        dsec = self.dsec({"max_ttl": "2h"}).mount()
        self.assertEqual(len({dsec.key("app/dev")[0], dsec.key("app/dev@90m")[0]}), 2)
        self.assertEqual(len(self.iam.users()), 2)
        self.assertNotIn("dev@90m", os.listdir(dsec.path("app")))
        for name in ("dev@3h", "dev@", "dev@x", "dev@1s"):
            with self.assertRaises(FileNotFoundError, msg=name):
                dsec.read(f"app/{name}/.json")
        dsec.stop()

    def test_lease_of_an_open_file_is_renewed_until_it_is_closed(self):
        dsec = self.dsec({"ttl": "10s", "max_ttl": "10m"}).mount()

        def end():
            leases = json.loads(dsec.read(".dsec/leases.json"))["leases"]
            return leases[0]["expires"] if leases else None

        with open(dsec.path("app/dev/.json"), "rb") as file:
            text = file.read()
            values = json.loads(text)
            first = values["AWS_USER_LEASE_EXPIRATION"]
            until("it is renewed twice", lambda: end() > first and end()[:19] >= later(first, 8), 25)
            key = values["AWS_USER_ACCESS_KEY_ID"], values["AWS_USER_SECRET_ACCESS_KEY"]
            self.assertTrue(works(self.iam.endpoint, key))
            file.seek(0)
            self.assertEqual(file.read(), text)
        until("the user is gone", lambda: not self.iam.users(), 25)
        dsec.stop()

    def test_old_lease_lives_out_its_ttl_beside_the_new_one(self):
        dsec = self.dsec({"ttl": "20s", "min_validity": "9s"}).mount()
        old = dsec.key()
        new = until("another lease is handed out",
                    lambda: (key := fresh_key(dsec)) != old and key, 19)
        self.assertTrue(works(self.iam.endpoint, old))
        self.assertTrue(works(self.iam.endpoint, new))
        dsec.stop()
        self.assertEqual(self.iam.users(), {})


def later(iso, seconds):
    """That many seconds after a time as dsec writes it, without its fraction."""
    time = datetime.datetime.fromisoformat(iso.removesuffix("Z"))
    return (time + datetime.timedelta(seconds=seconds)).isoformat()[:19]


def fresh_key(dsec):
    """The key as another caller reads it, for whom no lease is sticky."""
    result = subprocess.run(["cat", dsec.path("app/dev/.json")], check=True, capture_output=True)
    values = json.loads(result.stdout)
    return values["AWS_USER_ACCESS_KEY_ID"], values["AWS_USER_SECRET_ACCESS_KEY"]


def read_terminal(terminal):
    """b"" at its end, which Linux tells by EIO."""
    try:
        return terminal.read(4096)
    except OSError:
        return b""


class Ends(Case):
    def started(self, **more):
        dsec = self.dsec(**more).start()
        dsec.key()
        self.assertEqual(len(self.iam.users()), 1)
        return dsec

    def ended(self, dsec):
        self.assertEqual(dsec.process.wait(60), 0, dsec.log.read_text())
        self.assertFalse(mounted(dsec.mountpoint))
        self.assertEqual(self.iam.users(), {})

    def test_plain_umount_revokes(self):
        dsec = self.started()
        subprocess.run(["umount", dsec.mountpoint], check=True)
        self.ended(dsec)

    def test_sigterm_revokes(self):
        dsec = self.started()
        dsec.process.send_signal(signal.SIGTERM)
        self.ended(dsec)

    def test_sigint_in_the_foreground_revokes(self):
        dsec = self.started()
        dsec.process.send_signal(signal.SIGINT)
        self.ended(dsec)

    def test_unmount_with_a_reader_that_waits_answers_it(self):
        dsec = self.dsec().start()
        self.iam.fault("CreateUser", kind="hold", times=1)
        reader = subprocess.Popen(["cat", dsec.path("app/dev/.json")], stderr=subprocess.PIPE)
        self.iam.wait_held()
        dsec.process.send_signal(signal.SIGTERM)
        self.assertEqual(reader.wait(20), 1)
        reader.stderr.close()
        self.iam.reset()
        self.iam.release()
        self.ended(dsec)

    def test_what_is_left_is_told_and_fails(self):
        dsec = self.started(unmount_timeout="2s")
        name = next(iter(self.iam.users()))
        self.iam.fault("DeleteUser", kind="error", status=503, code="ServiceUnavailable",
                       message="no")
        result = dsec.unmount()
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn(f"user {name} of integration aws-main", result.stderr)
        self.assertIn("1 user may still exist in IAM", result.stderr)
        self.assertEqual(dsec.process.returncode, 1)
        self.assertIn("their keys are deleted", dsec.log.read_text())
        self.assertFalse(mounted(dsec.mountpoint))
        # And the next start takes it.
        self.iam.reset()
        dsec.start()
        until("the user is gone", lambda: not self.iam.users())

    def test_key_that_could_not_be_deleted_is_said_to_be_powerless_at_its_end(self):
        dsec = self.started(unmount_timeout="2s")
        end = dsec.read("app/dev/AWS_USER_LEASE_EXPIRATION").decode()
        self.iam.fault("*", kind="drop")
        result = dsec.unmount()
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("powerless from " + end[:16], result.stderr)
        self.iam.reset()

    def test_second_signal_leaves_at_once(self):
        dsec = self.started(unmount_timeout="10m")
        self.iam.fault("*", kind="drop")
        dsec.process.send_signal(signal.SIGTERM)
        until("it ends", lambda: "revoking 1 lease" in dsec.log.read_text())
        dsec.process.send_signal(signal.SIGTERM)
        self.assertEqual(dsec.process.wait(10), 1)
        self.assertIn("told to leave", dsec.log.read_text())
        self.iam.reset()

    def test_terminal_sees_how_far_it_is(self):
        dsec = self.started()
        self.iam.fault("DeleteUser", kind="delay", ms=2500, times=1)
        ours, theirs = os.openpty()
        with open(ours, "rb", 0) as terminal:
            process = subprocess.Popen([DSEC, "unmount", dsec.mountpoint], stderr=theirs,
                                       stdout=subprocess.DEVNULL)
            os.close(theirs)
            seen = b"".join(iter(lambda: read_terminal(terminal), b""))
        self.assertEqual(process.wait(30), 0)
        self.assertIn(b"\r\x1b[Krevoking 1 of 1", seen)
        # The line is taken away before anything else is said.
        self.assertTrue(seen.endswith(b"\r\x1b[K"), seen)
        self.ended(dsec)

    def test_waiting_unmount_outlasts_the_timeout(self):
        dsec = self.started(unmount_timeout="1s")
        self.iam.fault("DeleteUser", kind="error", status=503, code="ServiceUnavailable",
                       message="no")
        timer = threading.Timer(4, self.iam.reset)
        timer.start()
        self.addCleanup(timer.join)
        result = dsec.unmount("--wait")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.ended(dsec)


class Crash(Case):
    def test_dead_daemon_s_users_are_removed_after_the_restart(self):
        # A CreateUser of the dead daemon may take effect yet: for a minute, none is believed gone.
        dsec = self.dsec(unmount_timeout="100s").mount()
        dsec.key()
        dsec.kill()
        self.assertEqual(len(self.iam.users()), 1)
        dsec.mount()  # takes the dead mount over
        self.assertEqual(dsec.read("app/dev/GREETING"), b"hello")
        # The live lease is adopted: its reader may still use it. The unmount takes it.
        dsec.stop()
        self.assertEqual(self.iam.users(), {})

    def test_dead_daemon_s_expired_users_are_removed_without_a_reader(self):
        dsec = self.dsec({"ttl": "10s"}).mount()
        dsec.key()
        dsec.kill()
        dsec.mount()
        until("the user is gone", lambda: not self.iam.users(), 25)
        dsec.stop()

    def test_secret_of_a_dead_daemon_is_never_handed_out_again(self):
        dsec = self.dsec().mount()
        old = dsec.key()
        dsec.kill()
        dsec.mount()
        self.assertNotEqual(dsec.key(), old)

    def test_unmount_after_a_crash_says_what_is_left(self):
        dsec = self.dsec().mount()
        dsec.key()
        name = next(iter(self.iam.users()))
        dsec.kill()
        result = dsec.unmount("--state", dsec.state)
        self.assertEqual(result.returncode, 1)
        self.assertIn(name, result.stderr)
        self.assertFalse(mounted(dsec.mountpoint))


class Reload(Case):
    def test_removed_secret_s_lease_is_revoked(self):
        dsec = self.dsec().mount()
        dsec.key()
        changed = configuration(self.iam)
        changed["projects"]["app"]["dev"]["dynamic_secrets"] = {}
        dsec.configure(changed)
        result = command("reload", dsec.mountpoint)
        self.assertEqual(result.returncode, 0, result.stderr)
        until("the user is gone", lambda: not self.iam.users())
        dsec.stop()

    def test_changed_policy_means_another_lease_and_the_old_one_lives(self):
        dsec = self.dsec().mount()
        old = dsec.key()
        policy = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "iam:ListUsers", "Resource": "*"}]}
        dsec.configure(configuration(self.iam, {"policy": policy}))
        self.assertEqual(command("reload", dsec.mountpoint).returncode, 0)
        new = until("another lease is handed out", lambda: (key := fresh_key(dsec)) != old and key)
        self.assertEqual(call(self.iam.endpoint, "ListUsers", new), (200, ""))
        self.assertEqual(call(self.iam.endpoint, "ListUsers", old), (403, "AccessDenied"))
        dsec.stop()


if __name__ == "__main__":
    tap.main()
