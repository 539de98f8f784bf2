#!/usr/bin/python3
"""What changes while a lease lives: its end, the configuration, whether IAM is there."""

import errno
import os
import pathlib
import signal
import socket
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from awscall import call, works
from daemon import command, until
from localiam import LocalIAM
from scene import BUSY, POLL, READ_TIMEOUT, Scene, at_once, policy

MINUTE = 60 * 1000  # ms
SLACK = 30 * 1000   # ms that the test itself may take
OUTAGE = 60         # s


@at_once
class Renewal(unittest.TestCase):
    def leased(self, **secret):
        scene = Scene(self, {"ttl": "10m", "max_ttl": "1h", **secret})
        scene.dsec.start()
        *key, user = scene.key()
        return scene, key, user

    def renew(self, scene, user, ttl):
        scene.leases("renew", scene.lease(user)["id"], ttl)

    def ends(self, scene, user, expected):
        """To the second, which is what IAM knows."""
        until("the policy has the new end",
              lambda: abs(scene.end_in_policy(user) - expected) <= SLACK)
        until("so has the journal", lambda: 0 <= scene.end_in_policy(user) -
              scene.journal()[user]["expires_ms"] < 1000)

    def test_renewal_moves_the_end_and_nothing_else(self):
        with BUSY:
            scene, key, user = self.leased()
            before = scene.iam.users()[user]
            line = scene.journal()[user]
            self.renew(scene, user, "50m")
            self.ends(scene, user, line["expires_ms"] + 40 * MINUTE)
            after = scene.iam.users()[user]
            for member in ("name", "path", "arn", "access_keys", "created_ms"):
                self.assertEqual(after[member], before[member])
            self.assertEqual(list(after["inline_policies"]), list(before["inline_policies"]))
            self.assertEqual(scene.key(), (*key, user))
            told = scene.dsec.read("app/dev/AWS_USER_LEASE_EXPIRATION").decode()
            self.assertEqual(told, scene.lease(user)["expires"])
            scene.dsec.stop()
            self.assertEqual(scene.iam.users(), {})

    def test_end_never_goes_beyond_max_ttl(self):
        with BUSY:
            scene, _, user = self.leased()
            line = scene.journal()[user]
            self.renew(scene, user, "5h")
            until("the policy has the last end",
                  lambda: scene.end_in_policy(user) == line["last_end_ms"])
            self.assertEqual(scene.journal()[user]["expires_ms"], line["last_end_ms"])
            scene.dsec.stop()

    def killed(self, when, drop):
        """Around the one call, and after the line in the journal. The lease then ends at the old
        end for its holder, and at the new one in the journal: safe, and in order."""
        with BUSY:
            scene, key, user = self.leased(ttl="15s", max_ttl="2m")
            scene.iam.fault("PutUserPolicy", kind="hold", when=when)
            self.renew(scene, user, "40s")
            scene.iam.wait_held()
            scene.iam.control(clear_faults=True)
            scene.dsec.kill()
            scene.no_allow_without_its_deny()
            scene.iam.release(drop=drop)
            line = scene.journal()[user]
            self.assertLessEqual(scene.end_in_policy(user), line["expires_ms"] + 1000)
            scene.dsec.start()
            self.assertTrue(works(scene.iam.endpoint, key))
            scene.serve()
        scene.settled()

    def test_crash_before_the_policy_is_put_leaves_a_safe_state(self):
        self.killed("before", drop=True)

    def test_crash_without_the_policy_s_answer_leaves_a_safe_state(self):
        self.killed("after", drop=False)


@at_once
class Reload(unittest.TestCase):
    def reload(self, scene, status=0):
        result = command("reload", scene.dsec.mountpoint)
        self.assertEqual(result.returncode, status, result.stderr)
        return result.stderr

    def test_removed_secret_s_leases_are_revoked(self):
        with BUSY:
            scene = Scene(self)
            scene.dsec.start()
            *key, user = scene.key()
            scene.configure(config={"dynamic_secrets": {}})
            self.reload(scene)
            until("the user is gone", lambda: not scene.iam.users())
            self.assertFalse(works(scene.iam.endpoint, key))
            with self.assertRaises(FileNotFoundError):
                scene.dsec.read("app/dev/AWS_USER_USERNAME")
            scene.dsec.stop()

    def test_removed_while_the_daemon_was_dead_is_revoked_too(self):
        with BUSY:
            scene = Scene(self)
            scene.dsec.start()
            *key, user = scene.key()
            scene.dsec.kill()
            scene.configure(config={"dynamic_secrets": {}})
            scene.dsec.start()
        scene.settled()

    def test_changed_policy_is_for_new_readers_and_the_old_lease_lives_to_its_ttl(self):
        with BUSY:
            scene = Scene(self, {"ttl": "25s"})
            scene.dsec.start()
            *old, user = scene.key()
            end = scene.journal()[user]["expires_ms"] / 1000
            scene.configure({"policy": policy("iam:ListUsers"), "ttl": "25s"})
            self.reload(scene)
            *new, other = scene.key()
            self.assertNotEqual(user, other)
            self.assertEqual(call(scene.iam.endpoint, "ListUsers", new), (200, ""))
            self.assertEqual(call(scene.iam.endpoint, "ListUsers", old), (403, "AccessDenied"))
            self.assertTrue(works(scene.iam.endpoint, old))
            until("the old one ends", lambda: user not in scene.iam.users(), 40, POLL)
            self.assertGreaterEqual(time.time(), end - 1)
            scene.dsec.stop()
            self.assertEqual(scene.iam.users(), {})

    def test_broken_file_changes_nothing(self):
        with BUSY:
            scene = Scene(self)
            scene.dsec.start()
            *key, user = scene.key()
            scene.dsec.config.write_text('{"projects": {}')
            self.assertIn("the running configuration stays", self.reload(scene, status=1))
            scene.dsec.process.send_signal(signal.SIGHUP)
            until("it says so", lambda: "the running configuration stays" in scene.log())
            self.assertEqual(scene.key(), (*key, user))
            self.assertTrue(works(scene.iam.endpoint, key))
            scene.configure()
            scene.dsec.stop()


@at_once
class Away(unittest.TestCase):
    """IAM is down when the daemon starts, and comes back."""

    def scene(self, **members):
        """With a lease of a daemon that is dead."""
        scene = Scene(self, {"ttl": "20s"}, read_timeout="3s", **members)
        scene.dsec.start()
        *_, user = scene.key()
        scene.dsec.kill()
        return scene, user

    def looking_is_quick(self, scene):
        begin = time.monotonic()
        self.assertEqual(scene.dsec.read("app/dev/GREETING"), b"hello")
        self.assertIn("AWS_USER_USERNAME", os.listdir(scene.dsec.path("app/dev")))
        scene.dsec.status()
        self.assertLess(time.monotonic() - begin, 2)

    def refused(self, scene, *errors):
        with self.assertRaises(OSError) as failed:
            scene.dsec.read("app/dev/.json")
        self.assertIn(failed.exception.errno, errors, failed.exception)

    def recovered(self, scene, user):
        until("a reader is served", lambda: self.served(scene), 2 * READ_TIMEOUT, POLL)
        scene.serve()
        until("the old user is gone", lambda: user not in scene.iam.users(), 60, POLL)

    def served(self, scene):
        try:
            return scene.dsec.read("app/dev/.json")
        except OSError:
            return None

    def keep(self, port):
        """Nobody else gets the port, and nobody listens there."""
        kept = socket.socket()
        self.addCleanup(kept.close)
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", port))
        return kept

    def test_iam_that_is_down_for_a_minute_delays_no_start_and_no_reader_after_it(self):
        with BUSY:
            scene, user = self.scene()
            # Its account is lost with it, and so is the old user: all the better a test of what
            # the journal alone knows.
            port, principals = scene.iam.port, scene.iam.principals
            scene.iam.stop()
            kept = self.keep(port)
            begin = time.monotonic()
            scene.dsec.start()
            self.assertLess(time.monotonic() - begin, 15)
            self.looking_is_quick(scene)
            self.refused(scene, errno.EHOSTUNREACH)
            self.assertRegex(scene.dsec.status(), "(?i)connect|reach")
        while time.monotonic() - begin < OUTAGE:
            self.refused(scene, errno.EHOSTUNREACH)
            time.sleep(POLL)
        with BUSY:
            kept.close()
            iam = LocalIAM(port=port)
            iam.principals = principals
            scene.iam = iam.start()
            self.recovered(scene, user)
        scene.settled()

    def test_iam_that_hangs_delays_no_start(self):
        with BUSY:
            scene, user = self.scene()
            scene.iam.process.send_signal(signal.SIGSTOP)
            try:
                scene.dsec.start()
                self.looking_is_quick(scene)
                self.refused(scene, errno.ETIMEDOUT, errno.EHOSTUNREACH)
            finally:
                scene.iam.process.send_signal(signal.SIGCONT)
            self.recovered(scene, user)
        scene.settled()

    def test_iam_that_answers_nonsense_for_a_while_delays_no_start(self):
        with BUSY:
            scene, user = self.scene()
            scene.iam.fault("*", kind="html", status=503)
            scene.dsec.start()
            self.looking_is_quick(scene)
            self.refused(scene, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EIO)
            scene.iam.reset()
            self.recovered(scene, user)
        scene.settled()


if __name__ == "__main__":
    tap.main()
