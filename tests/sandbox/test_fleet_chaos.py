"""Launches and removals that are killed at random moments, with faults of the cloud: the end is exact all the same.

A dozen runs by default; MULTIEIP_CHAOS_RUNS=200 (`make test-chaos`) for as many as one asks of it. Every run follows
from its seed but for the machine's speed.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from generator.errors import ExitCode
from generator.sandbox.region.behaviour import Behaviour
from generator.sandbox.region.clock import Clock
from generator.sandbox.region.faults import Fault, Kind
from generator.spec.fleet import FleetSpec
from tests.sandbox.chaos import Job, killed_until_done
from tests.sandbox.fleets import FAST, assert_exact, assert_nothing, spec_of
from tests.sandbox.region import VSWITCH, Cloud, served

RUNS = int(os.environ.get("MULTIEIP_CHAOS_RUNS", "12"))
# A launch that nobody disturbs takes about 0.7 s here, a removal 0.4 s.
LONGEST_LIFE = 0.8

WRITES = (
    "RunInstances",
    "TagResources",
    "AllocateEipAddress",
    "AssociateEipAddress",
    "UnassociateEipAddress",
    "ReleaseEipAddress",
    "DeleteInstances",
    "DeleteNetworkInterface",
)
READS = ("DescribeInstances", "DescribeNetworkInterfaces", "DescribeEipAddresses")
BUSY = ("IncorrectEipStatus", "TaskConflict", "OperationConflict", "SystemBusy", "LastTokenProcessing")


def faults(chance: random.Random) -> list[Fault]:
    """Return up to four faults of the region, each for one to three calls."""
    found = []
    for _ in range(chance.randint(0, 4)):
        count, action = chance.randint(1, 3), chance.choice((*WRITES, *WRITES, *READS))
        kind = chance.choice(list(Kind))
        if kind in (Kind.NO_STOCK, Kind.VANISH):
            found.append(Fault(kind, "RunInstances", count=count, amount=chance.randint(0, 2)))
        elif kind is Kind.ERROR:
            code = "InternalError" if action in READS else chance.choice(BUSY)
            found.append(Fault(kind, action, count=count, code=code, status=500 if code == "InternalError" else 400))
        else:
            found.append(Fault(kind, action, count=count, seconds=0.1))
    return found


def lives(chance: random.Random) -> list[float]:
    """Return how many seconds each process lives until it is killed."""
    return [chance.uniform(0.02, LONGEST_LIFE) for _ in range(chance.randint(1, 3))]


def run(seed: int, folder: Path) -> int:
    """Launch, in most runs remove again, with kills and faults from a seed; return how many kills met a process."""
    chance = random.Random(seed)
    spec = spec_of(instance_types=["ecs.g7.large", "ecs.c7.large"], vswitches=[VSWITCH, "vsw-bp1sandboxi"])
    with served(clock=Clock(FAST), behaviour=Behaviour(eips=15)) as cloud:
        disturb(cloud, chance)
        deaths = live("launch", cloud, spec, folder, chance)
        assert_exact(cloud, spec)
        if chance.random() < 0.6:
            disturb(cloud, chance)
            deaths += live("destroy", cloud, spec, folder, chance)
            assert_nothing(cloud)
    return deaths


def disturb(cloud: Cloud, chance: random.Random) -> None:
    for fault in faults(chance):
        cloud.run(lambda fault=fault: cloud.account.faults.add(fault))  # type: ignore[misc]


def live(verb: str, cloud: Cloud, spec: FleetSpec, folder: Path, chance: random.Random) -> int:
    job = Job.of(verb, spec, cloud.server.url, folder, FAST, quiet=True)
    return killed_until_done(job, chance, kills=lives(chance), again=temporary)


def temporary(code: int, said: str) -> bool:
    """Say whether a person would run the same command again: no stock just now, or out of patience.

    Patience is by the region's clock: on a machine that is busy a region may be silent for that long.
    """
    return code in (ExitCode.CLOUD, ExitCode.TIMEOUT) or "gave no answer" in said.splitlines()[-1]


def test_what_is_killed_at_any_moment_ends_exactly_as_planned(tmp_path: Path) -> None:
    failures: dict[int, str] = {}

    def guarded(seed: int) -> int:
        try:
            return run(seed, tmp_path / str(seed))
        except Exception as error:
            failures[seed] = f"{type(error).__name__}: {error}"
            return 0

    with ThreadPoolExecutor(3) as pool:
        deaths = Counter(pool.map(guarded, range(RUNS)))
    assert not failures
    assert sum(number * count for number, count in deaths.items()) >= RUNS
