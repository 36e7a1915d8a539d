"""Rollouts that are killed at random moments, with faults of the cloud: no EIP is lost, and the end is exact.

A few runs by default; MULTIEIP_CHAOS_RUNS=200 (`make test-chaos`) for as many as one asks of it.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from generator.sandbox.region.behaviour import Behaviour
from generator.sandbox.region.clock import Clock
from generator.sandbox.region.faults import Fault, Kind
from generator.sandbox.region.model import Eip, Eni, Instance
from tests.sandbox.chaos import Job, killed_until_done
from tests.sandbox.fleets import FAST, region_of
from tests.sandbox.region import Cloud, served
from tests.sandbox.rollouts import NEW, Fleet, Watcher, fleet, images

RUNS = int(os.environ.get("MULTIEIP_CHAOS_RUNS", "6"))
# A rollout that nobody disturbs takes about 3 s here.
LONGEST_LIFE = 3.0
WRITES = (
    "RunInstances",
    "TagResources",
    "DetachNetworkInterface",
    "AttachNetworkInterface",
    "AssociateEipAddress",
    "UnassociateEipAddress",
    "DeleteInstances",
    "RunCommand",
)
READS = ("DescribeInstances", "DescribeNetworkInterfaces", "DescribeEipAddresses", "DescribeInvocationResults")
BUSY = ("IncorrectEipStatus", "TaskConflict", "OperationConflict", "SystemBusy", "LastTokenProcessing")


def faults(chance: random.Random) -> list[Fault]:
    """Return up to four faults of the region, each for one to three calls."""
    found = []
    for _ in range(chance.randint(0, 4)):
        count, action = chance.randint(1, 3), chance.choice((*WRITES, *WRITES, *READS))
        kind = chance.choice([kind for kind in Kind if kind is not Kind.VANISH])
        if kind is Kind.NO_STOCK:
            found.append(Fault(kind, "RunInstances", count=count, amount=chance.randint(0, 1)))
        elif kind is Kind.ERROR:
            code = "InternalError" if action in READS else chance.choice(BUSY)
            found.append(Fault(kind, action, count=count, code=code, status=500 if code == "InternalError" else 400))
        else:
            found.append(Fault(kind, action, count=count, seconds=0.1))
    return found


def run(seed: int, folder: Path) -> int:
    """Roll a fleet with kills and faults from a seed; return how many kills met a process."""
    chance = random.Random(seed)
    with served(clock=Clock(FAST), behaviour=Behaviour(eips=15)) as cloud:
        os.environ.setdefault("MULTIEIP_CLOCK", str(FAST))
        web = launched(cloud, folder)
        for fault in faults(chance):
            cloud.run(lambda fault=fault: cloud.account.faults.add(fault))  # type: ignore[misc]
        job = Job.of("rollout", fleet(NEW, **web.more), cloud.server.url, folder, FAST)
        lives = [chance.uniform(0.1, LONGEST_LIFE) for _ in range(chance.randint(1, 3))]
        with Watcher(cloud, web) as watcher:
            # A failure (no stock, out of patience) waits for a person, who goes on.
            deaths = killed_until_done(job, chance, kills=lives, again=waits)
        watcher.assert_well()
        web.assert_kept()
        assert set(images(cloud)).isdisjoint(web.images)
    return deaths


def waits(code: int, said: str) -> bool:
    """Say whether a rollout waits for a person, who goes on: the cloud was out of stock, or of patience."""
    return code == 1 and "multieip: failed: " in said.splitlines()[-1]


def launched(cloud: Cloud, folder: Path) -> Fleet:
    """Launch a fleet by a process of its own: an engine is one of a process, and runs are side by side."""
    spec = fleet()
    job = Job.of("launch", spec, cloud.server.url, folder, FAST, quiet=True)
    killed_until_done(job, random.Random(0), kills=())
    return Fleet(cloud, folder, launched=True)


def test_what_is_killed_at_any_moment_ends_with_every_eip_in_its_place(tmp_path: Path) -> None:
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
    assert sum(number * count for number, count in deaths.items()) >= RUNS // 2


def test_the_watcher_sees_what_it_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(clock=Clock(FAST), behaviour=Behaviour(eips=15)) as cloud:
        monkeypatch.setenv("MULTIEIP_ENDPOINT", cloud.server.url)
        monkeypatch.setenv("MULTIEIP_CLOCK", str(FAST))
        web = Fleet(cloud, tmp_path)
        region = region_of(cloud)
        with Watcher(cloud, web) as watcher:
            victim = region.all(Instance)[0]
            cloud.do("DeleteInstances", region_id="cn-hangzhou", instance_id=[victim.id], force=True)
            cloud.until(lambda: len(region.all(Instance)) == 2)
            watcher.turn()
        assert "serve nothing" in watcher.wrong[0]
        assert region.all(Eni)
        assert region.all(Eip)
