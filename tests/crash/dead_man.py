#!/usr/bin/python3
"""The daemon is dead for good, and nobody sweeps: the key is powerless at its end all the same."""

import pathlib
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from awscall import call
from daemon import until
from scene import MANAGED, Scene, policy

ALLOWED, DENIED = (200, ""), (403, "AccessDenied")


class DeadMan(unittest.TestCase):
    def leased(self, **secret):
        """A key, its end, and nobody to revoke it."""
        self.scene = Scene(self, {"policy": policy("iam:ListUsers"), **secret})
        self.scene.dsec.start()
        *key, user = self.scene.key()
        end = self.scene.journal()[user]["expires_ms"] / 1000
        self.assertEqual(self.use(key), ALLOWED)
        self.scene.dsec.kill()
        return key, end

    def use(self, key, action="ListUsers", **parameters):
        return call(self.scene.iam.endpoint, action, key, **parameters)

    def move(self, moment):
        """The IAM takes it to be this moment, give or take half a second."""
        self.scene.iam.control(clock={"policies_s": round(moment - time.time())})

    def powers_end(self, key, end):
        until("the key is powerless", lambda: self.use(key) == DENIED, 20)
        self.assertGreaterEqual(time.time(), end - 0.01)
        self.assertLess(time.time(), end + 3)
        self.assertEqual(len(self.scene.iam.users()), 1, "somebody removed the user")

    def test_key_stops_at_its_ttl_and_not_before(self):
        self.powers_end(*self.leased(ttl="10s"))

    def test_managed_policy_that_allows_everything_stops_too(self):
        key, end = self.leased(ttl="10s", policy_arns=[MANAGED])
        self.powers_end(key, end)
        self.assertEqual(self.use(key, "CreateUser", UserName="mallory"), DENIED)

    def test_key_works_until_the_last_second_of_a_long_ttl(self):
        key, end = self.leased(ttl="12h")
        for seconds, answer in ((-30, ALLOWED), (2, DENIED), (1000 * 3600, DENIED)):
            self.move(end + seconds)
            self.assertEqual(self.use(key), answer)

    def test_end_is_a_renewed_lease_s_new_end(self):
        self.scene = Scene(self, {"policy": policy("iam:ListUsers"), "ttl": "10m"})
        self.scene.dsec.start()
        *key, user = self.scene.key()
        first = self.scene.end_in_policy(user)
        before = time.time()
        self.scene.leases("renew", self.scene.lease(user)["id"], "1h")
        after = time.time()
        until("the policy has the new end",
              lambda: self.scene.end_in_policy(user) >= first + 50 * 60 * 1000)
        self.scene.dsec.kill()
        end = self.scene.end_in_policy(user) / 1000
        self.assertGreaterEqual(end, before + 3600 - 1)
        self.assertLessEqual(end, after + 3600 + 1)  # it is told to the second
        for seconds, answer in ((-30, ALLOWED), (2, DENIED)):
            self.move(end + seconds)
            self.assertEqual(self.use(key), answer)


if __name__ == "__main__":
    tap.main()
