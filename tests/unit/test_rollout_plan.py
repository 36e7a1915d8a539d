"""Which instances a rollout replaces, in which waves, and what stands in the way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from generator.cloud.eips import Eip
from generator.cloud.enis import Address, Eni
from generator.cloud.instances import Instance
from generator.fleet import names
from generator.fleet.desired import WantedEni, Where
from generator.fleet.observe import Observed
from generator.fleet.rollout.outage import longest_gap
from generator.fleet.rollout.plan import plan, units_of
from generator.fleet.rollout.tidying import left_behind
from generator.fleet.rollout.values import Order
from generator.spec.fleet import Probe
from generator.spec.strategy import Strategy
from tests.unit.fleets import desired

WANTED = desired(
    region="r",
    count=6,
    image="new",
    types=("large",),
    places=(Where("vsw", "z"),),
    vpc="vpc",
    groups=("sg",),
    enis=(WantedEni(1, 1, "web-eth0"), WantedEni(2, 2, "web-eth1")),
)


def instance(slot: int, image: str = "old", *, key: str = "", role: str = "", **more: Any) -> Instance:
    key = key or f"i-{slot}"
    tags = ((names.ROLE, role),) if role else ()
    fields: dict[str, Any] = {"type": "large", "groups": ("sg",), "tags": tags, **more}
    return Instance(
        id=key, name=f"web-{slot:03}", status="Running", image=image, vpc="vpc", vswitch="vsw", zone="z",
        enis=(f"{key}-0",), created=f"2026-01-0{7 - slot}", **fields,
    )  # fmt: skip


def enis(slot: int, key: str = "") -> list[Eni]:
    """Return the ENIs of an instance: one private IP on the primary one, two on the other, all with EIPs."""
    key = key or f"i-{slot}"

    def eni(index: int) -> Eni:
        count = 1 + index
        addresses = tuple(
            Address(f"10.{slot}.{index}.{number}", f"eip-{slot}-{index}-{number}", f"1.{slot}.{index}.{number}")
            for number in range(count)
        )
        tags = ((names.FLEET, "web"), (names.ENI, str(index)))
        return Eni(f"{key}-{index}", f"web-eth{index}", "", not index, "InUse", key, "vpc", "vsw", "z", (), addresses,
                   "", tags=tags)  # fmt: skip

    return [eni(0), eni(1)]


def eips(found: list[Eni]) -> tuple[Eip, ...]:
    return tuple(
        Eip(address.eip, address.public, "InUse", eni.id, address.ip, "", "5", "PayByTraffic", "BGP", "")
        for eni in found
        for address in eni.addresses
    )


def fleet(*instances: Instance) -> Observed:
    found = [eni for one in instances for eni in enis(int(one.name[-3:]), one.id)]
    return Observed(instances=instances, enis=tuple(found), eips=eips(found))


def order(**strategy: Any) -> Order:
    return Order(Strategy.model_validate({"max_surge": 3, **strategy}), Probe())


ALL = tuple(instance(slot) for slot in range(1, 7))


def test_the_canary_goes_first_and_the_last_wave_is_as_large_as_it_may() -> None:
    found = plan(WANTED, fleet(*ALL), order(canary=1, waves=[2, 3]))
    assert found.waves == ((1,), (2, 3), (4, 5, 6))
    assert found.at_once == 3
    assert {change.why for change in found.changes} == {("image",)}
    assert {(change.moved, change.rebound) for change in found.changes} == {(1, 1)}


def test_what_matches_is_skipped_and_what_is_protected_stays() -> None:
    seen = fleet(instance(1, "new"), *ALL[1:])
    found = plan(WANTED, seen, order(canary=0, waves=["100%"], protected=[3]))
    assert (found.matching, found.protected, found.waves) == ((1,), (3,), ((2, 4, 5, 6),))
    every = plan(WANTED, seen, replace(order(canary=0, waves=["100%"]), every=True))
    assert every.waves == ((1, 2, 3, 4, 5, 6),)


@pytest.mark.parametrize(
    ("how", "first"), [("lowest-first", 1), ("highest-first", 6), ("oldest-first", 6)]
)  # web-006 was made first
def test_the_order_is_the_strategy_s(how: str, first: int) -> None:
    assert plan(WANTED, fleet(*ALL), order(order=how)).waves[0] == (first,)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"type": "small"}, "instance type"),
        ({"groups": ("other",)}, "security group"),
        ({"key_pair": "mine"}, "key pair"),
        ({"tags": ((names.CONFIG, "another"),)}, "configuration"),
    ],
)
def test_an_instance_is_replaced_for_what_it_was_launched_with(more: dict[str, Any], why: str) -> None:
    found = plan(WANTED, fleet(instance(1, "new", **more)), order())
    assert [change.why for change in found.changes] == [(why,)]


def test_a_unit_has_what_moves_with_enis_and_what_moves_alone() -> None:
    (unit,) = units_of(WANTED, fleet(*ALL), [2])
    assert (unit.old, unit.primary, unit.enis) == ("i-2", "i-2-0", ("i-2-1",))
    assert set(unit.publics) == {"1.2.1.0", "1.2.1.1"}
    assert [(one.public, one.number, one.ip) for one in unit.own] == [("1.2.0.0", 0, "10.2.0.0")]


def test_a_zone_without_a_vswitch_and_given_addresses_stand_in_the_way() -> None:
    elsewhere = replace(WANTED, places=(Where("vsw", "another"),))
    assert "ENIs do not leave their zone" in plan(elsewhere, fleet(*ALL), order()).blocked[0]
    given = replace(WANTED, enis=(replace(WANTED.enis[0], addresses=("10.0.0.9",)), *WANTED.enis[1:]))
    assert "given addresses" in plan(given, fleet(*ALL), order()).blocked[0]


def test_a_surge_of_none_replaces_in_place_as_many_as_may_be_unavailable() -> None:
    found = plan(WANTED, fleet(*ALL), order(max_surge=0, max_unavailable="40%"))
    assert (found.at_once, found.blocked) == (2, ())
    assert {change.how for change in found.changes} == {"in-place"}
    given = replace(WANTED, enis=(replace(WANTED.enis[0], addresses=("10.0.0.9",)), *WANTED.enis[1:]))
    assert plan(given, fleet(*ALL), order(max_surge=0, max_unavailable=1)).blocked == ()


@pytest.mark.parametrize(
    ("old", "new", "hotplug", "how"),
    [
        ("ecs.g7.large", "ecs.g8i.large", "auto", "hotplug"),
        ("ecs.t6-c1m1.large", "ecs.g7.large", "auto", "stop"),
        ("ecs.g7.large", "ecs.ebmg7.32xlarge", "auto", "stop"),
        ("ecs.t6-c1m1.large", "ecs.g7.large", "always", "hotplug"),
        ("ecs.g7.large", "ecs.g7.large", "never", "stop"),
        ("ecs.t7.large", "ecs.ecs.large", "auto", "hotplug"),
    ],
)
def test_types_without_hot_plug_are_replaced_with_a_stop(old: str, new: str, hotplug: str, how: str) -> None:
    wanted = replace(WANTED, types=(new,))
    seen = fleet(*(instance(slot, type=old) for slot in range(1, 7)))
    found = plan(wanted, seen, order(hotplug=hotplug, max_surge=3, max_unavailable=2))
    assert {change.how for change in found.changes} == {how}
    assert found.at_once == (2 if how == "stop" else 3)
    refused = plan(wanted, seen, order(hotplug=hotplug, max_surge=3)).blocked
    assert bool(refused) == (how == "stop")
    if refused:
        assert "web-001 is stopped while its ENIs move, and max_unavailable is 0" in refused[0]


def test_eips_of_the_primary_eni_cost_time_each() -> None:
    (change, *_) = plan(WANTED, fleet(*ALL), order()).changes
    assert (change.moved, change.rebound) == (1, 1)
    many = replace(WANTED, enis=(WantedEni(4, 4, "web-eth0"),))
    seen = fleet(*ALL)
    found = [replace(eni, addresses=tuple(Address(f"10.0.0.{n}", f"e{n}", f"2.0.0.{n}") for n in range(4)))
             for eni in seen.enis if eni.primary and eni.instance == "i-1"]  # fmt: skip
    (change, *_) = plan(many, replace(seen, enis=tuple(found), eips=eips(found)), order()).changes
    assert (change.moved, change.rebound, change.outage) == (0, 4, 20.0)


def test_the_second_instance_of_a_number_is_left_to_tidying() -> None:
    # A rollout whose record is lost: the ENIs of number 1 are on the new instance already.
    new = instance(1, "new", key="i-new", role=names.NEW)
    mine = [replace(eni, addresses=(Address("10.9.9.9"),)) for eni in enis(1)[:1]]
    found = [*mine, *enis(1, "i-new"), *(eni for one in ALL[1:] for eni in enis(int(one.name[-3:])))]
    seen = Observed(instances=(*ALL, new), enis=tuple(found), eips=eips(enis(1, "i-new")))
    assert plan(WANTED, seen, order()).leftovers == ("i-new",)
    left = left_behind(WANTED, seen, order().strategy)
    assert (left.going, left.alone) == (("i-new",), ())
    assert [(move.slot, move.target, move.enis, move.cold) for move in left.moves] == [(1, "i-1", ("i-new-1",), ())]
    assert [(one.public, one.eni, one.ip) for one in left.rebinds] == [("1.1.0.0", "i-1-0", "10.9.9.9")]
    cold = left_behind(WANTED, seen, order(hotplug="never").strategy)
    assert cold.moves[0].cold == ("i-new", "i-1")


def test_a_new_instance_whose_old_one_made_room_stays() -> None:
    new = instance(1, "new", key="i-new", role=names.NEW)
    seen = fleet(new, *ALL[1:])
    left = left_behind(WANTED, seen, order().strategy)
    assert (left.alone, left.going, left.moves) == (("i-new",), (), ())


def test_an_outage_is_the_longest_time_between_two_answers_with_a_question_unanswered() -> None:
    yes, no = True, False
    assert longest_gap([(0.0, yes), (0.1, yes), (0.2, yes)]) == 0.0
    assert longest_gap([(0.0, yes), (0.1, no), (0.2, no), (0.3, yes)]) == pytest.approx(0.3)
    assert longest_gap([(0.0, yes), (0.1, no), (0.2, yes), (0.3, no), (0.4, no), (0.9, yes)]) == pytest.approx(0.7)
    assert longest_gap([(0.0, no), (0.1, yes)]) is None
    assert longest_gap([(0.0, yes), (0.1, no)]) is None
    assert longest_gap([]) is None
