"""Which ENIs an instance of the lab has, and what they are called outside and inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from generator.sandbox.fabric.model import Eni, Vpc, VSwitch

VPC = Vpc("vpc-lab", IPv4Network("172.16.0.0/16"), IPv6Network("2408:4005:3c1:7a00::/56"))
INSTANCE = "i-lab"


@dataclass(frozen=True)
class Pair:
    """An EIP and the private IP that it is mapped to."""

    eip: IPv4Address
    private: IPv4Address
    eni_id: str


@dataclass(frozen=True)
class Layout:
    """The ENIs in order: the number of the vSwitch that each is in, and how many private IPs it has."""

    enis: tuple[tuple[int, int], ...]

    @property
    def vswitches(self) -> Sequence[VSwitch]:
        return [vswitch(number) for number in sorted({number for number, _ in self.enis})]

    def build(self) -> list[Eni]:
        made: list[Eni] = []
        for number, count in self.enis:
            made.append(eni(len(made), number, count, made))
        return made


def vswitch(number: int) -> VSwitch:
    return VSwitch(
        f"vsw-{number}",
        IPv4Network(f"172.16.{20 + number}.0/24"),
        IPv6Network(f"2408:4005:3c1:7a{number:02x}::/64"),
    )


def eni(index: int, switch_number: int, count: int, others: Sequence[Eni]) -> Eni:
    """Return ENI number `index` with the next free addresses of its vSwitch."""
    switch = vswitch(switch_number)
    taken = sum(len(other.addresses) for other in others if other.vswitch == switch)
    first = switch.cidr.network_address + 10 + taken
    return Eni(
        f"eni-{index}lab0000",
        f"00:16:3e:1a:b0:{index:02x}",
        VPC.id,
        switch,
        tuple(first + offset for offset in range(count)),
    )


def eip_of(private: IPv4Address) -> IPv4Address:
    """Return the EIP that the lab gives a private IP: 172.16.x.y is 198.18.x.y outside (RFC 2544's range)."""
    return IPv4Address((int(private) & 0xFFFF) | int(IPv4Address("198.18.0.0")))


# Two private IPs on the primary ENI, a secondary ENI in the same vSwitch as is usual on ECS, and one elsewhere.
USUAL = Layout(((0, 2), (0, 3), (1, 2)))
THREE_IN_ONE = Layout(((0, 2), (0, 2), (0, 2)))
FIFTY = Layout(((0, 1), (0, 49)))
LARGEST = Layout(tuple((number, 50) for number in range(8)))
