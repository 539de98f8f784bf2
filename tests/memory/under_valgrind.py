#!/usr/bin/python3
"""The daemon under valgrind: in a whole life it reads nothing that is undefined or not its own, and
loses no memory. Valgrind answers ENOSYS for the calls that the sandbox's Landlock and seccomp are
made of, as an old kernel does; the other layers are on.

DSEC_VALGRIND is the command that runs it; what valgrind reports goes where that says, and makes the
exit status another than 0. DSEC_BENEATH_VALGRIND is what is preloaded.
"""

import os
import pathlib
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from daemon import Dsec, command, configuration, mounted, until
from localiam import LocalIAM

PATIENCE = 120  # seconds, for what takes a few on a machine with nothing else to do

FILES = ["AWS_USER_SECRET_ACCESS_KEY", "AWS_USER_ACCESS_KEY_ID", "GREETING", ".json", ".env",
         ".env-no-quotes", ".docker", ".yaml", ".dotnet-json", ".aws/AWS_USER/credentials",
         ".aws/AWS_USER/process.json", ".status"]


class Daemon(unittest.TestCase):
    deadline = 600

    def setUp(self):
        self.iam = LocalIAM(tls=True).start()
        self.addCleanup(self.iam.stop)
        dsec = self.dsec = Dsec(self, {})
        dsec.configure(configuration(self.iam, {"ttl": "10s"},
                                     integration={"ca_file": self.iam.certificates.ca},
                                     audit={"file": str(dsec.folder / "audit.jsonl")}))
        dsec.start(os.environ["DSEC_VALGRIND"].split(),
                   {"LD_PRELOAD": os.environ["DSEC_BENEATH_VALGRIND"]}, patience=PATIENCE)

    def read_everything(self):
        for name in FILES:
            self.assertTrue(self.dsec.read("app/dev/" + name), name)
            self.assertTrue(self.dsec.read("app/dev@11s/" + name), name)
        self.assertTrue(self.dsec.read("app/dev@fresh/.json"))
        for name in "version", "metrics", "leases.json":
            self.assertTrue(self.dsec.read(".dsec/" + name), name)

    def ask_the_api(self):
        for words in ("secrets", "download", "--no-file"), ("leases",):
            result = command(*words, "--socket", self.dsec.folder / "socket",
                             *(("-p", "app", "-c", "dev") if words[0] == "secrets" else ()),
                             timeout=PATIENCE)
            self.assertEqual(result.returncode, 0, result.stderr)

    def expire(self):
        """The leases that there are now end by themselves."""
        before = set(self.iam.users())
        self.assertTrue(before)
        until("the users are gone", lambda: not before & set(self.iam.users()), PATIENCE)

    def lose_the_worker(self):
        os.kill(self.dsec.worker(), signal.SIGKILL)
        self.assertTrue(self.dsec.read("app/dev/AWS_USER_SECRET_ACCESS_KEY"))
        self.assertEqual(self.dsec.restarts(), 1)

    def end(self):
        """By a signal: `dsec unmount` finds no dsec behind the number of valgrind's process."""
        self.dsec.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.dsec.process.wait(PATIENCE), 0, self.dsec.log.read_text())
        self.assertFalse(mounted(self.dsec.mountpoint))
        self.assertEqual(self.iam.users(), {})

    def test_a_whole_life_touches_nothing_that_is_not_its_own(self):
        self.read_everything()
        self.ask_the_api()
        self.expire()
        self.read_everything()
        self.lose_the_worker()
        self.read_everything()
        self.end()


if __name__ == "__main__":
    tap.main()
