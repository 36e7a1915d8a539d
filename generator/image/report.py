"""The results of a boot test as rows, JSON and JUnit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

from generator.image.boot import Check
from generator.image.cache import put_aside

SCHEMA_VERSION = 1


def rows(checks: Sequence[Check]) -> list[tuple[str, str, str, str]]:
    """Return a row for each check."""
    return [
        (_printable(check.name), check.state, f"{check.seconds:.1f}", _printable(check.detail)[:120])
        for check in checks
    ]


def to_json(disk: Path, checks: Sequence[Check]) -> dict[str, object]:
    """Return the results with stable keys."""
    return {
        "schema_version": SCHEMA_VERSION,
        "disk": str(disk),
        "ok": all(check.ok for check in checks),
        "checks": [asdict(check) for check in checks],
    }


def write_junit(path: Path, name: str, checks: Sequence[Check]) -> None:
    """Write the results in the form that CI systems read."""
    suite = ElementTree.Element(
        "testsuite",
        name=f"multieip.boot.{name}",
        tests=str(len(checks)),
        failures=str(sum(not check.ok for check in checks)),
        skipped=str(sum(check.state == "skipped" for check in checks)),
        time=f"{sum(check.seconds for check in checks):.1f}",
    )
    for check in checks:
        title, took = _printable(check.name), f"{check.seconds:.1f}"
        case = ElementTree.SubElement(suite, "testcase", classname=name, name=title, time=took)
        if check.state != "ok":
            kind = "failure" if check.state == "failed" else "skipped"
            ElementTree.SubElement(case, kind, message=_printable(check.detail))
    with put_aside(path) as aside:
        ElementTree.ElementTree(suite).write(aside, encoding="utf-8", xml_declaration=True)


def _printable(text: str) -> str:
    """Return text on one line, without what XML cannot hold or a terminal obeys: a guest may print anything."""
    return "".join(char if char.isprintable() else " " for char in text)
