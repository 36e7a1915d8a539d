"""What a rollout's workflows hand to one another: plain values, which are kept with the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from generator.spec.fleet import Probe
from generator.spec.strategy import Strategy

# Of the lines that `--json` writes. Raised when a key changes its meaning or goes.
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Order:
    """How a rollout is done, beside what the fleet should be.

    `probing` asks EIPs from this machine; `every` replaces instances that match as well; `removal` lets go what the
    file does not ask for any more.
    """

    strategy: Strategy
    probe: Probe
    probing: bool = True
    every: bool = False
    removal: bool = False


@dataclass(frozen=True)
class PrimaryEip:
    """An EIP on the primary ENI of an old instance, which moves by itself: number of its private IP, and that IP."""

    eip: str
    public: str
    number: int
    ip: str


@dataclass(frozen=True)
class Unit:
    """An instance that is to be replaced: where it is, what moves along with its ENIs, and which EIPs it serves.

    `enis` are ids of secondary ENIs, `publics` the addresses of the EIPs on them.
    """

    slot: int
    name: str
    old: str
    image: str
    type: str
    zone: str
    vswitch: str
    groups: tuple[str, ...]
    primary: str
    enis: tuple[str, ...] = ()
    publics: tuple[str, ...] = ()
    own: tuple[PrimaryEip, ...] = ()

    @property
    def eips(self) -> tuple[str, ...]:
        """The addresses of all its EIPs."""
        return (*self.publics, *(one.public for one in self.own))


@dataclass(frozen=True)
class Fresh:
    """The new instance of a unit; `ips` are the private IPs of its primary ENI."""

    id: str
    type: str
    primary: str
    ips: tuple[str, ...]


@dataclass(frozen=True)
class Outage:
    """How long an EIP did not answer while it moved, in real seconds; None when nothing was measured."""

    eip: str
    how: str
    seconds: float | None


@dataclass(frozen=True)
class GateResult:
    """What a gate or hook said of an instance: passed, or why not."""

    gate: str
    slot: int
    instance: str
    passed: bool
    detail: str
    seconds: float


@dataclass(frozen=True)
class Replaced:
    """What became of a unit: `state` is replaced, failed (all is as before) or stuck (a person must look).

    `new` is the instance that is there instead of the old one when that `is_gone`.
    """

    unit: Unit
    state: str
    why: str = ""
    new: Fresh | None = None
    is_gone: bool = False
    gates: tuple[GateResult, ...] = ()
    outages: tuple[Outage, ...] = ()
    begun: float = 0.0
    moved: float = 0.0
    ended: float = 0.0

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield what happened to it as events."""
        unit, new = self.unit, self.new.id if self.new else ""
        for gate in self.gates:
            yield {
                "event": "gate",
                "gate": gate.gate,
                "name": unit.name,
                "instance": gate.instance,
                "passed": gate.passed,
                "detail": gate.detail,
                "seconds": gate.seconds,
            }
        for outage in self.outages:
            yield {"event": "moved", "name": unit.name, "eip": outage.eip, "by": outage.how, "outage": outage.seconds}
        yield {
            "event": "instance",
            "name": unit.name,
            "state": self.state,
            "why": self.why,
            "old": unit.old,
            "new": new,
            "begun": self.begun,
            "moved": self.moved,
            "ended": self.ended,
        }


@dataclass(frozen=True)
class State:
    """How a rollout stands, for whoever asks from elsewhere.

    `phase` is running, baking, paused, approval, failed (it waits for a person), back, keeping, or an end: done,
    incomplete, rolled-back, cancelled. `waited` counts how often it has waited for a person.
    """

    run: str
    fleet: str
    phase: str
    wave: int = 0
    waves: int = 0
    replaced: int = 0
    failed: int = 0
    total: int = 0
    kept: int = 0
    why: str = ""
    waited: int = 0

    @property
    def is_end(self) -> bool:
        """Whether nothing more will happen."""
        return self.phase in ("done", "incomplete", "rolled-back", "cancelled")

    @property
    def waits(self) -> bool:
        """Whether a person has to say how to go on."""
        return self.phase in ("paused", "approval", "failed")


@dataclass(frozen=True)
class Result:
    """What came of a rollout: how it ended, and what was replaced and stayed so."""

    state: State
    replaced: tuple[Replaced, ...] = ()


@dataclass(frozen=True)
class Kept:
    """An old instance that waits for the end of its window, in real seconds since the epoch."""

    done: Replaced
    until: float


@dataclass
class Tally:
    """What a rollout has done so far."""

    replaced: list[Replaced] = field(default_factory=list)
    failed: list[Replaced] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
