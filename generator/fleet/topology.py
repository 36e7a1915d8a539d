"""A picture of a fleet as text: a tree for a terminal, and a Mermaid diagram. `topology_svg` draws it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from generator.fleet.picture import Machine, Nic, Picture, PrivateIp


def by_vswitch(picture: Picture) -> list[tuple[str, str, list[Machine]]]:
    """Return zone, vSwitch and instances; those that are not there have neither, and come last."""
    places: dict[tuple[str, str], list[Machine]] = {}
    for machine in picture.machines:
        places.setdefault((machine.zone, machine.vswitch), []).append(machine)
    found = [(zone, vswitch, machines) for (zone, vswitch), machines in places.items()]
    return sorted(found, key=lambda one: (not one[1], one[0], one[1]))


def machine_label(machine: Machine) -> str:
    """Return an instance in a line: name, id, type, and its status when it does not run."""
    parts = (machine.name, machine.id, machine.type, "" if machine.status == "Running" else machine.status)
    return printable("  ".join(part for part in parts if part))


def nic_label(nic: Nic) -> str:
    """Return an ENI in a line."""
    return printable(f"ENI {nic.index}  {nic.id or 'missing'}")


def address_label(address: PrivateIp) -> str:
    """Return a private IP with its EIP in a line."""
    return printable(f"{address.ip or 'no private IP'}{f' ↔ {address.public}' if address.public else ''}")


def place_label(zone: str, vswitch: str) -> str:
    """Return a vSwitch with its zone in a line."""
    return printable(f"{zone}  {vswitch}") if vswitch else "not there"


# Text


def tree(picture: Picture) -> str:
    """Return the fleet as a tree, a line for each thing; what is wrong with an EIP stands behind it."""
    lines = [printable(f"{picture.fleet}  {picture.region}  {picture.vpc}")]
    places = by_vswitch(picture)
    for place, (zone, vswitch, machines) in enumerate(places):
        lines += _branch(place_label(zone, vswitch), place == len(places) - 1, _machines(machines))
    return "\n".join(lines) + "\n"


def _machines(machines: Sequence[Machine]) -> Iterator[str]:
    for number, machine in enumerate(machines):
        yield from _branch(machine_label(machine), number == len(machines) - 1, _nics(machine.nics))


def _nics(nics: Sequence[Nic]) -> Iterator[str]:
    for number, nic in enumerate(nics):
        yield from _branch(nic_label(nic), number == len(nics) - 1, _addresses(nic.addresses))


def _addresses(addresses: Sequence[PrivateIp]) -> Iterator[str]:
    for number, address in enumerate(addresses):
        wrong = f"  ✗ {printable(address.problem)}" if address.problem else ""
        yield from _branch(f"{address_label(address)}{wrong}", number == len(addresses) - 1, ())


def _branch(label: str, last: bool, below: Iterator[str] | Sequence[str]) -> Iterator[str]:
    yield f"{'└─' if last else '├─'} {label}"
    for line in below:
        yield f"{'   ' if last else '│  '}{line}"


# Mermaid


def mermaid(picture: Picture) -> str:
    """Return the fleet as a Mermaid flowchart: EIPs on the left, instances in their vSwitches on the right."""
    lines = ["flowchart LR"]
    for place, (zone, vswitch, machines) in enumerate(by_vswitch(picture)):
        lines.append(f"  subgraph p{place}[{_quoted(place_label(zone, vswitch))}]")
        for machine in machines:
            lines += _mermaid_machine(machine)
        lines.append("  end")
    for machine in picture.machines:
        for nic in machine.nics:
            for number, address in enumerate(nic.addresses):
                if address.public:
                    name = _node(machine, nic, number)
                    lines.append(f"  e{name}({_quoted(address.public)}) <--> a{name}")
    return "\n".join(lines) + "\n"


def _mermaid_machine(machine: Machine) -> Iterator[str]:
    yield f"    subgraph i{machine.slot}[{_quoted(machine_label(machine))}]"
    for nic in machine.nics:
        yield f"      subgraph n{machine.slot}x{nic.index}[{_quoted(nic_label(nic))}]"
        for number, address in enumerate(nic.addresses):
            yield f"        a{_node(machine, nic, number)}[{_quoted(printable(address.ip or 'no private IP'))}]"
        yield "      end"
    yield "    end"


def _node(machine: Machine, nic: Nic, number: int) -> str:
    return f"{machine.slot}x{nic.index}x{number}"


def _quoted(text: str) -> str:
    """Return text in quotes, with what Mermaid or the page around it would read as syntax as entity codes."""
    return '"' + re.sub(r"[^\w .,:/()↔-]", lambda found: f"#{ord(found[0])};", printable(text)) + '"'


def printable(text: str) -> str:
    """Return text without what a terminal obeys: names come from the network."""
    return "".join(character if character.isprintable() else "?" for character in text)
