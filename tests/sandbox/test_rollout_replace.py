"""Replacing instances against the sandbox region: EIPs stay, instances do not."""

from __future__ import annotations

from pathlib import Path

from generator.sandbox.region.model import Instance
from tests.sandbox.fleets import region_of
from tests.sandbox.region import Cloud
from tests.sandbox.rollouts import Fleet, images


def test_all_instances_are_replaced_and_every_eip_stays(cloud: Cloud, tmp_path: Path) -> None:
    fleet = Fleet(cloud, tmp_path)
    state = fleet.roll()
    assert (state.phase, state.replaced, state.failed) == ("done", 3, 0)
    fleet.assert_kept()
    assert not fleet.instances & {one.id for one in region_of(cloud).all(Instance)}
    assert set(images(cloud)).isdisjoint(fleet.images)
