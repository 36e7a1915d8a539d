"""nftables for one VPC: anti-spoofing on the vSwitch ports, and stateless 1:1 NAT at its edge. Pure text.

The NAT keeps no connection state, as an EIP in NAT mode does not: an association or its end counts for the next
packet, and a reply is translated by the private IP that it carries, whichever flow it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address

from generator.sandbox.fabric.model import Eni

METADATA = IPv4Address("100.100.100.200")
WAN = "wan"

# How a request to the metadata service fares at the network's level.
REACHABLE = "accept"
REFUSED = "reject with tcp reset"
DROPPED = "drop"

_BASE = """
table bridge antispoof {{
  set macs {{ type ifname . ether_addr; }}
  set owned {{ type ifname . ipv4_addr; }}
  set owned6 {{ type ifname . ipv6_addr; }}
  set spoofed {{ type ifname . ipv4_addr; flags dynamic; size 65535; counter; }}
  set spoofed6 {{ type ifname . ipv6_addr; flags dynamic; size 65535; counter; }}
  chain prerouting {{
    type filter hook prerouting priority -300; policy drop;
    iifname . ether saddr != @macs drop
    ether type arp iifname . arp saddr ether != @macs drop
    ether type arp arp saddr ip 0.0.0.0 accept
    ether type arp iifname . arp saddr ip @owned accept
    ether type arp add @spoofed {{ iifname . arp saddr ip }} drop
    ether type ip iifname . ip saddr @owned accept
    ether type ip ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept
    ether type ip add @spoofed {{ iifname . ip saddr }} drop
    ether type ip6 ip6 saddr {{ ::, fe80::/10 }} accept
    ether type ip6 iifname . ip6 saddr @owned6 accept
    ether type ip6 add @spoofed6 {{ iifname . ip6 saddr }} drop
  }}
}}
table ip edge {{
  map inward {{ type ipv4_addr : ipv4_addr; }}
  map outward {{ type ipv4_addr : ipv4_addr; }}
  chain metadata {{
    accept
  }}
  chain arrive {{
    type filter hook prerouting priority raw; policy accept;
    ip daddr set ip daddr map @inward meta mark set 1
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    iifname "wan" drop
    ip protocol icmp accept
    udp sport 68 udp dport 67 accept
    ip daddr {metadata} tcp dport 80 jump metadata
    # What instances answer to the sandbox itself, which runs commands in them.
    ip daddr != {metadata} tcp sport 22 accept
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname "wan" meta mark != 1 drop
    ip daddr 100.64.0.0/10 udp dport 53 reject with icmp type port-unreachable
    ip daddr 100.64.0.0/10 reject with icmp type net-unreachable
  }}
  chain leave {{
    type filter hook postrouting priority srcnat; policy accept;
    meta mark 1 oifname != "wan" ip saddr set ip saddr map @outward accept
    oifname "wan" ip saddr set ip saddr map @outward accept
    oifname "wan" ip saddr != {wan} drop
  }}
}}
"""


def base(wan: IPv4Address) -> str:
    """Return the tables of a VPC whose address at the edge is `wan`, with nothing in them yet."""
    return _BASE.format(metadata=METADATA, wan=wan)


def own(eni: Eni) -> str:
    """Let an ENI send from what it has."""
    return _elements("add", eni, mac=True)


def disown(eni: Eni) -> str:
    """Let an ENI send nothing more."""
    return _elements("delete", eni, mac=True)


def reassign(old: Eni, new: Eni) -> str:
    """Change what an ENI may send from, in one transaction."""
    return _elements("delete", old, mac=False) + _elements("add", new, mac=False)


def translate(before: Mapping[IPv4Address, IPv4Address], after: Mapping[IPv4Address, IPv4Address]) -> str:
    """Change the associations (EIP → private IP) in one transaction."""
    gone = {eip: private for eip, private in before.items() if after.get(eip) != private}
    come = {eip: private for eip, private in after.items() if before.get(eip) != private}
    return (
        _change("delete", "ip edge inward", gone)
        + _change("delete", "ip edge outward", [str(private) for private in gone.values()])
        + _change("add", "ip edge inward", [f"{eip} : {private}" for eip, private in come.items()])
        + _change("add", "ip edge outward", [f"{private} : {eip}" for eip, private in come.items()])
    )


def metadata(verdict: str) -> str:
    """Make the metadata service reachable, refused or dropped."""
    return f"flush chain ip edge metadata\nadd rule ip edge metadata meta l4proto tcp {verdict}\n"


def _elements(verb: str, eni: Eni, *, mac: bool) -> str:
    port = f'"{eni.port}"'
    macs = [f"{port} . {eni.mac}"] if mac else []
    return (
        _change(verb, "bridge antispoof macs", macs)
        + _change(verb, "bridge antispoof owned", [f"{port} . {address}" for address in eni.addresses])
        + _change(verb, "bridge antispoof owned6", [f"{port} . {address}" for address in eni.addresses6])
    )


def _change(verb: str, place: str, elements: Iterable[object]) -> str:
    listed = ", ".join(str(element) for element in elements)
    return f"{verb} element {place} {{ {listed} }}\n" if listed else ""
