"""What a lease costs the worker's processor, in instructions, by part (callgrind), with the local IAM
behind TLS connections that are kept open: the difference between a life with many and one with few.
"""

import json
import pathlib
import re
import shutil

import stage
from stage import BUILD, KEY, dynamic, load
from table import Row

LEASES = 20
END = 120  # seconds
FIRST = 20000
# What lets a program that runs itself again do so under valgrind.
BENEATH = str(BUILD.resolve() / "tests" / "memory" / "beneath_valgrind.so")

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


def end_each(dsec, iam):
    """One lease after the other, over the connections that there are."""
    daemon = stage.Api(dsec)
    leases = json.loads(dsec.read(".dsec/leases.json"))["leases"]
    for n, lease in enumerate(leases, 1):
        daemon.revoke(lease["id"])
        iam.wait_calls("DeleteUser", effects=n)


def spent(n):
    """By part, of a daemon's worker in a whole life with n leases."""
    configs = {"own": {"dynamic_secrets": {"AWS_USER": dynamic(scope="user")},
                       "access": {"mode": "0444"}}}
    with stage.local_iam(tls=True) as iam, stage.dsec(iam, configs, mount=False) as dsec:
        profiles = dsec.folder / "callgrind"
        profiles.mkdir()
        profiles.chmod(0o777)
        dsec.start(["valgrind", "--tool=callgrind", "--trace-children=yes", "--quiet",
                    f"--callgrind-out-file={profiles}/%p"],
                   {"LD_PRELOAD": BENEATH}, patience=END)
        profile = profiles / str(dsec.worker())
        profile.chmod(0o666)  # it was root's when valgrind made it
        load("users", FIRST, n, 1, dsec.path(f"app/own/{KEY}"))
        end_each(dsec, iam)
        dsec.process.terminate()  # as dsec unmount does; that sees valgrind, and no dsec
        dsec.process.wait(END)
        return by_part(profile)


def lease(quick):
    what = "instructions of the worker for one lease's life, over TLS"
    if not shutil.which("valgrind") or not pathlib.Path(BENEATH).exists():
        yield Row(what, "", "", note="there is no valgrind, or no " + BENEATH)
        return
    few, many = (2, 5) if quick else (2, 2 + LEASES)
    with_few, with_many = spent(few), spent(many)
    parts = {name: (value - with_few.get(name, 0)) / (many - few)
             for name, value in with_many.items()}
    whole = sum(parts.values())
    most = sorted(parts.items(), key=lambda item: -item[1])
    yield Row(what, f"{whole / 1e6:.2f} M", "",
              note=", ".join(f"{name} {100 * value / whole:.0f} %" for name, value in most))
