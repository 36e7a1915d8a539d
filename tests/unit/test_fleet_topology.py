"""A fleet is drawn as it is: everything once, what is wrong beside it, and no name is read as syntax."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from generator.fleet.picture import Machine, Nic, Picture, PrivateIp, picture
from generator.fleet.topology import mermaid, tree
from generator.fleet.topology_svg import svg
from tests.unit.fleets import desired, observed

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = 'x"]<script>&\x1b[31m--> end'


def drawn() -> Picture:
    return picture(desired(), observed())


def test_the_tree_has_a_line_for_everything() -> None:
    assert (
        tree(drawn())
        == """\
web  cn-hangzhou  vpc-1
├─ cn-hangzhou-h  vsw-1
│  └─ web-001  i-1  ecs.g7.large
│     ├─ ENI 0  eni-1-0
│     │  └─ 10.0.1.1 ↔ 198.18.1.1
│     └─ ENI 1  eni-1-1
│        ├─ 10.0.1.2 ↔ 198.18.1.2
│        └─ 10.0.1.3
└─ not there
   └─ web-002  missing
      ├─ ENI 0  missing
      │  └─ no private IP  ✗ web-002 has no private IP 0 on ENI 0
      └─ ENI 1  missing
         └─ no private IP  ✗ web-002 has no private IP 0 on ENI 1
"""
    )


def test_mermaid_has_each_eip_with_an_edge_to_its_private_ip() -> None:
    lines = mermaid(drawn()).splitlines()
    assert lines[0] == "flowchart LR"
    assert '  e1x0x0("198.18.1.1") <--> a1x0x0' in lines
    assert sum("<-->" in line for line in lines) == 2
    assert sum("subgraph" in line for line in lines) == sum(line.strip() == "end" for line in lines) == 8


def test_the_svg_stands_alone_and_has_every_address() -> None:
    root = ElementTree.fromstring(svg(drawn()))
    shown = [element.text or "" for element in root.iter(f"{SVG}text")]
    assert "10.0.1.2 ↔ 198.18.1.2" in shown
    assert "web-002  missing" in shown
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {"svg", "title", "style", "rect", "text"}
    assert not any("href" in name or ":" in value for element in root.iter() for name, value in element.items())


def test_boxes_of_instances_do_not_overlap_and_lie_within_the_picture() -> None:
    one = drawn().machines[0]
    many = replace(drawn(), machines=tuple(replace(one, slot=slot, name=f"web-{slot:03}") for slot in range(1, 41)))
    root = ElementTree.fromstring(svg(many))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    boxes = [
        [float(element.attrib[name]) for name in ("x", "y", "width", "height")]
        for element in root.iter(f"{SVG}rect")
        if "class" not in element.attrib
    ]
    assert len(boxes) == 40
    for number, (x, y, w, h) in enumerate(boxes):
        assert x >= 0
        assert x + w <= width
        assert y >= 0
        assert y + h <= height
        for ox, oy, ow, oh in boxes[number + 1 :]:
            assert x + w <= ox or ox + ow <= x or y + h <= oy or oy + oh <= y
    assert width / height < 4
    assert height / width < 4


def test_no_name_is_taken_for_syntax() -> None:
    machine = Machine(1, HOSTILE, "i-1", HOSTILE, HOSTILE, "m-1", HOSTILE, HOSTILE, (nic(),))
    hostile = Picture(HOSTILE, "cn-hangzhou", HOSTILE, (machine,))
    texts = [element.text or "" for element in ElementTree.fromstring(svg(hostile)).iter(f"{SVG}text")]
    assert any('x"]<script>' in text for text in texts)
    drawing = mermaid(hostile)
    assert '"]<' not in drawing
    assert "<script" not in drawing
    assert all(text.count('"') in (0, 2) for text in drawing.splitlines())
    for text in (tree(hostile), drawing, svg(hostile)):
        assert "\x1b" not in text


def nic() -> Nic:
    return Nic(0, HOSTILE, HOSTILE, HOSTILE, (PrivateIp(HOSTILE, "eip-1", HOSTILE, problem=HOSTILE),))
