"""What a verification found: checks by instance and level, as rows, JSON and JUnit. Pure but for the file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from generator.fleet.topology import printable
from generator.image.cache import put_aside

SCHEMA_VERSION = 1
CLOUD, OUTSIDE, INSIDE = "cloud", "outside", "inside"
LEVELS = (CLOUD, OUTSIDE, INSIDE)


@dataclass(frozen=True)
class Check:
    """One thing that was checked. `subject` is an EIP, or empty for the instance; `state` ok, failed or skipped."""

    instance: str
    level: str
    subject: str
    state: str
    detail: str


def ok(instance: str, level: str, subject: str, detail: str = "") -> Check:
    """Return a check that passed."""
    return Check(instance, level, subject, "ok", detail)


def failed(instance: str, level: str, subject: str, detail: str) -> Check:
    """Return a check that failed."""
    return Check(instance, level, subject, "failed", detail)


def skipped(instance: str, level: str, subject: str, detail: str) -> Check:
    """Return a check that could not be made, or was not asked for."""
    return Check(instance, level, subject, "skipped", detail)


@dataclass(frozen=True)
class Verdict:
    """All checks of a fleet, instance by instance; `proof` says what the inner level rests on."""

    fleet: str
    region: str
    checks: tuple[Check, ...]
    proof: str

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.state == "failed")

    def to_json(self) -> dict[str, Any]:
        """Return the checks with stable keys."""
        return {
            "schema_version": SCHEMA_VERSION,
            "fleet": self.fleet,
            "region": self.region,
            "ok": not self.failures,
            "proof": self.proof,
            "checks": [asdict(check) for check in self.checks],
        }

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each instance: how many checks of each level passed, and the first that failed."""
        found: dict[str, list[Check]] = {}
        for check in self.checks:
            found.setdefault(check.instance, []).append(check)
        return [_row(instance, checks) for instance, checks in found.items()]


COLUMNS = ("instance", *LEVELS, "result")


def _row(instance: str, checks: Sequence[Check]) -> tuple[str, ...]:
    levels = [_share([check for check in checks if check.level == level]) for level in LEVELS]
    wrong = [check for check in checks if check.state == "failed"]
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return (printable(instance), *levels, f"✗ {text(wrong[0])}{more}" if wrong else "✓")


def _share(checks: Iterable[Check]) -> str:
    made = [check for check in checks if check.state != "skipped"]
    return f"{sum(check.state == 'ok' for check in made)}/{len(made)}" if made else "-"


def text(check: Check) -> str:
    """Return a check's finding in a line."""
    return printable(f"{check.subject}: {check.detail}" if check.subject else check.detail)


def write_junit(path: Path, verdict: Verdict) -> None:
    """Write the checks in the form that CI systems read."""
    suite = ElementTree.Element(
        "testsuite",
        name=f"multieip.verify.{verdict.fleet}",
        tests=str(len(verdict.checks)),
        failures=str(len(verdict.failures)),
        skipped=str(sum(check.state == "skipped" for check in verdict.checks)),
    )
    for check in verdict.checks:
        name = f"{check.level} {check.subject}".strip()
        case = ElementTree.SubElement(suite, "testcase", classname=printable(check.instance), name=printable(name))
        if check.state != "ok":
            kind = "failure" if check.state == "failed" else "skipped"
            ElementTree.SubElement(case, kind, message=printable(check.detail))
    with put_aside(path) as aside:
        ElementTree.ElementTree(suite).write(aside, encoding="utf-8", xml_declaration=True)
