"""Run the benchmarks and print their table: `python -m tests.bench [--build] [NAME…]`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from generator import console
from generator.errors import MultieipError
from tests.bench import Row

COLUMNS = ("what", "measured", "against", "ratio", "goal", "met")
NAMES = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))


def main() -> None:
    """Print a row for each thing measured; a goal that is missed is said, and is no failure of the run."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure, as ratios in one run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--build", action="store_true", help="build an image as well: minutes (or BENCH_BUILD=1)")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(NAMES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if chosen.build:
        os.environ["BENCH_BUILD"] = "1"
    rows = list(_rows(chosen.names or NAMES))
    console.table(COLUMNS, [_cells(row) for row in rows])
    missed = sum(row.met is False for row in rows)
    console.say(f"{missed} of {sum(row.met is not None for row in rows)} goals missed" if missed else "no goal missed")


def _rows(names: list[str]) -> Iterator[Row]:
    for name in names:
        module = importlib.import_module(f"tests.bench.bench_{name}")
        with console.step(name):
            yield from module.rows()


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
    return row.what, row.measured, row.against, ratio, row.goal, {True: "yes", False: "NO", None: "-"}[row.met]


if __name__ == "__main__":
    try:
        main()
    except MultieipError as failure:
        console.error(failure)
        sys.exit(failure.exit_code)
