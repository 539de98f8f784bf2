#!/usr/bin/python3
"""Measures dsec beside the floors and prints one table. Run it by tests/bench/run.

    bench.py [--quick] [--svg FILE] [--json FILE] [PART…]

PART: some of what PARTS below names. --quick measures too little to mean anything, and shows that
everything works.
"""

import argparse
import dataclasses
import json
import pathlib
import sys

import leasing
import mass
import plot
import processor
import reading
import table

PARTS = {
    "reads": reading.cached_reads,
    "find": reading.find,
    "churn": reading.while_leasing,
    "leases": leasing.leases,
    "warm": leasing.warm,
    "mount": mass.mount,
    "live": mass.live,
    "start": mass.start,
    "growth": mass.growth,
    "processor": processor.lease,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--svg", metavar="FILE", help="draws the table")
    parser.add_argument("--json", metavar="FILE", help="writes the rows")
    parser.add_argument("parts", nargs="*", metavar="PART", help=" ".join(PARTS))
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {' '.join(sorted(unknown))}; there are {' '.join(PARTS)}")
    rows = []
    for name in options.parts or PARTS:
        for row in PARTS[name](options.quick):
            rows.append(row)
            print(*row.cells(), sep="  ", file=sys.stderr, flush=True)
    print(table.markdown(rows))
    if options.svg:
        pathlib.Path(options.svg).write_text(plot.svg(rows))
    if options.json:
        pathlib.Path(options.json).write_text(
            json.dumps([dataclasses.asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
