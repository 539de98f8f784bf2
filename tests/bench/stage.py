"""What is measured and what it is measured with: a dsec, a local IAM, the floor, the load."""

import collections
import contextlib
import http.client
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

from daemon import DESCRIBE, Dsec, until
from localiam import LocalIAM

BUILD = pathlib.Path(os.environ.get("BENCH_BUILD", "build-bench"))
FLOOR, LOAD, GROWTH = (str(BUILD / "tests" / "bench" / name) for name in ("floor", "load", "growth"))

KEY = "AWS_USER_SECRET_ACCESS_KEY"


class Stage(unittest.TestCase):
    """What the fixtures of the tests clean up after."""

    def runTest(self):
        pass


@contextlib.contextmanager
def stage():
    case = Stage()
    try:
        yield case
    finally:
        case.doCleanups()


@contextlib.contextmanager
def local_iam(rtt_ms=0, **members):
    """rtt_ms: each answer takes so long."""
    with LocalIAM(**members) as iam:
        if rtt_ms:
            iam.fault(kind="delay", ms=rtt_ms, when="before", times=1 << 30)
        yield iam


def dynamic(**members):
    return {"integration": "aws-main", "policy": DESCRIBE, "max_leases": 5000,
            "max_rate": "1000000/m", **members}


def configuration(iam, configs, integration=None, **members):
    """configs: those of the project app, by name."""
    integration = {"type": "aws-iam", "endpoint": iam.endpoint, "sts_endpoint": iam.endpoint,
                   "credentials": {"source": "static",
                                   "access_key_id": iam.admin.access_key_id,
                                   "secret_access_key": iam.admin.secret_access_key},
                   "rate": 1000, "verify": False, **(integration or {})}
    if iam.certificates:
        integration["ca_file"] = iam.certificates.ca
    return {"integrations": {"aws-main": integration}, "projects": {"app": configs},
            "unmount_timeout": "10m", **members}


@contextlib.contextmanager
def dsec(iam, configs, integration=None, mount=True, **members):
    with stage() as case:
        daemon = Dsec(case, configuration(iam, configs, integration, **members))
        yield daemon.mount() if mount else daemon


FILE = {"app": {"dev": {"FILE": None}}}


def tree_of(folder):
    """The names in a folder, as floor() wants them: folders are dictionaries."""
    return {entry.name: tree_of(entry.path) if entry.is_dir() else None
            for entry in os.scandir(folder)}


def lines_of(tree):
    """As the floor reads a tree."""
    ret, queue, n = [], collections.deque([(1, tree)]), 1
    while queue:
        parent, folder = queue.popleft()
        for name in sorted(folder, key=str.encode):
            n += 1
            ret.append(f"{parent} {'f' if folder[name] is None else 'd'} {name}\n")
            if folder[name] is not None:
                queue.append((n, folder[name]))
    return "".join(ret)


class Floor:
    def __init__(self, folder, pid):
        self.folder, self.pid = pathlib.Path(folder), pid

    def path(self, name):
        return self.folder / name


@contextlib.contextmanager
def floor(tree=FILE):
    with tempfile.TemporaryDirectory(prefix="dsec-floor-") as folder, \
            tempfile.TemporaryFile("w+") as lines:
        lines.write(lines_of(tree))
        lines.seek(0)
        process = subprocess.Popen([FLOOR, folder], stdin=lines, stdout=subprocess.PIPE)
        try:
            process.stdout.readline()
            yield Floor(folder, process.pid)
        finally:
            subprocess.run(["umount", "-l", folder], check=False)
            process.wait()
            process.stdout.close()


def load(*words):
    """The figures that it prints, a list a line."""
    said = subprocess.run([LOAD, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True)
    return [[float(word) for word in line.split()] for line in said.stdout.splitlines()]


def side_by_side(lines, part=0.05):
    """Of turns of two: a good one of each, and the ratio of the first to the second. What else the
    machine does makes a turn only worse, and comes and goes. part: where good is."""
    first, second = (percentile(values, part) for values in zip(*lines))
    return first, second, first / max(second, 0.001)


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))]


def milliseconds(function):
    begin = time.monotonic()
    function()
    return (time.monotonic() - begin) * 1000


def status_of(pid, name):
    """A line of /proc/PID/status, as a number."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise KeyError(name)


def threads(pid):
    return [int(task.name) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]


def wake_ups(pid):
    """How often its threads have gone to sleep of their own accord, all together."""
    return sum(status_of(thread, "voluntary_ctxt_switches") for thread in threads(pid))


class Api(http.client.HTTPConnection):
    """The daemon's, as the command uses it."""

    def __init__(self, dsec):
        super().__init__("dsec")
        self.path = str(dsec.folder / "socket")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)

    def revoke(self, lease_id):
        self.request("DELETE", f"/v3/dsec/leases/{lease_id}")
        answer = self.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(said)


@contextlib.contextmanager
def one_processor(*pids):
    """Servers and readers share one meanwhile. Left alone, the scheduler keeps two that wake each
    other together or apart as it happens, and to wake an idle processor, of a virtual machine above
    all, takes several times as long as all that is measured here."""
    before = os.sched_getaffinity(0)
    tasks = [0, *(task for pid in pids for task in threads(pid))]

    def allow(processors):
        for task in tasks:
            os.sched_setaffinity(task, processors)

    allow({min(before)})
    try:
        yield
    finally:
        allow(before)


def metric(daemon, name):
    for line in daemon.read(".dsec/metrics").decode().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[-1])
    raise KeyError(name)


def processor_ms(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")
