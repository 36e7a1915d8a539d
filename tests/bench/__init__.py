"""Benchmarks: `python -m tests.bench` prints ratios with their goals (docs/bench.md).

A module `bench_*.py` of this folder has `rows()`, which yields a `Row` for each thing it measures. What is compared
is measured in turns within one run, since a machine is never as fast twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `measured` and `against` are amounts with their units, `ratio` the first over the second, None without a second;
    `met` is None where there is no goal, or nothing was measured: then `measured` says why.
    """

    what: str
    measured: str
    against: str = "-"
    ratio: float | None = None
    goal: str = "-"
    met: bool | None = None


def unmeasured(what: str, goal: str, why: str) -> Row:
    """Return the row of something that cannot be measured here, with the reason."""
    return Row(what, f"not measured: {why}", goal=goal)


def in_turns(cases: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Run every case once a round and return the smallest of each case's results.

    Whatever else a machine does only adds time, so the smallest is nearest to what the case itself costs. A round
    before the first fills caches and does not count.
    """
    results = [{name: case() for name, case in cases.items()} for _ in range(rounds + 1)][1:]
    return {name: min(result[name] for result in results) for name in cases}


def seconds(value: float) -> str:
    """Return a time in the unit that suits it."""
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.0f} ms" if value >= 0.001 else f"{value * 1e6:.0f} µs"
