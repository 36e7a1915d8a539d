"""Rollouts as the command line begins them, goes on with them and sends them back. The verbs' entry."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator.cloud.client import Cloud, Conduct
from generator.errors import MultieipError
from generator.fleet import state
from generator.fleet.desired import Desired, desired
from generator.fleet.engine import ROLLOUT, RUNS, Settings, Unfinished, opened, poll
from generator.fleet.launch import call_log, default_settings
from generator.fleet.observe import look
from generator.fleet.progress import Progress
from generator.fleet.rollout.desk import RESUME, ROLLBACK, Desk, at_desk, url_of
from generator.fleet.rollout.plan import Plan, plan
from generator.fleet.rollout.values import Order, State
from generator.fleet.rollout.working import Presence, is_anybody_present, new_name
from generator.spec.fleet import FleetSpec

_BUSY = ("RunInstances", "DetachNetworkInterface", "AssociateEipAddress")
# Real seconds after which a rollout that is silent is looked at: it says itself that it waits, unless that was before.
_SILENT = 2.0

Told = Callable[[list[dict[str, Any]]], None]


@dataclass(frozen=True)
class Work:
    """Where a fleet's rollouts are carried out: its state's folder, how the engine works, who is told of events."""

    fleet: str
    region: str
    folder: Path | None = None
    settings: Settings | None = None
    told: Told = lambda _: None

    @property
    def home(self) -> state.Home:
        """The fleet's folder."""
        return state.home(self.fleet, self.folder)

    @property
    def how(self) -> Settings:
        """The engine's settings."""
        return self.settings or default_settings()

    def alone(self) -> Work:
        """Return it for one process of several that share a database: by a name and in a folder of its own."""
        if self.how.database is None:
            return self
        name = new_name(self.fleet)
        folder = self.home.folder / "workers" / name
        return dataclasses.replace(self, folder=folder, settings=dataclasses.replace(self.how, executor=name))

    @property
    def url(self) -> str:
        """The engine's database."""
        return url_of(self.home, self.how.database)

    @contextmanager
    def desk(self) -> Iterator[Desk]:
        """Open the desk of the fleet."""
        logging.getLogger("dbos").setLevel(logging.CRITICAL)
        with at_desk(self.fleet, self.url) as desk:
            yield desk


def order_of(spec: FleetSpec, *, probing: bool = True, every: bool = False, removal: bool = False) -> Order:
    """Return how a fleet's file wants rollouts to be done."""
    return Order(spec.strategy, spec.probe, probing, every, removal)


def preview(spec: FleetSpec, order: Order, *, user_data: bytes = b"", settings: Settings | None = None) -> Plan:
    """Return what a rollout would do, without doing anything."""
    cloud = Cloud(spec.region, (settings or default_settings()).pace)
    wanted = desired(cloud, spec, user_data)
    return plan(wanted, look(cloud, wanted), order)


def start(spec: FleetSpec, order: Order, work: Work, *, user_data: bytes = b"") -> State:
    """Bring a fleet to what its file says, wave by wave; return how the rollout stands when it ends or waits.

    One of the same file that was cut short goes on. Raises `MultieipError` for one of another file, and for what stands
    in the way of a replacement.
    """
    calls = call_log(work.home)
    wanted = desired(Cloud(spec.region, work.how.pace, Conduct(observe=calls)), spec, user_data)
    return begin(wanted, order, work)


def begin(wanted: Desired, order: Order, work: Work) -> State:
    """Begin a rollout to what is desired, or go on with the same one."""

    def same(one: Unfinished) -> bool:
        return one.workflow == ROLLOUT and one.inputs[:2] == (wanted, order)

    with _open(work, same) as left:
        # Not planned before: another process may have been at work on the fleet until now.
        run = left[0].run if left else _enqueue(wanted, order, _planned(wanted, order, work), work)
        return _follow(run, work)


def _planned(wanted: Desired, order: Order, work: Work) -> Plan:
    """Return what a rollout will do; `MultieipError` when it must not begin."""
    found = plan(wanted, look(Cloud(wanted.region, work.how.pace), wanted), order)
    if found.blocked:
        raise MultieipError(found.blocked[0], hint=f"`multieip rollout start {wanted.fleet} --plan` shows everything")
    if found.rest.remove and not order.removal:
        raise MultieipError(
            f"{wanted.fleet} has more than its file asks for, which would go after the last wave",
            hint="see `multieip plan`; --remove lets it go, EIPs included",
        )
    return found


def resume(work: Work) -> State:
    """Go on with the last rollout: one that waits for a person, or whose process has ended."""
    with work.desk() as desk:
        last = desk.last()
        if last.is_over:
            raise MultieipError(f"the rollout {last.run} is over", hint="`multieip rollout start` begins another one")
        if last.state and last.state.waits:
            desk.say(last.run, RESUME)
    return attend(work, last.run, last.state)


def send(work: Work, word: str) -> State | None:
    """Say a word to the rollout that is under way, and see it through when no process is at work on it.

    Returns how it stands then, None when another process hears it. A rollout that is over is gone back on by another
    one, to the image and the type before.
    """
    with work.desk() as desk:
        last = desk.last()
        if not last.is_over:
            desk.say(last.run, word)
        elif word != ROLLBACK:
            raise MultieipError(
                f"the rollout {last.run} is over", hint="`multieip rollout history` shows what came of it"
            )
    if last.is_over:
        return _back(work, last.run)
    if is_attended(work) or word == "pause":
        return None
    return attend(work, last.run, last.state)


def is_attended(work: Work) -> bool:
    """Return whether a process works on the fleet: of this machine, or any at a shared database."""
    if work.how.database:
        return is_anybody_present(work.how.database, work.fleet)
    try:
        work.home.lock().release()
    except MultieipError:
        return True
    return False


def attend(work: Work, run: str, before: State | None) -> State:
    """Carry out a rollout that was begun and stood so `before` somebody said how to go on, as far as it goes."""
    with _open(work, lambda one: one.run == run):
        return _follow(run, work, before)


def work_along(work: Work) -> State:
    """Carry out the last rollout together with others that share its database, until it is over or waits."""
    with work.desk() as desk:
        last = desk.last()
        if last.is_over:
            raise MultieipError(f"the rollout {last.run} is over", hint="`multieip rollout start` begins another one")
    return attend(work, last.run, None)


def _back(work: Work, run: str) -> State:
    """Roll out what the instances were before a rollout that is over."""
    with work.desk() as desk:
        result = desk.result(run)
        wanted, order, *_ = desk.inputs(run)
    if result is None or not result.replaced:
        raise MultieipError(f"the rollout {run} left nothing to go back on")
    (image, kind), _ = Counter((one.unit.image, one.unit.type) for one in result.replaced).most_common(1)[0]
    return begin(dataclasses.replace(wanted, image=image, types=(kind,)), order, work)


@contextmanager
def _open(work: Work, keep: Callable[[Unfinished], bool]) -> Iterator[tuple[Unfinished, ...]]:
    from dbos import DBOSClient  # noqa: PLC0415 - with the engine

    from generator.fleet.engine import APPLICATION  # noqa: PLC0415
    from generator.fleet.rollout import waves  # noqa: F401, PLC0415 - importing it is what makes workflows known
    from generator.fleet.rollout.replacing import REPLACEMENTS, WORKERS  # noqa: PLC0415

    work = work.alone()
    calls, progress = call_log(work.home), Progress(work.how.pace.factor, quiet=True)
    with work.desk():
        client = DBOSClient(system_database_url=work.url, application_name=APPLICATION)
        client.register_queue(
            REPLACEMENTS,
            worker_concurrency=WORKERS,
            polling_interval_sec=poll(work.how.pace),
            on_conflict="always_update",
        )
        client.destroy()
    try:
        with ExitStack() as stack:
            presence = None
            if work.how.database and work.how.executor:
                # Before the engine has work of this process, so that nobody takes it for a dead one's.
                presence = stack.enter_context(Presence(work.how.database, work.how.executor))
            _, left = stack.enter_context(
                opened(
                    work.home, work.region, settings=work.how, observer=calls, progress=progress, keep=keep, busy=_BUSY
                )
            )
            if presence:
                stack.enter_context(presence.taking_over())
            yield left
    finally:
        calls.close()


def _enqueue(wanted: Desired, order: Order, found: Plan, work: Work) -> str:
    """Hand a rollout to the engine, and return its run.

    The fleet's name keeps a second one out, from whichever machine it comes; the same one is taken part in.
    """
    from dbos import DBOS, SetEnqueueOptions, SetWorkflowID  # noqa: PLC0415
    from dbos import error as engine_errors  # noqa: PLC0415

    from generator.fleet.rollout.waves import rollout  # noqa: PLC0415

    run = f"{wanted.fleet}.{state.new_run()}"
    try:
        with SetWorkflowID(run), SetEnqueueOptions(deduplication_id=wanted.fleet):
            DBOS.enqueue_workflow(RUNS, rollout, wanted, order, found)
        return run
    except engine_errors.DBOSQueueDeduplicatedError:
        with work.desk() as desk:
            last = desk.last()
            if desk.inputs(last.run)[:2] == (wanted, order):
                return last.run
        raise MultieipError(
            f"a rollout of {wanted.fleet} is under way", hint=f"see `multieip rollout status {wanted.fleet}`"
        ) from None


def _follow(run: str, work: Work, before: State | None = None) -> State:
    with work.desk() as desk:
        return follow(desk, run, work.told, before)


def follow(desk: Desk, run: str, told: Told, before: State | None = None) -> State:
    """Tell of events until a rollout is over or waits for a person, and return how it stands.

    It does not take how it stood `before` for that: what a person has said since may not be heard yet.
    """
    seen = 0
    while True:
        for portion in desk.events(run, since=seen, patience=_SILENT):
            seen += 1
            told(portion)
            if any(event["event"] == "waits" for event in portion):
                break
        now = desk.state(run)
        if desk.is_over(run):
            for portion in desk.events(run, since=seen, patience=0):
                told(portion)
            return _ended(desk, run)
        if now and now.waits and now != before:
            for portion in desk.events(run, since=seen, patience=0):
                seen += 1
                told(portion)
            if (again := desk.state(run)) and again.waits:
                return again


def _ended(desk: Desk, run: str) -> State:
    result = desk.result(run)
    if result is None:
        raise MultieipError(
            f"the rollout {run} ended by a bug", hint="`multieip rollout start` looks at the fleet anew"
        )
    return result.state
