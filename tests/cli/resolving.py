#!/usr/bin/python3
"""A name server that never answers holds up nobody but who needs it."""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from daemon import DESCRIBE, Dsec, configuration
from localiam import LocalIAM

INSIDE = "DSEC_TEST_PRIVATE_MOUNTS"
SERVER = f"127.{os.getpid() >> 8 & 255}.{os.getpid() & 255}.53"  # the same before and after exec
ANSWER_TIMEOUT = 30
# Of one look-up, far beyond all that a test waits for: 30 s an attempt.
RESOLV_CONF = f"nameserver {SERVER}\noptions timeout:30 attempts:5\n"
NSSWITCH_CONF = "passwd: files\ngroup: files\nhosts: files dns\n"


def far_away(iam):
    """A configuration with what can be reached, and with an endpoint that has but a name."""
    ret = configuration(iam)
    ret["integrations"]["aws-far"] = {
        "type": "aws-iam",
        "credentials": {"source": "static", "access_key_id": "AKIAIOSFODNN7EXAMPLE",
                        "secret_access_key": "not/a+Secret/but+of/the+form/of+oneXXXXX"},
        "endpoint": "https://iam.nowhere.test",
        "sts_endpoint": "https://sts.nowhere.test",
    }
    secret = {"policy": DESCRIBE, "integration": "aws-main"}
    ret["projects"]["app"]["other"] = {"dynamic_secrets": {"AWS_USER": secret}}
    ret["projects"]["app"]["far"] = {
        "dynamic_secrets": {"AWS_USER": {**secret, "integration": "aws-far"}}}
    return ret


class Silence(unittest.TestCase):
    def setUp(self):
        self.iam = LocalIAM().start()
        self.addCleanup(self.iam.stop)
        self.names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.names.close)
        self.names.bind((SERVER, 53))
        self.names.settimeout(ANSWER_TIMEOUT)

    def read_far(self, dsec):
        """A reader of the config that cannot be had; it ends with an error at the latest."""
        def read():
            try:
                dsec.read("app/far/.json")
            except OSError as error:
                self.ended = error

        self.ended = None
        reader = threading.Thread(target=read)
        reader.start()
        self.addCleanup(reader.join)
        while b"\x07nowhere" not in self.names.recv(512):
            pass
        return reader

    def test_neither_cached_reads_nor_other_leases_nor_an_unmount_wait_for_it(self):
        dsec = Dsec(self, far_away(self.iam)).start()
        cached = dsec.read("app/dev/.json")
        reader = self.read_far(dsec)
        self.assertEqual(dsec.read("app/dev/.json"), cached)
        self.assertIn(b"AWS_USER_ACCESS_KEY_ID", dsec.read("app/other/.json"))
        self.assertTrue(reader.is_alive())
        # It gives up what it has begun, and does not wait for the look-up: 150 s.
        dsec.stop()
        self.assertEqual(self.iam.users(), {})
        reader.join()
        self.assertIsNotNone(self.ended)


def prepare_namespace():
    """Within a mount namespace of our own: the system's name servers are ours."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dsec-names-"))
    for name, text in (("resolv.conf", RESOLV_CONF), ("nsswitch.conf", NSSWITCH_CONF)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)
        subprocess.run(["mount", "--bind", folder / name, f"/etc/{name}"], check=True)
    return folder


def main():
    if os.getuid() != 0:
        print("1..0 # SKIP needs root, to be a name server")
        return
    if INSIDE not in os.environ:
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable,
                              *sys.argv])
    folder = prepare_namespace()
    try:
        tap.main()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
