#!/usr/bin/python3
"""The daemon is killed around each call of a lease's life: before the call has taken effect, when
it has but its answer is lost, and after the answer. Whoever comes next settles what is left."""

import pathlib
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from awscall import works
from daemon import command, until
from scene import BUSY, CONSISTENCY, MANAGED, READ_TIMEOUT, Scene, at_once

MAKING = ["CreateUser", "PutUserPolicy", "CreateAccessKey", "AttachUserPolicy",
          "GetCallerIdentity"]
REMOVING = ["DeleteAccessKey", "DetachUserPolicy", "DeleteUserPolicy", "DeleteUser"]

# That a call's answer has come shows in the calls that come next.
NEXT = {
    "CreateUser": ["PutUserPolicy", "CreateAccessKey"],
    "PutUserPolicy": ["AttachUserPolicy"],
    "CreateAccessKey": ["AttachUserPolicy"],
    "AttachUserPolicy": ["GetCallerIdentity"],
    "DeleteAccessKey": ["DeleteUser"],
    "DetachUserPolicy": ["DeleteUserPolicy"],
    "DeleteUserPolicy": ["DeleteUser"],
}

# These may be carried out long after the daemon that sent them is dead.
LATE = ["PutUserPolicy", "CreateAccessKey", "AttachUserPolicy"]


class Life(Scene):
    """A lease that is being made or removed, with a reader that waits for it."""

    def __init__(self, case):
        super().__init__(case, {"policy_arns": [MANAGED]})

    def make(self):
        reader = subprocess.Popen(["cat", self.dsec.path("app/dev/.json")],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.case.addCleanup(reader.wait, READ_TIMEOUT + 30)

    def remove(self):
        *_, user = self.key()
        result = command("leases", "revoke", self.lease(user)["id"], "--socket", self.socket)
        self.case.assertEqual(result.returncode, 0, result.stderr)

    def hold(self, actions, when):
        for action in actions:
            self.iam.fault(action, kind="hold", when=when)

    def crash(self):
        """The mount stays, dead; what was held has been sent, and stays on its way."""
        self.iam.control(clear_faults=True)
        self.dsec.kill()
        self.no_allow_without_its_deny()

    def live(self, action):
        self.dsec.start()
        if action in REMOVING:
            self.remove()
        else:
            self.make()

    def restart(self):
        self.dsec.start()
        return self.serve()


def killed(self, action, actions, when, drop):
    with BUSY:
        life = Life(self)
        life.hold(actions, when)
        life.live(action)
        held = life.iam.wait_held(len(actions))
        self.assertEqual(sorted(call["action"] for call in held), sorted(actions))
        life.crash()
        life.iam.release(drop=drop)
        user = life.restart()
    life.settled(user)


def killed_before(action):
    return lambda self: killed(self, action, [action], "before", drop=True)


def killed_without_the_answer(action):
    return lambda self: killed(self, action, [action], "after", drop=False)


def killed_after_the_answer(action):
    return lambda self: killed(self, action, NEXT[action], "before", drop=True)


def carried_out_late(action):
    """Between the last look of the next daemon at what hangs on the user, and its end."""
    def test(self):
        with BUSY:
            life = Life(self)
            life.hold([action], "before")
            life.live(action)
            life.iam.wait_held()
            life.crash()
            life.hold(["DeleteUser"], "before")
            life.dsec.start()
            life.iam.wait_held(2)
            life.iam.control(clear_faults=True)
            life.iam.release(action)
            life.iam.wait_calls(action, effects=1)
            life.iam.release()
            user = life.serve()
        life.settled(user)
    return test


def name(action, when):
    words = "".join("_" + letter.lower() if letter.isupper() else letter for letter in action)
    return f"test{words}_{when}"


def add_tests(cls):
    for action in MAKING + REMOVING:
        setattr(cls, name(action, "before_it_took_effect"), killed_before(action))
        setattr(cls, name(action, "without_its_answer"), killed_without_the_answer(action))
        if action in NEXT:
            setattr(cls, name(action, "after_its_answer"), killed_after_the_answer(action))
    for action in LATE:
        setattr(cls, name(action, "carried_out_late"), carried_out_late(action))
    return cls


@at_once
@add_tests
class Killed(unittest.TestCase):
    def test_after_the_lease_was_handed_out_it_is_kept_until_its_end(self):
        with BUSY:
            life = Life(self)
            life.configure({"policy_arns": [MANAGED], "ttl": "30s"})
            life.dsec.start()
            *key, user = life.key()
            life.crash()
            life.dsec.start()
            self.assertTrue(works(life.iam.endpoint, key))
        self.assertIn(user, life.iam.users())
        self.assertEqual(life.journal()[user]["state"], "active")
        until("the adopted lease ends", lambda: user not in life.iam.users(), 40, 0.25)
        self.assertFalse(works(life.iam.endpoint, key))
        life.settled()

    def test_unmount_soon_after_the_restart_need_not_wait_for_what_was_answered(self):
        with BUSY:
            life = Life(self)
            life.dsec.start()
            life.key()
            life.crash()
            life.dsec.start()
            life.serve()
            begin = time.monotonic()
            life.dsec.stop()
            self.assertLess(time.monotonic() - begin, CONSISTENCY / 2)
        self.assertEqual((life.iam.users(), life.journal()), ({}, {}))

    def test_create_user_that_is_carried_out_after_the_next_daemon_has_looked(self):
        with BUSY:
            life = Life(self)
            life.hold(["CreateUser"], "before")
            life.live("CreateUser")
            life.iam.wait_held()
            life.crash()
            life.dsec.start()
            life.iam.wait_calls("GetUser", received=1)
            until("it has looked", lambda: [entry for entry in life.iam.log()
                                            if entry["code"] == "NoSuchEntity"])
            life.iam.release("CreateUser")
            user = life.serve()
            self.assertEqual(len(life.iam.users()), 2)
        life.settled(user)

    def test_in_the_middle_of_an_unmount(self):
        with BUSY:
            life = Life(self)
            life.hold(["DeleteUser"], "after")
            life.dsec.start()
            life.key()
            life.dsec.process.terminate()
            life.iam.wait_held()
            life.crash()
            life.iam.release()
            user = life.restart()
        life.settled(user)


if __name__ == "__main__":
    tap.main()
