"""Calls are counted from actions, purely; the time is what the account's limits make of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from generator.fleet.actions import Actions, Removal
from generator.fleet.diff import diff
from generator.fleet.observe import Observed
from generator.fleet.picture import picture
from generator.fleet.plan import Call, least_minutes, plan, removals
from generator.fleet.status import status
from tests.unit.fleets import desired, eip, eni, instance, observed


def counts(wanted: int, seen: Observed) -> dict[str, int]:
    goal = desired(count=wanted)
    return {call.api: call.times for call in plan(goal, diff(goal, seen)).calls}


def test_a_fleet_that_is_as_wanted_needs_no_call() -> None:
    goal = desired(count=1)
    found = plan(goal, diff(goal, observed(1)))
    assert not found.is_change
    assert (found.kept_instances, found.kept_eips) == (1, 2)


@pytest.mark.parametrize(("wanted", "runs", "tags"), [(1, 1, 1), (100, 1, 2), (101, 2, 3), (1000, 11, 21)], ids=str)
def test_instances_are_run_by_the_hundred_and_tagged_by_fifty(wanted: int, runs: int, tags: int) -> None:
    found = counts(wanted, Observed())
    assert found == {
        "RunInstances": runs,
        "TagResources": tags,
        "AllocateEipAddress": 2 * wanted,
        "AssociateEipAddress": 2 * wanted,
    }


def test_time_is_that_of_the_slowest_limit() -> None:
    assert least_minutes([Call("AllocateEipAddress", 120, "")]) == 0
    assert least_minutes([Call("AllocateEipAddress", 121, "")]) == 1
    both = [Call("AllocateEipAddress", 2400, ""), Call("AssociateEipAddress", 2000, "")]
    assert least_minutes(both) == 19
    # Calls of one API count together, whatever they are for.
    assert least_minutes([Call("AllocateEipAddress", 100, "a"), Call("AllocateEipAddress", 100, "b")]) == 1


def test_removals_are_calls_of_their_own() -> None:
    gone = Removal(unassociate=("a", "b"), release=("a",), instances=tuple(map(str, range(101))), groups=("sg-1",))
    assert [(call.api, call.times) for call in removals(gone)] == [
        ("UnassociateEipAddress", 2),
        ("ReleaseEipAddress", 1),
        ("DeleteInstances", 2),
        ("DeleteSecurityGroup", 1),
    ]
    assert all(call.removes for call in removals(gone))


def test_a_plan_with_removals_alone_is_a_change() -> None:
    goal = desired(count=1)
    assert plan(goal, Actions(remove=Removal(instances=("i-9",)))).is_change


# Pictures and states, which the same reads give.


def test_a_mapping_that_the_two_views_tell_apart_is_a_problem() -> None:
    torn = replace(
        observed(1), eips=(eip(1, 0, target="eni-9", private_ip="10.9.9.9"), eip(1, 1, status="Unassociating"))
    )
    machine = picture(desired(count=1), torn).machines[0]
    assert machine.problems() == [
        "198.18.1.1 on 10.0.1.1 of eni-1-0 is none of the fleet's EIPs",
        "198.18.1.2 on 10.0.1.2 of eni-1-1 is Unassociating",
    ]


def test_an_eip_where_none_should_be_is_a_problem() -> None:
    goal = desired(count=1, enis=(desired().enis[0], replace(desired().enis[1], eips=0)))
    machine = picture(goal, observed(1)).machines[0]
    assert machine.problems() == ["10.0.1.2 on eni-1-1 has 198.18.1.2, which the file does not ask for"]


def state(seen: Observed, **more: object) -> list[tuple[str, str]]:
    goal = desired(**{"count": 1, **more})
    found = status(goal, seen, diff(goal, seen), picture(goal, seen))
    assert found.is_as_wanted == (not found.drift and not found.changes)
    return [(one.resource, one.what) for one in found.drift]


def test_a_fleet_as_its_file_says_has_no_drift() -> None:
    assert state(observed(1)) == []


@pytest.mark.parametrize(
    ("seen", "drift"),
    [
        (replace(observed(1), instances=(instance(1, image="m-2"),)), ("i-1", "image")),
        (replace(observed(1), instances=(instance(1, http_tokens="optional"),)), ("i-1", "metadata tokens")),
        (replace(observed(1), instances=(instance(1, deletion_protection=True),)), ("i-1", "deletion protection")),
        (replace(observed(1), instances=(instance(1, status="Stopped"),)), ("i-1", "status")),
        (replace(observed(1), enis=(eni(1, 0), eni(1, 1, groups=("sg-2",)))), ("eni-1-1", "security group")),
        (replace(observed(1), eips=(eip(1, 0), eip(1, 1, bandwidth="9"))), ("eip-1-1", "bandwidth")),
        (observed(1, 2), ("i-2", "instance")),
    ],
    ids=["image", "tokens", "protection", "status", "group", "bandwidth", "surplus"],
)
def test_what_differs_is_named(seen: Observed, drift: tuple[str, str]) -> None:
    assert state(seen) == [drift]


def test_tags_of_the_file_are_looked_for_on_everything() -> None:
    found = state(observed(1), tags=(("team", "web"),))
    assert {resource for resource, what in found if what == "tag team"} == {
        "i-1", "eni-1-0", "eni-1-1", "eip-1-0", "eip-1-1",
    }  # fmt: skip
