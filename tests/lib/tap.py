"""Runs a module's unittest classes and prints TAP, so that every test function is counted.

A test file ends with `if __name__ == "__main__": tap.main()`. Each function has a deadline (the
class's `deadline`, else DEADLINE seconds), at which it fails and its clean-ups still run.
"""

import signal
import sys
import traceback
import unittest

DEADLINE = 120
CLEAN_UP_DEADLINE = 30


class Overdue(BaseException):
    """Not an Exception, so that no `except Exception` of a test swallows its own deadline."""


class Result(unittest.TestResult):
    def __init__(self, out):
        super().__init__()
        self.out = out
        self.count = 0
        self.broken = set()

    def line(self, word, test, comment=""):
        self.count += 1
        name = test.id().removeprefix("__main__.").replace("#", "")
        comment = " ".join(comment.split())
        self.out.write(f"{word} {self.count} - {name}{comment and ' # ' + comment}\n")
        self.out.flush()

    def startTest(self, test):
        super().startTest(test)
        signal.alarm(getattr(test, "deadline", DEADLINE))

    def stopTest(self, test):
        signal.alarm(0)
        super().stopTest(test)
        if test.id() in self.broken:
            self.line("not ok", test)

    def report(self, test, err):
        print(f"\n=== {test.id()}", file=sys.stderr)
        traceback.print_exception(*err)
        sys.stderr.flush()

    def addSuccess(self, test):
        super().addSuccess(test)
        if test.id() not in self.broken:
            self.line("ok", test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.line("ok", test, "SKIP " + reason)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.report(test, err)
        self.broken.add(test.id())

    def addError(self, test, err):
        super().addError(test, err)
        self.report(test, err)
        if isinstance(test, unittest.TestCase):
            self.broken.add(test.id())
        else:  # a fixture of the class or the module: stopTest is not called for it
            self.line("not ok", test)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.report(subtest, err)
            self.broken.add(test.id())

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.broken.add(test.id())

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.line("ok", test)


def overdue(_signal, _frame):
    signal.alarm(CLEAN_UP_DEADLINE)
    raise Overdue("the test did not end within its deadline")


def main():
    """Runs the tests of __main__ whose names contain one of the arguments; all without any."""
    signal.signal(signal.SIGALRM, overdue)
    # In the background of a script it is ignored, and so it would be in all that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{word}*" for word in sys.argv[1:]] or None
    suite = loader.loadTestsFromModule(sys.modules["__main__"])
    result = Result(sys.stdout)
    suite.run(result)
    print(f"1..{result.count}")
    sys.exit(0 if result.wasSuccessful() and result.count else 1)
