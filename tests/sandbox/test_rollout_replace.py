"""Replacing instances against the sandbox region: EIPs stay, instances do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from generator.sandbox.region.behaviour import Behaviour
from generator.sandbox.region.clock import Clock
from generator.sandbox.region.model import Instance
from tests.sandbox.fleets import FAST, region_of
from tests.sandbox.region import Cloud, served
from tests.sandbox.rollouts import Fleet, images


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with served(clock=Clock(FAST), behaviour=Behaviour(eips=60)) as cloud:
        monkeypatch.setenv("MULTIEIP_ENDPOINT", cloud.server.url)
        monkeypatch.setenv("MULTIEIP_CLOCK", str(FAST))
        yield cloud


def test_all_instances_are_replaced_and_every_eip_stays(cloud: Cloud, tmp_path: Path) -> None:
    fleet = Fleet(cloud, tmp_path)
    state = fleet.roll()
    assert (state.phase, state.replaced, state.failed) == ("done", 3, 0)
    fleet.assert_kept()
    assert not fleet.instances & {one.id for one in region_of(cloud).all(Instance)}
    assert set(images(cloud)).isdisjoint(fleet.images)
