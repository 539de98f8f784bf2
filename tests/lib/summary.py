#!/usr/bin/python3
"""Counts the test functions of a run and says which failed.

Usage: summary.py SECONDS FILE…     files: meson's testlog.json, or *.tap written by a step of
tests/run, and named after it; another log of meson's is told apart by its name. The last line printed is `N passed, N failed[, N skipped]`; the exit
status is 0 only if something passed and nothing failed.
"""

import json
import pathlib
import re
import sys

TAP_LINE = re.compile(r"^(not )?ok\b[ \t]*\d*[ \t]*(?:- )?(.*?)(?: *# *(SKIP|TODO)\b(.*))?$", re.I)
NOTHING = re.compile(r"^1\.\.0\b[ \t]*# *SKIP\b(.*)$", re.I)


class Test:
    """One program's results; `wrong` says what is wrong with the program as a whole."""

    def __init__(self, name, output, seconds=None, wrong=None, skipped=False):
        self.name, self.seconds = name, seconds
        self.passed, self.failed, self.skipped, self.said = 0, [], [], ""
        for line in output.splitlines():
            if match := NOTHING.match(line):
                self.skipped.append(": ".join(filter(None, ("as a whole", match[1].strip()))))
            match = TAP_LINE.match(line)
            if not match:
                continue
            bad, what, directive, reason = match.groups()
            if directive and directive.upper() == "SKIP":
                self.skipped.append(": ".join(filter(None, (what, reason.strip()))))
            elif bad:
                self.failed.append(what)
            else:
                self.passed += 1
        if skipped and not self.skipped:
            self.skipped.append("as a whole")
        if wrong and not self.failed:
            self.failed.append(wrong)
        elif not wrong and not (self.passed or self.failed or self.skipped):
            self.passed = 1  # a program that only has an exit status
            self.said = output.strip().rpartition("\n")[2]

    def print(self):
        time = "" if self.seconds is None else f"{self.seconds:6.1f} s"
        counts = f"{self.passed:4} passed"
        if self.failed:
            counts += f", {len(self.failed)} FAILED"
        if self.skipped:
            counts += f", {len(self.skipped)} skipped"
        print(f"  {self.name:32} {time:>9}  {counts}")
        if self.said:
            print(f"      {self.said}")
        for what in self.failed:
            print(f"      failed: {what}")
        for what in self.skipped:
            print(f"      skipped: {what}")


def meson_tests(path):
    for line in path.read_text(errors="replace").splitlines():
        record = json.loads(line)
        result = record["result"]
        wrong = None
        if result not in ("OK", "SKIP", "EXPECTEDFAIL"):
            wrong = f"{result.lower()}, exit status {record.get('returncode')}"
        name = record["name"].split(" / ")[-1]
        if path.stem != "testlog":
            name = f"{path.stem}: {name}"
        yield Test(name, record.get("stdout") or "", record["duration"], wrong, result == "SKIP")


def step_tests(path):
    output = path.read_text(errors="replace")
    yield Test(path.stem, output, wrong=None if "ok " in output else "it printed no result")


def main():
    seconds, files = int(sys.argv[1]), [pathlib.Path(name) for name in sys.argv[2:]]
    tests = []
    for path in files:
        tests += meson_tests(path) if path.suffix == ".json" else step_tests(path)
    tests.sort(key=lambda test: test.name)
    print()
    for test in tests:
        test.print()
    passed = sum(test.passed for test in tests)
    failed = sum(len(test.failed) for test in tests)
    skipped = sum(len(test.skipped) for test in tests)
    print(f"\nin {seconds // 60} min {seconds % 60} s")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    sys.exit(0 if passed and not failed else 1)


if __name__ == "__main__":
    main()
