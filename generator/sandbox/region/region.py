"""One region: tables of records with their indexes, in transactions that are undone when a call is refused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any, TypeVar, cast

from generator.sandbox.region.model import KINDS, Disk, Eip, Eni, Record
from generator.sandbox.region.plane import Event
from generator.sandbox.region.store import Change

R = TypeVar("R")


class Region:
    """The records of one region by kind and id, in the order in which they were made.

    The indexes follow from `put` and `drop`, so that no transition can forget them.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._tables: dict[type, dict[str, Any]] = {kind: {} for kind in KINDS}
        self._positions: dict[tuple[type, str], int] = {}
        self._next = 0
        self._before: dict[tuple[type, str], Any] = {}
        self.events: list[Event] = []
        self._addresses: dict[str, dict[str, str]] = defaultdict(dict)
        self._floors: dict[str, int] = {}
        self._enis: dict[str, dict[str, None]] = defaultdict(dict)
        self._disks: dict[str, dict[str, None]] = defaultdict(dict)
        # Public addresses in use, each with its EIP.
        self.public: dict[str, str] = {}
        self._bound: dict[tuple[str, str], str] = {}
        self._on_eni: dict[str, dict[str, None]] = defaultdict(dict)

    # Records

    def find(self, kind: type[R], key: str) -> R | None:
        """Return a record, or None."""
        return cast("R | None", self._tables[kind].get(key))

    def get(self, kind: type[R], key: str) -> R:
        """Return a record that another one refers to."""
        return cast("R", self._tables[kind][key])

    def all(self, kind: type[R]) -> list[R]:
        """Return all records of a kind, oldest first."""
        return list(self._tables[kind].values())

    def oldest(self, kind: type[R]) -> R | None:
        """Return the oldest record of a kind."""
        return cast("R | None", next(iter(self._tables[kind].values()), None))

    def count(self, kind: type) -> int:
        """Return how many records of a kind there are."""
        return len(self._tables[kind])

    def position(self, record: Any) -> int:
        """Return a number that orders records by when they were made."""
        return self._positions[type(record), record.id]

    def put(self, record: R) -> R:
        """Add or change a record."""
        known = cast("Record", record)
        self._touch(type(record), known.id)
        self._set(type(record), known.id, record)
        return record

    def drop(self, record: Any) -> None:
        """Remove a record."""
        self._touch(type(record), record.id)
        self._set(type(record), record.id, None)

    def restore(self, record: Any, position: int) -> None:
        """Take a record over from the store."""
        self._positions[type(record), record.id] = position
        self._next = max(self._next, position + 1)
        self._set(type(record), record.id, record)

    # Relations

    def enis_of(self, instance: str) -> list[Eni]:
        """Return the ENIs of an instance, the primary one first, then as they were attached."""
        enis = [cast("Eni", self._tables[Eni][key]) for key in self._enis.get(instance, ())]
        return sorted(enis, key=lambda eni: (eni.type != "Primary", eni.attached))

    def disks_of(self, instance: str) -> list[Disk]:
        """Return the disks of an instance, the system disk first."""
        disks = [cast("Disk", self._tables[Disk][key]) for key in self._disks.get(instance, ())]
        return sorted(disks, key=lambda disk: (disk.type != "system", disk.device))

    def taken(self, vswitch: str) -> dict[str, str]:
        """Return the private IPs in use in a vSwitch, each with its ENI."""
        return self._addresses[vswitch]

    def free(self, vswitch: str, first: IPv4Address, count: int) -> Iterator[str]:
        """Yield the private IPs of a vSwitch that nobody has, lowest first, out of `count` from `first` on."""
        taken, start = self._addresses[vswitch], max(int(first), self._floors.get(vswitch, 0))
        lowest = True
        for number in range(start, int(first) + count):
            address = str(IPv4Address(number))
            if address not in taken:
                if lowest:
                    # Where the next search begins: a vSwitch of 65,000 addresses is not read through for each ENI.
                    self._floors[vswitch], lowest = number, False
                yield address

    def eip_at(self, eni: str, address: str) -> Eip | None:
        """Return the EIP that is bound to a private IP of an ENI, in whatever state."""
        key = self._bound.get((eni, address))
        return self._tables[Eip][key] if key else None

    def eips_of(self, eni: str) -> list[Eip]:
        """Return the EIPs that are bound to private IPs of an ENI."""
        return [self._tables[Eip][key] for key in self._on_eni.get(eni, ())]

    # Transactions

    def changes(self) -> Iterator[Change]:
        """Yield what changed since the last `settle` or `undo`."""
        for kind, key in self._before:
            yield Change(self.name, kind, key, self._positions[kind, key], self._tables[kind].get(key))

    def touched(self) -> list[Any]:
        """Return the records that changed and still exist."""
        return [self._tables[kind][key] for kind, key in self._before if key in self._tables[kind]]

    def settle(self) -> list[Event]:
        """Take what changed for good, and return the events for the plane."""
        for kind, key in self._before:
            if key not in self._tables[kind]:
                del self._positions[kind, key]
        self._before.clear()
        events, self.events = self.events, []
        return events

    def undo(self) -> None:
        """Take back everything since the last `settle`."""
        revived = set()
        for (kind, key), before in reversed(self._before.items()):
            if before is not None and key not in self._tables[kind]:
                revived.add(kind)
            self._set(kind, key, before)
            if before is None:
                del self._positions[kind, key]
        for kind in revived:
            ordered = sorted(self._tables[kind].items(), key=lambda item: self._positions[type(item[1]), item[0]])
            self._tables[kind] = dict(ordered)
        self._before.clear()
        self.events.clear()

    def _touch(self, kind: type, key: str) -> None:
        if (kind, key) not in self._before:
            self._before[kind, key] = self._tables[kind].get(key)
        if (kind, key) not in self._positions:
            self._positions[kind, key] = self._next
            self._next += 1

    def _set(self, kind: type, key: str, record: Any) -> None:
        table = self._tables[kind]
        before = table.get(key)
        if kind is Eni:
            self._index_eni(before, record)
        elif kind is Eip:
            self._index_eip(before, record)
        elif kind is Disk:
            self._index_disk(before, record)
        if record is None:
            table.pop(key, None)
        else:
            table[key] = record

    def _index_eni(self, before: Eni | None, after: Eni | None) -> None:
        if before is not None:
            for address in before.addresses:
                self._addresses[before.vswitch].pop(address, None)
                floor = self._floors.get(before.vswitch, 0)
                self._floors[before.vswitch] = min(floor, int(IPv4Address(address)))
        if after is not None:
            for address in after.addresses:
                holder = self._addresses[after.vswitch].setdefault(address, after.id)
                if holder != after.id:
                    raise AssertionError(f"{address} of {after.vswitch} belongs to {holder} and {after.id}")
        old, new = before.instance if before else "", after.instance if after else ""
        if old and old != new:
            self._enis[old].pop(cast("Eni", before).id)
        if new and old != new:
            self._enis[new][cast("Eni", after).id] = None

    def _index_disk(self, before: Disk | None, after: Disk | None) -> None:
        if before is not None and before.instance:
            self._disks[before.instance].pop(before.id)
        if after is not None and after.instance:
            self._disks[after.instance][after.id] = None

    def _index_eip(self, before: Eip | None, after: Eip | None) -> None:
        if before is not None:
            self.public.pop(before.address, None)
        if after is not None:
            self.public[after.address] = after.id
        if before is not None and before.eni:
            self._bound.pop((before.eni, before.private_ip))
            self._on_eni[before.eni].pop(before.id)
        if after is not None and after.eni:
            holder = self._bound.setdefault((after.eni, after.private_ip), after.id)
            if holder != after.id:
                raise AssertionError(f"{after.private_ip} of {after.eni} has the EIPs {holder} and {after.id}")
            self._on_eni[after.eni][after.id] = None
