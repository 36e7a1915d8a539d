"""What is kept of the account: one SQLite file.

SQLite and not a journal of our own: a transaction is a request, whole or not at all whenever the process is killed;
there is nothing to compact; and a person can look into it. A commit costs about 50 µs, as its log is not forced to
the disk: what the sandbox survives is the end of its process, not that of the machine's power.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from generator.errors import MultieipError
from generator.sandbox.region.model import KINDS, Record

# Grows with every change of the records that older files cannot be read with.
FORMAT = 1
_NAMED = {kind.__name__: kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Change:
    """A record of a region as it is now, None when it is gone; `position` orders the records of a kind."""

    region: str
    kind: type
    id: str
    position: int
    record: Record | None


class Store:
    """The records of an account's regions in a file, or nowhere (`path` None)."""

    def __init__(self, path: Path | None) -> None:
        self._db = sqlite3.connect(path or ":memory:", timeout=0.5, isolation_level=None, check_same_thread=False)
        self._persistent = path is not None
        try:
            self._prepare(path)
        except sqlite3.DatabaseError as error:
            self._db.close()
            locked = isinstance(error, sqlite3.OperationalError)
            hint = "another sandbox may use this directory" if locked else "remove the file to begin anew"
            raise MultieipError(f"{path}: {error}", hint=hint) from error

    def _prepare(self, path: Path | None) -> None:
        # One server at a time: a second one would answer from what it read before the first one's changes.
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, FORMAT):
            raise MultieipError(f"{path} was written by another version", hint="remove the file to begin anew")
        self._db.execute("BEGIN EXCLUSIVE")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS record (region TEXT, kind TEXT, id TEXT, position INTEGER, body BLOB,"
            " PRIMARY KEY (region, kind, id)) WITHOUT ROWID"
        )
        self._db.execute("CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value) WITHOUT ROWID")
        self._db.execute(f"PRAGMA user_version={FORMAT}")
        self._db.execute("COMMIT")

    def load(self) -> Iterable[tuple[str, int, Any]]:
        """Yield region, position and record of everything that was kept, in the order in which it was made."""
        rows = self._db.execute("SELECT region, position, kind, body FROM record ORDER BY position").fetchall()
        for region, position, kind, body in rows:
            yield region, position, _codec(_NAMED[kind]).validate_json(body)

    def settings(self) -> dict[str, Any]:
        """Return all settings."""
        return dict(self._db.execute("SELECT name, value FROM setting").fetchall())

    def commit(self, changes: Iterable[Change], settings: Mapping[str, Any]) -> None:
        """Keep changes and settings, all or nothing."""
        if not self._persistent:
            return
        self._db.execute("BEGIN")
        for change in changes:
            self._keep(change)
        self._db.executemany("INSERT OR REPLACE INTO setting VALUES (?, ?)", settings.items())
        self._db.execute("COMMIT")

    def _keep(self, change: Change) -> None:
        key = (change.region, change.kind.__name__, change.id)
        if change.record is None:
            self._db.execute("DELETE FROM record WHERE region = ? AND kind = ? AND id = ?", key)
        else:
            body = _codec(change.kind).dump_json(change.record)
            self._db.execute("INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?)", (*key, change.position, body))

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


@cache
def _codec(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
