"""What a lease costs the daemon's processor, in instructions, by part (callgrind), with the local
IAM behind TLS connections that are kept open."""

import pathlib
import re
import shutil
import subprocess
import time

import stage
from daemon import DSEC, mounted, until
from stage import KEY, dynamic, load
from table import Row

LEASES = 20
END = 120  # seconds
FIRST = 20000

# By what a file's name has in it, the first that fits.
PARTS = (("TLS and hashes (libcrypto, libssl)", ("libcrypto", "libssl")),
         ("HTTP (libcurl)", ("libcurl", "libnghttp2")),
         ("the journal (SQLite)", ("libsqlite3",)),
         ("XML (expat)", ("libexpat",)),
         ("JSON (jansson)", ("libjansson",)),
         ("dsec itself", ("cli/dsec",)),
         ("the C library", ("libc.so", "libpthread", "ld-linux")))


def part_of(name):
    for part, words in PARTS:
        if any(word in name for word in words):
            return part
    return "the rest"


def by_part(profile):
    """Instructions by part, from callgrind's own file: `ob=` names the object that the costs after
    it are of; a call's costs, which are the callee's own too, stand in the line after `calls=`."""
    parts, names, current, skip = {}, {}, "", False
    for line in pathlib.Path(profile).read_text().splitlines():
        if line.startswith("ob="):
            number, _, name = line[3:].partition(" ")
            names.setdefault(number, name or number)
            current = names[number]
        elif line.startswith("cob="):
            number, _, name = line[4:].partition(" ")
            names.setdefault(number, name or number)
        elif line.startswith("calls="):
            skip = True
        elif re.match(r"[-+*\d]", line):
            if not skip:
                part = part_of(current)
                parts[part] = parts.get(part, 0) + int(line.split()[-1])
            skip = False
    return parts


def lease(quick):
    if not shutil.which("valgrind"):
        yield Row("processor time of a lease", "", "", note="valgrind is not installed")
        return
    n = 3 if quick else LEASES
    configs = {"own": {"dynamic_secrets": {"AWS_USER": dynamic(scope="user")},
                       "access": {"mode": "0444"}}}
    with stage.local_iam(tls=True) as iam, stage.dsec(iam, configs, mount=False) as dsec:
        profile = str(dsec.folder / "callgrind")
        process = subprocess.Popen(
            ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet",
             f"--callgrind-out-file={profile}", DSEC, "mount", "--foreground",
             *map(str, dsec.arguments), str(dsec.mountpoint)], stderr=subprocess.DEVNULL)
        dsec.process, dsec._pid = process, process.pid
        until("it serves", lambda: mounted(dsec.mountpoint), 60)

        def instrument(word):
            subprocess.run(["callgrind_control", "-i", word, str(process.pid)], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def read(first, count):
            load("users", FIRST + first, count, 1, dsec.path(f"app/own/{KEY}"))

        read(0, 2)
        instrument("on")
        read(2, n)
        time.sleep(0.5)
        instrument("off")
        process.terminate()  # as dsec unmount does; that sees valgrind, and no dsec
        process.wait(END)
        parts = by_part(profile)
    whole = sum(parts.values())
    most = sorted(parts.items(), key=lambda item: -item[1])
    yield Row("instructions of the daemon for one lease, over TLS", f"{whole / n / 1e6:.2f} M", "",
              note=", ".join(f"{name} {100 * value / whole:.0f} %" for name, value in most))
