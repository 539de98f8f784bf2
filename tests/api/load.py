#!/usr/bin/python3
"""A thousand connections that say nothing, or half of something, delay nobody."""

import pathlib
import resource
import socket
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import asking
import tap

DOWNLOAD = "/v3/configs/config/secrets/download?project=app&config=dev"
CLIENTS = 1000
SLOW = 2.0  # seconds; a machine under load is not ten times slower than that to one and not another


class Load(unittest.TestCase):
    def setUp(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 3 * CLIENTS:
            self.skipTest(f"this process may have {hard} descriptors only")
        resource.setrlimit(resource.RLIMIT_NOFILE, (3 * CLIENTS, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def connect(self, api, tcp, word):
        if tcp:
            client = socket.create_connection(("127.0.0.1", api.port))
        else:
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(api.socket))
        if word:
            try:
                client.sendall(word)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it was one too many
        return client

    def longest(self, do, times=20):
        """How long the slowest of so many took."""
        slowest = 0
        for _ in range(times):
            begin = time.monotonic()
            do()
            slowest = max(slowest, time.monotonic() - begin)
        return slowest

    def test_a_thousand_silent_connections_delay_no_read_and_no_answer(self):
        api = asking.Api(self)
        token = api.token()
        api.dsec.key()  # it is leased: from here on reads are cached ones

        def read():
            self.assertEqual(api.dsec.read("app/dev/GREETING"), b"hello")
            self.assertEqual(len(api.dsec.key()), 2)

        def over_tcp():
            self.assertEqual(api.ask(DOWNLOAD, token=token).status, 200)

        def over_unix():
            self.assertEqual(api.ask(DOWNLOAD).status, 200)

        for word in (b"", b"GET /v3/me HTTP/1.1\r\nHost: "):
            clients = [self.connect(api, tcp, word)
                       for tcp in (True, False) for _ in range(CLIENTS)]
            self.assertLess(self.longest(read), SLOW)
            if not word:
                self.assertLess(self.longest(over_tcp), SLOW)
                self.assertLess(self.longest(over_unix), SLOW)
            for client in clients:
                client.close()
        # Half a request keeps its place for ten seconds at most; then all is as before.
        deadline = time.monotonic() + 20
        while api.ask(DOWNLOAD).status != 200:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.2)


if __name__ == "__main__":
    tap.main()
