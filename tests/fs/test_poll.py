#!/usr/bin/python3
"""An open file says when it has been replaced: by poll(2), and to who watches its name."""

import ctypes
import errno
import os
import select
import struct
import subprocess
import threading
import time
import unittest

import mounted

CONFIGS = {
    "dev": {"secrets": {"A": "1"}, "dynamic_secrets": {"AWS_USER": mounted.dynamic()}},
    "other": {"dynamic_secrets": {"AWS_USER": mounted.dynamic()}},
}
KEY = "AWS_USER_ACCESS_KEY_ID"
REPLACED = select.POLLPRI | select.POLLERR
PATIENCE_MS = 20000


class Case(unittest.TestCase):
    def setUp(self):
        self.fs = mounted.Harness(CONFIGS)
        self.addCleanup(self.fs.close)

    def open(self, config="dev", file=KEY):
        fd = os.open(self.fs.path(config, file), os.O_RDONLY)
        self.addCleanup(self.close, fd)
        return fd

    def close(self, fd):
        try:
            os.close(fd)
        except OSError as error:
            self.assertEqual(error.errno, errno.EBADF)

    def poll(self, fd, milliseconds=0, events=select.POLLPRI):
        """What poll(2) says of the file; 0: nothing in that time."""
        poll = select.poll()
        poll.register(fd, events)
        return dict(poll.poll(milliseconds)).get(fd, 0)

    def woken(self, fd, act):
        """What one sees who waits in poll(2) while that is done."""
        seen = []
        waiter = threading.Thread(target=lambda: seen.append(self.poll(fd, PATIENCE_MS)))
        waiter.start()
        time.sleep(0.2)
        self.assertEqual(seen, [])
        since = time.monotonic()
        act()
        waiter.join()
        self.assertLess(time.monotonic() - since, 2)
        return seen[0]


class Polling(Case):
    def test_a_current_file_is_readable_and_no_more(self):
        for file in (KEY, "A", ".json"):
            fd = self.open(file=file)
            self.assertEqual(self.poll(fd, events=select.POLLIN), select.POLLIN)
            self.assertEqual(self.poll(fd, 50), 0)

    def test_who_waits_is_woken_when_the_lease_is_to_be_replaced(self):
        fd = self.open()
        self.assertEqual(self.woken(fd, lambda: self.fs.say("replace", "dev")), REPLACED)
        self.assertEqual(self.poll(fd), REPLACED)  # and whoever asks later is told too
        self.assertEqual(os.pread(fd, 100, 0)[:4], b"AKIA")  # a snapshot all the same

    def test_who_waits_is_woken_when_the_lease_ends(self):
        fd = self.open(file=".json")
        self.assertEqual(self.woken(fd, lambda: self.fs.say("end")), REPLACED)

    def test_who_waits_is_woken_by_a_changed_static_secret_and_not_by_another(self):
        changed, same = self.open(file="A"), self.open(file="DOPPLER_CONFIG")
        configs = {**CONFIGS, "dev": {**CONFIGS["dev"], "secrets": {"A": "2"}}}
        self.assertEqual(self.woken(changed, lambda: self.fs.reload(configs)), REPLACED)
        self.assertEqual(self.poll(same, 50), 0)

    def test_anothers_replacement_wakes_nobody(self):
        fd, other = self.open(), self.open("other")
        self.fs.say("replace", "dev")
        mounted.until(lambda: self.poll(fd), "the replaced one")
        self.assertEqual(self.poll(other, 100), 0)

    def test_all_who_wait_are_woken_in_whatever_way_they_wait(self):
        fds = [self.open(file=file) for file in (KEY, KEY, ".json", ".env")]
        fds.append(os.dup(fds[0]))
        self.addCleanup(self.close, fds[-1])
        with select.epoll() as epoll:
            for fd in fds:
                epoll.register(fd, select.EPOLLPRI | select.EPOLLET)
            self.assertEqual(epoll.poll(0.1), [])
            self.fs.say("replace", "dev")
            woken = set()
            mounted.until(lambda: woken.update(fd for fd, _ in epoll.poll(0.1))
                          or woken == set(fds), "all of them")
        readable = subprocess.run(["bash", "-c", "read -t 5 x <&%d; echo $?" % fds[0]],
                                  pass_fds=[fds[0]], capture_output=True, text=True)
        self.assertIn(readable.stdout.strip(), ("0", "1"))  # no time-out

    def test_one_who_closes_while_another_waits(self):
        fd, other = self.open(), self.open()
        self.assertEqual(self.poll(fd, 50), 0)
        os.close(fd)
        self.assertEqual(self.woken(other, lambda: self.fs.say("replace", "dev")), REPLACED)


class Watching(Case):
    """File watchers (inotify) on a name."""

    def watch(self, path):
        libc = ctypes.CDLL(None, use_errno=True)
        fd = libc.inotify_init1(os.O_NONBLOCK)
        self.addCleanup(os.close, fd)
        self.assertGreaterEqual(libc.inotify_add_watch(fd, path.encode(), 0xfff), 0)
        return fd

    def deleted(self, fd):
        seen = 0

        def look():
            nonlocal seen
            try:
                events = os.read(fd, 4096)
            except BlockingIOError:
                events = b""
            while events:  # of files, so without names
                seen |= struct.unpack_from("iI", events)[1]
                events = events[16:]
            return seen & 0x400  # IN_DELETE_SELF

        mounted.until(look, "IN_DELETE_SELF")

    def test_a_watcher_of_a_secret_sees_that_it_is_replaced(self):
        path = self.fs.path("dev", KEY)
        with open(path) as file:
            key = file.read()
            fd = self.watch(path)
            self.fs.say("replace", "dev")
            mounted.until(lambda: self.poll(file.fileno()), "the one who has it open")
            file.seek(0)
            self.assertEqual(file.read(), key)
        self.deleted(fd)  # when nobody has it open any more
        with open(path) as file:
            self.assertEqual(len(file.read()), 20)
        self.assertEqual(os.stat(path).st_nlink, 1)

    def test_a_watcher_of_a_static_secret_sees_that_it_has_changed(self):
        path = self.fs.path("dev", "A")
        os.stat(path)
        fd = self.watch(path)
        self.fs.reload({**CONFIGS, "dev": {**CONFIGS["dev"], "secrets": {"A": "2"}}})
        self.deleted(fd)
        with open(path) as file:
            self.assertEqual(file.read(), "2")

    def test_it_blocks_nobody_while_a_look_waits(self):
        """A LOOKUP holds the folder's lock, which the notification wants, until it is answered."""
        path = self.fs.path("dev", KEY)
        with open(path) as file:
            file.read()
            stop = time.monotonic() + 2
            lookers = [subprocess.Popen(["sh", "-c", "while cat %s/.status; do :; done"
                                         % self.fs.path("dev")], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
                       for _ in range(4)]
            try:
                while time.monotonic() < stop:
                    self.fs.say("rotate", "dev", 2)
                    self.fs.say("replace", "dev")
                    with open(path) as again:
                        again.read()
            finally:
                for looker in lookers:
                    looker.kill()
                    looker.wait()


if __name__ == "__main__":
    mounted.main()
