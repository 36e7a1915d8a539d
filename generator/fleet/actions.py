"""What a launch can do about a fleet, as values: `plan` prints them, `launch` carries them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from generator.cloud.instances import MOST
from generator.cloud.networks import Rule
from generator.fleet.names import Place


@dataclass(frozen=True)
class Target:
    """A private IP of an ENI that is there."""

    eni: str
    ip: str


@dataclass(frozen=True)
class Bind:
    """Give an EIP to its place; `target` is None while the instance of the place is not there."""

    eip: str
    place: Place
    target: Target | None


@dataclass(frozen=True)
class Need:
    """An EIP to be allocated for a place."""

    place: Place
    target: Target | None


@dataclass(frozen=True)
class Revive:
    """An instance that is gone and whose ENIs live on with their EIPs: launched anew with them (index, id)."""

    slot: int
    zone: str
    enis: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class AddEni:
    """An ENI that an instance lacks; `existing` is attached, else one is made in the vSwitch."""

    slot: int
    index: int
    instance: str
    vswitch: str
    existing: str = ""


@dataclass(frozen=True)
class AddIps:
    """Private IPs that an ENI lacks: these, or so many."""

    eni: str
    count: int
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drift:
    """Something that differs from the file and that a launch does not change; `remedy` says what does."""

    resource: str
    what: str
    wanted: str
    found: str
    remedy: str


@dataclass(frozen=True)
class Removal:
    """What is there and not wanted any more, in the order in which it goes. Never done without being asked for.

    `protected` are those of the instances (id, name) that are protected against deletion.
    """

    unassociate: tuple[str, ...] = ()
    release: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    unassign: tuple[tuple[str, tuple[str, ...]], ...] = ()
    enis: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    protected: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return any(
            (self.unassociate, self.release, self.segments, self.instances, self.unassign, self.enis, self.groups)
        )


@dataclass(frozen=True)
class Actions:
    """All that is to be done, in no order: a launch knows what waits for what.

    `pack` are EIPs that are to share the fleet's bandwidth and do not yet; those that are allocated are packed by the
    next round. `revoke_rules` were made for the file, which has them no more. `leftover_enis` hold nothing and belong
    to no instance: what an instance that vanished left behind.
    """

    create_group: bool = False
    add_rules: tuple[Rule, ...] = ()
    revoke_rules: tuple[Rule, ...] = ()
    create: tuple[int, ...] = ()
    revive: tuple[Revive, ...] = ()
    add_enis: tuple[AddEni, ...] = ()
    add_ips: tuple[AddIps, ...] = ()
    allocate: tuple[Need, ...] = ()
    bind: tuple[Bind, ...] = ()
    tag_enis: tuple[tuple[int, tuple[str, ...]], ...] = ()
    tag_eips: tuple[str, ...] = ()
    pack: tuple[str, ...] = ()
    leftover_enis: tuple[str, ...] = ()
    remove: Removal = Removal()
    drift: tuple[Drift, ...] = ()
    kept_instances: int = 0
    kept_eips: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to be made; removals and drift are not counted."""
        return not any(
            (
                self.create_group,
                self.add_rules,
                self.revoke_rules,
                self.create,
                self.revive,
                self.add_enis,
                self.add_ips,
                self.allocate,
                self.bind,
                self.tag_enis,
                self.tag_eips,
                self.pack,
                self.leftover_enis,
            )
        )

    @property
    def is_spending(self) -> bool:
        """Whether anything would be made that takes money, quota or addresses."""
        return any((self.create_group, self.create, self.revive, self.add_enis, self.add_ips, self.allocate))


def stretches(slots: Sequence[int], ways: int) -> list[tuple[int, int]]:
    """Return numbers as (first, amount) that one RunInstances can name and make, spread over so many ways.

    ECS names instances by consecutive numbers with as many digits, so a stretch ends before 1,000.
    """
    found: list[tuple[int, int]] = []
    for slot in sorted(slots):
        if found and slot == sum(found[-1]) and slot not in (1_000, 10_000) and found[-1][1] < MOST * ways:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((slot, 1))
    parts = []
    for first, amount in found:
        size = -(-amount // ways)
        parts += [(start, min(size, first + amount - start)) for start in range(first, first + amount, size)]
    return parts
