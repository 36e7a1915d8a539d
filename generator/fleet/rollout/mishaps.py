"""What went wrong in a rollout, and which line of the fleet's file it is about, for CI systems. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from generator.fleet.rollout.report import Event
from generator.fleet.topology import printable
from generator.spec.findings import Loc
from generator.spec.source import Document

# From the worst down: what GitLab calls them.
BLOCKER, CRITICAL, MAJOR, MINOR, INFO = SEVERITIES = ("blocker", "critical", "major", "minor", "info")
# The check of the rollout as a whole.
ROLLOUT = "rollout"
# Characters of what somebody else said. A script may print megabytes.
_MOST = 1000
_HOOK, _BAKED = "hook ", "well after "
_STRATEGY: Loc = ("strategy",)
_FAILURE: tuple[Loc, ...] = (("strategy", "on_failure"), ("strategy", "failure_threshold"), _STRATEGY)
_ENDS = {
    "incomplete": "the rollout ended before all was done",
    "rolled-back": "the rollout was taken back",
    "cancelled": "the rollout was cancelled",
}


@dataclass(frozen=True)
class SpecFile:
    """The fleet's file as it is now: its path in the repository, and its document when it can be read."""

    path: str
    document: Document | None = None

    def line(self, *places: Loc) -> int:
        """Return the line of the first of these places that the file has, 1 when it has none."""
        document = self.document
        known = (loc for loc in places if document and document.has(loc))
        return next((document.mark(loc).key[0] for loc in known if document), 1)

    def line_of_gate(self, name: str) -> int:
        """Return the line of a gate or hook by its name in reports."""
        if name.startswith(_HOOK):
            return self.line(("strategy", "hooks", name.removeprefix(_HOOK)), _STRATEGY)
        if name.startswith(_BAKED):
            return self.line(("strategy", "bake"), _STRATEGY)
        # What is always there has no entry of its own, but a time limit.
        return self.line(*self._gates(name), ("strategy", "ready_timeout"), _STRATEGY)

    def _gates(self, name: str) -> list[Loc]:
        strategy = self.document.data.get("strategy") if self.document else None
        gates = strategy.get("gates") if isinstance(strategy, dict) else None
        return [
            ("strategy", "gates", number)
            for number, gate in enumerate(gates if isinstance(gates, list) else ())
            if isinstance(gate, dict) and gate.get("name") == name
        ]


@dataclass(frozen=True)
class Mishap:
    """Something that went wrong. `key` tells it from every other one of its check, and is the same in the next rollout.

    `text` may have several lines, and nothing that a terminal obeys.
    """

    check: str
    key: tuple[str, ...]
    severity: str
    title: str
    text: str
    line: int


def mishaps(events: Sequence[Event], file: SpecFile) -> tuple[Mishap, ...]:
    """Return what went wrong and was not made good later in the same rollout, the worst first."""
    stop = _stop(events, file)
    found = [*([stop] if stop else []), *_instances(events, file), *_others(events, file)]
    return tuple(sorted(found, key=lambda one: SEVERITIES.index(one.severity)))


def _instances(events: Sequence[Event], file: SpecFile) -> list[Mishap]:
    """Return what befell instances in the last try of each: gates and hooks, then the instance itself."""
    tried: dict[str, list[Mishap]] = {}
    left: dict[str, list[Mishap]] = {}
    replaced: set[str] = set()
    for event in events:
        if event["event"] == "gate" and not event["passed"]:
            tried.setdefault(event["name"], []).append(_gate(event, file))
        elif event["event"] == "instance":
            name, gates = event["name"], tried.pop(event["name"], [])
            if event["state"] == "replaced":
                replaced.add(name)
                left.pop(name, None)
            elif event["state"] == "stuck" or name not in replaced:
                left[name] = [*gates, _instance(event, gates, file)]
            # What was replaced and went back as it was is how a rollback looks: no mishap of the instance.
    return list(chain.from_iterable(left.values()))


def _gate(event: Event, file: SpecFile) -> Mishap:
    name, gate = event["name"], event["gate"]
    is_hook = gate.startswith(_HOOK)
    return Mishap(
        check="hook" if is_hook else "gate",
        key=(name, gate),
        severity=MINOR if is_hook else MAJOR,
        title=_clean(f"{name}: {gate}"),
        text=_clean(f"{name} does not pass {gate}: {event['detail']}"),
        line=file.line_of_gate(gate),
    )


def _instance(event: Event, gates: Sequence[Mishap], file: SpecFile) -> Mishap:
    is_stuck = event["state"] == "stuck"
    what = "needs a person" if is_stuck else "is back as it was"
    return Mishap(
        check="instance",
        key=(event["name"],),
        severity=BLOCKER if is_stuck else CRITICAL,
        title=_clean(event["name"]),
        text=_clean(f"{event['name']} {what}: {event['why']}"),
        line=gates[-1].line if gates else file.line(_STRATEGY),
    )


def _others(events: Sequence[Event], file: SpecFile) -> list[Mishap]:
    found: dict[tuple[str, ...], Mishap] = {}
    for event in events:
        if event["event"] == "hook" and not event["passed"]:
            hook = event["hook"]
            text = _clean(f"{hook} failed: {event['why']}")
            found[hook,] = Mishap("hook", (hook,), MINOR, _clean(hook), text, file.line_of_gate(hook))
        elif event["event"] == "deleted" and event["why"]:
            text = _clean(f"{', '.join(event['instances'])} could not be deleted: {event['why']}")
            found["",] = Mishap("deletion", (), MAJOR, "old instances", text, file.line(_STRATEGY))
    return list(found.values())


def _stop(events: Sequence[Event], file: SpecFile) -> Mishap | None:
    """Return why a rollout went no further, None when it is done or under way."""
    last = next((event for event in reversed(events) if event["event"] in ("waits", "resumed", "ended")), None)
    if last is None or last["event"] == "resumed" or last.get("state") == "done":
        return None
    why, state = last["why"], str(last.get("state", ""))
    if state:
        # A person who ends it, or takes it back, has reasons; what failed has mishaps of its own.
        failed = state == "incomplete" or why in {one["why"] for one in events if one["event"] == "wave"}
    else:
        failed = last["for"] == "failed"
    said = _ENDS[state] if state else "the rollout waits for a person"
    return Mishap(
        check=ROLLOUT,
        key=(),
        severity=CRITICAL if failed else INFO,
        title=_clean(f"rollout of {last['fleet']}"),
        text=_clean(f"{said}: {why}"),
        line=_cause(why, file),
    )


def _cause(why: str, file: SpecFile) -> int:
    """Return the line of what had a rollout stop: a hook around a wave or the bake, else how much it bears."""
    first = why.partition(":")[0]
    return file.line_of_gate(first) if first.startswith((_HOOK, _BAKED)) else file.line(*_FAILURE)


def _clean(text: str) -> str:
    lines = [printable(line).rstrip() for line in text.strip().splitlines()]
    whole = "\n".join(lines)
    return whole if len(whole) <= _MOST else f"{whole[:_MOST]}…"
