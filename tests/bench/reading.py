"""Reading and looking, beside the floor."""

import json
import subprocess
import threading

import stage
from daemon import until
from stage import KEY, dynamic, load, one_processor, percentile, side_by_side
from table import Row

CONFIGS = 1000
READERS = 8
CHURN = 100


def found(folder, *words):
    return lambda: subprocess.run(["find", str(folder), *words], check=True,
                                  stdout=subprocess.DEVNULL)


def cached_reads(quick):
    turns, rounds = (5, 200) if quick else (101, 200)
    configs = {"shared": {"dynamic_secrets": {"AWS_USER": dynamic()}},
               "own": {"dynamic_secrets": {"AWS_USER": dynamic(scope="user")}}}
    with stage.local_iam() as iam, stage.dsec(iam, configs) as dsec, stage.floor() as floor:
        least = floor.path("app/dev/FILE")
        shared, own = (dsec.path(f"app/{name}/{KEY}") for name in ("shared", "own"))
        load("once", shared, own, least)
        with one_processor(dsec.worker(), floor.pid):
            a, b, ratio = side_by_side(load("read", turns, rounds, shared, least))
            yield Row("cached read, one reader", f"{a:.1f} µs", f"floor {b:.1f} µs", ratio,
                      "at most", 1.15)
            a, b, ratio = side_by_side(load("read", turns, rounds, own, least))
            yield Row("cached read, a lease a holder (user)", f"{a:.1f} µs", f"floor {b:.1f} µs",
                      ratio, "at most", 2.5)
        a, b, ratio = side_by_side(load("crowd", 3 if quick else 21, 100 if quick else 300, READERS,
                                        shared, least), 0.95)
        yield Row("cached reads a second, 8 readers, two processors", f"{a:,.0f}",
                  f"floor {b:,.0f}", ratio, "at least", 0.85)
    with stage.local_iam() as iam, stage.dsec(iam, configs) as dsec, \
            stage.floor(stage.tree_of(dsec.mountpoint)) as floor, \
            one_processor(dsec.worker(), floor.pid):
        shared, least = dsec.path("app/shared"), floor.path("app/shared")
        pair = shared / KEY, least / KEY
        a, b, ratio = side_by_side(load("stat", turns, rounds, *pair))
        yield Row("stat of an unleased key", f"{a:.1f} µs", f"floor {b:.1f} µs", ratio,
                  note="an unleased file's size may change at any moment: its attributes are not "
                       "believed, and each stat is a round trip")
        load("once", *pair)
        a, b, ratio = side_by_side(load("stat", turns, rounds, *pair))
        yield Row("stat of a leased key", f"{a:.2f} µs", f"floor {b:.2f} µs", ratio,
                  "at most", 1.2)
        a, b, ratio = side_by_side(load("stat", turns, rounds, shared, least))
        yield Row("stat of a config", f"{a:.2f} µs", f"floor {b:.2f} µs", ratio, "at most", 1.2)
        a, b, ratio = side_by_side(load("list", turns, rounds, shared, least))
        yield Row("readdir of a config", f"{a:.1f} µs", f"floor {b:.1f} µs", ratio, "at most",
                  1.2)


def find(quick):
    n, turns = (50, 3) if quick else (CONFIGS, 9)
    configs = {f"c{i:04}": {"dynamic_secrets": {"AWS_USER": dynamic()}} for i in range(n)}
    cold, warm, looked = [], [], []
    with stage.local_iam() as iam, stage.dsec(iam, {"one": configs["c0000"]}) as dsec:
        shape = stage.tree_of(dsec.path("app/one"))
    for _ in range(turns):
        # What the kernel knows of a new mount is nothing.
        with stage.local_iam() as iam, stage.dsec(iam, configs) as dsec, \
                stage.floor({"app": dict.fromkeys(configs, shape)}) as floor, \
                one_processor(dsec.worker(), floor.pid):
            pair = dsec.path("app"), floor.path("app")
            cold.append([stage.milliseconds(found(path)) for path in pair])
            warm.append([stage.milliseconds(found(path)) for path in pair])
            looked.append([stage.milliseconds(found(path, "-type", "f", "-size", "+1000"))
                           for path in pair])
    for name, lines, goal in ((f"find over {n:,} configs, first", cold, 1.2),
                              (f"find over {n:,} configs, again", warm, 1.2),
                              (f"find -size over {n:,} configs, each file looked at", looked,
                               None)):
        a, b, ratio = side_by_side(lines)
        yield Row(name, f"{a:.0f} ms", f"floor {b:.0f} ms", ratio, "at most" if goal else "", goal,
                  note="" if goal else "a .status is asked of the engine's thread")


def while_leasing(quick):
    """p99 of cached reads while leases are made and revoked, beside p99 while nothing happens."""
    turns, n = (2, 10) if quick else (7, CHURN)
    configs = {"shared": {"dynamic_secrets": {"AWS_USER": dynamic()}},
               "churn": {"dynamic_secrets": {"AWS_USER": dynamic(scope="user")},
                         "access": {"mode": "0444"}}}
    pairs, first_uid = [], 20000
    with stage.local_iam(rtt_ms=5) as iam, stage.dsec(iam, configs) as dsec:
        file = dsec.path(f"app/shared/{KEY}")
        load("once", file)
        for _ in range(turns):
            idle = [line[0] for line in load("for", 1000, file)]
            busy, over = [], threading.Event()

            def read():
                while not over.is_set():
                    busy.extend(line[0] for line in load("for", 100, file))

            reader = threading.Thread(target=read)
            reader.start()
            load("users", first_uid, n, 4, dsec.path(f"app/churn/{KEY}"))
            first_uid += n
            revoke_churn(dsec)
            until("the users are gone", lambda: len(iam.users()) == 1)
            over.set()
            reader.join()
            pairs.append((percentile(busy, 0.99), percentile(idle, 0.99)))
    a, b, ratio = side_by_side(pairs)
    yield Row(f"cached read while {n} leases are made and {n} revoked, p99", f"{a:.0f} µs",
              f"idle {b:.0f} µs", ratio, "at most", 2)


def revoke_churn(dsec):
    leases = json.loads(dsec.read(".dsec/leases.json"))["leases"]
    api = stage.Api(dsec)
    for lease in leases:
        if lease["config"] == "churn":
            api.revoke(lease["id"])
