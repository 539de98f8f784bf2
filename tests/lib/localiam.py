"""The local IAM (tests/iam) for tests in Python.

    with LocalIAM() as iam:
        iam.endpoint, iam.admin.access_key_id, iam.admin.secret_access_key
        iam.fault("CreateUser", kind="drop", when="after", times=1)
        iam.state()["users"]

The program is found by the environment's DSEC_TEST_IAM, else in a build folder of this tree.
"""

import json
import os
import pathlib
import secrets
import select
import shutil
import signal
import ssl
import string
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request

START_TIMEOUT = 30
STOP_TIMEOUT = 10


def find_binary():
    """The path of dsec-test-iam; FileNotFoundError where nothing was built."""
    named = os.environ.get("DSEC_TEST_IAM")
    if named:
        return named
    root = pathlib.Path(__file__).resolve().parents[2]
    for build in sorted(root.glob("build*")):
        binary = build / "tests" / "iam" / "dsec-test-iam"
        if binary.is_file():
            return str(binary)
    raise FileNotFoundError("dsec-test-iam: not built, and DSEC_TEST_IAM is not set")


class Principal:
    """A user that the account begins with, and its key. Without a policy it may do everything."""

    def __init__(self, name, policy=None, path="/", session_token=None):
        base32 = string.ascii_uppercase + "234567"
        base64 = string.ascii_letters + string.digits + "/+"
        prefix = "ASIA" if session_token else "AKIA"
        self.name = name
        self.policy = policy
        self.path = path
        self.session_token = session_token
        self.access_key_id = prefix + "".join(secrets.choice(base32) for _ in range(16))
        self.secret_access_key = "".join(secrets.choice(base64) for _ in range(40))

    def description(self):
        ret = {
            "name": self.name,
            "path": self.path,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
        }
        if self.session_token:
            ret["session_token"] = self.session_token
        if self.policy is not None:
            ret["policy"] = self.policy
        return ret

    def environment(self):
        """What AWS's tools read."""
        ret = {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
        }
        if self.session_token:
            ret["AWS_SESSION_TOKEN"] = self.session_token
        return ret


class Certificates:
    """A throw-away CA and a certificate of it for 127.0.0.1 and localhost, in a folder."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.ca = str(folder / "ca.pem")
        self.certificate = str(folder / "server.pem")
        self.key = str(folder / "server.key")
        ca_key, request = str(folder / "ca.key"), str(folder / "server.csr")
        extensions = folder / "server.ext"
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        self._openssl("req", "-x509", *curve, "-keyout", ca_key, "-out", self.ca, "-days", "2",
                      "-subj", "/CN=dsec test CA", "-addext", "keyUsage=critical,keyCertSign")
        self._openssl("req", *curve, "-keyout", self.key, "-out", request,
                      "-subj", "/CN=127.0.0.1")
        self._openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", ca_key,
                      "-CAcreateserial", "-out", self.certificate, "-days", "2",
                      "-extfile", str(extensions))

    @staticmethod
    def _openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.PIPE)


class LocalIAM:
    """One server and its account. `admin` may do everything, or what `admin_policy` says;
    `root` may do everything, to prepare and to look where the admin may not."""

    def __init__(self, *, tls=False, region="us-east-1", account="123456789012",
                 admin_policy=None, admin_token=None, principals=(), die_with_parent=True, port=0):
        self.region = region
        self.account = account
        self.tls = tls
        self.admin = Principal("admin", policy=admin_policy, session_token=admin_token)
        self.root = Principal("root")
        self.principals = [self.admin, self.root, *principals]
        self.certificates = None
        self.process = None
        self.port = port  # 0: any that is free
        self.endpoint = None
        self._die_with_parent = die_with_parent
        self._folder = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self._folder = tempfile.mkdtemp(prefix="dsec-iam-")
        try:
            self.process = subprocess.Popen(self._command(), stdout=subprocess.PIPE)
            self._read_announcement()
        except BaseException:
            self.stop()
            raise
        return self

    def _command(self):
        principals = os.path.join(self._folder, "principals.json")
        with open(os.open(principals, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            json.dump([principal.description() for principal in self.principals], file)
        command = [find_binary(), "--principals", principals, "--region", self.region,
                   "--account", self.account, "--port", str(self.port)]
        if self.tls:
            self.certificates = Certificates(self._folder)
            command += ["--tls-cert", self.certificates.certificate,
                        "--tls-key", self.certificates.key]
        if self._die_with_parent:
            command.append("--die-with-parent")
        return command

    def _read_announcement(self):
        ready, _, _ = select.select([self.process.stdout], [], [], START_TIMEOUT)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            raise RuntimeError("dsec-test-iam did not start")
        announcement = json.loads(line)
        self.port = announcement["port"]
        self.endpoint = announcement["endpoint"]

    def stop(self):
        """Returns the exit status: not 0 also where a sanitizer found something."""
        status = None
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                status = self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                status = self.process.wait()
            self.process.stdout.close()
            self.process = None
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        return status

    def _ask(self, path, body=None, timeout=60):
        context = ssl.create_default_context(cafile=self.certificates.ca) if self.tls else None
        handlers = [urllib.request.ProxyHandler({})]
        if context:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        data = None if body is None else json.dumps(body).encode()
        opener = urllib.request.build_opener(*handlers)
        try:
            with opener.open(self.endpoint + path, data, timeout) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def control(self, **members):
        """POST /_control: reset, clear_faults, principals, consistency, clock, users_quota,
        page_size, empty_pages, sts, account_summary, faults, release."""
        status, answer = self._ask("/_control", members)
        if status != 200:
            raise ValueError(answer["error"])
        return answer

    def fault(self, action="*", *, kind, **members):
        """Adds a fault. kind: delay (ms), hold, error (status, code, message), html (status),
        drop, empty, text, cut, broken, wrong, huge, endless. when: "before" or "after" the
        effect; times: for how many calls; user: a pattern; skip, every: which of the matching
        calls."""
        self.control(faults=[{"action": action, "kind": kind, **members}])

    def throttle(self, action="*", **members):
        self.fault(action, kind="error", status=400, code="Throttling", message="Rate exceeded",
                   **members)

    def reset(self):
        """Back to good behaviour; what the account holds stays."""
        self.control(reset=True)

    def state(self):
        return self._ask("/_state")[1]

    def users(self, path="/"):
        """The users below a path, by name, without those that the account began with."""
        first = {principal.name for principal in self.principals}
        return {user["name"]: user for user in self.state()["users"]
                if user["path"].startswith(path) and user["name"] not in first}

    def log(self, since=0):
        """The calls in the order of their arrival: n, time_ms, action, user, access_key_id,
        effect, status, code."""
        return self._ask(f"/_log?since={since}")[1]

    def _wait(self, timeout, **conditions):
        query = urllib.parse.urlencode({**conditions, "timeout": timeout})
        status, answer = self._ask(f"/_wait?{query}", timeout=timeout + 30)
        if status != 200:
            raise TimeoutError(f"the local IAM waited {timeout} s for {conditions}")
        return answer["held"]

    def wait_held(self, count=1, timeout=30):
        """Until so many calls are held; returns what they are."""
        return self._wait(timeout, held=count)

    def wait_calls(self, action, *, received=0, effects=0, timeout=30):
        """Until so many calls of the action have come, or have been carried out, since start."""
        self._wait(timeout, action=action, received=received, effects=effects)

    def release(self, action="*", user="*", drop=False):
        """Lets held calls go on; or drops them: what has not taken effect never will."""
        self.control(release={"action": action, "user": user, "drop": drop})
