"""A daemon with its API on a Unix socket and on TCP, and ways to ask it."""

import http.client
import json
import os
import socket
import subprocess

import daemon
import localiam

SECONDS = 20  # more than any answer takes


def free_port():
    """One that nobody listens on now. Somebody may by the time that it is used."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def message(self):
        return self.json["messages"][0]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=SECONDS)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(self.path)


class Api:
    """Made for a test case, at whose end it goes. The rest are members of the configuration."""

    def __init__(self, case, iam=None, configuration=None, **members):
        self.case = case
        self.iam = iam
        if not iam and not configuration:
            self.iam = localiam.LocalIAM().start()
            case.addCleanup(self.iam.stop)
        self.port = free_port()
        self.dsec = daemon.Dsec(case, configuration or daemon.configuration(self.iam))
        api = {"listen": [f"unix:{self.socket}", f"127.0.0.1:{self.port}"],
               **members.pop("api", {})}
        self.configuration = {**(configuration or daemon.configuration(self.iam)), "api": api,
                              **members}
        self.dsec.configure(self.configuration)
        self.dsec.start()

    @property
    def socket(self):
        return self.dsec.folder / "socket"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path, method="GET", body=None, token=None, headers=None, tcp=False):
        """Over TCP where there is a token."""
        connection = (http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
                      if token or tcp else UnixConnection(self.socket))
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if isinstance(body, dict):
            body = json.dumps(body)
        connection.request(method, path, body, headers)
        answer = Answer(connection.getresponse())
        connection.close()
        return answer

    def token(self, config="dev", project="app", **members):
        answer = self.ask("/v3/dsec/tokens", "POST",
                          {"project": project, "config": config, **members})
        self.case.assertEqual(answer.status, 200, answer.body)
        return answer.json["token"]

    def leases(self):
        return self.ask("/v3/dsec/leases").json["leases"]


def as_user(uid, gid, groups, function):
    """What the function gives, as JSON, in a process of another user."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            os.write(writing, json.dumps(function()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    os.waitpid(child, 0)
    return json.loads(text)


def curl(*arguments):
    return subprocess.run(["curl", "-sS", "--max-time", str(SECONDS), *map(str, arguments)],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=2 * SECONDS,
                          check=False)
