#!/usr/bin/python3
"""The command line: what is refused, what help says, and where it goes."""

import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from daemon import DSEC, command

COMMANDS = [
    ["mount"], ["unmount"], ["status"], ["run"], ["secrets"], ["secrets", "get"],
    ["secrets", "download"], ["credential-process"], ["leases"], ["leases", "revoke"],
    ["leases", "renew"], ["tokens", "create"], ["tokens", "list"], ["tokens", "revoke"],
    ["reload"], ["upgrade"], ["check"], ["sweep"], ["integration", "add"], ["integration", "list"],
    ["integration", "policy"], ["integration", "test"], ["dynamic-secret", "add"],
    ["dynamic-secret", "list"],
]


class Arguments(unittest.TestCase):
    def usage(self, *words):
        """The words are refused: status 2, a usage on stderr, nothing on stdout. Gives stderr."""
        result = command(*words)
        self.assertEqual(result.returncode, 2, words)
        self.assertEqual(result.stdout, "", words)
        return result.stderr

    def test_no_command_is_refused(self):
        self.assertIn("Usage: dsec COMMAND", self.usage())

    def test_unknown_command_is_refused(self):
        self.assertIn("there is no command 'mont'", self.usage("mont"))
        self.assertIn("there is no command '--frobnicate'", self.usage("--frobnicate"))

    def test_prefix_of_a_command_is_no_command(self):
        self.assertIn("there is no command 'moun'", self.usage("moun"))
        self.assertIn("there is no command 'integratio'", self.usage("integratio", "list"))

    def test_command_of_two_words_is_not_taken_for_its_first(self):
        self.assertIn("name the leases to revoke, or say --all",
                      command("leases", "revoke").stderr)
        self.assertIn("dsec leases renew: an operand is missing", self.usage("leases", "renew"))

    def test_half_a_command_lists_the_second_words(self):
        for words in (["integration"], ["integration", "frobnicate"], ["integration", "--help"]):
            text = self.usage(*words)
            for second in ("list", "policy NAME", "test NAME"):
                self.assertIn(f"dsec integration {second}", text)

    def test_unknown_option_is_refused_by_every_command(self):
        for words in COMMANDS:
            text = self.usage(*words, "--frobnicate")
            self.assertIn(f"dsec {' '.join(words)}: unrecognized option '--frobnicate'", text)
            self.assertIn(f"Try 'dsec {' '.join(words)} --help'.", text)

    def test_option_of_another_command_is_refused(self):
        self.assertIn("unrecognized option '--dry-run'", self.usage("mount", "--dry-run"))
        self.assertIn("unrecognized option '--foreground'", self.usage("unmount", "--foreground"))

    def test_option_without_its_value_is_refused(self):
        self.assertIn("option '--config' requires an argument", self.usage("mount", "--config"))
        self.assertIn("--config needs a value that is not empty",
                      self.usage("mount", "--config="))

    def test_flag_with_a_value_is_refused(self):
        self.assertIn("doesn't allow an argument", self.usage("mount", "--foreground=no"))

    def test_surplus_or_missing_operand_is_refused(self):
        self.assertIn("too many operands", self.usage("mount", "a", "b"))
        self.assertIn("too many operands", self.usage("check", "a"))
        self.assertIn("an operand is missing", self.usage("integration", "policy"))
        self.assertIn("an operand is empty", self.usage("mount", ""))

    def test_help_is_on_stdout_and_is_success(self):
        for words in COMMANDS:
            name = " ".join(words)
            result = command(*words, "--help")
            self.assertEqual((result.returncode, result.stderr), (0, ""), name)
            self.assertTrue(result.stdout.startswith(f"Usage: dsec {name}"), name)
            self.assertEqual(command("help", *words).stdout, result.stdout)
            lines = result.stdout.splitlines()
            self.assertLessEqual(len(lines), 24, name)  # a terminal has no more
            for line in lines:
                self.assertLessEqual(len(line), 80, line)

    def test_help_names_every_option_it_takes_and_no_other(self):
        for words in COMMANDS:
            text = command(*words, "--help").stdout
            options = dict(re.findall(r"^  (?:-\w, )?(--[a-z-]+)(?:\[=|( ))", text, re.M))
            for option in {*options, "--config", "--state", "--foreground", "--wait", "--json",
                           "--dry-run", "--account"} - {"--help"}:
                # --help behind it wins unless the option itself is refused.
                value = ["x"] if re.search(rf"{option} [A-Z]", text) else []
                result = command(*words, option, *value, "--help")
                self.assertEqual(result.returncode == 0, option in options, f"{words} {option}")

    def test_overview_lists_every_command(self):
        result = command("help")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(command("--help").stdout, result.stdout)
        for words in COMMANDS:
            self.assertRegex(result.stdout, rf"\n  {' '.join(words)} +[a-z]")

    def test_help_of_nothing_is_refused(self):
        self.assertIn("there is no command 'frobnicate'", self.usage("help", "frobnicate"))

    def test_version(self):
        for word in ("version", "--version"):
            result = command(word)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertRegex(result.stdout, r"\Adsec \d+\.\d+\.\d+\n\Z")

    def test_full_disk_behind_stdout_is_no_success(self):
        with open("/dev/full", "w") as full:
            result = command("help", stdout=full)
        self.assertEqual(result.returncode, 1)
        self.assertIn("No space left on device", result.stderr)

    def test_reader_that_goes_away_is_no_signal(self):
        read, write = os.pipe()
        os.close(read)
        result = command("help", stdout=write)
        os.close(write)
        self.assertEqual((result.returncode, result.stderr), (1, ""))

    def test_closed_standard_descriptors_are_not_taken_for_files(self):
        # With stderr closed the next open would be descriptor 2, and messages go into it.
        result = subprocess.run(["sh", "-c", '"$0" check --config /nonexistent >&- 2>&- <&-', DSEC],
                                check=False, timeout=30)
        self.assertEqual(result.returncode, 1)

    def test_manual_describes_every_command(self):
        manual = (pathlib.Path(__file__).resolve().parents[2] / "man" / "dsec.1.scd").read_text()
        for words in COMMANDS:
            self.assertIn(f"\n*{words[0]}", manual)
            self.assertIn(f"\n*{' '.join(words)}*", manual)


if __name__ == "__main__":
    tap.main()
