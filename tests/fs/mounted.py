"""The filesystem over the engine that does as it is told (harness.c), for the tests in Python."""

import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap

HARNESS = os.environ.get("FS_HARNESS", "build/tests/fs/fs_harness")
PATIENCE = 30  # seconds within which whatever is to come has come

POLICY = {"Version": "2012-10-17",
          "Statement": [{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}]}


def dynamic(**more):
    return {"integration": "aws-main", "policy": POLICY, **more}


def configuration(configs, project="app"):
    """A dsec.json whose one project has these configs."""
    return {
        "integrations": {"aws-main": {
            "type": "aws-iam",
            "credentials": {"source": "static", "access_key_id": "AKIAIOSFODNN7EXAMPLE",
                            "secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"},
        }},
        "projects": {project: configs},
    }


def until(condition, what):
    """Waits for a condition, and gives what it is."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError("in vain waited for " + what)


class Harness:
    """One mount. Leaving the `with` unmounts it, whatever has happened."""

    def __init__(self, configs, mode="store", command=(HARNESS,), folder=None):
        self.folder = folder or tempfile.mkdtemp(prefix="dsec-fs-")
        os.chmod(self.folder, 0o755)
        self.mountpoint = os.path.join(self.folder, "mnt")
        os.makedirs(self.mountpoint, exist_ok=True)
        self.file = os.path.join(self.folder, "dsec.json")
        self.write(configs)
        self.errors = open(os.path.join(self.folder, "errors"), "w+")
        os.chmod(self.errors.name, 0o666)
        self.process = subprocess.Popen([*command, self.mountpoint, self.file, mode],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True, bufsize=1)
        ready = self.line().split()
        if not ready or ready[0] != "ready":
            self.close()  # which says what it ended with
        self.mode, self.others = ready[1], ready[2] == "1"

    def write(self, configs):
        with open(self.file, "w") as file:
            json.dump(configuration(configs), file)
        os.chmod(self.file, 0o600)

    def line(self):
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            raise AssertionError("the harness does not answer")
        return self.process.stdout.readline()

    def say(self, *words):
        self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.process.stdin.flush()
        answer = self.line().strip()
        if answer.startswith("unknown"):
            raise AssertionError(answer)
        return answer

    def counts(self):
        """acquires, leases, abandoned, waiting, let go, refused"""
        return [int(word) for word in self.say("counts").split()]

    acquires = property(lambda self: self.counts()[0])
    leases = property(lambda self: self.counts()[1])
    abandoned = property(lambda self: self.counts()[2])
    waiting = property(lambda self: self.counts()[3])
    let_go = property(lambda self: self.counts()[4])
    refused = property(lambda self: self.counts()[5])

    def path(self, *names):
        return os.path.join(self.mountpoint, "app", *names)

    def reload(self, configs):
        self.write(configs)
        self.say("reload", self.file)

    def kill(self):
        """As a daemon dies that has no keeper: the mount stays behind, dead."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()

    def close(self):
        if self.errors.closed:
            return
        try:
            if self.process.poll() is None:
                self.process.stdin.close()
                try:
                    self.process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
        finally:
            subprocess.run(["umount", "-l", self.mountpoint], stderr=subprocess.DEVNULL)
            self.errors.seek(0)
            self.said = self.errors.read()
            self.errors.close()
            self.process.stdout.close()
            shutil.rmtree(self.folder, ignore_errors=True)
        if self.process.returncode not in (0, -signal.SIGKILL):
            raise AssertionError("the harness ended with %d: %s"
                                 % (self.process.returncode, self.said))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def as_user(uid, command, **options):
    """Runs a command as that uid, without further groups."""
    return subprocess.run(["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups",
                           *command], **options)


def main():
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        print("1..0 # SKIP /dev/fuse is not there for us")
        return
    tap.main()
