"""Which instances a rollout replaces, and in which waves. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from generator.cloud.instances import Instance
from generator.fleet import names
from generator.fleet.actions import Actions
from generator.fleet.desired import Desired
from generator.fleet.diff import diff
from generator.fleet.hotplug import is_cold
from generator.fleet.matching import Machines
from generator.fleet.observe import Observed
from generator.fleet.quotas import QUOTAS
from generator.fleet.rollout.values import Order, PrimaryEip, Unit
from generator.spec.strategy import Strategy

HOTPLUG, STOP, IN_PLACE = "hotplug", "stop", "in-place"
# About how many seconds EIPs are away: two calls; a stop and a boot between them; two instances' time to come and go.
# And what each EIP takes that is bound anew, one after the other on an ENI. Nobody promises any of it: the reports say
# what it was.
_AWAY = {HOTPLUG: 5.0, STOP: 90.0, IN_PLACE: 180.0}
_BOUND_ANEW = 5.0


@dataclass(frozen=True)
class Change:
    """An instance that is replaced, why and how: `moved` ENIs with their EIPs, and `rebound` EIPs one by one.

    `how` is hotplug, stop or in-place, `outage` about how many seconds its EIPs are away.
    """

    slot: int
    name: str
    instance: str
    why: tuple[str, ...]
    moved: int
    rebound: int
    how: str
    outage: float


@dataclass(frozen=True)
class Plan:
    """What a rollout does. `waves` are numbers of instances; `rest` is what a launch does after the last wave.

    `units` are the instances of the waves as they were found. `blocked` says what stands in the way, `leftovers` are
    instances that an earlier rollout left behind.
    """

    fleet: str
    region: str
    changes: tuple[Change, ...] = ()
    waves: tuple[tuple[int, ...], ...] = ()
    units: tuple[Unit, ...] = ()
    at_once: int = 0
    matching: tuple[int, ...] = ()
    protected: tuple[int, ...] = ()
    blocked: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    rest: Actions = field(default_factory=Actions)

    @property
    def is_change(self) -> bool:
        """Whether anything would change."""
        return bool(self.changes or self.leftovers or self.rest.remove or not self.rest.is_empty)

    @property
    def minutes(self) -> float:
        """The least time of all moves at the account's limits: each minute but the last is used up."""
        needed = {
            "DetachNetworkInterface": sum(change.moved for change in self.changes),
            "AssociateEipAddress": sum(change.rebound for change in self.changes),
        }
        return max(max(0, -(-count // QUOTAS[api].calls) - 1) for api, count in needed.items())

    def to_json(self) -> dict[str, Any]:
        """Return the plan with stable keys."""
        by_slot = {change.slot: change for change in self.changes}
        return {
            "fleet": self.fleet,
            "region": self.region,
            "changes": self.is_change,
            "waves": [[asdict(by_slot[slot]) for slot in wave] for wave in self.waves],
            "at_once": self.at_once,
            "matching": list(self.matching),
            "protected": list(self.protected),
            "blocked": list(self.blocked),
            "leftovers": list(self.leftovers),
            "scale_out": list(self.rest.create),
            "scale_in": list(self.rest.remove.instances),
            "least_minutes": self.minutes,
        }


def plan(desired: Desired, observed: Observed, order: Order) -> Plan:
    """Return what a rollout does about what is there."""
    strategy = order.strategy
    machines = Machines(desired, observed)
    units = {unit.slot: unit for unit in units_of(desired, observed, range(1, desired.count + 1))}
    wanted: list[Change] = []
    matching, protected = [], []
    blocked: list[str] = []
    for slot, unit in units.items():
        why = tuple(reasons(desired, machines.by_slot[slot])) or (("asked for",) if order.every else ())
        if not why:
            matching.append(slot)
        elif slot in strategy.protected:
            protected.append(slot)
        else:
            blocked += standing(desired, strategy, unit)
            wanted.append(_change(desired, strategy, unit, why))
    ages = {slot: one.created for slot, one in machines.by_slot.items()}
    wanted.sort(key=lambda change: _rank(strategy, change.slot, ages))
    return Plan(
        fleet=desired.fleet,
        region=desired.region,
        changes=tuple(wanted),
        waves=tuple(waves(strategy, desired.count, [change.slot for change in wanted])),
        units=tuple(units[change.slot] for change in wanted),
        at_once=at_once(desired, strategy, [change.how for change in wanted]),
        matching=tuple(matching),
        protected=tuple(protected),
        blocked=tuple(dict.fromkeys(blocked)),
        leftovers=tuple(one.id for one in machines.aside),
        rest=diff(desired, observed),
    )


def way_of(desired: Desired, strategy: Strategy, unit: Unit) -> str:
    """Return how an instance is replaced: with ENIs that move between running instances, with a stop, or in place."""
    if not strategy.surge(desired.count):
        return IN_PLACE
    return STOP if unit.enis and any(is_cold(strategy, kind) for kind in (unit.type, *desired.types)) else HOTPLUG


def at_once(desired: Desired, strategy: Strategy, ways: Collection[str]) -> int:
    """Return how many instances may be replaced at once; none when the strategy leaves no room for it."""
    surge, unavailable = strategy.surge(desired.count), strategy.unavailable(desired.count)
    if not surge:
        return unavailable
    return min(surge, unavailable) if STOP in ways else surge


def _change(desired: Desired, strategy: Strategy, unit: Unit, why: tuple[str, ...]) -> Change:
    way = way_of(desired, strategy, unit)
    outage = max(_AWAY[way] if unit.enis or way == IN_PLACE else 0.0, _BOUND_ANEW * len(unit.own))
    return Change(unit.slot, unit.name, unit.old, why, len(unit.enis), len(unit.own), way, outage)


def waves(strategy: Strategy, count: int, slots: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the numbers of each wave, canary first."""
    start = 0
    for size in strategy.wave_sizes(count, len(slots)):
        yield tuple(slots[start : start + size])
        start += size


def reasons(desired: Desired, one: Instance) -> Iterator[str]:
    """Yield why an instance does not match; one whose tags do not say what it was launched with is not judged by it."""
    if one.image != desired.image:
        yield "image"
    if one.type not in desired.types:
        yield "instance type"
    if one.key_pair != desired.key_pair:
        yield "key pair"
    if desired.groups and set(one.groups) != set(desired.groups):
        yield "security group"
    if dict(one.tags).get(names.CONFIG, desired.config) != desired.config:
        yield "configuration"


def standing(desired: Desired, strategy: Strategy, unit: Unit) -> Iterator[str]:
    """Yield what stands in the way of a replacement, with the remedy."""
    way = way_of(desired, strategy, unit)
    if way != HOTPLUG and not strategy.unavailable(desired.count):
        because = "has no instance beside it" if way == IN_PLACE else "is stopped while its ENIs move"
        yield f"{unit.name} {because}, and max_unavailable is 0: set strategy.max_unavailable to 1 or more"
    if way != IN_PLACE and desired.enis[0].addresses:
        yield (
            "the primary ENI has given addresses, which the old instance holds until it is gone: set "
            "strategy.max_surge to 0"
        )
    if all(place.zone != unit.zone for place in desired.places):
        yield f"{unit.name} is in {unit.zone}, where the fleet has no vSwitch; ENIs do not leave their zone"


def units_of(desired: Desired, observed: Observed, slots: Sequence[int]) -> Iterator[Unit]:
    """Yield what is to be replaced of these numbers; numbers without an instance are left out."""
    machines = Machines(desired, observed)
    by_eni: dict[str, list[tuple[str, str, str]]] = {}
    for eip in observed.eips:
        if eip.target and eip.status in ("Associating", "InUse"):
            by_eni.setdefault(eip.target, []).append((eip.id, eip.address, eip.private_ip))
    for slot in slots:
        one = machines.by_slot.get(slot)
        if one is None:
            continue
        held = {index: machines.eni_at(slot, index) for index in range(len(desired.enis))}
        ids = tuple(eni.id for index, eni in held.items() if index and eni and eni.instance == one.id)
        primary = held[0]
        own = []
        for number, address in enumerate(primary.addresses if primary else ()):
            own += [
                PrimaryEip(eip, public, number, ip)
                for eip, public, ip in by_eni.get(primary.id if primary else "", ())
                if ip == address.ip
            ]
        yield Unit(
            slot=slot,
            name=one.name,
            old=one.id,
            image=one.image,
            type=one.type,
            zone=one.zone,
            vswitch=one.vswitch,
            groups=desired.groups or one.groups,
            primary=primary.id if primary else "",
            enis=ids,
            publics=tuple(public for eni in ids for _, public, _ in by_eni.get(eni, ())),
            own=tuple(own),
        )


def _rank(strategy: Strategy, slot: int, ages: dict[int, str]) -> tuple[Any, ...]:
    if strategy.order == "oldest-first":
        return ages[slot], slot
    return (slot if strategy.order == "lowest-first" else -slot,)
