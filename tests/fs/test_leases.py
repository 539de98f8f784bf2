#!/usr/bin/python3
"""Readers and leases: who waits for whom, who sees what, and what an open file keeps."""

import errno
import json
import os
import re
import signal
import subprocess
import time
import unittest

import mounted

PYTHON = "/usr/bin/python3"
CONFIGS = {
    "dev": {"secrets": {"REGION": "us-east-1"}, "dynamic_secrets": {"AWS_USER": mounted.dynamic()}},
    "other": {"dynamic_secrets": {"AWS_USER": mounted.dynamic()}},
    "two": {"dynamic_secrets": {"AWS_ONE": mounted.dynamic(), "AWS_TWO": mounted.dynamic()}},
    "plain": {"secrets": {"A": "1"}},
    "short": {"dynamic_secrets": {"AWS_USER": mounted.dynamic(ttl="1h", max_ttl="2h")}},
    # A gateway for uids that must not be the tests' own.
    "own": {"dynamic_secrets": {"AWS_USER": mounted.dynamic(scope="user")},
            "access": {"user": "u0", "group": "u0", "mode": "0444"}},
    "shared": {"dynamic_secrets": {"AWS_USER": mounted.dynamic()},
               "access": {"user": "u0", "group": "u0", "mode": "0444"}},
}
KEY = "AWS_USER_ACCESS_KEY_ID"


def read(*path):
    with open(os.path.join(*path)) as file:
        return file.read()


def start_cat(path, **options):
    return subprocess.Popen(["cat", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, **options)


def user(key):
    return int(re.fullmatch(r"AKIA(\d{6})(\d{10})", key).group(1))


def generation(key):
    return int(re.fullmatch(r"AKIA(\d{6})(\d{10})", key).group(2))


class Case(unittest.TestCase):
    mode = "store"

    def setUp(self):
        self.fs = mounted.Harness(CONFIGS, self.mode)
        self.addCleanup(self.fs.close)
        self.dev = self.fs.path("dev")

    def blocked(self, n=1):
        mounted.until(lambda: self.fs.waiting >= n, "%d waiting acquires" % n)

    def fails_with(self, number, path):
        with self.assertRaises(OSError) as raised:
            read(path)
        self.assertEqual(raised.exception.errno, number, raised.exception)


class FirstReaders(Case):
    def test_fifty_at_once_cost_one_lease(self):
        self.fs.say("delay", "dev", 300)
        readers = [start_cat(os.path.join(self.dev, KEY)) for _ in range(50)]
        keys = {reader.communicate(timeout=mounted.PATIENCE)[0] for reader in readers}
        self.assertEqual(len(keys), 1, keys)
        self.assertEqual(generation(keys.pop()), 1)
        self.assertEqual(self.fs.leases, 1)
        if self.mode == "store":
            self.assertLess(self.fs.acquires, 50)

    def test_a_file_that_needs_no_lease_takes_none(self):
        for name in ("REGION", "DOPPLER_PROJECT", "DOPPLER_CONFIG", "DOPPLER_ENVIRONMENT"):
            read(self.dev, name)
        self.assertEqual(json.loads(read(self.fs.path("plain", ".json")))["A"], "1")
        self.assertEqual(self.fs.acquires, 0)

    def test_a_key_leases_its_own_secret_only(self):
        key = read(self.fs.path("two", "AWS_TWO_ACCESS_KEY_ID"))
        self.assertEqual(self.fs.leases, 1)
        everything = json.loads(read(self.fs.path("two", ".json")))
        self.assertEqual(self.fs.leases, 2)
        self.assertEqual(everything["AWS_TWO_ACCESS_KEY_ID"], key)

    def test_a_ttl_in_the_name_is_another_lease_and_the_default_is_not(self):
        key = read(self.dev, KEY)
        self.assertEqual(read(self.fs.path("dev@30m"), KEY), key)
        self.assertEqual(read(self.fs.path("dev@1800s"), KEY), key)
        longer = read(self.fs.path("dev@3h"), KEY)
        self.assertNotEqual(longer, key)
        self.assertEqual(read(self.fs.path("dev@180m"), KEY), longer)
        self.assertEqual(self.fs.leases, 2)
        self.assertNotIn("dev@3h", os.listdir(self.fs.path()))

    def test_a_ttl_beyond_its_bounds_does_not_exist(self):
        for name in ("short@9s", "short@3h", "short@", "short@3", "short@1h,1h", "short@new",
                     "short@1h@1h", "short@-1h", "nothing@1h", "@1h", "short@1h "):
            with self.subTest(name=name):
                self.fails_with(errno.ENOENT, self.fs.path(name, KEY))
        read(self.fs.path("short@2h", KEY))
        read(self.fs.path("short@10s", KEY))

    def test_an_error_reaches_every_reader_with_its_errno(self):
        kinds = {"timeout": errno.ETIMEDOUT, "throttled": errno.EAGAIN, "quota": errno.EDQUOT,
                 "unreachable": errno.EHOSTUNREACH, "credentials": errno.EKEYREJECTED,
                 "fault": errno.EIO, "no_space": errno.ENOSPC}
        for kind, number in kinds.items():
            with self.subTest(kind=kind):
                self.fs.say("fail", "dev", kind, 50)
                self.fails_with(number, os.path.join(self.dev, KEY))
        self.fs.say("delay", "dev", 0)
        self.assertEqual(len(read(self.dev, KEY)), 20)


class FirstReadersLookingUpTwice(FirstReaders):
    mode = "estale"


class Waiting(Case):
    def test_a_blocked_config_delays_nobody_else(self):
        self.fs.say("delay", "dev", -1)
        readers = [start_cat(os.path.join(self.dev, name))
                   for name in (KEY, ".json", "AWS_USER_ARN")]
        self.addCleanup(lambda: [reader.communicate() for reader in readers])
        self.addCleanup(lambda: [reader.kill() for reader in readers])
        self.blocked(3)
        started = time.monotonic()
        self.assertEqual(len(read(self.fs.path("other", KEY))), 20)
        self.assertIn(KEY, os.listdir(self.dev))
        self.assertEqual(read(self.dev, "REGION"), "us-east-1")
        self.assertIn("waiting", read(self.dev, ".status"))
        os.stat(os.path.join(self.dev, KEY))
        self.assertLess(time.monotonic() - started, 5)

    def test_an_interrupted_reader_leaves_and_the_lease_goes_on(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            with self.subTest(signal=number):
                self.fs.say("delay", "dev", -1)
                before = self.fs.abandoned
                reader = start_cat(os.path.join(self.dev, KEY))
                self.blocked()
                reader.send_signal(number)
                reader.communicate(timeout=mounted.PATIENCE)
                self.assertEqual(reader.returncode, -number)
                mounted.until(lambda: self.fs.abandoned == before + 1, "the abandoned acquire")
        self.fs.say("delay", "dev", 0)
        self.assertEqual(len(read(self.dev, KEY)), 20)

    def test_one_of_many_interrupted_takes_nothing_from_the_others(self):
        self.fs.say("delay", "dev", -1)
        readers = [start_cat(os.path.join(self.dev, KEY)) for _ in range(5)]
        self.blocked()
        time.sleep(0.1)
        readers[0].kill()
        readers[0].communicate(timeout=mounted.PATIENCE)
        self.fs.say("delay", "dev", 0)
        keys = {reader.communicate(timeout=mounted.PATIENCE)[0] for reader in readers[1:]}
        self.assertEqual(len(keys), 1)
        self.assertEqual(self.fs.abandoned, 0)

    def test_eintr_is_what_a_handler_sees(self):
        self.fs.say("delay", "dev", -1)
        program = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.siginterrupt(signal.SIGUSR1, True)
fd = libc.open(sys.argv[1].encode(), 0)
print(fd, ctypes.get_errno())
"""
        reader = subprocess.Popen([PYTHON, "-c", program, os.path.join(self.dev, KEY)],
                                  stdout=subprocess.PIPE, text=True)
        self.blocked()
        reader.send_signal(signal.SIGUSR1)
        said = reader.communicate(timeout=mounted.PATIENCE)[0]
        self.assertEqual(said.split(), ["-1", str(errno.EINTR)])

    def test_unmounting_lets_the_waiting_go(self):
        self.fs.say("delay", "dev", -1)
        reader = start_cat(os.path.join(self.dev, KEY))
        self.blocked()
        self.fs.close()
        said = reader.communicate(timeout=mounted.PATIENCE)[1]
        self.assertEqual(reader.returncode, 1)
        self.assertIn(os.strerror(errno.ENOTCONN), said)
        self.assertFalse(os.path.ismount(self.fs.mountpoint))


class Rotating(Case):
    def setUp(self):
        super().setUp()
        self.shared, self.own = self.fs.path("shared"), self.fs.path("own")

    def test_an_open_file_never_changes(self):
        with open(os.path.join(self.shared, ".json")) as held:
            first = held.read()
            self.fs.say("rotate", "shared", 1)
            with open("/proc/sys/vm/drop_caches", "w") as drop:
                drop.write("3")
            held.seek(0)
            self.assertEqual(held.read(), first)
            self.assertNotEqual(read(self.shared, ".json"), first)
            held.seek(0)
            self.assertEqual(held.read(), first)

    def test_two_reads_of_one_caller_belong_together(self):
        key = read(self.shared, KEY)
        self.fs.say("rotate", "shared", 2)
        self.assertEqual(read(self.shared, KEY), key)
        stranger = mounted.as_user(4242, ["cat", os.path.join(self.shared, KEY)],
                                   stdout=subprocess.PIPE, text=True).stdout
        self.assertGreater(generation(stranger), generation(key))
        secret = read(self.shared, "AWS_USER_SECRET_ACCESS_KEY")
        self.assertEqual(int(secret.split("/")[1]), generation(key))

    def test_an_ended_lease_is_read_by_nobody_again(self):
        key = read(self.shared, KEY)
        self.fs.say("end")
        again = read(self.shared, KEY)
        self.assertGreater(generation(again), generation(key))

    def test_the_number_of_a_name_stays(self):
        path = os.path.join(self.shared, KEY)
        before = os.stat(path).st_ino
        for _ in range(5):
            read(path)
            self.assertEqual(os.stat(path).st_ino, before)
            self.fs.say("rotate", "shared", 1)
        listed = {entry.name: entry.inode() for entry in os.scandir(self.shared)}
        self.assertEqual(listed[KEY], before)

    def test_cp_works_while_leases_rotate(self):
        copy = os.path.join(self.fs.folder, "copy")
        self.fs.say("rotating", "shared", 5)
        for _ in range(200):
            result = subprocess.run(["cp", os.path.join(self.shared, ".json"), copy],
                                    stderr=subprocess.PIPE, text=True)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(json.loads(read(copy))["DOPPLER_CONFIG"], "shared")

    def test_no_foreign_byte_in_twenty_thousand_opens(self):
        """Two users through one path, leases of their own, generations changing all the time."""
        program = """
import os, re, sys
path, uid, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
bad = 0
for i in range(rounds):
    fd = os.open(path + "/AWS_USER_ACCESS_KEY_ID", os.O_RDONLY)
    key = os.read(fd, 100).decode()
    os.close(fd)
    if len(key) != 20 or int(key[4:10]) != uid + 1:
        print(uid, repr(key)); bad += 1
sys.exit(bad != 0)
"""
        self.fs.say("rotating", "own", 20)
        users = [subprocess.Popen(["setpriv", "--reuid", str(uid), "--regid", str(uid),
                                   "--clear-groups", PYTHON, "-c", program, self.own, str(uid),
                                   "10000"], stdout=subprocess.PIPE, text=True)
                 for uid in (4001, 4002)]
        said = [user.communicate(timeout=300)[0] for user in users]
        self.assertEqual(said, ["", ""])
        self.assertEqual([user.returncode for user in users], [0, 0])

    def test_anothers_file_is_refused_through_proc(self):
        holder = subprocess.Popen(
            ["setpriv", "--reuid", "4001", "--regid", "4001", "--clear-groups", "sh", "-c",
             "exec 3< %s && echo && read x" % os.path.join(self.own, KEY)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        holder.stdout.readline()
        try:
            self.fails_with(errno.EACCES, "/proc/%d/fd/3" % holder.pid)
            self.assertEqual(user(read(self.own, KEY)), 1)  # root's own
        finally:
            holder.communicate(b"\n")


class Reloading(Case):
    def changed(self, **configs):
        return {**CONFIGS, **configs}

    def test_new_names_are_there_at_once_and_old_ones_go(self):
        with open(self.fs.path("plain", "A")) as held:
            configs = self.changed(new={"secrets": {"N": "n"}})
            del configs["plain"]
            self.fs.reload(configs)
            self.assertEqual(read(self.fs.path("new", "N")), "n")
            self.assertEqual(held.read(), "1")
            mounted.until(lambda: not os.path.exists(self.fs.path("plain")), "ENOENT")
            self.fails_with(errno.ENOENT, self.fs.path("plain", "A"))

    def test_a_listing_that_the_kernel_kept_is_renewed(self):
        folder = os.open(self.fs.path("plain"), os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, folder)
        for listed in (self.fs.path("plain"), folder):
            self.assertNotIn("B", os.listdir(listed))
            self.assertNotIn("new", os.listdir(self.fs.path()))
        self.fs.reload(self.changed(plain={"secrets": {"A": "1", "B": "2"}}, new={}))
        for listed in (self.fs.path("plain"), folder):
            mounted.until(lambda listed=listed: "B" in os.listdir(listed), "the new key")
        mounted.until(lambda: "new" in os.listdir(self.fs.path()), "the new config")

    def test_a_changed_value_is_seen_and_an_open_file_keeps_the_old(self):
        path = self.fs.path("plain", "A")
        with open(path) as held:
            self.fs.reload(self.changed(plain={"secrets": {"A": "two"}}))
            self.assertEqual(read(path), "two")
            self.assertEqual(held.read(), "1")

    def test_a_whole_config_shows_a_changed_static_secret_with_its_old_lease(self):
        first = json.loads(read(self.dev, ".json"))
        number = os.stat(os.path.join(self.dev, ".json")).st_ino
        dev = {**CONFIGS["dev"], "secrets": {"REGION": "eu-west-1"}}
        self.fs.reload(self.changed(dev=dev))
        again = json.loads(read(self.dev, ".json"))
        self.assertEqual(again["REGION"], "eu-west-1")
        self.assertEqual(again[KEY], first[KEY])
        self.assertEqual(os.stat(os.path.join(self.dev, ".json")).st_ino, number)

    def test_a_changed_policy_means_another_lease_for_the_next_reader(self):
        key = read(self.dev, KEY)
        policy = json.loads(json.dumps(mounted.POLICY).replace("ec2:Describe*", "s3:ListBucket"))
        dev = {"dynamic_secrets": {"AWS_USER": mounted.dynamic(policy=policy)}}
        self.fs.reload(self.changed(dev=dev))
        mounted.until(lambda: read(self.dev, KEY) != key, "another lease")

    def test_a_waiting_reader_survives_it(self):
        self.fs.say("delay", "dev", -1)
        reader = start_cat(os.path.join(self.dev, KEY))
        self.blocked()
        before = dict(CONFIGS["dev"]["dynamic_secrets"])
        before["AAA"] = mounted.dynamic()
        self.fs.reload(self.changed(dev={"dynamic_secrets": before}))
        self.fs.say("delay", "dev", 0)
        key = reader.communicate(timeout=mounted.PATIENCE)[0]
        self.assertEqual(len(key), 20)
        self.assertEqual(read(self.dev, "AWS_USER_SECRET_ACCESS_KEY").split("/")[1],
                         "%010d" % generation(key))


if __name__ == "__main__":
    mounted.main()
