"""Launches and removals that are killed at random moments, with faults of the cloud: the end is exact all the same.

A dozen runs by default; MULTIEIP_CHAOS_RUNS=200 (`make test-chaos`) for as many as one asks of it, and
MULTIEIP_CHAOS_SEEDS=3,77 for just these. Every run follows from its seed but for the machine's speed.
"""

from __future__ import annotations

import random
from pathlib import Path

from generator.errors import ExitCode
from generator.sandbox.region.behaviour import Behaviour
from generator.sandbox.region.clock import Clock
from generator.spec.fleet import FleetSpec
from tests.sandbox.chaos import End, Job, killed_until_done
from tests.sandbox.chaos_runs import Trouble, deaths, seeds
from tests.sandbox.fleets import FAST, assert_exact, assert_nothing, spec_of
from tests.sandbox.region import VSWITCH, Cloud, served

# A launch that nobody disturbs takes about 0.7 s here, a removal 0.4 s.
LONGEST_LIFE = 0.8

TROUBLE = Trouble(
    writes=(
        "RunInstances",
        "TagResources",
        "AllocateEipAddress",
        "AssociateEipAddress",
        "UnassociateEipAddress",
        "ReleaseEipAddress",
        "DeleteInstances",
        "DeleteNetworkInterface",
    ),
    reads=("DescribeInstances", "DescribeNetworkInterfaces", "DescribeEipAddresses"),
    instances=2,
)


def run(seed: int, folder: Path) -> int:
    """Launch, in most runs remove again, with kills and faults from a seed; return how many kills met a process."""
    chance = random.Random(seed)
    spec = spec_of(instance_types=["ecs.g7.large", "ecs.c7.large"], vswitches=[VSWITCH, "vsw-bp1sandboxi"])
    with served(clock=Clock(FAST), behaviour=Behaviour(eips=15)) as cloud:
        TROUBLE.meet(cloud, chance)
        met = live("launch", cloud, spec, folder, chance)
        assert_exact(cloud, spec)
        if chance.random() < 0.6:
            TROUBLE.meet(cloud, chance)
            met += live("destroy", cloud, spec, folder, chance)
            assert_nothing(cloud)
    return met


def live(verb: str, cloud: Cloud, spec: FleetSpec, folder: Path, chance: random.Random) -> int:
    lives = [chance.uniform(0.02, LONGEST_LIFE) for _ in range(chance.randint(1, 3))]
    job = Job.of(verb, spec, cloud.server.url, folder, FAST, quiet=True)
    return killed_until_done(job, kills=lives, again=is_temporary)


def is_temporary(end: End) -> bool:
    """Say whether a person would run the same command again: no stock just now, or out of patience.

    Patience is by the region's clock: on a machine that is busy a region may be silent for that long.
    """
    return end.code in (ExitCode.CLOUD, ExitCode.TIMEOUT) or "gave no answer" in end.last


def test_what_is_killed_at_any_moment_ends_exactly_as_planned(tmp_path: Path) -> None:
    chosen = seeds(12)
    # By chance a run's processes may all end before they are killed, the more so on a fast machine.
    assert deaths(__file__, chosen, run, tmp_path) >= len(chosen) * 3 // 4
