"""A fleet as it is, instance by instance: what `verify`, `status`, `topology` and `inventory` look at. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from generator.cloud.eips import Eip
from generator.cloud.enis import Eni
from generator.fleet.desired import Desired
from generator.fleet.matching import Machines
from generator.fleet.observe import Observed


@dataclass(frozen=True)
class PrivateIp:
    """A private IP of an ENI with its EIP; `eip` is empty without one, and `wanted` says whether it should have one.

    `problem` is what is wrong with the pair, empty when both views of the API agree that it is in use.
    """

    ip: str
    eip: str = ""
    public: str = ""
    wanted: bool = True
    problem: str = ""


@dataclass(frozen=True)
class Nic:
    """An ENI of an instance; `id` is empty when the instance lacks it."""

    index: int
    id: str
    vswitch: str
    zone: str
    addresses: tuple[PrivateIp, ...]


@dataclass(frozen=True)
class Machine:
    """An instance of a fleet; `id` is empty when it is not there."""

    slot: int
    name: str
    id: str
    status: str
    type: str
    image: str
    vswitch: str
    zone: str
    nics: tuple[Nic, ...]
    key_pair: str = ""

    @property
    def private_ip(self) -> str:
        """The primary private IP, empty when there is none."""
        return next((address.ip for nic in self.nics for address in nic.addresses), "")

    def mapped(self) -> Iterator[tuple[Nic, PrivateIp]]:
        """Yield the private IPs that have an EIP, each with its ENI."""
        for nic in self.nics:
            for address in nic.addresses:
                if address.public:
                    yield nic, address

    def problems(self) -> list[str]:
        """Return what is wrong with its private IPs and their EIPs."""
        return [address.problem for nic in self.nics for address in nic.addresses if address.problem]


@dataclass(frozen=True)
class Picture:
    """All instances of a fleet in the order of their numbers."""

    fleet: str
    region: str
    vpc: str
    machines: tuple[Machine, ...]

    @property
    def eips(self) -> int:
        """How many EIPs are on a private IP."""
        return sum(1 for machine in self.machines for _ in machine.mapped())


def picture(desired: Desired, observed: Observed) -> Picture:
    """Return a fleet as it is, with what it lacks of what it should be."""
    machines = Machines(desired, observed)
    eips = {eip.id: eip for eip in observed.eips}
    at = {(eip.target, eip.private_ip): eip for eip in observed.eips if eip.target and eip.private_ip}
    slots = sorted({*range(1, desired.count + 1), *machines.by_slot})
    shown = [_machine(desired, machines, slot, eips, at) for slot in slots]
    return Picture(desired.fleet, desired.region, desired.vpc, tuple(shown))


def _machine(
    desired: Desired,
    machines: Machines,
    slot: int,
    eips: Mapping[str, Eip],
    at: Mapping[tuple[str, str], Eip],
) -> Machine:
    found = machines.by_slot.get(slot)
    name = found.name if found else f"{desired.prefix}-{slot:03}"
    nics = tuple(_nic(desired, machines, slot, index, name, eips, at) for index in range(len(desired.enis)))
    if found is None:
        return Machine(slot, name, "", "missing", "", "", "", "", nics)
    return Machine(
        slot, name, found.id, found.status, found.type, found.image, found.vswitch, found.zone, nics, found.key_pair
    )


def _nic(  # noqa: PLR0917 - a place and the views that it is looked up in
    desired: Desired,
    machines: Machines,
    slot: int,
    index: int,
    name: str,
    eips: Mapping[str, Eip],
    at: Mapping[tuple[str, str], Eip],
) -> Nic:
    wanted = desired.enis[index]
    eips_wanted = wanted.eips if slot <= desired.count else 0
    eni = machines.eni_at(slot, index)
    if eni is None:
        missing = (PrivateIp("", problem=_missing(name, index, number)) for number in range(eips_wanted))
        return Nic(index, "", wanted.vswitch, "", tuple(missing))
    due = _due(wanted.addresses, eni, eips_wanted)
    addresses = [_address(eni, number, due, eips, at) for number in range(len(eni.addresses))]
    lacking = (
        PrivateIp("", problem=_missing(name, index, number))
        for number in range(len(due), eips_wanted)
    )  # fmt: skip
    return Nic(index, eni.id, eni.vswitch, eni.zone, (*addresses, *lacking))


def _due(listed: tuple[str, ...], eni: Eni, eips: int) -> set[str]:
    """Return the private IPs of an ENI that should have an EIP: the first ones, as the file lists them."""
    held = [address.ip for address in eni.addresses]
    return set(([ip for ip in listed if ip in held] if listed else held)[:eips])


def _missing(name: str, index: int, number: int) -> str:
    return f"{name} has no private IP {number} on ENI {index}"


def _address(
    eni: Eni, number: int, due: set[str], eips: Mapping[str, Eip], at: Mapping[tuple[str, str], Eip]
) -> PrivateIp:
    """Return a private IP as both views of the API show it: the ENI's, and the EIP's."""
    shown = eni.addresses[number]
    bound = at.get((eni.id, shown.ip))
    wanted = shown.ip in due
    if bound is None and not shown.eip:
        problem = f"{shown.ip} on {eni.id} has no EIP" if wanted else ""
        return PrivateIp(shown.ip, wanted=wanted, problem=problem)
    eip = bound or eips.get(shown.eip)
    public = eip.address if eip else shown.public
    found = PrivateIp(shown.ip, eip.id if eip else shown.eip, public, wanted)
    return PrivateIp(found.ip, found.eip, found.public, wanted, _disagreement(eni, found, bound, shown.eip))


def _disagreement(eni: Eni, found: PrivateIp, bound: Eip | None, shown: str) -> str:
    if not found.wanted:
        return f"{found.ip} on {eni.id} has {found.public}, which the file does not ask for"
    if bound is None:
        return f"{found.public} on {found.ip} of {eni.id} is none of the fleet's EIPs"
    if bound.status != "InUse":
        return f"{found.public} on {found.ip} of {eni.id} is {bound.status}"
    if shown != bound.id:
        return f"{found.public} is for {found.ip} of {eni.id}, whose ENI shows {shown or 'no EIP'} there"
    return ""
