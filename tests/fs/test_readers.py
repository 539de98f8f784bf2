#!/usr/bin/python3
"""Every common reader gets the whole content, on the very first read of a file."""

import json
import os
import shutil
import subprocess
import unittest

import mounted

SENDFILE = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
while os.sendfile(1, fd, None, 1 << 20): pass
"""
MMAP = """
import mmap, sys
with open(sys.argv[1], "rb") as f:
    sys.stdout.buffer.write(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:])
"""
COPYFILE = "import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])"
JAVA = """
import java.nio.file.*;
class Copy { public static void main(String[] a) throws Exception {
    Files.copy(Path.of(a[0]), Path.of(a[1])); } }
"""

PYTHON = "/usr/bin/python3"

# {f} is the file, {o} a file to copy it to; what has no {o} writes it to its standard output.
READERS = {
    "cat": ["cat", "{f}"],
    "cp": ["cp", "{f}", "{o}"],
    "cp without reflink": ["cp", "--reflink=never", "{f}", "{o}"],
    "install": ["install", "{f}", "{o}"],
    "dd": ["dd", "if={f}", "of={o}", "status=none"],
    "base64": ["sh", "-c", "base64 {f} | base64 -d"],
    "head": ["head", "-c", "1000000", "{f}"],
    "sed": ["sed", "-z", "", "{f}"],
    "busybox cat": ["busybox", "cat", "{f}"],
    "busybox cp": ["busybox", "cp", "{f}", "{o}"],
    "busybox dd": ["busybox", "dd", "if={f}", "of={o}"],
    "uutils cat": ["coreutils", "cat", "{f}"],
    "uutils cp": ["coreutils", "cp", "{f}", "{o}"],
    "bash $(<file)": ["bash", "-c", "printf %s \"$(<{f})\""],
    "bash redirection": ["bash", "-c", "cat < {f}"],
    "perl": ["perl", "-0777", "-ne", "print", "{f}"],
    "python read": [PYTHON, "-c",
                    "import sys; sys.stdout.write(open(sys.argv[1]).read())", "{f}"],
    "python copyfile": [PYTHON, "-c", COPYFILE, "{f}", "{o}"],
    "python mmap": [PYTHON, "-c", MMAP, "{f}"],
    "python sendfile": [PYTHON, "-c", SENDFILE, "{f}"],
    "curl": ["curl", "-s", "file://{f}"],
    "node readFileSync": ["node", "-e",
                          "process.stdout.write(require('fs').readFileSync('{f}'))"],
    "node copyFileSync": ["node", "-e", "require('fs').copyFileSync('{f}', '{o}')"],
    "java Files.copy": ["java", "{j}", "{f}", "{o}"],
}
CONFIGS = {"c%02d" % i: {"dynamic_secrets": {"AWS_USER": mounted.dynamic()}}
           for i in range(len(READERS) + 3)}
BIG = "x" * 60000


class Readers:
    """Each of the readers on a config of its own, which nobody has leased yet."""

    @classmethod
    def setUpClass(cls):
        configs = dict(CONFIGS)
        configs["big"] = {"secrets": {"BIG%d" % i: BIG for i in range(6)},
                          "dynamic_secrets": {"AWS_USER": mounted.dynamic()}}
        cls.harness = mounted.Harness(configs, cls.mode)
        cls.out = os.path.join(cls.harness.folder, "out")
        cls.java = os.path.join(cls.harness.folder, "Copy.java")
        with open(cls.java, "w") as file:
            file.write(JAVA)

    @classmethod
    def tearDownClass(cls):
        cls.harness.close()

    def read(self, command, file):
        if os.path.exists(self.out):
            os.unlink(self.out)
        words = [word.format(f=file, o=self.out, j=self.java) for word in command]
        result = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(result.returncode, 0, result.stderr)
        if "{o}" not in " ".join(command):
            return result.stdout
        with open(self.out, "rb") as copy:
            return copy.read()

    def test_the_mode_is_the_one_asked_for(self):
        self.assertEqual(self.harness.mode, self.mode)

    def test_nobody_gets_an_empty_or_cut_secret(self):
        for i, (name, command) in enumerate(READERS.items()):
            if not shutil.which(command[0]):
                print("not here:", name)
                continue
            with self.subTest(reader=name):
                before = self.harness.leases
                file = self.harness.path("c%02d" % i, ".json")
                first = self.read(command, file)
                self.assertEqual(self.harness.leases, before + 1)
                self.assertEqual(json.loads(first)["DOPPLER_CONFIG"], "c%02d" % i)
                self.assertEqual(self.read(command, file), first)
                key = self.harness.path("c%02d" % i, "AWS_USER_SECRET_ACCESS_KEY")
                self.assertEqual(self.read(command, key).decode(),
                                 json.loads(first)["AWS_USER_SECRET_ACCESS_KEY"])
                self.assertEqual(self.harness.leases, before + 1)

    def test_a_sourced_file_sets_its_variables(self):
        config = list(CONFIGS)[-1]
        result = subprocess.run(
            ["bash", "-c", "source %s && printf %%s $AWS_USER_SECRET_ACCESS_KEY"
             % self.harness.path(config, ".env")], stdout=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(len(result.stdout), 40)

    def test_a_file_of_many_pages_is_whole(self):
        for command in (READERS["busybox cat"], READERS["python mmap"], READERS["cp"]):
            content = json.loads(self.read(command, self.harness.path("big", ".json")))
            self.assertEqual([content["BIG%d" % i] for i in range(6)], [BIG] * 6)

    def test_a_file_is_whole_again_when_the_page_cache_was_dropped(self):
        file = self.harness.path("big", ".json")
        first = self.read(READERS["cat"], file)
        with open(file, "rb") as held:
            with open("/proc/sys/vm/drop_caches", "w") as drop:
                drop.write("3")
            self.assertEqual(held.read(), first)
        self.assertEqual(self.read(READERS["busybox cat"], file), first)

    def test_an_archive_of_what_is_not_leased_is_empty_and_leases_nothing(self):
        config = list(CONFIGS)[-2]
        folder = self.harness.path(config)
        before = self.harness.acquires
        listing = self.archive(folder)
        self.assertEqual(listing["./AWS_USER_SECRET_ACCESS_KEY"], b"")
        self.assertEqual(self.harness.acquires, before)
        key = self.read(READERS["cat"], os.path.join(folder, "AWS_USER_SECRET_ACCESS_KEY"))
        self.assertEqual(self.archive(folder)["./AWS_USER_SECRET_ACCESS_KEY"], key)

    def archive(self, folder):
        archive = os.path.join(self.harness.folder, "archive.tar")
        subprocess.run(["tar", "-cf", archive, "-C", folder, "."], check=True, timeout=60)
        names = subprocess.run(["tar", "-tf", archive], check=True, stdout=subprocess.PIPE,
                               text=True).stdout.split()
        return {name: subprocess.run(["tar", "-xOf", archive, name], check=True,
                                     stdout=subprocess.PIPE).stdout
                for name in names if not name.endswith("/")}


class Stored(Readers, unittest.TestCase):
    mode = "store"


class LookedUpTwice(Readers, unittest.TestCase):
    mode = "estale"


class Probed(unittest.TestCase):
    def test_the_start_finds_out_what_this_kernel_can(self):
        """A stored first read is one acquire; the wrong choice shows as an empty file."""
        with mounted.Harness(CONFIGS, "probe") as harness:
            self.assertIn(harness.mode, ("store", "estale"))
            print("# this kernel:", harness.mode)
            self.assertFalse(os.path.exists(os.path.join(harness.mountpoint, ".dsec/.probe")))
            content = subprocess.run(["busybox", "cat", harness.path("c00", ".json")],
                                     stdout=subprocess.PIPE, timeout=60).stdout
            self.assertEqual(json.loads(content)["DOPPLER_CONFIG"], "c00")


if __name__ == "__main__":
    mounted.main()
