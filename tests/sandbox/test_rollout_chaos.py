"""Rollouts that are killed at random moments, with faults of the cloud: no EIP is lost, and the end is exact.

A few runs by default; MULTIEIP_CHAOS_RUNS=200 (`make test-chaos`) for as many as one asks of it, and
MULTIEIP_CHAOS_SEEDS=3,77 for just these. One in three has its record in PostgreSQL, where there is one, and two
processes share it: who dies is survived by the other, or by a third. Two in five stop instances for the move, or have
old ones make room first.
"""

from __future__ import annotations

import random
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dbos import DBOSClient

from generator.fleet.engine import APPLICATION
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
from tests.sandbox.test_rollout_ways import IN_PLACE, STOPPING

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


def run(server: str | None, taken: list[int], seed: int, folder: Path) -> int:
    """Roll a fleet with kills and faults from a seed; return how many kills met a process.

    `server` is the URL of a PostgreSQL, None without one; `taken` gets the seed when a worker took another's work over.
    """
    chance = random.Random(seed)
    with served(clock=Clock(FAST), behaviour=Behaviour(eips=15)) as cloud:
        web = launched(cloud, folder, way_of(seed))
        TROUBLE.meet(cloud, chance)
        with Watcher(cloud, web) as watcher:
            if server and is_shared(seed):
                database = postgres.database(server)
                met = shared(web, database, chance)
                taken += [seed] if is_taken_over(database) else []
            else:
                met = alone(web, chance)
        watcher.assert_well()
        web.assert_kept()
        assert set(images(cloud)).isdisjoint(web.images)
    return met


def way_of(seed: int) -> dict[str, Any]:
    """Return what makes a fleet move as it does; in 15 seeds each way is met by one process and by several."""
    return {3: {**STOPPING, "strategy": {"max_unavailable": 1}}, 4: {"strategy": IN_PLACE}}.get(seed % 5, {})


def is_shared(seed: int) -> bool:
    """Say whether several processes share the run, given a PostgreSQL."""
    return seed % 3 == 0


def alone(web: Fleet, chance: random.Random) -> int:
    """Roll a fleet by one process after another."""
    lives = [chance.uniform(0.1, LONGEST_LIFE) for _ in range(chance.randint(1, 3))]
    return killed_until_done(job_of(web), kills=lives, again=waits)


def shared(web: Fleet, database: str, chance: random.Random) -> int:
    """Roll a fleet by several processes at once."""
    job = job_of(web, database=database)
    return shared_until_done(job, chance, longest=LONGEST_LIFE, again=lambda end: waits(end) or came_second(end))


def job_of(web: Fleet, **more: Any) -> Job:
    return Job.of("rollout", fleet(NEW, **web.more), web.cloud.server.url, web.folder, FAST, **more)


def is_taken_over(database: str) -> bool:
    """Say whether any work went on in another process than the one that began it: each has a name of its own."""
    client = DBOSClient(system_database_url=database, application_name=APPLICATION)
    try:
        found = client.list_workflows(load_input=False, load_output=False)
        return any((one.recovery_attempts or 0) > 1 for one in found)
    finally:
        client.destroy()


def waits(end: End) -> bool:
    """Say whether a rollout waits for a person, who goes on: the cloud was out of stock, or of patience."""
    return end.code == 1 and end.last.startswith("multieip: failed: ")


def came_second(end: End) -> bool:
    """Say whether two processes began the rollout at the same moment, and this was the one that had to let go."""
    return end.code == 1 and end.last == "multieip: a rollout of web is under way"


def launched(cloud: Cloud, folder: Path, way: dict[str, Any]) -> Fleet:
    """Launch a fleet by a process of its own: an engine is one of a process, and runs are side by side."""
    killed_until_done(Job.of("launch", fleet(**way), cloud.server.url, folder, FAST, quiet=True))
    return Fleet(cloud, folder, launched=True, **way)


def test_what_is_killed_at_any_moment_ends_with_every_eip_in_its_place(tmp_path: Path) -> None:
    chosen, taken = seeds(6), list[int]()
    with postgres.serving(tmp_path) if not postgres.why_not() else nullcontext() as server:
        assert deaths(__file__, chosen, partial(run, server, taken), tmp_path) >= len(chosen) // 2
    # Most are: who is killed is in the middle of something.
    assert not server or len(taken) >= sum(map(is_shared, chosen)) // 3


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
