"""The wires: the internet beyond the EIPs, and a VPC's router with its vSwitches, each in a namespace."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, IPv6Network
from typing import Any

from generator.errors import MultieipError
from generator.sandbox.fabric import filters, netns
from generator.sandbox.fabric.model import Eni, VSwitch
from generator.sandbox.fabric.netns import Namespace

# TEST-NET-3 (RFC 5737): nobody's, so nothing that a guest may know is hidden behind it.
_BACKBONE = IPv4Interface("203.0.113.1/24")
# Documentation's prefix (RFC 3849). IPv6 addresses of ENIs are routed, not translated.
_BACKBONE6 = IPv6Interface("2001:db8::1/64")
ECHO_PORT = 7
# What a guest on ECS sees as its gateway's. A bridge without an address of its own takes that of a port, and
# forgets every neighbour, permanent ones too, when ports come and go.
_GATEWAY_MAC = "ee:ff:ff:ff:ff:ff"

_FORWARD6 = {
    "ipv6/conf/all/forwarding": "1",
    # Nobody else is on these links: their addresses are good at once, not after a second.
    "ipv6/conf/default/dad_transmits": "0",
}
_SWITCH_SYSCTLS = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    # A VPC's router tells nobody of a better way, and answers ARP only for its own address.
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
    "ipv4/conf/default/arp_ignore": "1",
    # Whoever asks for what is not there is told so each time: a resolver that is not costs 5 s a question.
    "ipv4/icmp_ratelimit": "0",
    **_FORWARD6,
    # Frames on a vSwitch are not the router's to filter.
    "bridge/bridge-nf-call-iptables": "0",
    "bridge/bridge-nf-call-ip6tables": "0",
    "bridge/bridge-nf-call-arptables": "0",
    # 8 ENIs of 50 IPs on many instances, each a permanent neighbour.
    "ipv4/neigh/default/gc_thresh3": "65536",
}


@dataclass
class Internet:
    """A host on the internet, which reaches every EIP; its echo tells a client the address it was seen with."""

    space: Namespace
    address: IPv4Address = _BACKBONE.ip
    address6: IPv6Address = _BACKBONE6.ip
    _taken: set[int] = field(default_factory=set)

    def create(self) -> None:
        """Make the namespace and its backbone."""
        self.space.create()
        self.space.set_sysctls({"ipv4/ip_forward": "1", "ipv4/conf/all/send_redirects": "0", **_FORWARD6})
        self.space.ip(
            "link add backbone type bridge forward_delay 0 mcast_snooping 0",
            f"addr add {_BACKBONE} dev backbone",
            f"addr add {_BACKBONE6} dev backbone nodad",
            "link set backbone up",
        )
        self.space.set_sysctls({"ipv4/conf/backbone/send_redirects": "0"})

    def connect(self, router: Namespace, cidr6: IPv6Network | None) -> IPv4Address:
        """Connect a VPC's router by an interface `wan` in it, and return the address that it has there."""
        number = next(free for free in range(1, len(self._taken) + 2) if free not in self._taken)
        address = self.address + number
        if address not in _BACKBONE.network or address == _BACKBONE.network.broadcast_address:
            raise MultieipError("the sandbox has room for 253 VPCs", hint="delete VPCs that are not used")
        self._taken.add(number)
        self.space.ip(
            f"link add vpc{number} type veth peer name wan netns {router.name}",
            f"link set vpc{number} master backbone up",
        )
        address6 = self.address6 + number
        router.ip(
            f"addr add {address}/{_BACKBONE.network.prefixlen} dev wan",
            f"addr add {address6}/{_BACKBONE6.network.prefixlen} dev wan nodad",
            "link set wan up",
            f"route add default via {self.address}",
            f"route add ::/0 via {self.address6} dev wan onlink",
        )
        if cidr6 is not None:
            self.space.ip(f"route add {cidr6} via {address6} dev backbone onlink")
        return address

    def disconnect(self, router: IPv4Address, cidr6: IPv6Network | None) -> None:
        """Take away the connection of the router that has this address."""
        number = int(router) - int(self.address)
        self.space.ip(*([f"route delete {cidr6}"] if cidr6 is not None else []), f"link delete vpc{number}")
        self._taken.discard(number)

    def route(self, eips: Mapping[IPv4Address, IPv4Address | None]) -> None:
        """Send EIPs to the routers with these addresses; None takes an EIP's route away."""
        lines = [
            f"route replace {eip}/32 via {router}" if router else f"route delete {eip}/32"
            for eip, router in eips.items()
        ]
        if lines:
            self.space.ip(*lines)

    def listen(self, port: int) -> socket.socket:
        """Return a socket that listens on the loopback of the internet's host."""
        return self.space.call(lambda: listen(IPv4Address("127.0.0.1"), port))

    async def serve_echo(self) -> asyncio.Server:
        """Tell each TCP client on port 7 the address that it comes from, one line, and close."""

        async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = writer.get_extra_info("peername")
            # One socket for both families shows IPv4 as ::ffff:192.0.2.1.
            writer.write(f"{peer[0].removeprefix('::ffff:')}\n".encode() if peer else b"\n")
            writer.close()

        listening = self.space.call(lambda: listen(IPv6Address(0), ECHO_PORT))
        return await asyncio.start_server(tell, sock=listening)


@dataclass
class Router:
    """A VPC's router: the gateway of each vSwitch, the edge with the EIPs, the address of the metadata service."""

    space: Namespace
    address: IPv4Address | None = None
    _bridges: dict[str, str] = field(default_factory=dict)

    def create(self, internet: Internet, cidr6: IPv6Network | None = None) -> None:
        """Make the namespace, with its filters and its way to the internet; `cidr6` is routed to it."""
        self.space.create()
        self.space.set_sysctls(_SWITCH_SYSCTLS)
        self.address = internet.connect(self.space, cidr6)
        self.space.ip(f"addr add {filters.METADATA}/32 dev lo")
        self.filter(filters.base(self.address))

    def remove(self, internet: Internet, cidr6: IPv6Network | None) -> None:
        """Remove the namespace and its way to the internet."""
        if self.address is not None:
            internet.disconnect(self.address, cidr6)
        netns.destroy(self.space)

    def filter(self, text: str) -> None:
        """Apply nftables commands, all of them or none."""
        if not text:
            return
        done = self.space.run(["nft", "-f", "-"], stdin=text.encode(), check=False)
        if done.returncode != 0:
            raise MultieipError(f"nft refused in {self.space.name}: {done.stderr.strip()}")

    def add_vswitch(self, switch: VSwitch) -> str:
        """Make the bridge of a vSwitch with its gateway, and return its name."""
        number = next(free for free in range(len(self._bridges) + 1) if f"vsw{free}" not in self._bridges.values())
        name = f"vsw{number}"
        gateway6 = [f"addr add {switch.gateway6}/{switch.cidr6.prefixlen} dev {name} nodad"] if switch.cidr6 else []
        self.space.ip(
            f"link add {name} address {_GATEWAY_MAC} type bridge forward_delay 0 mcast_snooping 0 ageing_time 0",
            f"addr add {switch.gateway}/{switch.cidr.prefixlen} dev {name}",
            *gateway6,
            f"link set {name} up",
        )
        # Interfaces made later than "all" was written do not take it over.
        self.space.set_sysctls({f"ipv4/conf/{name}/rp_filter": "0", f"ipv4/conf/{name}/send_redirects": "0"})
        self._bridges[switch.id] = name
        return name

    def remove_vswitch(self, switch_id: str) -> None:
        """Remove the bridge of a vSwitch, which has no ENI any more."""
        self.space.ip(f"link delete {self._bridges.pop(switch_id)}")

    def plug(self, eni: Eni, guest: Namespace, name: str) -> None:
        """Connect an ENI to its vSwitch, and give it to a guest as interface `name`."""
        bridge = self._bridges[eni.vswitch.id]
        self.filter(filters.own(eni))
        self.space.ip(
            f"link add {eni.port} type veth peer name {name} address {eni.mac} netns {guest.name}",
            # The fabric knows where each MAC is. A vSwitch answers ARP itself, and floods it to nobody.
            f"link set {eni.port} master {bridge}",
            f"link set {eni.port} type bridge_slave learning off flood off proxy_arp_wifi on",
            f"link set {eni.port} up",
            *self._neighbours("replace", eni),
        )
        self.space.run(["bridge", "fdb", "replace", eni.mac, "dev", eni.port, "master", "static"])

    def unplug(self, eni: Eni) -> None:
        """Take an ENI out of its guest."""
        self.space.ip(f"link del {eni.port}", *self._neighbours("del", eni))
        self.filter(filters.disown(eni))

    def reassign(self, old: Eni, new: Eni) -> None:
        """Give a plugged ENI other addresses."""
        self.space.ip(*self._neighbours("del", old), *self._neighbours("replace", new))
        self.filter(filters.reassign(old, new))

    def set_carrier(self, eni: Eni, *, up: bool) -> None:
        """Take away the carrier that the guest sees on an ENI, or give it back."""
        self.space.ip(f"link set {eni.port} {'up' if up else 'down'}")

    def _neighbours(self, verb: str, eni: Eni) -> list[str]:
        bridge = self._bridges[eni.vswitch.id]
        state = f"lladdr {eni.mac} nud permanent " if verb == "replace" else ""
        return [f"neigh {verb} {address} {state}dev {bridge}" for address in (*eni.addresses, *eni.addresses6)]

    def spoofed(self) -> dict[str, dict[str, int]]:
        """Return how many packets and ARPs were dropped, by port and source address."""
        found: dict[str, dict[str, int]] = {}
        for name in ("spoofed", "spoofed6"):
            done = self.space.run(["nft", "-j", "list", "set", "bridge", "antispoof", name])
            for entry in json.loads(done.stdout)["nftables"]:
                for element in entry.get("set", {}).get("elem", []):
                    port, source, packets = _counted(element)
                    found.setdefault(port, {})[source] = packets
        return found


def _counted(element: Any) -> tuple[str, str, int]:
    port, source = element["elem"]["val"]["concat"]
    return str(port), str(source), int(element["elem"]["counter"]["packets"])


def listen(address: IPv4Address | IPv6Address, port: int) -> socket.socket:
    """Return a socket that listens, on :: for IPv4 too; in the namespace of the calling thread."""
    listening = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((str(address), port))
    listening.listen(1024)
    listening.setblocking(False)
    return listening
