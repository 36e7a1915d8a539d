"""What any process may ask about the rollouts of a fleet and say to them, whichever process carries them out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from generator.errors import MultieipError
from generator.fleet import state
from generator.fleet.engine import APPLICATION, ROLLOUT
from generator.fleet.rollout.values import Result, State

# The topic of a person's messages, the stream and the event that the workflow writes.
CONTROL, EVENTS, STATE = "control", "events", "state"
# The events that are pictures of the fleet, as SVG.
BEFORE, AFTER = "before", "after"
PAUSE, RESUME, CANCEL, ROLLBACK = "pause", "resume", "cancel", "rollback"

# Real seconds between two looks for news.
_LOOK = 0.25
_ENDED = {
    "SUCCESS": "",
    "ERROR": "a bug ended it",
    "CANCELLED": "given up",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "given up",
}


@dataclass(frozen=True)
class Record:
    """A rollout that was begun, in UTC; `state` is None until it has looked at the fleet."""

    run: str
    begun: datetime
    is_over: bool
    state: State | None
    why: str = ""


class Desk:
    """The rollouts of one fleet, as the engine's database has them."""

    def __init__(self, client: Any, fleet: str) -> None:
        self._client, self.fleet = client, fleet

    def history(self, most: int = 50) -> list[Record]:
        """Return the last rollouts, the newest first."""
        found = self._client.list_workflows(
            name=ROLLOUT, workflow_id_prefix=f"{self.fleet}.", sort_desc=True, limit=most, load_input=False
        )
        return [
            Record(
                run=one.workflow_id,
                begun=datetime.fromtimestamp(one.created_at / 1000, UTC),
                is_over=one.status in _ENDED,
                state=self.state(one.workflow_id),
                why=_ENDED.get(one.status, ""),
            )
            for one in found
        ]

    def last(self) -> Record:
        """Return the newest rollout; `MultieipError` when there was none."""
        found = self.history(1)
        if not found:
            raise MultieipError(
                f"no rollout of {self.fleet} is known here",
                hint="`multieip rollout start` begins one; $MULTIEIP_STATE or --engine says where its record is",
            )
        return found[0]

    def state(self, run: str) -> State | None:
        """Return how a rollout stands."""
        found: State | None = self._client.get_event(run, STATE, timeout_seconds=0)
        return found

    def pictures(self, run: str) -> tuple[str, str]:
        """Return pictures of the fleet before and after a rollout, empty where there is none."""
        before, after = (self._client.get_event(run, key, timeout_seconds=0) for key in (BEFORE, AFTER))
        return before or "", after or ""

    def result(self, run: str) -> Result | None:
        """Return what came of a rollout that is over; None when it has none."""
        found = self._client.list_workflows(workflow_ids=[run], load_output=True)
        return found[0].output if found and isinstance(found[0].output, Result) else None

    def inputs(self, run: str) -> tuple[Any, ...]:
        """Return what a rollout was begun with: `Desired` and `Order`."""
        (found,) = self._client.list_workflows(workflow_ids=[run], load_input=True)
        return tuple(found.input["args"])

    def say(self, run: str, word: str) -> None:
        """Tell a rollout to pause, resume, cancel or rollback: it hears it before it begins anything new."""
        self._client.send(run, word, topic=CONTROL)

    def is_over(self, run: str) -> bool:
        """Return whether a rollout has come to an end."""
        (found,) = self._client.list_workflows(workflow_ids=[run], load_input=False, load_output=False)
        return found.status in _ENDED

    def events(self, run: str, *, since: int = 0, patience: float | None = None) -> Iterator[list[dict[str, Any]]]:
        """Yield what a rollout did, as it does it, in portions; ends when it is over, or is silent for so long."""
        from dbos import error as engine_errors  # noqa: PLC0415 - with the engine

        try:
            yield from self._client.read_stream(
                run, EVENTS, offset=since, timeout_seconds=patience, polling_interval_sec=_LOOK
            )
        except engine_errors.DBOSStreamTimeoutError:
            return


@contextmanager
def at_desk(fleet: str, url: str) -> Iterator[Desk]:
    """Open the desk of a fleet in the engine's database."""
    from dbos import DBOS, DBOSClient  # noqa: PLC0415 - 0.3 s that only verbs with an engine pay
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    try:
        DBOS.migrate(url)
        client = DBOSClient(system_database_url=url, application_name=APPLICATION)
    except SQLAlchemyError as error:
        # Its text may have the URL, and that a password.
        message = f"the engine's database cannot be used ({type(error).__name__})"
        raise MultieipError(message, hint="see whether it answers") from None
    try:
        yield Desk(client, fleet)
    finally:
        client.destroy()


def url_of(home: state.Home, database: str | None) -> str:
    """Return the engine's database: the one that was named, else the fleet's own, whose folder is made."""
    if database:
        return database
    try:
        home.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise MultieipError(f"{home.folder} cannot be used: {error.strerror}") from error
    return home.database
