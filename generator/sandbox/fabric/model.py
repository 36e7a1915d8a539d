"""What the fabric is told: VPCs, vSwitches, ENIs. Frozen data; a change is a new value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

# The Xen OUI, which ECS gives to every ENI.
MAC = re.compile(r"^00:16:3e(:[0-9a-f]{2}){3}$")
# Identifiers become names of namespaces and folders.
IDENTIFIER = re.compile(r"^[a-z0-9][a-z0-9-]{0,62}$")


def _check(identifier: str) -> None:
    if not IDENTIFIER.fullmatch(identifier):
        raise ValueError(f"{identifier!r} is not an identifier (lower-case letters, digits, hyphens)")


@dataclass(frozen=True)
class VSwitch:
    """A subnet of a VPC. The gateway is the third address from its end, as on ECS (x.x.x.253 of a /24)."""

    id: str
    cidr: IPv4Network
    cidr6: IPv6Network | None = None

    def __post_init__(self) -> None:
        _check(self.id)

    @property
    def gateway(self) -> IPv4Address:
        """The IPv4 gateway."""
        return self.cidr.broadcast_address - 2

    @property
    def gateway6(self) -> IPv6Address | None:
        """The IPv6 gateway, which ends in fff7 on ECS."""
        return None if self.cidr6 is None else self.cidr6[0xFFF7]


@dataclass(frozen=True)
class Vpc:
    """A virtual private cloud: one address space with a router of its own."""

    id: str
    cidr: IPv4Network
    cidr6: IPv6Network | None = None

    def __post_init__(self) -> None:
        _check(self.id)


@dataclass(frozen=True)
class Eni:
    """An elastic network interface. The first address is its primary one, which DHCP gives out."""

    id: str
    mac: str
    vpc_id: str
    vswitch: VSwitch
    addresses: tuple[IPv4Address, ...]
    addresses6: tuple[IPv6Address, ...] = ()

    def __post_init__(self) -> None:
        _check(self.id)
        if not MAC.match(self.mac):
            raise ValueError(f"{self.mac} is not a MAC address of an ENI (00:16:3e:…)")
        if not self.addresses or len(set(self.addresses)) != len(self.addresses):
            raise ValueError(f"{self.id} needs at least one private IP, each once")
        for address in self.addresses:
            if address not in self.vswitch.cidr:
                raise ValueError(f"{address} is not in {self.vswitch.cidr} of {self.vswitch.id}")

    @property
    def port(self) -> str:
        """The name of its port on the vSwitch: at most 15 characters, and it says the MAC."""
        return "e" + self.mac.replace(":", "")


@dataclass(frozen=True)
class Identity:
    """What the metadata service says of an instance besides its ENIs."""

    id: str
    hostname: str
    region_id: str = "cn-hangzhou"
    zone_id: str = "cn-hangzhou-h"
    image_id: str = "m-multieip"
    instance_type: str = "ecs.g7.large"
    owner_id: str = "1234567890123456"
    user_data: bytes | None = None
    public_keys: Mapping[str, str] = field(default_factory=dict)
    tokens_required: bool = False
    endpoint_enabled: bool = True

    def __post_init__(self) -> None:
        _check(self.id)
