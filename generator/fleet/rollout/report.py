"""A rollout's events as lines for a person, as JUnit, and as one HTML page. Pure.

The page stands alone: no script, and nothing from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

from generator import resources
from generator.fleet.topology import printable

Event = dict[str, Any]


def line(event: Event) -> str:
    """Return an event as a line for a person, empty for one that says too little."""
    said = _LINES.get(event["event"])
    return printable(said(event)) if said else ""


def _instance(event: Event) -> str:
    seconds = event["ended"] - event["begun"]
    if event["state"] == "replaced":
        return f"✓ {event['name']}: {event['old']} → {event['new']} ({seconds:.1f} s)"
    what = "is back as it was" if event["state"] == "failed" else "needs a person"
    return f"✗ {event['name']} {what}: {event['why']}"


# How an EIP moved, by the event's `by`.
_WAYS = {"ENI": "with its ENI", "stop": "with its ENI, and a stop", "EIP": "by itself", "place": "in place"}


def _moved(event: Event) -> str:
    outage = event["outage"]
    return "" if outage is None else f"  {event['eip']} moved {_WAYS[event['by']]}: away for {outage:.2f} s"


def _gate(event: Event) -> str:
    return "" if event["passed"] else f"  {event['name']} does not pass {event['gate']}: {event['detail']}"


_LINES: dict[str, Callable[[Event], str]] = {
    "begun": lambda event: (
        f"‣ rollout {event['run']}: {sum(map(len, event['waves']))} instances in {len(event['waves'])} waves"
    ),
    "instance": _instance,
    "moved": _moved,
    "gate": _gate,
    "wave": lambda event: (
        f"✓ wave {event['wave']}" if event["passed"] else f"✗ wave {event['wave']} stops: {event['why']}"
    ),
    "waits": lambda event: f"… waits ({event['for']}): {event['why']}",
    "resumed": lambda _: "… goes on",
    "rolling-back": lambda event: f"… rolling back: {event['why']}",
    "deleted": lambda event: f"✓ {len(event['instances'])} old instances deleted",
    "ended": lambda event: (
        f"{'✓' if event['state'] == 'done' else '✗'} {event['state']}" + (f": {event['why']}" if event["why"] else "")
    ),
}


def junit(events: Sequence[Event]) -> bytes:
    """Return the gates in the form that CI systems read, an instance each class."""
    gates = [event for event in events if event["event"] == "gate"]
    fleet = printable(events[0]["fleet"]) if events else ""
    failures = str(sum(not gate["passed"] for gate in gates))
    suite = ElementTree.Element(
        "testsuite", name=f"multieip.rollout.{fleet}", tests=str(len(gates)), failures=failures, skipped="0"
    )
    for gate in gates:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=printable(gate["name"]),
            name=printable(gate["gate"]),
            time=f"{gate['seconds']:.3f}",
        )
        if not gate["passed"]:
            ElementTree.SubElement(case, "failure", message=printable(gate["detail"]))
    return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))


@dataclass(frozen=True)
class Row:
    """An instance on the page. `left`, `away` and `width` are percent of the whole time; `wave` is its number."""

    name: str
    state: str
    why: str
    old: str
    new: str
    outage: str
    left: float
    away: float
    width: float


@dataclass(frozen=True)
class Shown:
    """A rollout as the page shows it."""

    fleet: str
    run: str
    state: str
    begun: str
    seconds: float
    rows: tuple[Row, ...]
    waves: tuple[Event, ...]
    gates: tuple[Event, ...]
    moves: tuple[Event, ...]
    said: tuple[tuple[str, str], ...]

    @staticmethod
    def of(events: Sequence[Event]) -> Shown:
        """Sort events into what is shown."""
        first, last = events[0], events[-1]
        span = max(last["time"] - first["time"], 0.001)
        worst: dict[str, float] = {}
        for event in events:
            if event["event"] == "moved" and event["outage"] is not None:
                worst[event["name"]] = max(worst.get(event["name"], 0.0), event["outage"])

        def row(event: Event) -> Row:
            share = 100 / span
            outage = worst.get(event["name"])
            return Row(
                name=printable(event["name"]),
                state=event["state"],
                why=printable(event["why"]),
                old=event["old"],
                new=event["new"],
                outage="" if outage is None else f"{outage:.2f} s",
                left=max(0.0, (event["begun"] - first["time"]) * share) if event["begun"] else 0.0,
                away=max(0.0, (event["moved"] - event["begun"]) * share) if event["moved"] else 0.0,
                width=max(0.3, (event["ended"] - event["begun"]) * share) if event["begun"] else 0.3,
            )

        said = (
            (_clock(event["time"]), text) for event in events if (text := line(event)) and event["event"] != "moved"
        )
        return Shown(
            fleet=printable(first["fleet"]),
            run=first["run"],
            state=_state(last),
            begun=f"{datetime.fromtimestamp(first['time'], UTC):%Y-%m-%d %H:%M:%S} UTC",
            seconds=span,
            rows=tuple(row(event) for event in events if event["event"] == "instance"),
            waves=tuple(event for event in events if event["event"] == "wave"),
            gates=tuple(event for event in events if event["event"] == "gate"),
            moves=tuple(event for event in events if event["event"] == "moved"),
            said=tuple(said),
        )


def _state(last: Event) -> str:
    if last["event"] == "waits":
        return f"waits for a person ({last['for']})"
    return str(last["state"]) if last["event"] == "ended" else "under way"


def _clock(when: float) -> str:
    return f"{datetime.fromtimestamp(when, UTC):%H:%M:%S}"


def html(events: Sequence[Event], before: str, after: str) -> str:
    """Return the page; `before` and `after` are pictures of the fleet as SVG, empty without one."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - 50 ms that only a page pays
    from markupsafe import Markup  # noqa: PLC0415

    folder = resources.folder("templates") / "report"
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The pictures are made by ElementTree, which escapes whatever names hold.
    pictures = [(title, Markup(one)) for title, one in (("Before", before), ("After", after)) if one]  # noqa: S704
    return environment.get_template("rollout.html").render(shown=Shown.of(events), pictures=pictures, ways=_WAYS)
