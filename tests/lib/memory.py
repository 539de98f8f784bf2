"""Looks for secrets where they should not be: in a process's memory, in files.

    needles = memory.needles(key=b"wJalr…", token=b"…")
    memory.search(pid, needles)          every mapping through /proc/PID/mem; needs root
    memory.search_files(folder, needles)
    memory.let_run(pids, 1)                  a second in which they could run
    with memory.frozen(pids): …              they stand still: what is found was there at one moment

A needle is looked for as it is, as JSON, a URL, base64 or hexadecimal digits would have it, and in
parts: what a buffer that was half overwritten has left. Pages of memfd_secret(2) cannot be read, by
nobody: they are the arena, and are counted, not searched.
"""

import base64
import contextlib
import json
import os
import pathlib
import signal
import time
import urllib.parse

PART = 16  # bytes of a raw secret that are as good as the whole
CHUNK = 16 * 1024 * 1024
# Address space that a sanitizer reserves for its shadow: a byte of it for eight, never a secret.
SHADOW_SIZE = 64 << 30


def parts(secret):
    """The beginning, the middle and the end."""
    for at in {0, (len(secret) - PART) // 2, len(secret) - PART}:
        yield secret[max(at, 0):max(at, 0) + PART]


def base64_forms(secret):
    """What base64 makes of it, wherever in a longer text it stands."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + secret)
        # The first digits hold what stands before it as well, the last what stands behind it.
        yield whole[(0, 2, 3)[before]:-4]


def forms(secret):
    text = secret.decode()
    yield "raw", secret
    for part in parts(secret):
        yield "part", part
    yield "JSON", json.dumps(text)[1:-1].encode()
    yield "JSON", json.dumps(text)[1:-1].replace("/", "\\/").encode()
    yield "URL", urllib.parse.quote(text, safe="").encode()
    yield "URL", urllib.parse.quote_plus(text, safe="").encode()
    for form in base64_forms(secret):
        yield "base64", form
        yield "base64", form.replace(b"+", b"-").replace(b"/", b"_")
    yield "hexadecimal", secret.hex().encode()
    yield "hexadecimal", secret.hex().upper().encode()


def needles(**secrets):
    """The name and form, and what it looks like, of each secret given by name (bytes)."""
    ret = {}
    for name, secret in secrets.items():
        for form, needle in forms(secret):
            ret.setdefault(needle, f"{name} ({form})")
    return ret


def find(data, sought):
    """The (offset, name) of every needle in it."""
    for needle, name in sought.items():
        at = data.find(needle)
        while at >= 0:
            yield at, name
            at = data.find(needle, at + 1)


class Mapping:
    def __init__(self, line):
        fields = line.split(maxsplit=5)
        self.start, self.end = (int(part, 16) for part in fields[0].split("-"))
        self.mode = fields[1]
        self.name = fields[5].strip() if len(fields) > 5 else "anonymous"
        self.resident = 0
        self.flags = []

    @property
    def secret(self):
        """The arena: memfd_secret's, or where there is none, locked and left out of cores."""
        return self.name.startswith("/secretmem") or {"lo", "dd", "dc"} <= set(self.flags)


def mappings(pid):
    ret = []
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("Rss", "Swap"):
            ret[-1].resident += int(value.split()[0])
        elif name == "VmFlags":
            ret[-1].flags = value.split()
        elif "-" in line.split()[0]:
            ret.append(Mapping(line))
    return ret


def search(pid, sought):
    """What was found in a process, as sentences. Fails when there was nothing to look at."""
    found, seen = [], 0
    overlap = max(map(len, sought))
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for mapping in mappings(pid):
            if mapping.secret or mapping.resident == 0 or mapping.name in ("[vvar]", "[vsyscall]"):
                continue
            if mapping.end - mapping.start > SHADOW_SIZE:
                continue
            for start in range(mapping.start, mapping.end, CHUNK):
                size = min(CHUNK + overlap, mapping.end - start)
                try:
                    data = os.pread(memory, size, start)
                except OSError:
                    continue  # a device's, or gone
                seen += len(data)
                found += [f"pid {pid}: {name} at {start + at:#x} in {mapping.name} {mapping.mode}"
                          for at, name in find(data, sought) if at < CHUNK]
    finally:
        os.close(memory)
    if seen == 0:
        raise AssertionError(f"nothing of the memory of pid {pid} could be read")
    return found


def arena_size(pid):
    """The bytes of memory for secrets that it has mapped."""
    return sum(mapping.end - mapping.start for mapping in mappings(pid) if mapping.secret)


def family(pid):
    """The process and all that it has started."""
    children = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(folder.name))
    ret = [pid]
    for process in ret:
        ret += children.get(process, [])
    return ret


def search_files(folder, sought):
    """What was found in the files of a folder, at any depth."""
    found = []
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.is_file() and not path.is_symlink():
            found += [f"{path}: {name}" for _, name in find(path.read_bytes(), sought)]
    return found


STEP = 0.05  # seconds


def run_delay(pids):
    """Seconds that the processes' threads have waited for a processor."""
    total = 0
    for pid in pids:
        for file in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                total += int(file.read_text().split()[1])
    return total / 1e9


def let_run(pids, seconds):
    """Waits until the processes have had so much time. What they have waited for a processor is not
    theirs, nor is what the whole machine has stood still, which shows in our own sleep."""
    passed = 0
    while passed < seconds:
        waited, before = run_delay(pids), time.monotonic()
        time.sleep(STEP)
        slept = min(time.monotonic() - before, 2 * STEP)
        passed += max(slept - (run_delay(pids) - waited), 0)


def stands_still(pid):
    return all((task / "stat").read_text().rpartition(")")[2].split()[0] in "TtXZ"
               for task in pathlib.Path(f"/proc/{pid}/task").iterdir())


@contextlib.contextmanager
def frozen(pids):
    """Nothing may be asked of them, nor of a mount of theirs, meanwhile."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        while not all(map(stands_still, pids)):
            time.sleep(STEP / 10)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
