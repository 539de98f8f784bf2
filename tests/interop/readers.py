#!/usr/bin/python3
"""Every common program gets the whole secret, also as its very first reader; and looking at the
tree, in whatever way, leases nothing."""

import pathlib
import re
import subprocess
import sys
import tarfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import daemon
import local
import programs
import tap

SECRET = "AWS_USER_SECRET_ACCESS_KEY"
SECRET_LENGTH = 40


class Case(unittest.TestCase):
    deadline = 300

    def start(self, configs):
        """A dsec with so many equal configs, app/c0 and so on, none of them leased."""
        config = {"secrets": {"AWS_REGION": "us-east-1"},
                  "dynamic_secrets": {"AWS_USER": local.SECRET}}
        self.iam = local.iam(self)
        self.dsec = daemon.Dsec(self, {
            "integrations": {"local": local.integration(self.iam, verify=False, rate=1000)},
            "projects": {"app": {f"c{i}": config for i in range(configs)}},
        }).mount()
        self.copy = self.dsec.folder / "copy"
        self.java = self.dsec.folder / "Copy.java"
        self.java.write_text(programs.JAVA)

    def read(self, command, file):
        """What the program makes of the file."""
        self.copy.unlink(missing_ok=True)
        ran = programs.run(command, file=file, copy=self.copy, java=self.java)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return (self.copy.read_bytes() if self.copy.exists() else ran.stdout).decode()


def add_tests(cls):
    """One for each program, which says that it was skipped where there is no such program."""
    for i, (name, command) in enumerate(programs.READERS.items()):
        words = "_".join(re.findall(r"[A-Za-z0-9]+", name))
        setattr(cls, f"test_{words}_as_the_first_reader_gets_all_of_it",
                lambda self, i=i, command=command: self.gets_all(i, command))
    return cls


@add_tests
class Programs(unittest.TestCase):
    """All with one daemon, each with a config of its own."""

    @classmethod
    def setUpClass(cls):
        cls.shared = Case()
        cls.addClassCleanup(cls.shared.doCleanups)
        cls.shared.start(len(programs.READERS))

    def gets_all(self, i, command):
        if not programs.available(command):
            self.skipTest(f"{command[0]} is not installed")
        file = self.shared.dsec.path(f"app/c{i}/{SECRET}")
        self.assertEqual(file.stat().st_size, 0, "somebody was faster")
        first = self.shared.read(command, file)
        self.assertEqual(len(first), SECRET_LENGTH)
        self.assertEqual(first, file.read_text())
        self.assertEqual(self.shared.read(command, file), first)


class Readers(Case):
    def test_a_shell_sources_the_whole_config_as_its_first_reader(self):
        self.start(1)
        sourced = self.read(programs.SOURCE, self.dsec.path("app/c0/.env"))
        self.assertEqual(len(sourced), SECRET_LENGTH)
        self.assertEqual(sourced, self.dsec.path(f"app/c0/{SECRET}").read_text())

    def test_a_file_bound_to_another_name_is_read_whole(self):
        self.start(1)
        file = self.dsec.path(f"app/c0/{SECRET}")
        bound = self.dsec.folder / "bound"
        bound.touch()
        subprocess.run(["mount", "--bind", file, bound], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", bound], check=True)
        first = self.read(["cat", "{file}"], bound)
        self.assertEqual(len(first), SECRET_LENGTH)
        self.assertEqual(first, file.read_text())

    def archive(self, folder):
        """The files in a tar of the folder, by name."""
        archive = self.dsec.folder / "archive.tar"
        subprocess.run(["tar", "-C", folder, "-cf", archive, "."], check=True, timeout=60)
        with tarfile.open(archive) as members:
            return {pathlib.Path(member.name).name: members.extractfile(member).read().decode()
                    for member in members if member.isfile()}

    def test_tar_archives_nothing_before_the_lease_and_all_of_it_after(self):
        self.start(1)
        folder = self.dsec.path("app/c0")
        self.assertEqual(self.archive(folder)[SECRET], "")
        self.assertEqual(self.iam.users(), {})
        secret = (folder / SECRET).read_text()
        self.assertEqual(self.archive(folder)[SECRET], secret)

    def test_looking_leases_nothing(self):
        self.start(1)
        folder = self.dsec.path("app/c0")
        for name, command in programs.LOOKERS.items():
            if not programs.available(command):
                print(f"# not installed: {name}")
                continue
            with self.subTest(program=name):
                seen = programs.run(command, folder=folder, copy=self.copy)
                self.assertNotIn(b"rror", seen.stderr)
                self.assertEqual(self.iam.users(), {})
        self.assertEqual([call["action"] for call in self.iam.log()].count("CreateUser"), 0)
        (folder / SECRET).read_text()
        self.assertEqual(len(self.iam.users()), 1, "what is counted here is not what is leased")


if __name__ == "__main__":
    tap.main()
