"""An account's worth of leases: what they cost to make, to hold and to take away, and whether what
there is already makes anything dearer."""

import contextlib
import statistics
import subprocess
import time

import stage
from daemon import until
from stage import KEY, dynamic, load, metric, milliseconds
from table import Row

USERS = 5000
FIRST_UID = 20000
READERS = 64
RTT = 20
RATE = 10000  # as much as none
IN_FLIGHT = 32  # LIMITER_IN_FLIGHT_MAX
CALLS = 3  # to make a lease, and to take it away
QUIET = 10  # seconds
STEPS = (10, 100, 1000, 5000)

CONFIGS = {
    "own": {"dynamic_secrets": {"AWS_USER": dynamic(scope="user", ttl="6h")},
            "access": {"mode": "0444"}},
    "more": {"dynamic_secrets": {"AWS_USER": dynamic(scope="user", ttl="6h")},
             "access": {"mode": "0444"}},
    "one": {"dynamic_secrets": {"AWS_USER": dynamic(ttl="6h")}},
    "two": {"dynamic_secrets": {"AWS_USER": dynamic(ttl="6h")}},
}


def lease(dsec, first, n, readers=READERS, config="own"):
    """So many users' first reads, and the milliseconds of each."""
    return [line[0] / 1000 for line in
            load("users", FIRST_UID + first, n, readers, dsec.path(f"app/{config}/{KEY}"))]


def processes(dsec):
    return {dsec.pid(), dsec.worker()}


def memory(dsec):
    """KiB that are resident, of keeper and worker."""
    return sum(stage.status_of(pid, "VmRSS") for pid in processes(dsec))


def spent(pids):
    """Wake-ups, and milliseconds of processor time."""
    return sum(map(stage.wake_ups, pids)), sum(map(stage.processor_ms, pids))


def seconds(function):
    return milliseconds(function) / 1000


def bound(n):
    return n * CALLS / IN_FLIGHT * RTT / 1000


@contextlib.contextmanager
def world(n):
    with stage.local_iam() as iam:
        iam.control(users_quota=n + 10)
        with stage.dsec(iam, CONFIGS, {"rate": RATE}) as dsec:
            yield iam, dsec


def slow(iam):
    iam.fault("*", kind="delay", ms=RTT, when="before", times=1 << 30)


def live(quick):
    n = 50 if quick else USERS
    with world(n) as (iam, dsec):
        lease(dsec, 0, 1)
        first = memory(dsec)
        slow(iam)
        took = seconds(lambda: lease(dsec, 1, n - 1))
        iam.reset()
        yield Row(f"{n:,} leases made, {RTT} ms a round trip", f"{took:.1f} s",
                  f"calls ÷ {IN_FLIGHT} × round trip: {bound(n):.1f} s", took / bound(n),
                  "at most", 1.3)
        time.sleep(QUIET / 2)  # what was begun is over: the journal's last commit, idle connections
        all_ = memory(dsec)
        yield Row(f"resident with {n:,} live leases", f"{all_ / 1024:.1f} MiB", "48 MiB",
                  all_ / 1024 / 48, "at most", 1)
        each = (all_ - first) / (n - 1)
        yield Row("and each beyond the first", f"{each:.2f} KiB", "4 KiB", each / 4, "at most", 1)
        pids = processes(dsec)  # the question wakes them
        time.sleep(1)
        before = spent(pids)
        time.sleep(QUIET)
        woken, cpu = (after - was for after, was in zip(spent(pids), before))
        yield Row(f"wake-ups in {QUIET} s with {n:,} leases, nothing due", f"{woken}", "none",
                  float(woken), "at most", 0,
                  note=f"{cpu:.0f} ms of processor time meanwhile")
        slow(iam)
        took = seconds(dsec.stop)
        yield Row(f"the same revoked by an unmount", f"{took:.1f} s",
                  f"calls ÷ {IN_FLIGHT} × round trip: {bound(n):.1f} s", took / bound(n),
                  "at most", 1.3)


def start(quick):
    n, turns = (50, 2) if quick else (USERS, 5)
    with world(n) as (iam, dsec):
        lease(dsec, 0, n)
        ls, leased = [], []
        for _ in range(turns):
            dsec.kill()
            begin = time.monotonic()
            dsec.mount()
            subprocess.run(["ls", str(dsec.path("app/own"))], check=True,
                           stdout=subprocess.DEVNULL)
            ls.append(time.monotonic() - begin)
            dsec.read("app/one/" + KEY)
            leased.append(time.monotonic() - begin)
        a, b = statistics.median(ls), statistics.median(leased)
        yield Row(f"start with {n:,} journalled leases, until ls", f"{a * 1000:.0f} ms", "1 s", a,
                  "at most", 1)
        yield Row("and until the first lease", f"{b * 1000:.0f} ms", "1 s", b, "at most", 1)


def mount(quick):
    """Nothing answers at the endpoint, and nobody waits for it."""
    turns = 3 if quick else 15
    spent = []
    with stage.local_iam() as iam:
        iam.fault("*", kind="hold", times=1 << 30)
        for _ in range(turns):
            with stage.dsec(iam, CONFIGS, mount=False) as dsec:
                def until_ls():
                    dsec.mount()
                    subprocess.run(["ls", str(dsec.path("app/own"))], check=True,
                                   stdout=subprocess.DEVNULL)
                mine = milliseconds(until_ls)
                dsec.kill()

            def floor_until_ls():
                with stage.floor() as floor:
                    subprocess.run(["ls", str(floor.path("app"))], check=True,
                                   stdout=subprocess.DEVNULL)
                    nonlocal_time.append(time.monotonic() - begin)

            nonlocal_time = []
            begin = time.monotonic()
            floor_until_ls()
            spent.append((mine, nonlocal_time[0] * 1000))
    mine = statistics.median(a for a, _ in spent)
    least = statistics.median(b for _, b in spent)
    yield Row("dsec mount until the first ls, AWS silent", f"{mine:.0f} ms",
              f"floor {least:.0f} ms + 50 ms", mine / (least + 50), "at most", 1)


def good(values):
    return stage.percentile(values, 0.05)  # as in side_by_side


def growth(quick):
    """Of a cached read and of a lease, by how many leases there are."""
    steps = STEPS[:2] if quick else STEPS
    reads, leases, have = [], [], 0
    extra = 20 if quick else 200  # leases, one after the other, whose time counts
    with world(steps[-1] + extra * len(steps)) as (iam, dsec):
        dsec.read(f"app/one/{KEY}")
        for step in steps:
            lease(dsec, have, step - have)
            have = step
            file = dsec.path(f"app/one/{KEY}")
            time.sleep(QUIET / 5)  # the journal's last commits are over
            with stage.one_processor(dsec.worker()):
                reads.append(good([line[0] for line in load("read", 21, 500, file)]))
            leases.append(good(lease(dsec, 10000 + step, extra, 1, "more")))
    for what, unit, values in (("cached read", "µs", reads), ("lease, one reader", "ms", leases)):
        yield Row(f"growth of a {what}, {steps[0]} to {steps[-1]:,} leases",
                  " ".join(f"{value:.1f}" for value in values) + f" {unit}",
                  f"with {steps[0]}", values[-1] / values[0], "at most", 1.1)
    yield from engine_growth(steps)


def engine_growth(steps):
    """The engine alone, in the simulation: a few microseconds of what a lease takes."""
    words = [str(min(step, USERS - 100)) for step in steps]
    said = subprocess.run([stage.GROWTH, *words], check=True, stdout=subprocess.PIPE, text=True)
    lines = [list(map(float, line.split())) for line in said.stdout.splitlines()]
    for what, values, note in zip(
            ("a lease found", "a lease made", "a holder ended", "a timer moved"), zip(*lines),
            ("thousands of leases do not fit the processor's caches", "likewise", "likewise",
             "a heap: it grows with the logarithm")):
        yield Row(f"the engine alone: {what}, {steps[0]} to {steps[-1]:,} leases",
                  " ".join(f"{value:,.0f}" for value in values) + " ns", f"with {steps[0]}",
                  values[-1] / values[0], note=note)
