"""The durable workflow of a rollout: wave after wave, with what a person says in between.

What it does is written to its stream of events as it happens, how it stands is an event of its own; both are read by
whoever asks, from any process. A person's word is a message to it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace as changed
from typing import Any

from dbos import DBOS, SetWorkflowID

from generator.cloud import instances
from generator.fleet import names, topology_svg
from generator.fleet.desired import Desired
from generator.fleet.engine import OPEN, process
from generator.fleet.launching import launch
from generator.fleet.observe import look
from generator.fleet.picture import picture
from generator.fleet.rollout import gates, tidying
from generator.fleet.rollout.desk import AFTER, BEFORE, CANCEL, CONTROL, EVENTS, PAUSE, RESUME, ROLLBACK, STATE
from generator.fleet.rollout.gates import Who
from generator.fleet.rollout.plan import HOTPLUG, Plan, units_of
from generator.fleet.rollout.replacing import GROUP, REPLACEMENTS, by_origin, delete, now, replace, take_back
from generator.fleet.rollout.values import SCHEMA_VERSION, Kept, Order, Replaced, Result, State, Tally, Unit
from generator.fleet.work import parts

# Real seconds between two looks for what a person says: at first, and after a while. DBOS.recv can wait by itself, but
# then keeps its process from ending.
_FIRST, _LONGEST = 0.2, 5.0
# Private IPs of a fleet whose picture a browser shows well.
_MOST_PICTURED = 2_000


@DBOS.workflow(name="rollout")
def rollout(desired: Desired, order: Order, plan: Plan) -> Result:
    """Bring a fleet to what is desired, wave by wave, as planned."""
    return _Rollout(desired, order, plan).go()


@DBOS.step(name="units")
def _units(desired: Desired, slots: Sequence[int]) -> list[Unit]:
    """Look at what is to be replaced now."""
    return list(units_of(desired, look(process().cloud(desired.region), desired), slots))


@DBOS.step(name="pause")
def _pause(seconds: float) -> None:
    process().conduct.sleep(seconds)


@DBOS.step(name="picture")
def _pictured(desired: Desired) -> str:
    """Return a picture of the fleet as SVG; empty for a fleet that is too large for one."""
    if desired.count * sum(eni.private_ips for eni in desired.enis) > _MOST_PICTURED:
        return ""
    return topology_svg.svg(picture(desired, look(process().cloud(desired.region), desired)))


class _EndError(Exception):
    """The rollout goes no further: `phase` is how it ends."""

    def __init__(self, phase: str, why: str = "") -> None:
        super().__init__(phase)
        self.phase, self.why = phase, why


class _Rollout:
    def __init__(self, desired: Desired, order: Order, plan: Plan) -> None:
        self.desired, self.order, self.strategy, self.plan = desired, order, order.strategy, plan
        self.run = str(DBOS.workflow_id)
        self.tally = Tally()
        self.at_once = max(1, plan.at_once)
        self.cold = any(change.how != HOTPLUG for change in plan.changes)
        # What the plan was made from is looked at anew for what begins later.
        self._fresh = {unit.slot: unit for unit in plan.units} if not plan.leftovers else {}
        self.state = State(self.run, desired.fleet, "running")
        self.factor = process().pace.factor
        self._groups = 0

    def go(self) -> Result:
        self._stand("running", waves=len(self.plan.waves), total=len(self.plan.changes))
        self._emit(
            {
                "event": "begun",
                "image": self.desired.image,
                "waves": [list(wave) for wave in self.plan.waves],
                "at_once": self.plan.at_once,
                "matching": list(self.plan.matching),
                "protected": list(self.plan.protected),
            }
        )
        DBOS.set_event(BEFORE, _pictured(self.desired))
        try:
            if self.plan.leftovers and (why := tidying.tidy(self.desired, self.order)):
                raise _EndError("incomplete", why)
            self._waves(list(self.plan.waves))
            self._rest()
            phase, why = ("incomplete", "some instances were not replaced") if self.tally.failed else ("done", "")
        except _EndError as end:
            phase, why = end.phase, end.why
        phase, why = self._keep() or (phase, why)
        DBOS.set_event(AFTER, _pictured(self.desired))
        self._stand(phase, why=why)
        self._emit({"event": "ended", "state": phase, "why": why, "replaced": len(self.tally.replaced)})
        return Result(self.state, tuple(self.tally.replaced))

    # Waves

    def _waves(self, left: list[tuple[int, ...]]) -> None:
        number = 0
        while left:
            number += 1
            wave = left.pop(0)
            self._stand("running", wave=number, waves=number + len(left))
            begun = time.time()
            why = self._wave(number, wave) or self._bake(number, wave)
            self._emit({"event": "wave", "wave": number, "passed": not why, "why": why, "begun": begun})
            if why and (again := self._stop(why)):
                left.insert(0, again)
            elif left and self._asks(number):
                self._hold("approval", f"wave {number} of {number + len(left)} is done")

    def _asks(self, number: int) -> bool:
        approval = self.strategy.approval
        return approval == "waves" or (approval == "canary" and number == 1 and self.strategy.canary > 0)

    def _wave(self, number: int, wave: tuple[int, ...]) -> str:
        """Replace the instances of a wave; return why it stops there, empty when it does not."""
        if why := self._hook(number, wave, "before_wave"):
            return why
        for chunk in parts(wave, self.at_once):
            self._listen(0)
            self._reap()
            for some in self._replace(self.desired, self._units_of(chunk)):
                self._note(some)
            if why := self._too_many():
                return why
        return self._hook(number, wave, "after_wave")

    def _hook(self, number: int, wave: tuple[int, ...], where: str) -> str:
        hook = getattr(self.strategy.hooks, where)
        if not hook:
            return ""
        eips = tuple(eip for one in self.tally.replaced if one.unit.slot in wave for eip in one.unit.eips)
        who = Who(self.desired.fleet, 0, f"wave {number}", "", eips)
        (result,) = gates.hook(self.desired.region, where, hook, [who])
        return "" if result.passed else f"{result.gate}: {result.detail}"

    def _units_of(self, slots: Sequence[int]) -> list[Unit]:
        fresh, self._fresh = self._fresh, {}
        return [fresh[slot] for slot in slots] if fresh else _units(self.desired, slots)

    def _replace(self, desired: Desired, units: Sequence[Unit]) -> Iterator[list[Replaced]]:
        """Replace instances, and yield what became of a group as soon as it and those before it are done."""
        handles = [self._enqueue(replace, desired, part) for part in parts(units, GROUP)]
        failure: _EndError | None = None
        for handle in handles:
            try:
                self._reap_meanwhile(handle)
            except _EndError as end:
                # Groups that are under way come to their end first.
                failure = failure or end
            yield process().result(handle)
        if failure:
            raise failure

    def _enqueue(self, workflow: Any, desired: Desired, items: Sequence[Any]) -> Any:
        self._groups += 1
        with SetWorkflowID(f"{self.run}.group.{self._groups}"):
            return DBOS.enqueue_workflow(REPLACEMENTS, workflow, desired, self.order, self.run, list(items))

    def _note(self, some: Sequence[Replaced]) -> None:
        for one in some:
            if one.state != "replaced":
                self.tally.failed.append(one)
                continue
            self.tally.replaced.append(one)
            if not one.is_gone:
                until = one.ended + self.strategy.rollback_window / self.factor
                self.tally.kept.append(Kept(one, until))
        self._stand(self.state.phase)
        self._emit(*(event for one in some for event in one.events()))

    def _too_many(self) -> str:
        """Return why a rollout stops, with so many failures."""
        failed = self.tally.failed
        stuck = [one for one in failed if one.state == "stuck"]
        if not stuck and len(failed) <= self.strategy.tolerated(self.desired.count):
            return ""
        shown = (stuck or failed)[0]
        return f"{shown.unit.name} failed: {shown.why}" + (f" (and {len(failed) - 1} more)" if failed[1:] else "")

    def _bake(self, number: int, wave: tuple[int, ...]) -> str:
        """Wait, and see whether the new instances of a wave are still well."""
        new = [one for one in self.tally.replaced if one.unit.slot in wave]
        if not self.strategy.bake or not new:
            return ""
        self._stand("baking")
        self._listen(self.strategy.bake / self.factor)
        self._stand("running")
        everyone = [
            Who(self.desired.fleet, one.unit.slot, one.unit.name, one.new.id, one.unit.eips) for one in new if one.new
        ]
        results = gates.guest(self.desired.region, f"well after wave {number}", everyone, 0.0)
        if self.order.probing:
            results += gates.answers(self.order, everyone)
        bad = next((result for result in results if not result.passed), None)
        return f"{bad.gate}: {bad.instance}: {bad.detail}" if bad else ""

    # What a person says

    def _listen(self, seconds: float) -> None:
        """Wait so many real seconds, and do what a person says meanwhile."""
        delay = _FIRST
        while True:
            said = DBOS.recv(CONTROL, timeout_seconds=0)
            if said == PAUSE:
                self._hold("paused", "a person asked for it")
            elif said:
                self._obey(said)
            elif seconds <= 0:
                return
            else:
                _pause(min(seconds, delay))
                seconds, delay = seconds - delay, min(2 * delay, _LONGEST)

    def _hold(self, phase: str, why: str) -> None:
        """Wait until a person says how to go on."""
        before, delay = self.state.phase, _FIRST
        self._stand(phase, why=why, waited=self.state.waited + 1)
        self._emit({"event": "waits", "for": phase, "why": why})
        while (said := DBOS.recv(CONTROL, timeout_seconds=0)) != RESUME:
            if said and said != PAUSE:
                self._obey(said)
            _pause(delay)
            delay = min(2 * delay, _LONGEST)
        self._stand(before)
        self._emit({"event": "resumed"})

    def _obey(self, said: str) -> None:
        if said == CANCEL:
            raise _EndError("cancelled", "a person asked for it")
        if said == ROLLBACK:
            self._roll_back("a person asked for it")

    def _stop(self, why: str) -> tuple[int, ...]:
        """Roll back, or wait for a person; return the numbers that are tried again then."""
        stuck = [one for one in self.tally.failed if one.state == "stuck"]
        if self.strategy.on_failure == "rollback" and not stuck:
            self._roll_back(why)
        again = tuple(one.unit.slot for one in self.tally.failed)
        self._hold("failed", why)
        # What is neither old nor new comes back first: a number without an instance would be taken for done.
        while stuck := self._take_back(stuck):
            self.tally.failed = stuck
            self._hold("failed", f"{stuck[0].unit.name} is not back: {stuck[0].why}")
        self.tally.failed.clear()
        return again

    # The way back

    def _roll_back(self, why: str) -> None:
        self._stand("back", why=why)
        self._emit({"event": "rolling-back", "why": why})
        kept = [one.done for one in self.tally.kept]
        gone = [one for one in self.tally.replaced if one not in kept]
        self.tally.kept.clear()
        self.tally.replaced.clear()
        stuck = self._take_back([*(one for one in self.tally.failed if one.state == "stuck"), *reversed(kept)])
        for (image, kind), units in by_origin(one.unit for one in gone).items():
            # What they were launched from is known; what they were configured with besides is the file's.
            desired = changed(self.desired, image=image, types=(kind,))
            for chunk in parts([unit.slot for unit in units], self.at_once):
                for some in self._replace(desired, _units(desired, chunk)):
                    self._emit(*(event for one in some for event in one.events()))
                    stuck += [one for one in some if one.state != "replaced"]
                    back = [one for one in some if one.state == "replaced" and not one.is_gone]
                    self.tally.kept += [Kept(one, one.ended) for one in back]
        if stuck:
            raise _EndError("incomplete", f"{stuck[0].unit.name} is not back: {stuck[0].why}")
        raise _EndError("rolled-back", why)

    def _take_back(self, done: Sequence[Replaced]) -> list[Replaced]:
        """Put old instances back; return those where that failed."""
        # What a move stops is away for longer: not more at once on the way back than on the way here.
        size = self.at_once if self.cold else len(done)
        found: list[Replaced] = []
        for some in parts(done, size) if done else ():
            handles = [self._enqueue(take_back, self.desired, part) for part in parts(some, GROUP)]
            found += [one for handle in handles for one in process().result(handle)]
        for one in found:
            self._emit(*one.events())
        return [one for one in found if one.state == "stuck"]

    # The rest, and the end

    def _rest(self) -> None:
        """Do what is left of the file: instances, ENIs, private IPs and EIPs that come or go."""
        with SetWorkflowID(f"{self.run}.rest"):
            result = launch(self.desired, self.order.removal)
        if result.failure:
            raise _EndError("incomplete", result.failure.message)

    def _keep(self) -> tuple[str, str] | None:
        """Wait until the window for a quick way back is over, then delete the old instances.

        Returns how the rollout ends when that is otherwise than it looked.
        """
        outcome = None
        while self.tally.kept:
            self._stand("keeping")
            try:
                self._listen(max(0.05, min(one.until for one in self.tally.kept) - now()))
                self._reap()
            except _EndError as end:
                # There is nothing to cancel any more.
                outcome = outcome if end.phase == "cancelled" else (end.phase, end.why)
        return outcome

    def _reap_meanwhile(self, handle: Any) -> None:
        """Delete old instances while a group is at work, when there are many: what is done already does not wait."""
        if len(self.tally.kept) >= instances.MOST and handle.get_status().status in OPEN:
            self._reap(least=instances.MOST)

    def _reap(self, *, least: int = 1) -> None:
        """Delete old instances whose window is over, when there are so many at least."""
        if len(self.tally.kept) < least:
            return
        moment = now()
        over = [one for one in self.tally.kept if one.until <= moment]
        if len(over) < least:
            return
        if hook := self.strategy.hooks.before_delete:
            fleet = self.desired.fleet
            everyone = [
                Who(fleet, one.done.unit.slot, one.done.unit.name, one.done.unit.old, one.done.unit.eips)
                for one in over
            ]
            for result in gates.hook(self.desired.region, "before_delete", hook, everyone):
                self._emit({"event": "hook", "hook": result.gate, "passed": result.passed, "why": result.detail})
        ids = [one.done.unit.old for one in over]
        self._groups += 1
        failure = delete(self.desired.region, ids, names.token(self.run, "old", str(self._groups)))
        self.tally.kept = [one for one in self.tally.kept if one not in over]
        self._emit({"event": "deleted", "instances": ids, "why": failure.message if failure else ""})
        if failure:
            raise _EndError("incomplete", failure.message)

    # What others see

    def _stand(self, phase: str, **more: Any) -> None:
        self.state = changed(
            self.state,
            phase=phase,
            replaced=len(self.tally.replaced),
            failed=len(self.tally.failed),
            kept=len(self.tally.kept),
            **{"why": "", **more},
        )
        DBOS.set_event(STATE, self.state)

    def _emit(self, *events: dict[str, Any]) -> None:
        head = {"schema_version": SCHEMA_VERSION, "fleet": self.desired.fleet, "run": self.run}
        moment = round(time.time(), 3)
        DBOS.write_stream(EVENTS, [{**head, "time": moment, **event} for event in events])
