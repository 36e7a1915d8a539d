"""The fabric: what exists, who has what, and the metadata that follows from it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from types import TracebackType
from typing import Self

from generator.sandbox.fabric import filters, netns, owner
from generator.sandbox.fabric.dhcp import Dhcp
from generator.sandbox.fabric.loop import Loop
from generator.sandbox.fabric.metadata import document
from generator.sandbox.fabric.model import Eni, Identity, Vpc, VSwitch
from generator.sandbox.fabric.netns import Namespace
from generator.sandbox.fabric.network import Internet, Router, listen
from generator.sandbox.fabric.service import Service, View
from generator.sandbox.fabric.uplink import Uplink

PREFIX = "mip-"


@dataclass
class _Vpc:
    vpc: Vpc
    router: Router
    service: Service
    dhcp: dict[str, Dhcp] = field(default_factory=dict)
    eips: dict[IPv4Address, IPv4Address] = field(default_factory=dict)


@dataclass
class _Guest:
    identity: Identity
    space: Namespace
    # By interface number: a hot-plugged ENI takes the lowest free one, as the guest's kernel does.
    enis: dict[int, str] = field(default_factory=dict)


class Fabric:
    """One fabric. As a context manager it removes all that it made, whatever happened.

    `prefix` begins the names of its namespaces and tells fabrics on one machine apart. `lease` and `renew` are
    DHCP's lease time and T1 in seconds. `uplink` gives it a way out, to wherever this process can connect to.
    """

    def __init__(self, prefix: str = "", *, lease: int = 3600, renew: int | None = None, uplink: bool = False) -> None:
        owner.sweep_dead()
        self.prefix = prefix or f"{PREFIX}{secrets.token_hex(3)}"
        self._lock = owner.hold(self.prefix)
        self.folder = owner.work_folder(self.prefix)
        self._lease, self._renew = lease, renew
        self.loop = Loop()
        self._vpcs: dict[str, _Vpc] = {}
        self._enis: dict[str, Eni] = {}
        self._guests: dict[str, _Guest] = {}
        self.internet = Internet(Namespace(f"{self.prefix}-internet"))
        self._uplink = Uplink(self.internet.space, self.folder) if uplink else None
        try:
            self.internet.create()
            if self._uplink is not None:
                self._uplink.start()
            self.loop.call(self.internet.serve_echo())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove everything; a second time does nothing."""
        for held in self._vpcs.values():
            self.loop.call(held.service.close())
            for server in held.dhcp.values():
                server.stop()
        self._vpcs.clear()
        if self._uplink is not None:
            self._uplink.stop()
        self.loop.stop()
        owner.cleanup(self.prefix)
        self._lock.close()

    # VPCs and vSwitches

    def add_vpc(self, vpc: Vpc) -> None:
        """Make a VPC with its router and metadata service."""
        router = Router(Namespace(f"{self.prefix}-{vpc.id}"))
        held = _Vpc(vpc, router, Service(lambda address: self._view(vpc.id, address)))
        self._vpcs[vpc.id] = held
        router.create(self.internet, vpc.cidr6)
        if self._uplink is not None:
            self._uplink.serve_names(router.space)
        self.loop.call(held.service.serve(router.space.call(lambda: listen(filters.METADATA, 80))))

    def add_vswitch(self, vpc_id: str, switch: VSwitch) -> None:
        """Make a vSwitch with its gateway and DHCP."""
        held = self._vpcs[vpc_id]
        bridge = held.router.add_vswitch(switch)
        server = Dhcp(held.router.space, switch, bridge, self.folder / switch.id, self._lease, self._renew)
        held.dhcp[switch.id] = server
        server.start()

    def remove_vswitch(self, vpc_id: str, switch_id: str) -> None:
        """Remove a vSwitch that has no ENI any more."""
        held = self._vpcs[vpc_id]
        held.dhcp.pop(switch_id).stop()
        held.router.remove_vswitch(switch_id)

    def remove_vpc(self, vpc_id: str) -> None:
        """Remove a VPC that has no vSwitch and no association any more."""
        held = self._vpcs.pop(vpc_id)
        self.loop.call(held.service.close())
        held.router.remove(self.internet, held.vpc.cidr6)

    def service(self, vpc_id: str) -> Service:
        """Return the metadata service of a VPC, for its faults and its log."""
        return self._vpcs[vpc_id].service

    def router(self, vpc_id: str) -> Router:
        """Return the router of a VPC."""
        return self._vpcs[vpc_id].router

    def dhcp(self, vpc_id: str, switch_id: str) -> Dhcp:
        """Return the DHCP server of a vSwitch."""
        return self._vpcs[vpc_id].dhcp[switch_id]

    def set_metadata(self, vpc_id: str, verdict: str) -> None:
        """Make the metadata service reachable, refused or dropped (`filters.REACHABLE` …)."""
        self.router(vpc_id).filter(filters.metadata(verdict))

    # Guests

    def add_guest(self, identity: Identity) -> Namespace:
        """Make the namespace of an instance, and return it."""
        guest = _Guest(identity, self.space(identity.id))
        self._guests[identity.id] = guest
        guest.space.create()
        return guest.space

    def space(self, instance_id: str) -> Namespace:
        """Return the namespace of an instance, which may not be there yet."""
        return Namespace(f"{self.prefix}-{instance_id}")

    def remove_guest(self, instance_id: str) -> None:
        """Unplug a guest's ENIs and remove its namespace, with all that runs in it."""
        guest = self._guests[instance_id]
        for eni_id in list(guest.enis.values()):
            self.unplug(eni_id)
        netns.destroy(guest.space)
        del self._guests[instance_id]

    def power_cycle(self, instance_id: str) -> None:
        """Give a guest that does not run a fresh kernel's network state, with the same ENIs in the same order."""
        guest = self._guests[instance_id]
        plugged = [guest.enis[number] for number in sorted(guest.enis)]
        for eni_id in plugged:
            self.unplug(eni_id)
        netns.destroy(guest.space)
        guest.space.create()
        for eni_id in plugged:
            self.plug(eni_id, instance_id)

    def update_guest(self, identity: Identity) -> None:
        """Change what the metadata service says of an instance."""
        self._guests[identity.id].identity = identity

    def identity(self, instance_id: str) -> Identity:
        """Return what the metadata service says of an instance."""
        return self._guests[instance_id].identity

    # ENIs

    def add_eni(self, eni: Eni) -> None:
        """Make an ENI, or change one: a plugged one may send from what it has now, from this moment on."""
        old = self._enis.get(eni.id)
        self._enis[eni.id] = eni
        held = self._vpcs[eni.vpc_id]
        if old is None:
            held.dhcp[eni.vswitch.id].add(eni)
        elif self._plugged(eni.id):
            held.router.reassign(old, eni)

    def remove_eni(self, eni_id: str) -> None:
        """Forget an ENI that no guest has, with its associations."""
        eni = self._enis.pop(eni_id)
        held = self._vpcs[eni.vpc_id]
        self._translate(held, {eip: ip for eip, ip in held.eips.items() if ip not in eni.addresses})
        held.dhcp[eni.vswitch.id].remove(eni)

    def assign(
        self, eni_id: str, addresses: Iterable[IPv4Address] = (), addresses6: Iterable[IPv6Address] = ()
    ) -> None:
        """Give an ENI more private IPs."""
        eni = self._enis[eni_id]
        self.add_eni(
            replace(
                eni,
                addresses=(*eni.addresses, *addresses),
                addresses6=(*eni.addresses6, *addresses6),
            )
        )

    def unassign(self, eni_id: str, addresses: Iterable[IPv4Address]) -> None:
        """Take secondary private IPs from an ENI, and their EIPs with them."""
        gone = set(addresses)
        eni = self._enis[eni_id]
        held = self._vpcs[eni.vpc_id]
        self._translate(held, {eip: ip for eip, ip in held.eips.items() if ip not in gone})
        self.add_eni(replace(eni, addresses=tuple(ip for ip in eni.addresses if ip not in gone)))

    def eni(self, eni_id: str) -> Eni:
        """Return an ENI as it is now."""
        return self._enis[eni_id]

    def plug(self, eni_id: str, instance_id: str) -> str:
        """Give an ENI to a guest, and return the name of its interface there."""
        guest, eni = self._guests[instance_id], self._enis[eni_id]
        number = next(free for free in range(len(guest.enis) + 1) if free not in guest.enis)
        self._vpcs[eni.vpc_id].router.plug(eni, guest.space, f"eth{number}")
        guest.enis[number] = eni_id
        return f"eth{number}"

    def unplug(self, eni_id: str) -> None:
        """Take an ENI out of the guest that has it."""
        eni = self._enis[eni_id]
        for guest in self._guests.values():
            for number in [number for number, held in guest.enis.items() if held == eni_id]:
                self._vpcs[eni.vpc_id].router.unplug(eni)
                del guest.enis[number]

    def interface(self, eni_id: str) -> str | None:
        """Return the name of a plugged ENI's interface in its guest."""
        for guest in self._guests.values():
            for number, held in guest.enis.items():
                if held == eni_id:
                    return f"eth{number}"
        return None

    def set_carrier(self, eni_id: str, *, up: bool) -> None:
        """Take away, or give back, the carrier of a plugged ENI."""
        eni = self._enis[eni_id]
        self._vpcs[eni.vpc_id].router.set_carrier(eni, up=up)

    def spoofed(self) -> dict[str, dict[str, int]]:
        """Return what ENIs sent and may not: dropped packets and ARPs by ENI id and source address."""
        counted = {port: sources for held in self._vpcs.values() for port, sources in held.router.spoofed().items()}
        return {eni.id: counted[eni.port] for eni in self._enis.values() if eni.port in counted}

    # EIPs

    def associate(self, eips: Mapping[IPv4Address, tuple[str, IPv4Address]]) -> None:
        """Map EIPs to (ENI id, private IP), those of one VPC in one step."""
        for held in self._vpcs.values():
            wanted = {eip: ip for eip, (eni_id, ip) in eips.items() if self._enis[eni_id].vpc_id == held.vpc.id}
            if wanted:
                self._translate(held, {**held.eips, **wanted})

    def unassociate(self, eips: Iterable[IPv4Address]) -> None:
        """End associations."""
        gone = set(eips)
        for held in self._vpcs.values():
            self._translate(held, {eip: ip for eip, ip in held.eips.items() if eip not in gone})

    def eips(self, vpc_id: str) -> dict[IPv4Address, IPv4Address]:
        """Return the associations in a VPC, EIP to private IP."""
        return dict(self._vpcs[vpc_id].eips)

    def _translate(self, held: _Vpc, after: dict[IPv4Address, IPv4Address]) -> None:
        before = held.eips
        self.internet.route({eip: held.router.address for eip in after if eip not in before})
        held.router.filter(filters.translate(before, after))
        self.internet.route({eip: None for eip in before if eip not in after})
        held.eips = after

    # Metadata

    def _plugged(self, eni_id: str) -> bool:
        return self.interface(eni_id) is not None

    def view(self, instance_id: str) -> View:
        """Return what the metadata service tells an instance now."""
        guest = self._guests[instance_id]
        enis = [self._enis[eni_id] for _, eni_id in sorted(guest.enis.items())]
        eips = {
            (eni.id, private): eip
            for eni in enis
            for eip, private in self._vpcs[eni.vpc_id].eips.items()
            if private in eni.addresses
        }
        return View(
            guest.identity,
            document(guest.identity, [(eni, self._vpcs[eni.vpc_id].vpc) for eni in enis], eips),
        )

    def _view(self, vpc_id: str, source: IPv4Address) -> View | None:
        # Copies: this runs in the servers' thread, while ENIs come and go in others.
        for instance_id, guest in list(self._guests.items()):
            for eni_id in list(guest.enis.values()):
                eni = self._enis.get(eni_id)
                if eni is not None and eni.vpc_id == vpc_id and source in eni.addresses:
                    return self.view(instance_id)
        return None
