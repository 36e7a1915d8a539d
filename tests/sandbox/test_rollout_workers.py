"""Several processes that carry out one rollout through PostgreSQL, and some that die.

A small fleet by default; MULTIEIP_WORKERS_INSTANCES=200 (`make test-chaos`) for as many as one asks of it.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from generator.sandbox.region.behaviour import Behaviour
from generator.sandbox.region.clock import Clock
from generator.sandbox.region.model import Eni
from tests.sandbox import postgres
from tests.sandbox.chaos import Job, Process, killed_until_done
from tests.sandbox.fleets import region_of
from tests.sandbox.region import Cloud, served
from tests.sandbox.rollouts import NEW, Fleet, Watcher, fleet, images

INSTANCES = int(os.environ.get("MULTIEIP_WORKERS_INSTANCES", "9"))
# Seconds a second, for the launch and for the rollout. A batch of calls is to fit well into a minute, as it does in the
# cloud: a minute is 12 s then, and what a busy machine adds counts five times, not twenty.
FAST, ROLLING = 20.0, 5.0


@pytest.mark.skipif(bool(postgres.why_not()), reason=postgres.why_not() or "-")
def test_two_of_three_workers_die_and_the_third_finishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIEIP_CLOCK", str(ROLLING))
    with served(clock=Clock(FAST), behaviour=Behaviour(eips=5 * INSTANCES)) as cloud, postgres.serving(tmp_path) as url:
        more: dict[str, Any] = {
            "count": INSTANCES,
            "strategy": {"max_surge": "100%", "waves": ["50%"], "ready_timeout": 600},
        }
        launched = Job.of("launch", fleet(**more), cloud.server.url, tmp_path, FAST, quiet=True)
        killed_until_done(launched)
        cloud.run_at(ROLLING)
        web = Fleet(cloud, tmp_path, launched=True, **more)
        job = Job.of("rollout", fleet(NEW, **more), cloud.server.url, tmp_path, ROLLING, database=url)
        with Watcher(cloud, web) as watcher:
            # At the same moment: one begins the rollout, and the others take part in it.
            workers = [Process(job) for _ in range(3)]
            wait_for_moves(cloud, web)
            for worker in workers[:2]:
                assert worker.exitcode is None, str(worker.end)
                worker.kill()
            workers[2].join(300 + INSTANCES)
        assert workers[2].exitcode == 0, str(workers[2].end)
        watcher.assert_well()
        web.assert_kept()
        assert set(images(cloud)).isdisjoint(web.images)
        # No step was done twice with effect: there never was an instance more than one for each old one.
        assert len(watcher.instances) == 2 * INSTANCES
        # The launch before it is by another process, which has a log of its own.
        logs = list(tmp_path.rglob("workers/*/*/calls.jsonl"))
        lines = [json.loads(line) for path in logs for line in path.read_text().splitlines()]
        # The sandbox counts as the cloud does, and refuses what is above the account's limits.
        assert not Counter(line["action"] for line in lines if line["code"].startswith("Throttling"))
        assert len(logs) == 3


def wait_for_moves(cloud: Cloud, web: Fleet) -> None:
    """Wait until a second ENI is on a new instance, so that a wave is under way when workers die."""
    region, end = region_of(cloud), time.monotonic() + 120
    while time.monotonic() < end:
        moved = cloud.run(lambda: [eni for eni in region.all(Eni) if eni.type == "Secondary" and eni.instance])
        if len({eni.instance for eni in moved} - web.instances) >= 2:
            return
        time.sleep(0.02)
    raise AssertionError("nothing moves")
