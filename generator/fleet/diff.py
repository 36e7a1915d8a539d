"""What is wanted against what is there, and the actions that lead from one to the other. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from generator.cloud.eips import Eip
from generator.cloud.instances import Instance
from generator.cloud.networks import Rule
from generator.fleet import names
from generator.fleet.actions import Actions, Drift, Removal, Revive
from generator.fleet.desired import Desired
from generator.fleet.matching import Addresses, Machines
from generator.fleet.observe import Observed


def diff(desired: Desired, observed: Observed) -> Actions:
    """Return what leads from what is there to what is wanted."""
    machines = Machines(desired, observed)
    addresses = Addresses(desired, observed, machines)
    wanted_slots = range(1, desired.count + 1)
    revive = tuple(_revived(machines, slot) for slot in wanted_slots if slot in machines.orphans)
    create = tuple(slot for slot in wanted_slots if slot not in machines.by_slot and slot not in machines.orphans)
    return Actions(
        create_group=not desired.groups and not observed.groups,
        add_rules=() if desired.groups else missing_rules(desired.rules, observed.rules),
        revoke_rules=() if desired.groups else dropped_rules(desired.rules, observed.rules),
        create=create,
        revive=revive,
        add_enis=tuple(machines.missing_enis()),
        add_ips=tuple(addresses.missing_ips()),
        allocate=tuple(addresses.allocate),
        bind=tuple(addresses.bind),
        tag_enis=tuple(machines.untagged()),
        tag_eips=tuple(addresses.untagged()),
        pack=tuple(addresses.unpacked()),
        leftover_enis=tuple(eni.id for eni in machines.leftovers),
        remove=_removal(desired, machines, addresses),
        drift=tuple(_drift(desired, machines, addresses)),
        kept_instances=sum(slot in machines.by_slot for slot in wanted_slots),
        kept_eips=addresses.kept,
    )


def missing_rules(wanted: Iterable[Rule], held: Iterable[Rule]) -> tuple[Rule, ...]:
    """Return the rules that a security group lacks."""
    known = {rule.traffic for rule in held}
    return tuple(rule for rule in wanted if rule.traffic not in known)


def dropped_rules(wanted: Iterable[Rule], held: Iterable[Rule]) -> tuple[Rule, ...]:
    """Return the rules that were made for a file which has them no more; those that a person added are left."""
    known = {rule.traffic for rule in wanted}
    return tuple(rule for rule in held if rule.traffic not in known and names.is_made(rule.description))


def _revived(machines: Machines, slot: int) -> Revive:
    held = machines.orphans[slot]
    return Revive(slot, next(iter(held.values())).zone, tuple((index, eni.id) for index, eni in sorted(held.items())))


def _removal(desired: Desired, machines: Machines, addresses: Addresses) -> Removal:
    extra = [one for slot, one in sorted(machines.by_slot.items()) if slot > desired.count]
    extra += machines.surplus
    bound = [eip for eip, _, _ in addresses.beyond()]
    idle = addresses.surplus
    ours = [eip for eip in (*bound, *idle) if eip.id not in desired.eip_ids and not eip.segment]
    loose = [eni.id for eni in machines.extra_enis]
    loose += [eni.id for (slot, _), eni in machines.enis.items() if slot > desired.count and not eni.primary]
    return Removal(
        unassociate=tuple(eip.id for eip in bound),
        release=tuple(eip.id for eip in ours),
        instances=tuple(one.id for one in extra),
        unassign=tuple(_unwanted_ips(desired, machines)),
        enis=tuple(loose),
        protected=protected(extra),
    )


def protected(found: Iterable[Instance]) -> tuple[tuple[str, str], ...]:
    """Return ids and names of those instances that are protected against deletion."""
    return tuple((one.id, one.name) for one in found if one.deletion_protection)


def _unwanted_ips(desired: Desired, machines: Machines) -> Iterator[tuple[str, tuple[str, ...]]]:
    for (slot, index), eni in sorted(machines.enis.items()):
        wanted = desired.enis[index]
        if slot <= desired.count and not wanted.existing and len(eni.addresses) > wanted.private_ips:
            yield eni.id, tuple(address.ip for address in eni.addresses[wanted.private_ips :])


def everything(observed: Observed, fleet: str, *, keep_eips: bool = False) -> Removal:
    """Return how all that a fleet made goes. EIPs and ENIs that its file named are left behind, bound to nothing.

    EIPs that are kept stay the fleet's: its next launch takes them.
    """
    owned = [eip for eip in observed.eips if dict(eip.tags).get(names.FLEET) == fleet]
    bound = dict.fromkeys(address.eip for eni in observed.enis for address in eni.addresses if address.eip)
    bound |= dict.fromkeys(eip.id for eip in observed.eips if eip.status in ("Associating", "InUse"))
    going = [] if keep_eips else owned
    return Removal(
        unassociate=tuple(bound),
        release=tuple(eip.id for eip in going if not eip.segment and eip.status != "Releasing"),
        segments=tuple(dict.fromkeys(eip.segment for eip in going if eip.segment)),
        instances=tuple(one.id for one in observed.instances),
        enis=tuple(
            eni.id
            for eni in observed.enis
            if not eni.primary
            and eni.status != "Deleting"
            and (names.is_owned(eni.description, fleet) or dict(eni.tags).get(names.FLEET) == fleet)
        ),
        groups=tuple(group.id for group in observed.groups),
        protected=protected(observed.instances),
    )


_REPLACE = "a rollout replaces instances and keeps their EIPs"
_FIXED = "it is fixed when an EIP is allocated, or changed in the console"


def _drift(desired: Desired, machines: Machines, addresses: Addresses) -> Iterator[Drift]:
    for slot, one in sorted(machines.by_slot.items()):
        if slot <= desired.count:
            yield from _drift_of(desired, one)
    for eip in addresses.eips.values():
        if eip.id not in desired.eip_ids:
            yield from _drift_of_eip(desired, eip)


def _drift_of(desired: Desired, one: Instance) -> Iterator[Drift]:
    vswitches = [place.vswitch for place in desired.places]
    for what, wanted, found in (
        # Whether an instance is of an image that is gone nobody can say.
        ("image", (desired.image or one.image,), one.image),
        ("instance type", desired.types, one.type),
        ("vSwitch", vswitches, one.vswitch),
        ("key pair", (desired.key_pair,), one.key_pair),
    ):
        if found not in wanted:
            yield Drift(one.id, what, " or ".join(wanted) or "none", found or "none", _REPLACE)
    made = dict(one.tags).get(names.CONFIG, desired.config)
    if made != desired.config:
        yield Drift(one.id, "configuration", desired.config, made, _REPLACE)
    if desired.groups and set(one.groups) != set(desired.groups):
        yield Drift(one.id, "security group", ", ".join(desired.groups), ", ".join(one.groups), _REPLACE)
    if one.status not in ("Pending", "Starting", "Running"):
        yield Drift(one.id, "status", "Running", one.status, "start it, or delete it and launch again")


def _drift_of_eip(desired: Desired, eip: Eip) -> Iterator[Drift]:
    for what, wanted, found in (
        ("bandwidth", str(desired.eip.bandwidth), eip.bandwidth),
        ("charge type", desired.eip.charge, eip.charge),
        ("line", desired.eip.isp, eip.isp),
    ):
        # A bandwidth package has a bandwidth of its own, which its EIPs then show.
        if wanted != found and not (desired.package and what == "bandwidth"):
            yield Drift(eip.id, what, wanted, found, _FIXED)
