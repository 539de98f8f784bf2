"""A dsec of one's own: a configuration, a state folder and a mount in a folder that goes away."""

import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

DSEC = os.environ.get("DSEC", "dsec")
TIMEOUT = 30  # for one run of the command, sanitizers included

DESCRIBE = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}],
}


def configuration(iam, secret=None, integration=None, config=None, **members):
    """A dsec.json for a local IAM with the dynamic secret AWS_USER in app/dev. The rest are more
    members of the secret, the integration, the config and the file."""
    return {
        "integrations": {
            "aws-main": {
                "type": "aws-iam",
                "credentials": {"source": "static",
                                "access_key_id": iam.admin.access_key_id,
                                "secret_access_key": iam.admin.secret_access_key},
                "endpoint": iam.endpoint,
                "sts_endpoint": iam.endpoint,
                **(integration or {}),
            }
        },
        "projects": {
            "app": {
                "dev": {
                    "secrets": {"GREETING": "hello"},
                    "dynamic_secrets": {
                        "AWS_USER": {"integration": "aws-main", "policy": DESCRIBE,
                                     **(secret or {})}
                    },
                    **(config or {}),
                }
            }
        },
        **members,
    }


def until(what, condition, seconds=20, pause=0.02):
    """Waits for the condition and returns its value; fails with `what` when it does not come.
    Between two looks it pauses: for longer where many wait long."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(pause)


def mounted(path):
    """Is anything mounted there? Asks the kernel, not the mount."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        if line.split()[4] == str(path):
            return True
    return False


def began(pid):
    """What tells a process from others that have its number before or after; None: it is no more."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def wait_for_end(pid, seconds=60):
    """Waits until a process that need not be a child has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([pidfd], [], [], seconds)
        if not ready:
            raise AssertionError(f"pid {pid} has not ended within {seconds} s")
    finally:
        os.close(pidfd)


def command(*words, env=None, **more):
    """Runs dsec to its end."""
    more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
            "timeout": TIMEOUT, **more}
    return subprocess.run([DSEC, *map(str, words)], text=True, check=False,
                          env={**os.environ, **(env or {})}, **more)


class Dsec:
    """Made for a test case, which it fails, and at whose end it kills and unmounts what is left."""

    def __init__(self, case, configuration):
        """configuration: dsec.json"""
        self.case = case
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dsec-"))
        self.folder.chmod(0o755)
        self.config = self.folder / "dsec.json"
        self.state = self.folder / "state"
        self.mountpoint = self.folder / "mnt"
        self.process = None  # in the foreground
        self._pid = None
        self._began = None
        case.addCleanup(self.clean_up)
        self.configure(configuration)

    def configure(self, configuration):
        """Writes dsec.json; where it names no socket, the daemon gets one of its own."""
        api = {"listen": [f"unix:{self.folder}/socket"]}
        self.config.write_text(json.dumps({"api": api, **configuration}, indent=2))
        self.config.chmod(0o600)

    # Starting.

    @property
    def arguments(self):
        return ["--config", self.config, "--state", self.state]

    def try_mount(self, *words):
        """`dsec mount` into the background, whatever comes of it."""
        result = command("mount", *self.arguments, *words, self.mountpoint)
        if result.returncode == 0:
            self._pid = self.pid()
            self._began = began(self._pid)
        return result

    def mount(self, *words):
        result = self.try_mount(*words)
        self.case.assertEqual(result.returncode, 0, result.stderr)
        return self

    def start(self, prefix=(), env=None, patience=20, **more):
        """`dsec mount --foreground`, until it says through NOTIFY_SOCKET that it is ready. The
        prefix is another program that runs it, such as strace: LeakSanitizer, which wants to
        trace the process itself, looks at none of it then. The patience is in seconds."""
        env = dict(env or {})
        if prefix:
            env["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            name = self.folder / "notify"
            notify.bind(str(name))
            self.log = self.folder / "log"
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen(
                    [*map(str, prefix), DSEC, "mount", "--foreground",
                     *map(str, self.arguments), str(self.mountpoint)],
                    env={**os.environ, **env, "NOTIFY_SOCKET": str(name)},
                    **{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": log,
                       **more})
            self._pid = self.process.pid
            notify.settimeout(0.1)

            def ready():
                if self.process.poll() is not None:
                    raise AssertionError("it ended: " + self.log.read_text())
                try:
                    return b"READY=1" in notify.recv(4096).split(b"\n")
                except TimeoutError:
                    return False

            try:
                until("ready", ready, patience)
            finally:
                name.unlink()
            if mounted(self.mountpoint):
                self._pid = self.pid()  # of the daemon itself, whatever runs it
        return self

    # Using.

    def path(self, name):
        """A path in the tree, such as app/dev/.json"""
        return self.mountpoint / name

    def read(self, name):
        return self.path(name).read_bytes()

    def key(self, config="app/dev", secret="AWS_USER"):
        """The two halves of the key, read one after the other as a script would."""
        return tuple(self.read(f"{config}/{secret}_{half}").decode()
                     for half in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))

    def status(self, config="app/dev"):
        return self.read(f"{config}/.status").decode()

    def pid(self):
        return int(os.getxattr(self.mountpoint, "user.dsec.pid"))

    def worker(self):
        """The process that serves; pid() is its keeper's."""
        return int(os.getxattr(self.mountpoint, "user.dsec.worker"))

    def restarts(self):
        return int(os.getxattr(self.mountpoint, "user.dsec.restarts"))

    # Ending.

    def unmount(self, *words):
        """`dsec unmount`, whatever comes of it."""
        result = command("unmount", *words, self.mountpoint, timeout=120)
        if self.process:
            self.process.wait(TIMEOUT)
        return result

    def stop(self):
        """Unmounts, and fails unless nothing is left."""
        result = self.unmount()
        self.case.assertEqual(result.returncode, 0, result.stderr)
        self.case.assertFalse(mounted(self.mountpoint))
        return result

    def kill(self):
        """What a crash is: SIGKILL. The mount stays, dead."""
        os.kill(self._pid, signal.SIGKILL)
        if self.process:
            self.process.wait(TIMEOUT)
        else:
            wait_for_end(self._pid)

    def alive(self):
        if self.process:
            return self.process.poll() is None
        return self._pid is not None and began(self._pid) == self._began

    def clean_up(self):
        if self.alive():
            self.kill()
        for _ in range(4):
            if not mounted(self.mountpoint):
                break
            subprocess.run(["umount", "-l", str(self.mountpoint)], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
