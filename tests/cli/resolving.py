#!/usr/bin/python3
"""A resolver that never answers: requests have their deadline, and the loop waits for nobody.

Runs itself again in a network and a mount namespace of its own, where the only name server is a
socket that nobody reads."""

import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from daemon import Dsec, until

INSIDE = "DSEC_TEST_INSIDE"
PATIENCE = 40  # seconds that the C library waits for an answer
LOOK = 1       # second that a look at a report may take


class Resolving(unittest.TestCase):
    deadline = 120

    def test_a_resolver_that_does_not_answer_holds_nobody_up(self):
        name_server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(name_server.close)
        name_server.bind(("127.0.0.1", 53))
        dsec = Dsec(self, {
            "integrations": {"aws": {
                "type": "aws-iam", "endpoint": "https://iam.example.test",
                "credentials": {"source": "static", "access_key_id": "AKIAIOSFODNN7EXAMPLE",
                                "secret_access_key": "x"}}},
            "projects": {"app": {"dev": {"dynamic_secrets": {"AWS": {
                "integration": "aws",
                "policy": {"Version": "2012-10-17",
                           "Statement": {"Effect": "Allow", "Action": "ec2:*",
                                         "Resource": "*"}}}}}}},
            "read_timeout": "1s", "unmount_timeout": "1s"})
        dsec.start()
        self.assertRaises(TimeoutError, dsec.read, "app/dev/AWS_ARN")
        longest, begin = 0, time.monotonic()

        def told():
            nonlocal longest
            before = time.monotonic()
            status = dsec.status()
            longest = max(longest, time.monotonic() - before)
            return "cannot be reached" in status or "no connection" in status or \
                "no answer in time" in status

        until("the deadline has passed", told, 60, 0.05)
        self.assertLess(time.monotonic() - begin, PATIENCE / 2)
        # What was given up is being cleaned away now.
        end = time.monotonic() + 3
        while time.monotonic() < end:
            told()
            time.sleep(0.05)
        self.assertLess(longest, LOOK)
        dsec.process.kill()
        dsec.process.wait()


def enter():
    """In namespaces of its own: a loopback of its own, and another resolv.conf."""
    with tempfile.NamedTemporaryFile("w", prefix="dsec-resolv-") as file:
        file.write(f"nameserver 127.0.0.1\noptions timeout:{PATIENCE} attempts:1\n")
        file.flush()
        os.chmod(file.name, 0o644)
        script = (f"ip link set lo up && mount --bind {file.name} /etc/resolv.conf && "
                  'exec "$@"')
        sys.exit(subprocess.run(["unshare", "--net", "--mount", "sh", "-c", script, "sh",
                                 sys.executable, __file__],
                                env={**os.environ, INSIDE: "1"}, check=False).returncode)


if __name__ == "__main__":
    if INSIDE in os.environ:
        tap.main()
    elif os.getuid() != 0 or not pathlib.Path("/etc/resolv.conf").exists():
        print("1..0 # SKIP only root makes namespaces")
    elif "DSEC_TESTS_LONG" not in os.environ:
        print("1..0 # SKIP it waits for deadlines: tests/run --long")
    else:
        enter()
