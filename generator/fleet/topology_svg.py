"""A picture of a fleet as SVG: vSwitches, instances in them, ENIs in those, private IPs with their EIPs. Pure.

The file stands alone: no script, no font and no picture from elsewhere. ElementTree escapes whatever names hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree

from generator.fleet.picture import Machine, Nic, Picture
from generator.fleet.topology import address_label, by_vswitch, machine_label, nic_label, place_label, printable

# Pixels.
_ROW, _HEAD, _GAP, _WIDTH = 18, 26, 12, 380
_STYLE = """
text { font: 12px Helvetica, Arial, sans-serif; fill: #1b1f23; } .t { font-weight: bold; } .wrong { fill: #b35900; }
rect { rx: 6; stroke: #8c959f; fill: #fff; } .place { fill: #f6f8fa; } .eni { fill: #e3f0ff; }
.missing { stroke: #b35900; stroke-dasharray: 4 3; }
"""


def svg(picture: Picture) -> str:
    """Return the fleet as an SVG document."""
    places = by_vswitch(picture)
    columns = _columns(picture)
    width = columns * (_WIDTH + _GAP) + 3 * _GAP
    root = ElementTree.Element("svg", xmlns="http://www.w3.org/2000/svg", role="img")
    title = printable(f"{picture.fleet} in {picture.region}: {len(picture.machines)} instances, {picture.eips} EIPs")
    ElementTree.SubElement(root, "title").text = title
    ElementTree.SubElement(root, "style").text = _STYLE
    _text(root, _GAP, _GAP + 12, title, "t")
    top = _GAP + _HEAD
    for zone, vswitch, machines in places:
        top = _place(root, top, width, columns, place_label(zone, vswitch), machines) + _GAP
    root.set("viewBox", f"0 0 {width} {top}")
    root.set("width", str(width))
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _columns(picture: Picture) -> int:
    """Return how many instances stand side by side, so that a large fleet is no strip."""
    tallest = max((_height(machine) for machine in picture.machines), default=1)
    area = len(picture.machines) * tallest * 1.4
    return max(1, min(len(picture.machines), round(math.sqrt(area / _WIDTH))))


def _place(  # noqa: PLR0917 - where and what
    root: ElementTree.Element, top: int, width: int, columns: int, label: str, machines: Sequence[Machine]
) -> int:
    box = _box(root, _GAP, top, width - 2 * _GAP, 0, "place")
    _text(root, 2 * _GAP, top + 18, label, "t")
    y = top + _HEAD
    for start in range(0, len(machines), columns):
        row = machines[start : start + columns]
        for number, machine in enumerate(row):
            _machine(root, 2 * _GAP + number * (_WIDTH + _GAP), y, machine)
        y += max(_height(machine) for machine in row) + _GAP
    box.set("height", str(y - top))
    return y


def _height(machine: Machine) -> int:
    return _HEAD + sum(_nic_height(nic) + _GAP for nic in machine.nics)


def _nic_height(nic: Nic) -> int:
    return _HEAD + _ROW * len(nic.addresses)


def _machine(root: ElementTree.Element, x: int, y: int, machine: Machine) -> None:
    _box(root, x, y, _WIDTH, _height(machine), "" if machine.id else "missing")
    _text(root, x + _GAP, y + 18, machine_label(machine), "t")
    y += _HEAD
    for nic in machine.nics:
        _box(root, x + _GAP, y, _WIDTH - 2 * _GAP, _nic_height(nic), "eni" if nic.id else "missing")
        _text(root, x + 2 * _GAP, y + 17, nic_label(nic), "")
        for number, address in enumerate(nic.addresses, 1):
            shown = _text(
                root, x + 2 * _GAP, y + 17 + _ROW * number, address_label(address), "wrong" if address.problem else ""
            )
            if address.problem:
                ElementTree.SubElement(shown, "title").text = printable(address.problem)
        y += _nic_height(nic) + _GAP


def _box(  # noqa: PLR0917 - a rectangle
    root: ElementTree.Element, x: int, y: int, width: int, height: int, kind: str
) -> ElementTree.Element:
    size = {"x": str(x), "y": str(y), "width": str(width), "height": str(height)}
    return ElementTree.SubElement(root, "rect", size | ({"class": kind} if kind else {}))


def _text(root: ElementTree.Element, x: int, y: int, text: str, kind: str) -> ElementTree.Element:
    found = ElementTree.SubElement(root, "text", {"x": str(x), "y": str(y)} | ({"class": kind} if kind else {}))
    found.text = text
    return found
