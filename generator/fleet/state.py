"""Where a fleet's runs are kept: one folder for each fleet, used by one process at a time.

`engine.sqlite` is the durable engine's, `calls.jsonl` every request that was sent, with its RequestId for support.
The cloud is the truth about resources; the folder is what makes a run go on where it was cut short. It may be lost:
the next launch then finds by tags what there is.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from generator.cloud.client import Sent
from generator.errors import MultieipError

FOLDER = "MULTIEIP_STATE"
DEFAULT = "build/fleets"


def home(fleet: str, folder: Path | None = None) -> Home:
    """Return where a fleet's state is: in the folder, else in $MULTIEIP_STATE, else in build/fleets."""
    return Home(fleet, (folder or Path(os.environ.get(FOLDER) or DEFAULT)) / fleet)


@dataclass(frozen=True)
class Home:
    """The folder of one fleet."""

    fleet: str
    folder: Path

    @property
    def database(self) -> str:
        """Where the durable engine keeps its state, as a URL."""
        return f"sqlite:///{(self.folder / 'engine.sqlite').absolute()}"

    @property
    def calls(self) -> Path:
        """The file with all requests that were sent."""
        return self.folder / "calls.jsonl"

    @property
    def turns(self) -> Path:
        """The file with the last minute's calls of which the account may make only so many."""
        return self.folder / "turns.sqlite"

    def lock(self) -> Lock:
        """Return the fleet's lock, taken; `MultieipError` when another process has it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            held = (self.folder / "lock").open("a+")
        except OSError as error:
            raise MultieipError(f"{self.folder} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.seek(0)
            owner = held.read().strip() or "unknown"
            held.close()
            raise MultieipError(
                f"another process works on the fleet {self.fleet} (pid {owner})",
                hint="wait until it ends, or end it: what it began is finished by the next run",
            ) from None
        held.truncate(0)
        held.write(f"{os.getpid()}\n")
        held.flush()
        return Lock(held)


@dataclass
class Lock:
    """A lock that is held until it is released or the process ends."""

    file: IO[str]

    def release(self) -> None:
        """Let others have it."""
        self.file.close()


def new_run() -> str:
    """Return the name of a new run: the time, and what keeps two of one second apart."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.urandom(3).hex()}"


class CallLog:
    """Writes every request that was sent to a file, a line each, and counts them by action and outcome."""

    def __init__(self, path: Path | None) -> None:
        self.counts: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self._guard = threading.Lock()
        self._file = path.open("a", buffering=1) if path else None

    def __call__(self, sent: Sent) -> None:
        """Take note of a request."""
        line = {
            "time": round(time.time(), 3),
            "action": sent.action,
            "region": sent.region,
            "request_id": sent.request_id,
            "code": sent.code,
            "token": sent.token,
            "seconds": round(sent.seconds, 4),
        }
        with self._guard:
            counts = self.refused if sent.code else self.counts
            counts[sent.action] = counts.get(sent.action, 0) + 1
            if self._file:
                self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """End the file."""
        if self._file:
            self._file.close()
            self._file = None

    @property
    def writes(self) -> int:
        """How many requests that change something were answered."""
        return sum(count for action, count in self.counts.items() if not action.startswith(("Describe", "List")))

    @property
    def reads(self) -> int:
        """How many requests that only look were answered."""
        return sum(self.counts.values()) - self.writes
