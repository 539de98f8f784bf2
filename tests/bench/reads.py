#!/usr/bin/python3
"""What a cached read of a secret costs, beside the smallest FUSE filesystem and tmpfs.

Build without sanitizers: meson setup build-release --buildtype=release && meson test -C build-release --benchmark
"""

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fs"))
import mounted

ROUNDS = 2000
CONFIGS = {
    "shared": {"secrets": {"STATIC": "x" * 40}, "dynamic_secrets": {"AWS_USER": mounted.dynamic()}},
    "own": {"dynamic_secrets": {"AWS_USER": mounted.dynamic(scope="user")}},
}
KEY = "AWS_USER_SECRET_ACCESS_KEY"


def main():
    with tempfile.TemporaryDirectory(prefix="dsec-bench-") as folder, \
            tempfile.NamedTemporaryFile(dir="/dev/shm") as plain, \
            mounted.Harness(CONFIGS, "probe") as fs:
        plain.write(b"x" * 40)
        plain.flush()
        smallest = subprocess.Popen([os.environ["SMALLEST_FUSE"], folder], stdout=subprocess.PIPE)
        try:
            smallest.stdout.readline()
            files = {
                "tmpfs": plain.name,
                "the smallest FUSE filesystem": os.path.join(folder, "file"),
                "dsec, a lease for all": fs.path("shared", KEY),
                "dsec, a lease a user": fs.path("own", KEY),
                "dsec, a static secret": fs.path("shared", "STATIC"),
            }
            said = subprocess.run([os.environ["READ_FILES"], str(ROUNDS), *files.values()],
                                  check=True, stdout=subprocess.PIPE, text=True).stdout
            costs = dict(zip(files, map(float, said.split())))
        finally:
            subprocess.run(["umount", folder])
            smallest.wait()
    least = costs["the smallest FUSE filesystem"]
    for name, cost in costs.items():
        print("%-30s %8.2f us  %5.2f of the smallest" % (name, cost, cost / least))


if __name__ == "__main__":
    main()
