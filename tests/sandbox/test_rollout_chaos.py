"""Rollouts that are killed at random moments, with faults of the cloud: no EIP is lost, and the end is exact.

A few runs by default; MULTIEIP_CHAOS_RUNS=200 (`make test-chaos`) for as many as one asks of it, and
MULTIEIP_CHAOS_SEEDS=3,77 for just these. One in three has its record in PostgreSQL, where there is one, and two
processes share it: who dies is survived by the other, or by a third.
"""

from __future__ import annotations

import random
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from generator.sandbox.region.behaviour import Behaviour
from generator.sandbox.region.clock import Clock
from generator.sandbox.region.faults import Kind
from generator.sandbox.region.model import Eip, Eni, Instance
from tests.sandbox import postgres
from tests.sandbox.chaos import End, Job, killed_until_done, shared_until_done
from tests.sandbox.chaos_runs import Trouble, deaths, seeds
from tests.sandbox.fleets import FAST, region_of
from tests.sandbox.region import Cloud, served
from tests.sandbox.rollouts import NEW, Fleet, Watcher, fleet, images

# A rollout that nobody disturbs takes about 3 s here.
LONGEST_LIFE = 3.0
TROUBLE = Trouble(
    writes=(
        "RunInstances",
        "TagResources",
        "DetachNetworkInterface",
        "AttachNetworkInterface",
        "AssociateEipAddress",
        "UnassociateEipAddress",
        "DeleteInstances",
        "RunCommand",
    ),
    reads=("DescribeInstances", "DescribeNetworkInterfaces", "DescribeEipAddresses", "DescribeInvocationResults"),
    instances=1,
    kinds=[kind for kind in Kind if kind is not Kind.VANISH],
)


def run(server: str | None, seed: int, folder: Path) -> int:
    """Roll a fleet with kills and faults from a seed; return how many kills met a process.

    `server` is the URL of a PostgreSQL, None without one.
    """
    chance = random.Random(seed)
    with served(clock=Clock(FAST), behaviour=Behaviour(eips=15)) as cloud:
        web = launched(cloud, folder)
        TROUBLE.meet(cloud, chance)
        with Watcher(cloud, web) as watcher:
            met = rolled(web, server if seed % 3 == 0 else None, chance)
        watcher.assert_well()
        web.assert_kept()
        assert set(images(cloud)).isdisjoint(web.images)
    return met


def rolled(web: Fleet, server: str | None, chance: random.Random) -> int:
    """Roll a fleet by one process after another, or by several that share a database of their own."""
    spec, url = fleet(NEW, **web.more), web.cloud.server.url
    if server is None:
        lives = [chance.uniform(0.1, LONGEST_LIFE) for _ in range(chance.randint(1, 3))]
        return killed_until_done(Job.of("rollout", spec, url, web.folder, FAST), kills=lives, again=waits)
    job = Job.of("rollout", spec, url, web.folder, FAST, database=postgres.database(server))
    return shared_until_done(job, chance, longest=LONGEST_LIFE, again=lambda end: waits(end) or came_second(end))


def waits(end: End) -> bool:
    """Say whether a rollout waits for a person, who goes on: the cloud was out of stock, or of patience."""
    return end.code == 1 and end.last.startswith("multieip: failed: ")


def came_second(end: End) -> bool:
    """Say whether two processes began the rollout at the same moment, and this was the one that had to let go."""
    return end.code == 1 and end.last == "multieip: a rollout of web is under way"


def launched(cloud: Cloud, folder: Path) -> Fleet:
    """Launch a fleet by a process of its own: an engine is one of a process, and runs are side by side."""
    killed_until_done(Job.of("launch", fleet(), cloud.server.url, folder, FAST, quiet=True))
    return Fleet(cloud, folder, launched=True)


def test_what_is_killed_at_any_moment_ends_with_every_eip_in_its_place(tmp_path: Path) -> None:
    chosen = seeds(6)
    with postgres.serving(tmp_path) if not postgres.why_not() else nullcontext() as server:
        assert deaths(__file__, chosen, partial(run, server), tmp_path) >= len(chosen) // 2


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
