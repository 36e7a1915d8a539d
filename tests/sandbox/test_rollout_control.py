"""Rollouts that stop, wait, go on and go back, against the sandbox region."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from generator.errors import MultieipError
from generator.fleet.launch import launch
from generator.fleet.rollout import rolling
from generator.sandbox.region.model import Instance
from tests.sandbox.fleets import region_of
from tests.sandbox.region import Cloud
from tests.sandbox.rollouts import NEW, OLD, Fleet, fleet, images


def gate(*command: str, after: str = "move") -> dict[str, object]:
    return {"gates": [{"name": "own", "command": list(command), "after": after, "timeout": 1}]}


@pytest.mark.parametrize("after", ["launch", "move"])
def test_a_bad_canary_is_rolled_back_and_nothing_else_is_touched(cloud: Cloud, tmp_path: Path, after: str) -> None:
    web = Fleet(cloud, tmp_path, strategy={**gate("false", after=after), "on_failure": "rollback"})
    state = web.roll()
    assert (state.phase, state.replaced) == ("rolled-back", 0)
    assert "web-001 failed: own:" in state.why
    web.assert_kept()
    assert {one.id for one in region_of(cloud).all(Instance)} == web.instances
    failed = [event for event in web.events if event["event"] == "instance" and event["state"] == "failed"]
    assert [event["name"] for event in failed] == ["web-001"]


def test_a_failure_waits_for_a_person_and_is_tried_again_then(cloud: Cloud, tmp_path: Path) -> None:
    good = tmp_path / "good"
    web = Fleet(cloud, tmp_path, strategy=gate("test", "-e", str(good), after="launch"))
    assert web.roll().phase == "failed"
    assert images(cloud) == web.images
    with pytest.raises(MultieipError, match="a rollout of web is under way"):
        launch(web.spec, folder=tmp_path, quiet=True)
    good.touch()
    state = rolling.resume(web.work)
    assert (state.phase, state.replaced, state.failed) == ("done", 3, 0)
    web.assert_kept()


def test_a_rollout_goes_back_on_itself_after_the_canary(cloud: Cloud, tmp_path: Path) -> None:
    web = Fleet(cloud, tmp_path, strategy={"approval": "canary", "rollback_window": 600})
    assert web.roll().phase == "approval"
    with web.work.desk() as desk:
        assert desk.last().state == desk.state(desk.last().run)
    assert web.take_back().phase == "rolled-back"
    web.assert_kept()
    # The old ones were still there.
    assert {one.id for one in region_of(cloud).all(Instance)} == web.instances


def test_what_was_done_is_undone_by_another_rollout(cloud: Cloud, tmp_path: Path) -> None:
    web = Fleet(cloud, tmp_path)
    web.roll()
    state = web.take_back()
    assert (state.phase, state.replaced) == ("done", 3)
    web.assert_kept()
    assert images(cloud) == web.images


def test_cancelled_goes_no_further_and_keeps_what_is_done(cloud: Cloud, tmp_path: Path) -> None:
    web = Fleet(cloud, tmp_path, strategy={"approval": "waves"})
    web.roll()
    state = rolling.send(web.work, "cancel")
    assert state
    assert (state.phase, state.replaced) == ("cancelled", 1)
    web.assert_kept()
    assert [image == old for image, old in zip(images(cloud), web.images, strict=True)] == [False, True, True]
    # What matches is skipped by the next one.
    web.more["strategy"] = {}
    assert web.roll().replaced == 2


def test_protected_instances_stay_and_new_ones_come(cloud: Cloud, tmp_path: Path) -> None:
    web = Fleet(cloud, tmp_path, strategy={"protected": [2]})
    web.more["count"] = 4
    web.spec = fleet(OLD, **web.more)
    state = web.roll()
    assert (state.phase, state.replaced) == ("done", 2)
    region = region_of(cloud)
    assert len(region.all(Instance)) == 4
    assert [image == web.images[0] for image in images(cloud)] == [False, True, False, False]


def test_a_rollout_whose_record_is_lost_is_tidied_up(cloud: Cloud, tmp_path: Path) -> None:
    web = Fleet(cloud, tmp_path, strategy={"approval": "canary", "rollback_window": 600})
    web.roll()
    assert len(region_of(cloud).all(Instance)) == 4
    shutil.rmtree(tmp_path / "web")
    web.more["strategy"] = {}
    state = web.roll()
    assert (state.phase, state.replaced) == ("done", 2)
    web.assert_kept()


def test_another_rollout_is_refused_while_one_waits(cloud: Cloud, tmp_path: Path) -> None:
    web = Fleet(cloud, tmp_path, strategy={"approval": "canary"})
    assert web.roll().phase == "approval"
    with pytest.raises(MultieipError, match="a rollout of web is under way"):
        web.roll(OLD, every=True)
    # The same one goes on to where it waits.
    assert web.roll().phase == "approval"
    state = rolling.resume(web.work)
    assert state.phase == "done"
    web.assert_kept()


def test_nothing_to_do_is_done_at_once(cloud: Cloud, tmp_path: Path) -> None:
    web = Fleet(cloud, tmp_path)
    state = web.roll(OLD)
    assert (state.phase, state.replaced) == ("done", 0)
    assert {one.id for one in region_of(cloud).all(Instance)} == web.instances
    assert rolling.preview(fleet(NEW), rolling.order_of(fleet(NEW))).is_change
