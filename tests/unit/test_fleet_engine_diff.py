"""The comparison of a fleet as it should be with what is there: pure, so every case is a table of records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from generator.cloud.eips import Eip, NewEip
from generator.cloud.enis import Address, Eni
from generator.cloud.networks import Rule, SecurityGroup
from generator.fleet import names
from generator.fleet.actions import Actions, AddEni, AddIps, Removal, Revive, Target
from generator.fleet.desired import Desired, WantedEni
from generator.fleet.diff import diff, everything
from generator.fleet.names import Place
from generator.fleet.observe import Observed
from tests.unit.fleets import ZONE, desired, eip, eni, instance, observed


def wanted(**more: Any) -> Desired:
    """Return the shared fleet with an EIP on every private IP: one on the primary and two on the secondary ENI."""
    return desired(**{"enis": (WantedEni(1, 1, "web-eth0"), WantedEni(2, 2, "web-eth1")), **more})


def second(slot: int) -> Eip:
    """Return the EIP on the second private IP of a secondary ENI."""
    place = (names.PLACE, f"{slot}/1/1")
    return eip(
        slot,
        2,
        target=f"eni-{slot}-1",
        private_ip=f"10.0.{slot}.3",
        tags=tuple(place if tag[0] == names.PLACE else tag for tag in eip(slot, 2).tags),
    )


def whole(count: int = 2) -> Observed:
    """Return what `wanted` is when it is there."""
    slots = range(1, count + 1)
    seen = observed(*slots)
    return agreeing(replace(seen, eips=(*seen.eips, *(second(slot) for slot in slots))))


def agreeing(seen: Observed) -> Observed:
    """Have ENIs show the EIPs that say they are there, as the API does."""
    on = {(one.target, one.private_ip): one for one in seen.eips if one.target}
    return replace(seen, enis=tuple(replace(one, addresses=_shown(one, on)) for one in seen.enis))


def _shown(one: Eni, on: dict[tuple[str, str], Eip]) -> tuple[Address, ...]:
    bound = [(address.ip, on.get((one.id, address.ip))) for address in one.addresses]
    return tuple(Address(ip, held.id, held.address) if held else Address(ip) for ip, held in bound)


def without(seen: Observed, *ids: str) -> Observed:
    return agreeing(
        replace(
            seen,
            instances=tuple(one for one in seen.instances if one.id not in ids),
            enis=tuple(one for one in seen.enis if one.id not in ids),
            eips=tuple(one for one in seen.eips if one.id not in ids),
        )
    )


def free(one: Eip, **more: Any) -> Eip:
    return replace(one, **{"status": "Available", "target": "", "private_ip": "", **more})


def loose(one: Eni) -> Eni:
    return replace(one, instance="", status="Available")


def test_what_is_as_it_should_be_needs_nothing() -> None:
    actions = diff(wanted(), whole())
    assert actions == Actions(kept_instances=2, kept_eips=6)
    assert actions.is_empty


def test_from_nothing_everything_is_made() -> None:
    actions = diff(wanted(), Observed())
    assert actions.create == (1, 2)
    # An ENI takes one EIP at a time, so its places are as far apart as can be.
    assert [str(need.place) for need in actions.allocate] == ["1/0/0", "1/1/0", "2/0/0", "2/1/0", "1/1/1", "2/1/1"]
    assert all(need.target is None for need in actions.allocate)


def test_an_eip_that_nobody_bound_goes_to_the_place_it_was_allocated_for() -> None:
    seen = whole()
    seen = replace(without(seen, "eip-2-2"), eips=(*without(seen, "eip-2-2").eips, free(second(2))))
    (bind,) = diff(wanted(), seen).bind
    assert (bind.eip, bind.place, bind.target) == ("eip-2-2", Place(2, 1, 1), Target("eni-2-1", "10.0.2.3"))


def test_two_eips_for_one_place_leave_one_over() -> None:
    seen = whole()
    twin = free(eip(1, 0), id="eip-twin")
    actions = diff(wanted(), replace(seen, eips=(*seen.eips, twin)))
    assert actions.is_empty
    assert actions.remove.release == ("eip-twin",)


def test_an_eip_that_is_being_bound_is_on_its_place_already() -> None:
    seen = whole()
    eips = tuple(replace(one, status="Associating") if one.id == "eip-1-1" else one for one in seen.eips)
    assert diff(wanted(), replace(seen, eips=eips)).is_empty


def test_an_eip_on_another_private_ip_of_the_fleet_is_left_there() -> None:
    seen = whole()
    swapped = {"eip-1-1": "10.0.1.3", "eip-1-2": "10.0.1.2"}
    eips = tuple(replace(one, private_ip=swapped.get(one.id, one.private_ip)) for one in seen.eips)
    assert diff(wanted(), replace(seen, eips=eips)).is_empty


def test_an_instance_whose_enis_live_on_with_their_eips_is_revived() -> None:
    seen = without(whole(), "i-2", "eni-2-0", "eip-2-0")
    enis = tuple(loose(one) if one.id == "eni-2-1" else one for one in seen.enis)
    actions = diff(wanted(), replace(seen, enis=enis))
    assert actions.revive == (Revive(2, ZONE, ((1, "eni-2-1"),)),)
    assert (actions.create, actions.leftover_enis) == ((), ())
    assert [str(need.place) for need in actions.allocate] == ["2/0/0"]


BARE = without(whole(), "i-2", "eni-2-0", "eip-2-0", "eip-2-1", "eip-2-2")


def test_an_eni_that_was_never_tagged_and_holds_nothing_is_left_over() -> None:
    enis = tuple(replace(loose(one), tags=()) if one.id == "eni-2-1" else one for one in BARE.enis)
    actions = diff(wanted(), replace(BARE, enis=enis))
    assert actions.leftover_enis == ("eni-2-1",)
    assert actions.create == (2,)


def test_an_eni_without_eips_that_was_in_service_is_given_to_a_number_that_lacks_it() -> None:
    enis = tuple(loose(one) if one.id == "eni-2-1" else one for one in BARE.enis)
    actions = diff(wanted(), replace(BARE, enis=enis))
    assert actions.revive == (Revive(2, ZONE, ((1, "eni-2-1"),)),)
    assert (actions.leftover_enis, actions.create) == ((), ())
    assert not actions.remove


def test_an_eni_in_service_that_no_number_lacks_is_removed_only_when_asked() -> None:
    spare = loose(eni(2, 1, id="eni-spare"))
    actions = diff(wanted(), agreeing(replace(whole(), enis=(*whole().enis, spare))))
    assert actions.is_empty
    assert actions.remove.enis == ("eni-spare",)


def test_eips_that_the_file_names_say_which_number_their_eni_is_of() -> None:
    ids = tuple(one.id for one in whole().eips)
    seen = without(whole(), "i-2", "eni-2-0")
    enis = tuple(loose(one) if one.id == "eni-2-1" else one for one in seen.enis)
    eips = (replace(one, tags=()) for one in seen.eips)
    left = tuple(free(one) if one.id == "eip-2-0" else one for one in eips)
    actions = diff(wanted(eip_ids=ids), replace(seen, enis=enis, eips=left))
    assert actions.revive == (Revive(2, ZONE, ((1, "eni-2-1"),)),)
    assert [(bind.eip, str(bind.place)) for bind in actions.bind] == [("eip-2-0", "2/0/0")]
    assert not actions.remove


def test_an_instance_without_a_known_name_is_told_by_its_eips() -> None:
    # The older one would get the lowest number, if its EIPs did not tell.
    instances = (instance(1, name="somebody renamed it", created="2026-11-26T10:00Z"), instance(2, name="this too"))
    seen = replace(whole(), instances=instances)
    assert diff(wanted(), seen).is_empty
    assert diff(wanted(count=1), seen).remove.instances == ("i-2",)


def test_enis_that_were_never_tagged_are_tagged() -> None:
    seen = whole()
    enis = tuple(replace(one, tags=()) if one.id == "eni-1-1" else one for one in seen.enis)
    assert diff(wanted(), replace(seen, enis=enis)).tag_enis == ((1, ("eni-1-1",)),)


def test_what_an_instance_lacks_is_added_to_it() -> None:
    seen = without(whole(1), "eni-1-1", "eip-1-1", "eip-1-2")
    goal = wanted(count=1, enis=(WantedEni(3, 1, "web-eth0"), WantedEni(2, 2, "web-eth1")))
    actions = diff(goal, seen)
    assert actions.add_enis == (AddEni(1, 1, "i-1", "vsw-1"),)
    assert actions.add_ips == (AddIps("eni-1-0", 2),)
    assert [(str(need.place), need.target) for need in actions.allocate] == [("1/1/0", None), ("1/1/1", None)]


def test_fewer_of_everything_goes_in_order_and_only_what_is_ours() -> None:
    seen = whole()
    goal = wanted(count=1, enis=(WantedEni(1, 1, "web-eth0"), WantedEni(1, 1, "web-eth1")))
    removal = diff(goal, seen).remove
    assert removal.instances == ("i-2",)
    assert removal.enis == ("eni-2-1",)
    assert removal.unassign == (("eni-1-1", ("10.0.1.3",)),)
    assert set(removal.release) == {"eip-1-2", "eip-2-0", "eip-2-1", "eip-2-2"}
    assert set(removal.unassociate) == set(removal.release)


def test_eips_of_the_file_are_for_its_places_in_order_and_never_released() -> None:
    ids = [f"eip-{letter}" for letter in "fdbeca"]
    eips = tuple(free(eip(1, 0), id=one, tags=()) for one in (*sorted(ids), "eip-over"))
    actions = diff(wanted(eip_ids=tuple(ids)), agreeing(replace(whole(), eips=eips)))
    order = ["1/0/0", "1/1/0", "1/1/1", "2/0/0", "2/1/0", "2/1/1"]
    assert {str(bind.place): bind.eip for bind in actions.bind} == dict(zip(order, ids, strict=True))
    assert (actions.allocate, actions.remove.release) == ((), ("eip-over",))
    more = diff(wanted(count=1, eip_ids=tuple(ids)), agreeing(replace(whole(1), eips=eips[:-1])))
    assert not more.remove.release


def test_a_security_group_of_the_file_is_made_and_gets_what_it_lacks() -> None:
    rules = (Rule("TCP", "22/22", "0.0.0.0/0"), Rule("ICMP", "-1/-1", "0.0.0.0/0"))
    goal = wanted(groups=(), rules=rules)
    actions = diff(goal, Observed())
    assert (actions.create_group, actions.add_rules) == (True, rules)
    group = SecurityGroup("sg-9", "multieip-web", "vpc-1", "", ((names.FLEET, "web"),))
    seen = replace(whole(), groups=(group,), rules=(Rule("TCP", "22/22", "0.0.0.0/0", "ssh"),))
    actions = diff(goal, seen)
    assert (actions.create_group, actions.add_rules, actions.revoke_rules) == (False, rules[1:], ())


def test_only_rules_that_were_made_for_the_file_are_revoked() -> None:
    ssh, web = (Rule("TCP", f"{port}/{port}", "0.0.0.0/0", names.made("")) for port in (22, 443))
    mine = replace(ssh, ports="9100/9100", description="multieipish", id="sgr-2")
    seen = replace(
        whole(),
        groups=(SecurityGroup("sg-9", "multieip-web", "vpc-1", "", ((names.FLEET, "web"),)),),
        rules=(replace(ssh, id="sgr-1"), mine, replace(web, id="sgr-3")),
    )
    actions = diff(wanted(groups=(), rules=(web,)), seen)
    assert [rule.id for rule in actions.revoke_rules] == ["sgr-1"]
    assert not actions.is_empty
    # The rules of a group that the file only names are no business of a launch.
    assert diff(wanted(), seen).revoke_rules == ()


def test_what_a_launch_cannot_change_is_drift() -> None:
    seen = replace(whole(1), instances=(instance(1, image="m-0", type="ecs.g6.large", status="Stopped"),))
    drift = diff(wanted(count=1, eip=NewEip(bandwidth=100)), seen).drift
    assert {(one.resource, one.what) for one in drift} >= {
        ("i-1", "image"),
        ("i-1", "instance type"),
        ("i-1", "status"),
        ("eip-1-0", "bandwidth"),
    }


def test_of_an_image_that_is_gone_no_instance_differs() -> None:
    assert diff(wanted(image=""), whole()).drift == ()


def test_a_removal_says_which_of_its_instances_are_protected() -> None:
    seen = replace(whole(), instances=(instance(1, deletion_protection=True), instance(2, deletion_protection=True)))
    assert diff(wanted(count=1), seen).remove.protected == (("i-2", "web-002"),)
    assert diff(wanted(), seen).remove.protected == ()
    assert everything(seen, "web").protected == (("i-1", "web-001"), ("i-2", "web-002"))


def test_what_takes_money_is_told_from_what_does_not() -> None:
    assert diff(wanted(), Observed()).is_spending
    assert diff(wanted(), whole(1)).is_spending
    assert not diff(wanted(), whole()).is_spending
    unbound = without(whole(), "eip-2-2")
    actions = diff(wanted(), replace(unbound, eips=(*unbound.eips, free(second(2)))))
    assert (actions.is_empty, actions.is_spending) == (False, False)


def test_destroying_takes_everything_but_what_the_file_brought() -> None:
    foreign = replace(second(1), id="eip-foreign", tags=())
    brought = replace(eni(1, 1), id="eni-brought", description="", tags=())
    seen = without(whole(1), "eip-1-2")
    seen = replace(seen, eips=(*seen.eips, foreign), enis=(*seen.enis, brought))
    removal = everything(seen, "web")
    assert removal.unassociate == ("eip-1-0", "eip-1-1", "eip-foreign")
    assert removal.release == ("eip-1-0", "eip-1-1")
    assert (removal.instances, removal.enis) == (("i-1",), ("eni-1-1",))
    assert everything(seen, "web", keep_eips=True).release == ()
    assert everything(Observed(), "web") == Removal()


@given(st.sets(st.sampled_from([one.id for kind in ("instances", "enis", "eips") for one in getattr(whole(), kind)])))
def test_whatever_is_missing_each_place_gets_exactly_one_eip(missing: set[str]) -> None:
    seen = without(whole(), *missing)
    gone = {one.id for one in whole().instances} - {one.id for one in seen.instances}
    # An ENI goes with its instance, or stays behind; an EIP on an ENI that is gone is free.
    enis = tuple(
        loose(one) if one.instance in gone else one for one in seen.enis if not (one.primary and one.instance in gone)
    )
    left = {one.id for one in enis}
    eips = tuple(one if one.target in left else free(one) for one in seen.eips)
    actions = diff(wanted(), agreeing(Observed(seen.instances, enis, eips)))
    placed = [bind.place for bind in actions.bind] + [need.place for need in actions.allocate]
    assert len(placed) == len(set(placed))
    assert len(placed) + actions.kept_eips == 6
    used = [bind.eip for bind in actions.bind]
    assert len(used) == len(set(used))
    idle = {one.id for one in eips if one.status == "Available"}
    assert set(used) <= idle
    # No EIP is allocated while one of the fleet is free.
    assert not (actions.allocate and idle - set(used))
    slots = {slot for slot in (1, 2) if f"i-{slot}" not in gone}
    assert slots | set(actions.create) | {one.slot for one in actions.revive} == {1, 2}
