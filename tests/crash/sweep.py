#!/usr/bin/python3
"""dsec sweep, from IAM alone; and a cloned machine, which is another daemon."""

import datetime
import pathlib
import shutil
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from awscall import call, works
from daemon import DESCRIBE, DSEC, command, configuration
from localiam import Principal
from scene import BUSY, Scene, at_once

OTHER = "0123456789abcdef"  # a daemon that is no more
MARGIN = 300                # what SWEEP_MARGIN_MS leaves to clocks that differ


def stamp(seconds):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return moment.strftime("%Y%m%dT%H%M%SZ")


def name(letter):
    return "Doppler-Dynamic-" + 13 * letter


class Sweep(unittest.TestCase):
    deadline = 240

    def setUp(self):
        self.scene = Scene(self)
        self.iam = self.scene.iam

    def user(self, name, path):
        """With a key and a policy, as a daemon leaves one."""
        principal = Principal(name, policy=DESCRIBE, path=path)
        self.iam.control(principals=[principal.description()])
        return name

    def expired(self, letter, seconds=-MARGIN - 60, daemon=OTHER):
        return self.user(name(letter), f"/doppler/{daemon}/{stamp(seconds)}/")

    def sweep(self, *words, status=0):
        result = command("sweep", "--config", self.scene.dsec.config, *words, timeout=120)
        self.assertEqual(result.returncode, status, result.stderr)
        return result.stdout

    def test_expired_user_of_another_daemon_is_removed_with_all_that_hangs_on_it(self):
        user = self.expired("a")
        root = self.iam.root.access_key_id, self.iam.root.secret_access_key
        self.assertEqual(call(self.iam.endpoint, "CreateLoginProfile", root, UserName=user,
                              Password="correct horse battery staple"), (200, ""))
        self.assertIn(f"removed /doppler/{OTHER}/", self.sweep())
        self.assertEqual(self.iam.users(), {})

    def test_live_and_foreign_users_are_kept(self):
        end = stamp(-2 * MARGIN)
        kept = {
            self.expired("a", 3600),
            self.expired("b", -MARGIN + 60),  # AWS's clock and ours may differ by that much
            self.user("alice", f"/doppler/{OTHER}/{end}/"),
            self.user(name("c") + "c", f"/doppler/{OTHER}/{end}/"),
            self.user(name("d"), "/doppler/"),
            self.user(name("e"), f"/doppler/{OTHER}/"),
            self.user(name("f"), f"/doppler/{OTHER}/{end}/more/"),
            self.user(name("g"), f"/doppler/{OTHER.upper()}/{end}/"),
            self.user(name("h"), f"/doppler/{OTHER}/20200230T000000Z/"),
            self.user(name("i"), f"/dopplers/{OTHER}/{end}/"),
            self.user(name("j"), f"/{OTHER}/{end}/"),
        }
        gone = self.expired("z")
        self.sweep()
        self.assertEqual(set(self.iam.users()), kept)
        self.assertNotIn(gone, self.iam.users())

    def test_dry_run_changes_nothing_and_says_why(self):
        self.expired("a")
        self.expired("b", 3600)
        before = self.iam.users()
        text = self.sweep("--dry-run")
        self.assertEqual(self.iam.users(), before)
        self.assertRegex(text, f"would remove .*{name('a')}")
        self.assertRegex(text, f"would keep .*{name('b')}: not expired")
        self.assertFalse([entry for entry in self.iam.log() if entry["action"] != "ListUsers"])

    def test_sweep_beside_a_daemon_takes_none_of_its_leases(self):
        self.scene.dsec.start()
        *key, user = self.scene.key()
        gone = self.expired("a")
        self.sweep()
        self.assertEqual(list(self.iam.users()), [user])
        self.assertNotIn(gone, self.iam.users())
        self.assertTrue(works(self.iam.endpoint, key))
        self.scene.dsec.stop()

    def test_user_whose_path_changed_since_the_list_is_kept(self):
        user = self.expired("a")
        root = self.iam.root.access_key_id, self.iam.root.secret_access_key
        self.iam.fault("GetUser", kind="hold", times=1)
        sweep = subprocess.Popen([DSEC, "sweep", "--config", self.scene.dsec.config],
                                 stdout=subprocess.DEVNULL)
        self.iam.wait_held()
        self.assertEqual(call(self.iam.endpoint, "UpdateUser", root, UserName=user,
                              NewPath="/kept/"), (200, ""))
        self.iam.release()
        sweep.wait(60)
        self.assertEqual(list(self.iam.users()), [user])

    def test_throttled_sweep_takes_all(self):
        """Pages included: the list goes on over them."""
        self.iam.control(page_size=7, empty_pages=True)
        for i in range(30):
            self.expired(chr(ord("A") + i % 26) if i < 26 else str(i % 10))
        self.iam.throttle("*", every=7)
        self.sweep()
        self.assertEqual(self.iam.users(), {})

    def test_user_that_stays_is_told_and_fails(self):
        user = self.expired("a")
        self.iam.fault("DeleteUser", kind="error", status=403, code="AccessDenied", message="no")
        result = command("sweep", "--config", self.scene.dsec.config, timeout=200)
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertIn(user, result.stderr)
        self.iam.reset()


CLONE = """
set -e
mount --bind "$1" /etc/machine-id
mount --bind "$2" "$3"
shift 3
exec "$@"
"""


@at_once
class Clone(unittest.TestCase):
    """A copy of a running daemon's disk, on a machine with another id."""

    def cloned(self, secret=None):
        """The daemon, its lease, and the copy of its state folder as it stands."""
        scene = Scene(self, secret)
        scene.dsec.start()
        *key, user = scene.key()
        copy = scene.dsec.folder / "copy"
        shutil.copytree(scene.dsec.state, copy)
        return scene, key, user, copy

    def start(self, scene, copy):
        """The clone, on its own machine: the same configuration, the same paths."""
        machine = scene.dsec.folder / "machine-id"
        machine.write_text("f" * 32 + "\n")
        clone = type(scene.dsec)(self, {})
        clone.state = scene.dsec.state
        clone.configure(configuration(
            scene.iam, integration={"rate": 500},
            api={"listen": [f"unix:{clone.folder}/api"]}))
        clone.start(["unshare", "--mount", "--propagation", "slave", "sh", "-c", CLONE, "sh",
                     machine, copy, clone.state])
        return clone

    def untouched(self, scene, key, user):
        self.assertEqual(list(scene.iam.users()), [user])
        self.assertTrue(works(scene.iam.endpoint, key))

    def test_clone_leaves_the_live_users_of_the_original_alone(self):
        with BUSY:
            scene, key, user, copy = self.cloned()
            clone = self.start(scene, copy)
            scene.iam.wait_calls("ListUsers", received=2)
            clone.process.terminate()
            self.assertEqual(clone.process.wait(90), 0, clone.log.read_text())
            self.untouched(scene, key, user)
            scene.dsec.stop()

    def test_clone_does_not_remove_what_the_original_has_renewed(self):
        """The line in its copy of the journal has the old end."""
        with BUSY:
            scene, key, user, copy = self.cloned({"ttl": "15s", "max_ttl": "1h"})
            end = scene.journal()[user]["expires_ms"]
            scene.leases("renew", scene.lease(user)["id"], "30m")
            clone = self.start(scene, copy)
        time.sleep(max(0, end / 1000 + 2 - time.time()))  # the old end is what the clone knows
        self.untouched(scene, key, user)
        clone.process.terminate()
        self.assertEqual(clone.process.wait(90), 0, clone.log.read_text())
        self.untouched(scene, key, user)
        scene.dsec.stop()

    def test_clone_with_an_unfinished_intent_makes_nothing_of_it(self):
        with BUSY:
            scene = Scene(self)
            scene.iam.fault("PutUserPolicy", kind="hold", times=1)
            scene.dsec.start()
            reader = subprocess.Popen(["cat", scene.dsec.path("app/dev/.json")],
                                      stdout=subprocess.DEVNULL)
            scene.iam.wait_held()
            copy = scene.dsec.folder / "copy"
            shutil.copytree(scene.dsec.state, copy)
            clone = self.start(scene, copy)
            scene.iam.wait_calls("ListUsers", received=2)
            clone.process.terminate()
            self.assertEqual(clone.process.wait(90), 0, clone.log.read_text())
            scene.iam.release()
            self.assertEqual(reader.wait(60), 0)
            self.assertEqual(len(scene.iam.users()), 1)
            scene.dsec.stop()


if __name__ == "__main__":
    tap.main()
