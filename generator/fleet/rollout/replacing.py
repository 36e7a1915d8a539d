"""The durable workflow that replaces a few instances side by side, and puts everything back where one fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from typing import Any

from dbos import DBOS, SetWorkflowID

from generator.cloud import instances
from generator.fleet import names
from generator.fleet.actions import stretches
from generator.fleet.calls import Failure, attempt
from generator.fleet.desired import Desired
from generator.fleet.engine import process
from generator.fleet.hotplug import is_cold
from generator.fleet.quotas import queue
from generator.fleet.removing import delete_instances
from generator.fleet.rollout import gates
from generator.fleet.rollout.carrying import Move
from generator.fleet.rollout.gates import Who
from generator.fleet.rollout.launching import Batch, Launched, run_new
from generator.fleet.rollout.moving import Moved, Rebind, carry_out
from generator.fleet.rollout.values import Fresh, GateResult, Order, Outage, Replaced, Unit
from generator.fleet.work import Queues, tag

# Where groups of replacements wait, and how many of them a process does at once; each takes a thread that mostly waits.
REPLACEMENTS = "replacements"
WORKERS = 24
# Instances that one workflow replaces side by side. One call of Cloud Assistant or of a look is for all of them.
GROUP = 10


@DBOS.workflow(name="replace")
def replace(desired: Desired, order: Order, run: str, units: Sequence[Unit]) -> list[Replaced]:
    """Replace instances; those that fail are as they were when this returns."""
    return _Group(desired, order, run, units).go()


@DBOS.workflow(name="take-back")
def take_back(desired: Desired, order: Order, run: str, done: Sequence[Replaced]) -> list[Replaced]:
    """Put old instances that are still there back in their places, and delete the new ones."""
    group = _Group(desired, order, run, [one.unit for one in done])
    group.fresh = {one.unit.slot: one.new for one in done if one.new}
    group.gone = {one.unit.slot for one in done if one.is_gone}
    for one in done:
        group.fail(one.unit.slot, "rolled back")
    return group.end()


@DBOS.step(name="now")
def now() -> float:
    """Return the time, in seconds since the epoch; a workflow that goes on sees the same."""
    return time.time()


@dataclass
class _Group:
    """Replacements that go side by side, phase by phase. One that fails drops out, and is undone at the end.

    Without a surge an old instance makes room before its new one is launched: it is `gone` then, and what it was
    launched from is all that can come back.
    """

    desired: Desired
    order: Order
    run: str
    units: Sequence[Unit]
    fresh: dict[int, Fresh] = field(default_factory=dict)
    why: dict[int, str] = field(default_factory=dict)
    stuck: dict[int, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)
    results: list[GateResult] = field(default_factory=list)
    outages: list[tuple[int, Outage]] = field(default_factory=list)
    begun: float = 0.0
    away: float | None = None
    moved: float = 0.0

    def __post_init__(self) -> None:
        self.queues = Queues(str(DBOS.workflow_id), self.desired.region)

    def go(self) -> list[Replaced]:
        """Replace all, and return what became of each."""
        strategy, hooks = self.order.strategy, self.order.strategy.hooks
        in_place = not strategy.surge(self.desired.count)
        self.begun = now()
        if in_place:
            self._hook("drain", hooks.drain, old=True)
            self._make_room()
        self._launch_new()
        self._check(lambda who: gates.guest(self.desired.region, gates.GUEST, who, strategy.ready_timeout))
        self._own_gates("launch")
        self._hook("after_launch", hooks.after_launch)
        if not in_place:
            self._hook("drain", hooks.drain, old=True)
        self._move()
        self.moved = now()
        if self.order.probing:
            self._check(lambda who: gates.answers(self.order, who))
        self._check(lambda who: gates.guest(self.desired.region, gates.SETTLED, who, strategy.ready_timeout))
        self._own_gates("move")
        self._hook("after_move", hooks.after_move)
        self._take_over()
        return self.end()

    def end(self) -> list[Replaced]:
        """Undo what failed, and return what became of each."""
        self._undo()
        ended = now()
        return [self._replaced(unit, ended) for unit in self.units]

    def _replaced(self, unit: Unit, ended: float) -> Replaced:
        slot = unit.slot
        state = "stuck" if slot in self.stuck else "failed" if slot in self.why else "replaced"
        return Replaced(
            unit=unit,
            state=state,
            why=self.stuck.get(slot) or self.why.get(slot, ""),
            new=self.fresh.get(slot),
            is_gone=slot in self.gone,
            gates=tuple(one for one in self.results if one.slot == slot),
            outages=tuple(outage for one, outage in self.outages if one == slot),
            begun=self.begun,
            moved=self.moved,
            ended=ended,
        )

    def fail(self, slot: int, why: str) -> None:
        """Drop a replacement."""
        self.why.setdefault(slot, why)

    def _alive(self) -> list[Unit]:
        return [unit for unit in self.units if unit.slot not in self.why]

    # Room for new instances, and new instances

    def _make_room(self) -> None:
        """Take what stays off the old instances, and delete them."""
        self.away = now()
        units = self._alive()
        why = self._clear({unit.slot: unit.old for unit in units})
        for unit in units:
            if unit.slot in why:
                self.fail(unit.slot, why[unit.slot])
            else:
                self.gone.add(unit.slot)

    def _clear(self, ids: Mapping[int, str]) -> dict[int, str]:
        """Take ENIs and EIPs off instances, by number, and delete those; return why not."""
        units = [unit for unit in self.units if unit.slot in ids]
        moved = carry_out(
            self.queues,
            self.order,
            [Move(unit.slot, "", unit.enis, cold=self._cold(unit)) for unit in units if unit.enis],
            _spread([[Rebind(unit.slot, one.eip, one.public, "", "") for one in unit.own] for unit in units]),
        )
        why = {slot: failure.message for slot, failure in moved.failures}
        going = [instance for slot, instance in ids.items() if slot not in why]
        if failure := self._delete(going):
            why |= {slot: failure for slot in ids if slot not in why}
        return why

    def _launch_new(self) -> None:
        units = self._alive()
        for slot, why in self._launch(self.desired, units).items():
            self.fail(slot, why)

    def _launch(self, desired: Desired, units: Sequence[Unit]) -> dict[int, str]:
        """Launch an instance for each unit; return why there is none, by number."""
        handles = []
        for (zone, groups), some in _by_place(units).items():
            offers = tuple(
                (kind, place.vswitch)
                for kind in desired.types
                for place in sorted(desired.places, key=lambda one: one.vswitch != some[0].vswitch)
                if place.zone == zone
            )
            for first, amount in stretches([unit.slot for unit in some], 1):
                batch = Batch(first, amount, groups, offers)
                patience = float(self.order.strategy.ready_timeout)
                with SetWorkflowID(self.queues.name("RunInstances")):
                    handle = DBOS.enqueue_workflow(
                        queue("RunInstances", desired.region), run_new, desired, self.run, batch, patience
                    )
                handles.append((batch, handle))
        failed: dict[int, str] = {}
        for batch, handle in handles:
            made: Launched = process().result(handle)
            self.fresh |= dict(made.running)
            self.lost += [key for _, key in made.lost]
            failed |= {
                slot: made.failure.message if made.failure else "the new instance vanished"
                for slot in range(batch.first, batch.first + batch.amount)
                if slot not in dict(made.running)
            }
        return failed

    # Gates and hooks

    def _who(self, unit: Unit, *, old: bool = False) -> Who:
        instance = unit.old if old else self.fresh[unit.slot].id
        return Who(self.desired.fleet, unit.slot, unit.name, instance, unit.eips)

    def _check(self, ask: Callable[[list[Who]], list[GateResult]], *, old: bool = False) -> None:
        everyone = [self._who(unit, old=old) for unit in self._alive()]
        if not everyone:
            return
        for result in ask(everyone):
            self.results.append(result)
            if not result.passed:
                self.fail(result.slot, f"{result.gate}: {result.detail}")

    def _own_gates(self, after: str) -> None:
        for one in self.order.strategy.gates:
            if one.after == after:
                self._check(lambda who, one=one: gates.gate(self.desired.region, one, who))  # type: ignore[misc]

    def _hook(self, where: str, hook: Any, *, old: bool = False) -> None:
        if hook:
            self._check(lambda who: gates.hook(self.desired.region, where, hook, who), old=old)

    # EIPs

    def _cold(self, unit: Unit) -> tuple[str, ...]:
        """Return the instances of a number that are stopped when ENIs come or go."""
        new = self.fresh.get(unit.slot)
        there = [(unit.old, unit.type)] if unit.slot not in self.gone else []
        there += [(new.id, new.type)] if new else []
        return tuple(key for key, kind in there if is_cold(self.order.strategy, kind))

    def _bring(self, targets: Mapping[int, str], rebinds: Sequence[list[Rebind]]) -> Moved:
        """Move the secondary ENIs of numbers to instances, and bind EIPs of primary ENIs anew."""
        moves = [
            Move(unit.slot, targets[unit.slot], unit.enis, unit.publics, self._cold(unit), self.away)
            for unit in self.units
            if unit.slot in targets and unit.enis
        ]
        return carry_out(self.queues, self.order, moves, _spread(rebinds))

    def _move(self) -> None:
        for unit in self._alive():
            if len(self.fresh[unit.slot].ips) <= max((one.number for one in unit.own), default=-1):
                self.fail(unit.slot, "the new primary ENI has fewer private IPs than the old one has EIPs")
        alive = self._alive()
        moved = self._bring(self._targets(alive), [self._forth(unit) for unit in alive])
        self.outages += moved.outages
        for unit in alive:
            if failure := moved.failed(unit.slot):
                self.fail(unit.slot, failure.message)

    def _targets(self, units: Iterable[Unit]) -> dict[int, str]:
        return {unit.slot: self.fresh[unit.slot].id for unit in units}

    def _forth(self, unit: Unit) -> list[Rebind]:
        new = self.fresh[unit.slot]
        return [Rebind(unit.slot, one.eip, one.public, new.primary, new.ips[one.number], self.away) for one in unit.own]

    def _take_over(self) -> None:
        """Say by tags which instance is the number's now."""
        alive = self._alive()
        why = self._tag([unit.old for unit in alive if unit.slot not in self.gone], names.OLD)
        why = why or self._tag([self.fresh[unit.slot].id for unit in alive], names.CURRENT)
        for unit in alive if why else ():
            self.fail(unit.slot, why)

    def _tag(self, ids: Sequence[str], role: str) -> str:
        """Tag instances with their role; return why not."""
        failure = tag(self.desired.region, "instance", ids, ((names.ROLE, role),)) if ids else None
        return failure.message if failure else ""

    # The way back

    def _undo(self) -> None:
        """Bring back to old instances what was theirs, then delete the new ones."""
        failed = [unit for unit in self.units if unit.slot in self.why]
        units = [unit for unit in failed if unit.slot not in self.gone]
        moved = self._bring({unit.slot: unit.old for unit in units}, [_back(unit) for unit in units])
        self.outages += [(slot, one) for slot, one in moved.outages if one.seconds]
        self._note(units, moved)
        well = [unit for unit in units if unit.slot not in self.stuck]
        why = self._tag([unit.old for unit in well], names.CURRENT)
        why = why or self._delete([self.fresh[unit.slot].id for unit in well if unit.slot in self.fresh] + self.lost)
        if why:
            self.stuck |= {unit.slot: why for unit in well}
        self.lost.clear()
        self._restore([unit for unit in failed if unit.slot in self.gone])
        self._delete(self.lost)

    def _delete(self, ids: Sequence[str]) -> str:
        """Delete instances; return why not."""
        if not ids:
            return ""
        failure = delete(self.desired.region, ids, names.token(self.queues.name("delete")))
        return failure.message if failure else ""

    def _restore(self, units: Sequence[Unit]) -> None:
        """Launch again what old instances that are gone were launched from, in the place of what failed."""
        failed = self._clear({unit.slot: self.fresh[unit.slot].id for unit in units if unit.slot in self.fresh})
        again = [unit for unit in units if unit.slot not in failed]
        for unit in again:
            self.fresh.pop(unit.slot, None)
        for (image, kind), some in by_origin(again).items():
            failed |= self._launch(replaced(self.desired, image=image, types=(kind,)), some)
        there = [unit for unit in again if unit.slot not in failed]
        moved = self._bring(self._targets(there), [self._forth(unit) for unit in there])
        self.outages += moved.outages
        failed |= {slot: failure.message for slot, failure in moved.failures}
        if why := self._tag(list(self._targets(there).values()), names.CURRENT):
            failed |= {unit.slot: why for unit in there}
        self.stuck |= {slot: f"{self.why[slot]}; and the way back failed: {why}" for slot, why in failed.items()}

    def _note(self, units: Iterable[Unit], moved: Moved) -> None:
        for unit in units:
            if failure := moved.failed(unit.slot):
                self.stuck[unit.slot] = f"{self.why[unit.slot]}; and the way back failed: {failure.message}"


def _by_place(units: Iterable[Unit]) -> dict[tuple[str, tuple[str, ...]], list[Unit]]:
    """Return units by zone and security groups."""
    found: dict[tuple[str, tuple[str, ...]], list[Unit]] = {}
    for unit in units:
        found.setdefault((unit.zone, unit.groups), []).append(unit)
    return found


def by_origin(units: Iterable[Unit]) -> dict[tuple[str, str], list[Unit]]:
    """Return units by the image and type that their old instances have."""
    found: dict[tuple[str, str], list[Unit]] = {}
    for unit in units:
        found.setdefault((unit.image, unit.type), []).append(unit)
    return found


def _back(unit: Unit) -> list[Rebind]:
    return [Rebind(unit.slot, one.eip, one.public, unit.primary, one.ip) for one in unit.own]


def _spread(lists: Sequence[list[Rebind]]) -> list[Rebind]:
    """Return the first of each list, then the second: an ENI takes one change of its EIPs at a time."""
    longest = max(map(len, lists), default=0)
    return [one[number] for number in range(longest) for one in lists if number < len(one)]


@DBOS.step(name="delete")
def delete(region: str, ids: Sequence[str], token: str) -> Failure | None:
    """Delete instances whatever protects them, and wait until they are gone."""
    cloud = process().cloud(region)

    def unprotected() -> None:
        for one in instances.describe(cloud, ids=ids):
            if one.deletion_protection:
                instances.unprotect(cloud, one.id)

    return attempt(unprotected).failure or delete_instances(cloud, ids, token)
