"""Replacements that take more than a hot-plug: instances that stop for it, and old ones that make room first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from generator.errors import MultieipError
from generator.fleet.rollout import rolling
from generator.sandbox.region.faults import Fault, Kind
from generator.sandbox.region.model import Instance
from tests.sandbox.fleets import region_of
from tests.sandbox.region import VSWITCH, Cloud
from tests.sandbox.rollouts import Fleet, Watcher, images

# A type whose instances take no ENI while they run: two ENIs of two private IPs each.
COLD = "ecs.t6-c1m1.large"
SMALL = [{"private_ips": 1}, {"private_ips": 2}]
STOPPING: dict[str, Any] = {"instance_types": [COLD], "enis": SMALL}
# An address of the vSwitch.
PRIMARY = "172.16.0.100"
IN_PLACE = {"max_surge": 0, "max_unavailable": 1}


def broken(after: str) -> dict[str, object]:
    return {"gates": [{"name": "own", "command": ["false"], "after": after, "timeout": 1}], "on_failure": "rollback"}


def test_types_without_hot_plug_are_stopped_for_the_move_as_many_as_may_be(cloud: Cloud, tmp_path: Path) -> None:
    web = Fleet(cloud, tmp_path, strategy={"max_surge": 3, "max_unavailable": 1, "waves": ["100%"]}, **STOPPING)
    with Watcher(cloud, web) as watcher:
        state = web.roll()
    assert (state.phase, state.replaced, state.failed) == ("done", 3, 0)
    watcher.assert_well()
    assert watcher.most_stopped == 1
    web.assert_kept()
    assert set(images(cloud)).isdisjoint(web.images)
    assert {event["by"] for event in web.events if event["event"] == "moved"} == {"stop", "EIP"}


@pytest.mark.parametrize("after", ["launch", "move"])
def test_a_stop_is_undone(cloud: Cloud, tmp_path: Path, after: str) -> None:
    web = Fleet(cloud, tmp_path, strategy={"max_unavailable": 1, **broken(after)}, **STOPPING)
    state = web.roll()
    assert (state.phase, state.replaced) == ("rolled-back", 0)
    web.assert_kept()
    assert {one.id for one in region_of(cloud).all(Instance)} == web.instances


def test_a_rollout_with_stops_goes_back_within_its_window(cloud: Cloud, tmp_path: Path) -> None:
    strategy = {"approval": "waves", "max_unavailable": 1, "rollback_window": 6000}
    web = Fleet(cloud, tmp_path, strategy=strategy, **STOPPING)
    assert web.roll().phase == "approval"
    assert [one.status for one in region_of(cloud).all(Instance)].count("Stopped") == 1
    assert web.take_back().phase == "rolled-back"
    web.assert_kept()
    assert {one.id for one in region_of(cloud).all(Instance)} == web.instances


def test_a_type_that_stops_needs_leave_to_be_unavailable(cloud: Cloud, tmp_path: Path) -> None:
    web = Fleet(cloud, tmp_path, **STOPPING)
    with pytest.raises(MultieipError, match="max_unavailable is 0"):
        web.roll()
    # Whoever knows better than the table may say so. Where the cloud knows better still, it is a stop after all.
    web.more["strategy"] = {"hotplug": "always"}
    state = web.roll()
    assert (state.phase, state.replaced) == ("done", 3)
    assert {event["by"] for event in web.events if event["event"] == "moved"} == {"stop", "EIP"}
    web.assert_kept()


def test_without_a_surge_old_instances_make_room_one_after_the_other(cloud: Cloud, tmp_path: Path) -> None:
    web = Fleet(cloud, tmp_path, strategy=IN_PLACE)
    with Watcher(cloud, web) as watcher:
        state = web.roll()
    assert (state.phase, state.replaced, state.failed) == ("done", 3, 0)
    watcher.assert_well()
    assert watcher.most_instances == 3
    web.assert_kept()
    assert set(images(cloud)).isdisjoint(web.images)
    assert {event["by"] for event in web.events if event["event"] == "moved"} == {"place"}


@pytest.mark.parametrize("after", ["launch", "move"])
def test_a_bad_canary_in_place_is_launched_again_from_what_it_was(cloud: Cloud, tmp_path: Path, after: str) -> None:
    web = Fleet(cloud, tmp_path, strategy={**IN_PLACE, **broken(after)})
    state = web.roll()
    assert (state.phase, state.replaced) == ("rolled-back", 0)
    assert images(cloud) == web.images
    web.assert_kept()
    # The canary alone is another instance than before.
    assert len({one.id for one in region_of(cloud).all(Instance)} & web.instances) == 2


def test_what_was_replaced_in_place_goes_back_by_another_replacement(cloud: Cloud, tmp_path: Path) -> None:
    web = Fleet(cloud, tmp_path, strategy={**IN_PLACE, "approval": "waves", "rollback_window": 600})
    assert web.roll().phase == "approval"
    assert web.take_back().phase == "rolled-back"
    web.assert_kept()
    assert images(cloud) == web.images


def test_without_stock_a_place_stays_empty_until_there_is_some(cloud: Cloud, tmp_path: Path) -> None:
    web = Fleet(cloud, tmp_path, strategy=IN_PLACE)
    cloud.run(lambda: cloud.account.faults.add(Fault(Kind.NO_STOCK, "RunInstances", count=4)))
    with Watcher(cloud, web) as watcher:
        state = web.roll()
        assert state.phase == "failed"
        assert "the way back failed" in state.why
        assert len(region_of(cloud).all(Instance)) == 2
        tries = 0
        while state.phase != "done" and tries < 4:
            state, tries = rolling.resume(web.work), tries + 1
    assert (state.phase, tries) == ("done", 3)
    # Nobody else makes room meanwhile.
    watcher.assert_well()
    web.assert_kept()
    assert set(images(cloud)).isdisjoint(web.images)


def test_an_empty_place_is_filled_again_on_the_way_back(cloud: Cloud, tmp_path: Path) -> None:
    web = Fleet(cloud, tmp_path, strategy=IN_PLACE)
    cloud.run(lambda: cloud.account.faults.add(Fault(Kind.NO_STOCK, "RunInstances", count=2)))
    assert web.roll().phase == "failed"
    assert web.take_back().phase == "rolled-back"
    web.assert_kept()
    assert images(cloud) == web.images


def test_given_addresses_are_kept_when_the_old_instance_makes_room(cloud: Cloud, tmp_path: Path) -> None:
    enis = [{"addresses": [PRIMARY]}, {"private_ips": 3}]
    web = Fleet(cloud, tmp_path, count=1, enis=enis, vswitches=[VSWITCH], strategy=IN_PLACE)
    state = web.roll()
    assert (state.phase, state.replaced) == ("done", 1)
    web.assert_kept()
    (one,) = region_of(cloud).all(Instance)
    assert region_of(cloud).enis_of(one.id)[0].addresses == (PRIMARY,)
