#!/usr/bin/python3
"""Measures dsec beside the floors and prints one table. Run it by tests/bench/run.

    bench.py [--quick] [--svg FILE] [--json FILE] [PART…]

PART: some of what PARTS below names. --quick measures too little to mean anything, and shows that
everything works.
"""

import argparse
import json
import sys

import leasing
import mass
import reading
import table

PARTS = {
    "reads": reading.cached_reads,
    "find": reading.find,
    "churn": reading.while_leasing,
    "leases": leasing.leases,
    "mount": mass.mount,
    "live": mass.live,
    "start": mass.start,
    "growth": mass.growth,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--svg")
    parser.add_argument("--json")
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*PARTS, []])
    options = parser.parse_args()
    rows = []
    for name in options.parts or PARTS:
        for row in PARTS[name](options.quick):
            rows.append(row)
            print(*row.cells(), sep="  ", file=sys.stderr, flush=True)
    print(table.markdown(rows))


if __name__ == "__main__":
    main()
