#!/usr/bin/python3
"""CONFIG@fresh: a lease for one open file, that nobody else is ever given, and that ends with it."""

import errno
import json
import mmap
import os
import random
import signal
import subprocess
import threading
import time
import unittest

import mounted

PYTHON = "/usr/bin/python3"
CONFIGS = {
    "dev": {"secrets": {"REGION": "us-east-1"}, "dynamic_secrets": {"AWS_USER": mounted.dynamic()},
            "access": {"user": "u0", "group": "u0", "mode": "0444"}},
    "two": {"dynamic_secrets": {"AWS_ONE": mounted.dynamic(), "AWS_TWO": mounted.dynamic()}},
    "plain": {"secrets": {"A": "1"}},
}
KEY = "AWS_USER_ACCESS_KEY_ID"
FORMATS = {".json", ".env", ".env-no-quotes", ".docker", ".yaml", ".dotnet-json"}


class Fresh(unittest.TestCase):
    mode = "store"

    def setUp(self):
        self.fs = mounted.Harness(CONFIGS, self.mode)
        self.addCleanup(self.fs.close)
        self.folder = self.fs.path("dev@fresh")
        self.file = os.path.join(self.folder, ".json")

    def gone(self, n):
        """Until so many leases have ended with their holder, and no more than those were made."""
        mounted.until(lambda: self.fs.let_go == n, "%d leases let go" % n)
        self.assertEqual(self.fs.leases, n)

    def fails_with(self, number, path):
        with self.assertRaises(OSError) as raised:
            os.close(os.open(path, os.O_RDONLY))
        self.assertEqual(raised.exception.errno, number, raised.exception)

    def key(self, file):
        return json.load(file)[KEY]


class OpenFiles(Fresh):
    def test_each_open_file_has_a_lease_of_its_own_and_its_close_ends_it(self):
        with open(self.file) as one, open(self.file) as two:
            self.assertNotEqual(self.key(one), self.key(two))
            self.assertEqual((self.fs.leases, self.fs.let_go), (2, 0))
        self.gone(2)
        with open(self.file) as three:
            self.assertEqual(len(self.key(three)), 20)
        self.gone(3)

    def test_nobody_else_is_given_it(self):
        with open(self.file) as file:
            key = self.key(file)
            with open(self.fs.path("dev", ".json")) as shared:
                self.assertNotEqual(self.key(shared), key)

    def test_a_bystanders_lease_goes_on(self):
        with open(self.fs.path("dev", KEY)) as shared:
            key = shared.read()
        with open(self.file):
            pass
        mounted.until(lambda: self.fs.let_go == 1, "the end of the lease")
        with open(self.fs.path("dev", KEY)) as shared:
            self.assertEqual(shared.read(), key)

    def test_the_last_descriptor_ends_it_and_none_before(self):
        fd = os.open(self.file, os.O_RDONLY)
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as mapped:
            copy = os.dup(fd)
            child = subprocess.Popen(["sh", "-c", "read x"], stdin=subprocess.PIPE, pass_fds=[fd])
            os.close(fd)
            os.close(copy)
            self.assertIn(KEY, json.loads(mapped[:]))
        self.assertEqual(self.fs.let_go, 0)
        child.communicate(b"\n")
        self.gone(1)

    def test_a_holder_that_is_killed_holds_nothing(self):
        child = subprocess.Popen(["sh", "-c", f"exec 3<'{self.file}'; echo; read x"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child.stdout.readline()
        self.assertEqual((self.fs.leases, self.fs.let_go), (1, 0))
        child.kill()
        child.communicate()
        self.gone(1)

    def test_a_second_opening_of_the_open_file_shares_it_and_another_user_may_not(self):
        with open(self.file) as file:
            key, name = self.key(file), "/proc/%d/fd/%d" % (os.getpid(), file.fileno())
            with open(name) as again:
                self.assertEqual(self.key(again), key)
            self.assertEqual((self.fs.leases, self.fs.let_go), (1, 0))
            program = ("import os, sys\nos.setresuid(4001, 4001, 0)\n"
                       "try: os.open('/proc/self/fd/%d', os.O_RDONLY)\n"
                       "except OSError as e: sys.exit(e.errno)" % file.fileno())
            other = subprocess.run([PYTHON, "-c", program], pass_fds=[file.fileno()])
            self.assertEqual(other.returncode, errno.EACCES)
        self.gone(1)

    def test_a_reader_after_a_revocation_gets_another_and_the_open_file_stays(self):
        with open(self.file) as file:
            key = self.key(file)
            self.fs.say("end")
            file.seek(0)
            self.assertEqual(self.key(file), key)
            with open(self.file) as other:
                self.assertNotEqual(self.key(other), key)

    def test_a_thousand_opens_side_by_side_are_a_thousand_leases(self):
        keys, threads = [], []

        def work():
            for _ in range(125):
                with open(self.file) as file:
                    keys.append(self.key(file))

        for _ in range(8):
            threads.append(threading.Thread(target=work))
            threads[-1].start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(set(keys)), 1000)
        self.gone(1000)

    def test_several_secrets_are_leased_and_let_go_together(self):
        with open(self.fs.path("two@fresh", ".env")):
            self.assertEqual(self.fs.leases, 2)
        self.gone(2)


class Interrupted(Fresh):
    def test_an_opener_that_is_killed_before_its_answer_leaves_no_lease(self):
        self.fs.say("delay", "dev", -1)
        reader = subprocess.Popen(["cat", self.file], stdout=subprocess.DEVNULL)
        mounted.until(lambda: self.fs.waiting == 1, "a waiting reader")
        reader.kill()
        reader.wait()
        mounted.until(lambda: self.fs.abandoned == 1, "the abandoned acquire")
        self.fs.say("delay", "dev", 0)
        self.assertEqual(self.fs.leases, 0)

    def test_no_lease_is_left_by_openers_killed_at_any_moment(self):
        for _ in range(300):
            self.fs.say("delay", "dev", random.randrange(3))
            reader = subprocess.Popen(["cat", self.file], stdout=subprocess.DEVNULL)
            time.sleep(random.random() * 0.006)
            reader.send_signal(random.choice([signal.SIGKILL, signal.SIGINT]))
            reader.wait()
        mounted.until(lambda: self.fs.waiting == 0 and self.fs.let_go == self.fs.leases,
                      "the end of each lease")


class Names(Fresh):
    def test_only_files_of_the_whole_config_are_there(self):
        self.assertEqual(set(os.listdir(self.folder)), FORMATS | {".status"})
        for name in (KEY, "REGION", "DOPPLER_PROJECT", ".aws", ".aws/AWS_USER/credentials"):
            self.fails_with(errno.ENOENT, os.path.join(self.folder, name))
        self.assertNotIn("dev@fresh", os.listdir(self.fs.path()))
        with open(os.path.join(self.folder, ".status")) as status:
            self.assertIn("app/dev", status.read())
        self.assertEqual(self.fs.acquires, 0)

    def test_options_stand_in_any_order_and_none_twice(self):
        for name in ("dev@fresh,3h", "dev@3h,fresh"):
            with open(self.fs.path(name, ".json")) as file:
                self.key(file)
        for name in ("dev@fresh,fresh", "dev@fresh,", "dev@Fresh", "dev@fresh,13h", "dev@fresh 3h"):
            self.fails_with(errno.ENOENT, self.fs.path(name, ".json"))

    def test_a_config_without_dynamic_secrets_needs_no_lease(self):
        with open(self.fs.path("plain@fresh", ".json")) as file:
            self.assertEqual(json.load(file)["A"], "1")
        self.assertEqual(self.fs.acquires, 0)

    def test_looking_leases_nothing(self):
        subprocess.run(["find", self.folder, "-ls"], stdout=subprocess.DEVNULL, check=True)
        subprocess.run(["tar", "-cf", "/dev/null", self.folder], check=True,
                       stderr=subprocess.DEVNULL)
        os.close(os.open(self.file, os.O_RDONLY | os.O_NONBLOCK))
        os.close(os.open(self.file, os.O_PATH))
        self.assertEqual(self.fs.acquires, 0)

    def test_cp_and_the_number_of_the_name(self):
        copy = os.path.join(self.fs.folder, "copy")
        number = os.stat(self.file).st_ino
        for _ in range(20):
            subprocess.run(["cp", self.file, copy], check=True)
            with open(copy) as file:
                self.assertEqual(len(self.key(file)), 20)
            self.assertEqual(os.stat(self.file).st_ino, number)
        self.gone(20)
        listed = {entry.name: entry.inode() for entry in os.scandir(self.folder)}
        self.assertEqual(listed[".json"], number)
        self.assertNotEqual(os.stat(self.fs.path("dev", ".json")).st_ino, number)

    def test_an_error_reaches_the_reader(self):
        self.fs.say("fail", "dev", "quota", 10)
        self.fails_with(errno.EDQUOT, self.file)

    def test_a_changed_configuration_ends_it_with_its_descriptor(self):
        with open(self.file) as file:
            self.fs.reload({**CONFIGS, "dev": {**CONFIGS["dev"], "secrets": {"REGION": "eu"}}})
            with open(self.file) as other:
                self.assertEqual(json.load(other)["REGION"], "eu")
            self.assertEqual(json.load(file)["REGION"], "us-east-1")
        self.gone(2)


class WithoutTheStore(Fresh):
    mode = "estale"

    def test_it_is_refused_rather_than_leased_for_nobody(self):
        self.fails_with(errno.EOPNOTSUPP, self.file)
        self.assertEqual(self.fs.acquires, 0)


if __name__ == "__main__":
    mounted.main()
