"""Which of the resources that are there is which of those that are wanted. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from generator.cloud.eips import Eip
from generator.cloud.enis import Eni
from generator.cloud.instances import Instance
from generator.fleet import names
from generator.fleet.actions import AddEni, AddIps, Bind, Need, Target
from generator.fleet.desired import Desired
from generator.fleet.names import Place
from generator.fleet.observe import Observed


class Machines:
    """Which instance is which number, and which ENI is which of its ENIs."""

    def __init__(self, desired: Desired, observed: Observed) -> None:
        self.desired = desired
        self.by_slot: dict[int, Instance] = {}
        self.surplus: list[Instance] = []
        # ENIs by (slot, index): of instances that are there, and of ones that are gone.
        self.enis: dict[tuple[int, int], Eni] = {}
        self.orphans: dict[int, dict[int, Eni]] = {}
        self.leftovers: list[Eni] = []
        self.extra_enis: list[Eni] = []
        self._places = {eip.id: place for eip in observed.eips if (place := names.place_of(eip.tags))}
        # EIPs that the file names carry no tag; it says itself where they belong.
        self._places |= dict(zip(desired.eip_ids, desired.targets(), strict=False))
        self._given = {eni.existing for eni in desired.enis if eni.existing}
        by_instance: dict[str, list[Eni]] = defaultdict(list)
        for eni in observed.enis:
            by_instance[eni.instance].append(eni)
        # A rollout that is under way has a second instance of a number, which only rollouts care for.
        self.aside = [one for one in observed.instances if names.role_of(one.tags) != names.CURRENT]
        self._number([one for one in observed.instances if names.role_of(one.tags) == names.CURRENT], by_instance)
        for slot, instance in self.by_slot.items():
            self._index(slot, [eni for eni in by_instance[instance.id] if not _is_passing(eni)])
        self._loose([eni for eni in by_instance[""] if not _is_passing(eni)])

    def _number(self, found: Iterable[Instance], by_instance: Mapping[str, list[Eni]]) -> None:
        """Give each instance its number: by its name, else by its EIPs, else the lowest that is free."""
        unnamed = []
        for instance in sorted(found, key=lambda one: (one.created, one.id)):
            slot = names.slot_of(instance.name, self.desired.prefix)
            if slot is None or slot in self.by_slot:
                unnamed.append(instance)
            else:
                self.by_slot[slot] = instance
        free = iter(slot for slot in range(1, self.desired.count + 1) if slot not in self.by_slot)
        for instance in unnamed:
            slot = self._slot_by_eips(by_instance[instance.id])
            if slot is None or slot in self.by_slot:
                slot = next((one for one in free if one not in self.by_slot), None)
            if slot is None:
                self.surplus.append(instance)
            else:
                self.by_slot[slot] = instance

    def _slot_by_eips(self, enis: Iterable[Eni]) -> int | None:
        places = (self._places.get(address.eip) for eni in enis for address in eni.addresses)
        return next((place.slot for place in places if place), None)

    def _index(self, slot: int, found: list[Eni]) -> None:
        """Say which of the wanted ENIs each ENI of an instance is: by id, tag or name, else the next one."""
        left = []
        for eni in found:
            index = self._index_of(eni)
            if index is None or (slot, index) in self.enis:
                left.append(eni)
            else:
                self.enis[slot, index] = eni
        for eni in left:
            free = (
                index
                for index in range(1, len(self.desired.enis))
                if (slot, index) not in self.enis and not self.desired.enis[index].existing
            )
            index = next(free, None)
            if index is None:
                self.extra_enis.append(eni)
            else:
                self.enis[slot, index] = eni

    def _index_of(self, eni: Eni) -> int | None:
        if eni.primary:
            return 0
        tagged = dict(eni.tags).get(names.ENI, "")
        for index, wanted in enumerate(self.desired.enis):
            if index and (eni.id == wanted.existing or tagged == str(index)):
                return index
        for index, wanted in enumerate(self.desired.enis):
            if index and not tagged and eni.name == wanted.name and not wanted.existing:
                return index
        return None

    def _loose(self, found: list[Eni]) -> None:
        """Sort ENIs that are on no instance: by the numbers that their EIPs have, else to whatever number lacks them.

        One that holds nothing and was never tagged was of an instance that vanished before it ran: it is left over.
        """
        unplaced = []
        for eni in found:
            slot = self._slot_by_eips([eni])
            if eni.id in self._given:
                continue
            if names.FLEET not in dict(eni.tags) and not any(address.eip for address in eni.addresses):
                self.leftovers.append(eni)
            elif slot is None:
                unplaced.append(eni)
            elif slot > self.desired.count or not self._put(slot, eni):
                self.extra_enis.append(eni)
        for eni in unplaced:
            if not any(self._put(slot, eni) for slot in range(1, self.desired.count + 1)):
                self.extra_enis.append(eni)

    def _put(self, slot: int, eni: Eni) -> bool:
        """Give a loose ENI to a number that lacks it, of the ENI's zone; say whether it could be."""
        index, held = self._index_of(eni), self.orphans.get(slot, {})
        if index is None or index in held or (slot, index) in self.enis:
            return False
        if instance := self.by_slot.get(slot):
            # It is put on its instance by `missing_enis`.
            fits = instance.zone == eni.zone
            if fits:
                self.enis[slot, index] = eni
        else:
            fits = all(other.zone == eni.zone for other in held.values())
            if fits:
                self.orphans.setdefault(slot, {})[index] = eni
        return fits

    def eni_at(self, slot: int, index: int) -> Eni | None:
        """Return an ENI of a number, on its instance or waiting for one."""
        return self.enis.get((slot, index)) or self.orphans.get(slot, {}).get(index)

    def missing_enis(self) -> Iterator[AddEni]:
        """Yield the ENIs that instances lack, and those that are there and not on theirs."""
        for slot, instance in sorted(self.by_slot.items()):
            if slot > self.desired.count:
                continue
            for index, wanted in enumerate(self.desired.enis):
                eni = self.enis.get((slot, index))
                if index and (eni is None or not eni.instance):
                    existing = eni.id if eni else wanted.existing
                    yield AddEni(slot, index, instance.id, wanted.vswitch or instance.vswitch, existing)

    def untagged(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yield the ENIs that do not say yet whose they are, by index."""
        found: dict[int, list[str]] = defaultdict(list)
        for (slot, index), eni in sorted(self.enis.items()):
            tags = dict(eni.tags)
            is_said = tags.get(names.FLEET) == self.desired.fleet and (not index or tags.get(names.ENI) == str(index))
            if slot <= self.desired.count and not is_said and eni.id not in self._given:
                found[index].append(eni.id)
        yield from ((index, tuple(ids)) for index, ids in sorted(found.items()))


def _is_passing(eni: Eni) -> bool:
    return eni.status in ("Deleting", "Detaching")


class Addresses:
    """Which EIP is on which place, which is for it, and which is for none."""

    def __init__(self, desired: Desired, observed: Observed, machines: Machines) -> None:
        self.desired, self.machines = desired, machines
        self.eips = {eip.id: eip for eip in observed.eips}
        self.bind: list[Bind] = []
        self.allocate: list[Need] = []
        self.surplus: list[Eip] = []
        self.kept = 0
        # What is on which private IP, by either view: an ENI shows an EIP only once it is in use.
        self._on = {
            (eni.id, address.ip): address.eip for eni in observed.enis for address in eni.addresses if address.eip
        }
        self._on |= {
            (eip.target, eip.private_ip): eip.id
            for eip in observed.eips
            if eip.status in ("Associating", "InUse") and eip.private_ip
        }
        self._given_places = dict(zip(desired.targets(), desired.eip_ids, strict=False))
        self._assign()

    def target(self, place: Place) -> Target | None:
        """Return the private IP of a place, if its ENI is there and has it."""
        eni, wanted = self.machines.eni_at(place.slot, place.eni), self.desired.enis[place.eni]
        if eni is None:
            return None
        held = [address.ip for address in eni.addresses]
        if wanted.addresses:
            held = [ip for ip in wanted.addresses if ip in held]
        return Target(eni.id, held[place.ip]) if place.ip < len(held) else None

    def _assign(self) -> None:
        free = self._free()
        by_place: dict[Place, Eip] = {}
        for eip in list(free.values()):
            place = names.place_of(eip.tags)
            if place and place not in by_place:
                by_place[place] = eip
        empty = []
        for place in self.desired.targets():
            target = self.target(place)
            if target and (target.eni, target.ip) in self._on:
                self.kept += 1
            elif chosen := self._given(place, free) or by_place.get(place):
                free.pop(chosen.id, None)
                self.bind.append(Bind(chosen.id, place, target))
            else:
                empty.append((place, target))
        rest = iter(sorted(free.values(), key=_by_address))
        for place, target in empty:
            if spare := next(rest, None):
                self.bind.append(Bind(spare.id, place, target))
            elif not self.desired.eip_ids:
                self.allocate.append(Need(place, target))
        self.surplus = list(rest)
        # An ENI takes one change of its EIPs at a time, so two places of one ENI are as far apart as can be.
        self.bind.sort(key=lambda bind: _apart(bind.place))
        self.allocate.sort(key=lambda need: _apart(need.place))

    def _free(self) -> dict[str, Eip]:
        bound = set(self._on.values())
        return {eip.id: eip for eip in self.eips.values() if eip.id not in bound and eip.status == "Available"}

    def _given(self, place: Place, free: Mapping[str, Eip]) -> Eip | None:
        """Return the EIP that the file names for a place, if it is free."""
        return free.get(self._given_places.get(place, ""))

    def missing_ips(self) -> Iterator[AddIps]:
        """Yield the private IPs that ENIs lack."""
        for slot in range(1, self.desired.count + 1):
            for index, wanted in enumerate(self.desired.enis):
                eni = self.machines.eni_at(slot, index)
                if eni and not wanted.existing and len(eni.addresses) < wanted.private_ips:
                    held = {address.ip for address in eni.addresses}
                    these = tuple(ip for ip in wanted.addresses if ip not in held)
                    yield AddIps(eni.id, 0 if these else wanted.private_ips - len(eni.addresses), these)

    def untagged(self) -> Iterator[str]:
        """Yield EIPs of a segment that do not say whose they are; those that the file names stay as they are."""
        for eip in self.eips.values():
            if eip.segment and eip.id not in self.desired.eip_ids and dict(eip.tags).get(names.FLEET) is None:
                yield eip.id

    def unpacked(self) -> Iterator[str]:
        """Yield EIPs that share no bandwidth yet and are to."""
        for eip in self.eips.values():
            if self.desired.package and not eip.package and eip.id not in self.desired.eip_ids:
                yield eip.id

    def beyond(self) -> Iterator[tuple[Eip, str, str]]:
        """Yield EIPs on private IPs of the fleet that should have none, with ENI and private IP."""
        wanted = {
            (target.eni, target.ip) for place in self.desired.targets() if (target := self.target(place)) is not None
        }
        ours = {eni.id for eni in self.machines.enis.values()} | {eni.id for eni in self.machines.extra_enis}
        for (eni, ip), eip in self._on.items():
            if eip in self.eips and eni in ours and (eni, ip) not in wanted:
                yield self.eips[eip], eni, ip


def _apart(place: Place) -> tuple[int, int, int]:
    return place.ip, place.slot, place.eni


def _by_address(eip: Eip) -> tuple[int, ...]:
    return tuple(int(part) for part in eip.address.split(".")) if eip.address else ()
