"""The durable engine: DBOS with one queue for each API whose calls the account may make only so often.

A process opens it for one fleet. Work that an earlier process left in the middle is taken up at once, by the same
client tokens, so that what was carried out is not carried out again. One process has one engine at a time.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from generator.cloud.client import Cloud, Conduct, Observer, Pace
from generator.errors import MultieipError
from generator.fleet.calls import PHASES
from generator.fleet.progress import Progress
from generator.fleet.quotas import QUOTAS, WINDOW, Quota, queue
from generator.fleet.state import Home
from generator.fleet.turns import FileLedger, SharedLedger, Turns
from generator.fleet.waiting import Waiting

# Raised when workflows change so that old ones cannot go on: those are then given up, and the cloud looked at anew.
FORMAT = "3"
# How long the calls of a run are kept; `calls.jsonl` has them longer.
_KEPT = timedelta(days=7)
OPEN = ["PENDING", "ENQUEUED"]
# How many times less often queues are looked at that are hardly used.
_SELDOM = 5
APPLICATION = "multieip"


@dataclass(frozen=True)
class Settings:
    """How an engine works.

    `database` None is the fleet's own SQLite file; `executor` is whose unfinished work is taken up, None the fleet's;
    `quotas` are calls a minute by API.
    """

    database: str | None = None
    executor: str | None = None
    quotas: Mapping[str, Quota] = field(default_factory=lambda: QUOTAS)
    pace: Pace = field(default_factory=Pace)


@dataclass
class Process:
    """What workflows of this process share, whichever run they are of."""

    pace: Pace
    conduct: Conduct
    progress: Progress
    quotas: Mapping[str, Quota]
    waiting: Waiting
    _clouds: dict[str, Cloud] = field(default_factory=dict)
    _counted: set[str] = field(default_factory=set)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def cloud(self, region: str) -> Cloud:
        """Return the clients for a region."""
        with self._guard:
            if region not in self._clouds:
                self._clouds[region] = Cloud(region, self.pace, self.conduct)
            return self._clouds[region]

    def count(self, batch: str, api: str, calls: int = 1) -> None:
        """Count calls of a batch that this process made, for whoever watches."""
        if api in PHASES and self.progress.advance(PHASES[api], calls):
            self._counted.add(batch)

    def count_once(self, batch: str, api: str, calls: int) -> None:
        """Count all calls of a batch that was made by another process, or before this one."""
        if batch not in self._counted:
            self.count(batch, api, calls)

    def result(self, handle: Any) -> Any:
        """Wait for a workflow that was enqueued, and return its result."""
        self.waiting.until_over(handle.get_workflow_id())
        return handle.get_result(polling_interval_sec=self.poll)

    @property
    def poll(self) -> float:
        """How many real seconds pass between two looks into the engine's database."""
        return poll(self.pace)


def poll(pace: Pace) -> float:
    """Return how many real seconds pass between two looks into the engine's database."""
    return max(0.02, min(0.25, 1.0 / pace.factor))


_process: Process | None = None


def process() -> Process:
    """Return what workflows share; there is one while an engine is open."""
    if _process is None:
        raise RuntimeError("no engine is open")
    return _process


# Launches and the like wait here, one at a time.
RUNS = "runs"
# The workflow that nothing else gives up: a fleet in the middle of it has two instances of a number.
ROLLOUT = "rollout"


class Engine:
    """An engine that is open. `start` and `unfinished` go through it."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def run(self, workflow: Any, run: str, *inputs: Any) -> Any:
        """Start a workflow under a run's name, wait for it, and return its result."""
        from dbos import DBOS, SetWorkflowID  # noqa: PLC0415 - 0.3 s that only verbs with an engine pay

        with SetWorkflowID(run):
            handle = DBOS.enqueue_workflow(RUNS, workflow, *inputs)
        return self._result(handle)

    def drain(self, run: str) -> None:
        """Wait for calls of a run that are under way, so that what they make is known."""
        from dbos import DBOS  # noqa: PLC0415

        while DBOS.list_workflows(
            status="PENDING", workflow_id_prefix=f"{run}.", load_input=False, load_output=False, limit=1
        ):
            self.process.conduct.sleep(self.process.poll)

    def wait(self, run: str) -> Any:
        """Wait for a workflow that is there already, and return its result."""
        from dbos import DBOS  # noqa: PLC0415

        return self._result(DBOS.retrieve_workflow(run))

    def _result(self, handle: Any) -> Any:
        """Return a workflow's result. Another thread asks for it: an interrupt in the middle of a query would leave the
        database locked, and nothing could be kept any more."""
        found: Future[Any] = Future()

        def ask() -> None:
            try:
                found.set_result(self.process.result(handle))
            except BaseException as error:
                found.set_exception(error)

        threading.Thread(target=ask, name="result", daemon=True).start()
        return found.result()


@dataclass(frozen=True)
class Unfinished:
    """A run that an earlier process began; `inputs` are its workflow's."""

    run: str
    workflow: str
    inputs: tuple[Any, ...]


@contextmanager
def opened(
    home: Home,
    region: str,
    *,
    settings: Settings | None = None,
    observer: Observer | None = None,
    progress: Progress | None = None,
    keep: Any = None,
    busy: Collection[str] = (),
) -> Iterator[tuple[Engine, tuple[Unfinished, ...]]]:
    """Open the engine of a fleet, and yield it with the runs that it goes on with.

    `busy` are the APIs that most calls will be of: the others' queues are looked at less often. `keep` says whether to
    go on with an unfinished run (default: all). Of one that is given up, calls that were under way are still brought
    to their end, so that their outcome is known. Raises `MultieipError` when another process works on the fleet.
    """
    settings = settings or Settings()
    with ExitStack() as stack:
        stack.callback(home.lock().release)
        conduct = Conduct(observe=observer)
        ledger = SharedLedger(settings.database) if settings.database else FileLedger(home.turns)
        conduct.turns = turns = Turns(ledger, settings.quotas, settings.pace.factor, conduct.sleep)
        stack.callback(turns.close)
        # Twice as often as queues are looked at: it is one look for all.
        waiting = Waiting(_open_of, poll(settings.pace) / 2, conduct.stop)
        shared = Process(settings.pace, conduct, progress or Progress(), settings.quotas, waiting)
        with _launched(home, region, settings, shared, keep or (lambda _: True), busy) as kept:
            yield Engine(shared), kept


def _open_of(workflows: Collection[str]) -> Collection[str]:
    """Return which workflows have no end yet."""
    from dbos import DBOS  # noqa: PLC0415

    found = DBOS.list_workflows(workflow_ids=list(workflows), status=OPEN, load_input=False, load_output=False)
    return [one.workflow_id for one in found]


@contextmanager
def _launched(  # noqa: PLR0917 - what opened knows
    home: Home, region: str, settings: Settings, shared: Process, keep: Any, busy: Collection[str]
) -> Iterator[tuple[Unfinished, ...]]:
    global _process  # noqa: PLW0603 - DBOS is one for a process as well
    from dbos import DBOS  # noqa: PLC0415

    from generator.fleet import launching, work  # noqa: F401, PLC0415 - importing it is what makes workflows known

    url = settings.database or home.database
    logging.getLogger("dbos").setLevel(logging.CRITICAL)
    _process = shared
    try:
        kept = _start(url, home.fleet, region, settings, shared, keep, busy)
        yield _await_calls(shared, home.fleet, kept, keep)
    finally:
        shared.conduct.stop.set()
        shared.waiting.close()
        DBOS.destroy()
        _process = None


def _start(  # noqa: PLR0917 - what _launched knows
    url: str, fleet: str, region: str, settings: Settings, shared: Process, keep: Any, busy: Collection[str]
) -> tuple[Unfinished, ...]:
    """Start DBOS, and return the runs that it goes on with; `MultieipError` when its database cannot be used."""
    from dbos import DBOS  # noqa: PLC0415
    from dbos import error as engine_errors  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    try:
        if settings.database is None:
            _write_ahead(url)
        DBOS.migrate(url)
        found = _prepare(url, fleet, region, settings, shared.poll, busy)
        kept = _kept(fleet, found, keep)
        _give_up(url, tuple(one for one in found if one not in kept))
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_url": url,
                "executor_id": settings.executor or fleet,
                "application_version": FORMAT,
                "log_level": "CRITICAL",
                "notification_listener_polling_interval_sec": shared.poll,
            }
        )
        DBOS.launch()
    except (SQLAlchemyError, sqlite3.Error, engine_errors.DBOSException) as error:
        # Its text may have the URL, and that a password.
        raise MultieipError(
            f"the engine's state cannot be used ({type(error).__name__})",
            hint="see whether the database answers"
            if settings.database
            else f"remove the state folder of {fleet}: the next launch finds by tags what there is",
        ) from None
    return kept


def _write_ahead(url: str) -> None:
    """Have SQLite write ahead: those who read then hold nobody up who writes. The file remembers it."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
        database.execute("PRAGMA journal_mode = WAL")


def _prepare(  # noqa: PLR0917 - what _start knows
    url: str, fleet: str, region: str, settings: Settings, poll: float, busy: Collection[str]
) -> list[Unfinished]:
    """Make the queues before the engine looks for them, and return the fleet's runs that have no end yet."""
    from dbos import DBOSClient  # noqa: PLC0415

    client = DBOSClient(system_database_url=url, application_name=APPLICATION)
    try:
        client.register_queue(RUNS, worker_concurrency=1, polling_interval_sec=poll, on_conflict="always_update")
        for api, quota in settings.quotas.items():
            client.register_queue(
                queue(api, region),
                worker_concurrency=quota.at_once,
                limiter={"limit": quota.batches, "period": WINDOW / settings.pace.factor},
                polling_interval_sec=poll if api in busy else _SELDOM * poll,
                on_conflict="always_update",
            )
        _forget(client, fleet)
        found = client.list_workflows(
            status=OPEN, queue_name=RUNS, workflow_id_prefix=f"{fleet}.", app_version=FORMAT, load_input=True
        )
        return [_unfinished(one) for one in found]
    finally:
        client.destroy()


def _unfinished(one: Any) -> Unfinished:
    return Unfinished(one.workflow_id, one.name, tuple(one.input["args"]) if one.input else ())


def _kept(fleet: str, found: Sequence[Unfinished], keep: Any) -> tuple[Unfinished, ...]:
    """Return the runs that are gone on with; `MultieipError` for a rollout that is not one of them."""
    kept = tuple(one for one in found if keep(one))
    if any(one.workflow == ROLLOUT and one not in kept for one in found):
        raise MultieipError(
            f"a rollout of {fleet} is under way",
            hint=f"see `multieip rollout status {fleet}`; resume, cancel or rollback brings it to an end",
        )
    return kept


def _forget(client: Any, fleet: str) -> None:
    """Drop calls that ended long ago, and give up what a version of multieip began that does not fit this one."""
    open_ones = client.list_workflows(status=OPEN, workflow_id_prefix=f"{fleet}.", load_input=False, load_output=False)
    foreign = [one for one in open_ones if one.app_version != FORMAT]
    if any(one.name == ROLLOUT for one in foreign):
        raise MultieipError(
            f"a rollout of {fleet} is under way that another version of multieip began",
            hint="bring it to an end with that version",
        )
    client.cancel_workflows([one.workflow_id for one in foreign])
    old = client.list_workflows(
        name="calls",
        status=["SUCCESS", "ERROR", "CANCELLED"],
        workflow_id_prefix=f"{fleet}.",
        end_time=(datetime.now(UTC) - _KEPT).isoformat(),
        load_input=False,
        load_output=False,
    )
    client.delete_workflows([one.workflow_id for one in old])


def _give_up(url: str, runs: tuple[Unfinished, ...]) -> None:
    """End runs without going on: those themselves, and their calls that have not begun."""
    from dbos import DBOSClient  # noqa: PLC0415

    if not runs:
        return
    client = DBOSClient(system_database_url=url, application_name=APPLICATION)
    try:
        ids = [one.run for one in runs]
        for run in ids:
            waiting = client.list_workflows(status="ENQUEUED", workflow_id_prefix=f"{run}.", load_input=False)
            client.cancel_workflows([one.workflow_id for one in waiting])
        client.cancel_workflows(ids)
    finally:
        client.destroy()


def _await_calls(shared: Process, fleet: str, kept: tuple[Unfinished, ...], keep: Any) -> tuple[Unfinished, ...]:
    """Wait for calls of runs that do not go on: what they make must be there before anybody looks.

    Returns the runs that are gone on with: a rollout that another process began meanwhile is one of them.
    """
    from dbos import DBOS  # noqa: PLC0415

    while True:
        found = DBOS.list_workflows(status=OPEN, workflow_id_prefix=f"{fleet}.", load_input=False, load_output=False)
        known = {one.run for one in kept}
        if begun := [one.workflow_id for one in found if one.name == ROLLOUT and one.workflow_id not in known]:
            kept += _kept(fleet, [_unfinished(one) for one in DBOS.list_workflows(workflow_ids=begun)], keep)
            continue
        own = tuple(f"{one.run}." for one in kept)
        if all(f"{one.workflow_id}.".startswith(own) for one in found):
            return kept
        shared.conduct.sleep(shared.poll)
