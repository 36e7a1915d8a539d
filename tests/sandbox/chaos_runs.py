"""What runs by seeds have in common: which seeds, what faults the region has, what is said of a run that failed."""

from __future__ import annotations

import os
import random
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from generator.sandbox.region.faults import Fault, Kind
from tests.sandbox.region import Cloud

# How many runs there are, and which ones: `make test-chaos RUNS=200`, `MULTIEIP_CHAOS_SEEDS=3,77 pytest …`.
_RUNS, _SEEDS = "MULTIEIP_CHAOS_RUNS", "MULTIEIP_CHAOS_SEEDS"
_BUSY = ("IncorrectEipStatus", "TaskConflict", "OperationConflict", "SystemBusy", "LastTokenProcessing")


def seeds(default: int) -> list[int]:
    """Return the seeds to run: those that the environment names, or as many as it says, or `default` many."""
    chosen = os.environ.get(_SEEDS, "")
    if chosen:
        return [int(seed) for seed in chosen.split(",")]
    return list(range(int(os.environ.get(_RUNS) or default)))


@dataclass(frozen=True)
class Trouble:
    """Faults that a region may have: in which calls, of which kinds, and in how many instances of a call at most."""

    writes: Sequence[str]
    reads: Sequence[str]
    instances: int
    kinds: Sequence[Kind] = tuple(Kind)

    def faults(self, chance: random.Random) -> list[Fault]:
        """Return up to four faults, each for one to three calls."""
        return [self._fault(chance) for _ in range(chance.randint(0, 4))]

    def _fault(self, chance: random.Random) -> Fault:
        count, action = chance.randint(1, 3), chance.choice((*self.writes, *self.writes, *self.reads))
        kind = chance.choice(self.kinds)
        if kind in (Kind.NO_STOCK, Kind.VANISH):
            return Fault(kind, "RunInstances", count=count, amount=chance.randint(0, self.instances))
        if kind is not Kind.ERROR:
            return Fault(kind, action, count=count, seconds=0.1)
        if action in self.reads:
            return Fault(kind, action, count=count, code="InternalError", status=500)
        return Fault(kind, action, count=count, code=chance.choice(_BUSY), status=400)

    def meet(self, cloud: Cloud, chance: random.Random) -> None:
        """Have a region meet some of it."""
        for fault in self.faults(chance):
            cloud.run(partial(cloud.account.faults.add, fault))


def deaths(test: str, chosen: Sequence[int], run: Callable[[int, Path], int], folder: Path) -> int:
    """Do the runs of the seeds, three at a time; return how many processes were killed in all of them.

    The failure names each seed that failed, and how to run it alone; `test` is the test's file.
    """
    failures: dict[int, str] = {}

    def guarded(seed: int) -> int:
        try:
            return run(seed, folder / str(seed))
        except Exception:
            failures[seed] = f"seed {seed}: {traceback.format_exc()}"
            return 0

    with ThreadPoolExecutor(3) as pool:
        met = sum(pool.map(guarded, chosen))
    if failures:
        told = "\n\n".join(failures[seed] for seed in sorted(failures))
        again = ",".join(str(seed) for seed in sorted(failures))
        path = Path(test).relative_to(Path(__file__).parents[2])
        raise AssertionError(
            f"{len(failures)} of {len(chosen)} runs failed\n\n{told}\n\nalone: {_SEEDS}={again} pytest {path}"
        )
    return met
