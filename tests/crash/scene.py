"""A daemon with the local IAM behind it, for tests that kill it and look at what is left."""

import concurrent.futures
import datetime
import json
import pathlib
import sqlite3
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

from awscall import works
from daemon import Dsec, command, configuration, until
from localiam import LocalIAM

# The engine believes no single look at a user that was just made, or whose CreateUser may still be
# on its way: for this long (CONSISTENCY_MS) the intent stays in the journal, and then it looks
# again. What is settled before that is luck.
CONSISTENCY = 60

# So long after its start a daemon has settled what a dead one left: CONSISTENCY, and what a loaded
# machine with sanitizers needs for a few calls.
SETTLED = CONSISTENCY + 30

# So long a reader may wait while that goes on: as long as by default without it.
READ_TIMEOUT = 30

MANAGED = "arn:aws:iam::aws:policy/AdministratorAccess"

POLL = 0.25  # seconds between two looks at what takes a minute


def policy(action):
    return {"Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}


class Scene:
    """One local IAM and one dsec, which end with the test case."""

    def __init__(self, case, secret=None, integration=None, config=None, **members):
        self.case = case
        self.iam = LocalIAM().start()
        case.addCleanup(self._stop_iam)
        self.dsec = Dsec(case, {})
        self.socket = self.dsec.folder / "api"
        self.configure(secret, integration, config, **members)

    def _stop_iam(self):
        self.case.assertEqual(self.iam.stop(), 0, "the local IAM has failed")

    def configure(self, secret=None, integration=None, config=None, **members):
        """Of the account's rate only the mass test wants to know."""
        members.setdefault("api", {"listen": [f"unix:{self.socket}"]})
        self.dsec.configure(configuration(self.iam, secret, {"rate": 500, **(integration or {})},
                                          config, **members))

    # What there is.

    def journal(self):
        """The journal's lines, by user."""
        database = f"file:{self.dsec.state}/journal.db?mode=ro"
        connection = sqlite3.connect(database, uri=True, timeout=10)
        try:
            connection.row_factory = sqlite3.Row
            return {row["user"]: dict(row) for row in connection.execute("SELECT * FROM lease")}
        finally:
            connection.close()

    def key(self, config="app/dev"):
        """Of one lease, as a new reader gets it: (access key id, secret access key, user)."""
        result = subprocess.run(["cat", self.dsec.path(f"{config}/.json")], check=True,
                                capture_output=True, timeout=READ_TIMEOUT + 30)
        values = json.loads(result.stdout)
        return (values["AWS_USER_ACCESS_KEY_ID"], values["AWS_USER_SECRET_ACCESS_KEY"],
                values["AWS_USER_USERNAME"])

    def lease(self, user):
        """What `dsec leases` says of the user; None when it is not there."""
        result = self.leases("--json")
        for lease in json.loads(result.stdout)["leases"]:
            if lease["user"] == user:
                return lease
        return None

    def serve(self):
        """Readers have no part in what is to be settled: they get a key that works. Returns its
        user."""
        *key, user = self.key()
        self.case.assertTrue(works(self.iam.endpoint, key))
        return user

    def leases(self, *words):
        result = command("leases", *words, "--socket", self.socket)
        self.case.assertEqual(result.returncode, 0, result.stderr)
        return result

    def log(self):
        return self.dsec.log.read_text()

    def end_in_policy(self, user):
        """The moment from which on the user's inline policy denies everything, in ms."""
        document, = self.iam.users()[user]["inline_policies"].values()
        deny, = [statement for statement in json.loads(document)["Statement"]
                 if is_dead_man(statement)]
        text = deny["Condition"]["DateGreaterThan"]["aws:CurrentTime"]
        moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
        return int(moment.timestamp() * 1000)

    # What has to be.

    def settled(self, *users, seconds=SETTLED):
        """Until IAM holds just these users, and the journal says the same."""
        expected = set(users)

        def found():
            return set(self.iam.users()), set(self.journal())

        try:
            until(f"IAM and the journal hold {sorted(expected)}",
                  lambda: found() == (expected, expected), seconds, POLL)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {found()}\n{self.log()}") from None

    def no_allow_without_its_deny(self):
        for user in self.iam.users().values():
            documents = [json.loads(text) for text in user["inline_policies"].values()]
            for document in documents:
                self.case.assertTrue(any(is_dead_man(statement)
                                         for statement in document["Statement"]), document)
            if user["attached_policies"]:
                self.case.assertTrue(documents, "a managed policy stands without its Deny")


def is_dead_man(statement):
    return (statement["Effect"] == "Deny" and statement["Action"] == "*"
            and statement["Resource"] == "*"
            and list(statement["Condition"]) == ["DateGreaterThan"])


BUSY = threading.BoundedSemaphore(4)  # limits what costs processor time

_waiting = []  # what starts the tests of each class that was marked


def at_once(cls):
    """For a class whose tests do little but wait: runs those that were selected, of all marked
    classes, side by side, each with a test case of its own, and reports them one by one."""
    bodies = {name: getattr(cls, name) for name in unittest.defaultTestLoader.getTestCaseNames(cls)}
    selected = []
    futures = {}

    def initialise(self, name="runTest"):
        unittest.TestCase.__init__(self, name)
        selected.append(name)

    def run(name):
        case = unittest.TestCase.__new__(cls)
        unittest.TestCase.__init__(case, name)
        try:
            case.setUp()
            bodies[name](case)
        finally:
            clean = case.doCleanups()
        case.assertTrue(clean, "a clean-up has failed")

    def start():
        if selected:
            pool = concurrent.futures.ThreadPoolExecutor(len(selected))
            futures.update((name, pool.submit(run, name)) for name in selected)

    def start_all():
        while _waiting:
            _waiting.pop()()

    for name in bodies:
        setattr(cls, name, lambda self, name=name: futures[name].result())
    cls.__init__ = initialise
    cls.setUpClass = start_all
    cls.deadline = 600
    _waiting.append(start)
    return cls
