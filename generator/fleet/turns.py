"""Whose turn it is to make a call of which the account may make only so many a minute.

The engine's queues say when a batch begins. What a batch does takes time, so some of its calls are made a minute later
than others would have been: turns make the number exact, among all processes that share a database. A turn counts from
before a call until a minute after its answer. Whenever the cloud counts the call in between, it never counts too many.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

from generator.cloud.client import StoppedError
from generator.fleet import postgres
from generator.fleet.quotas import WINDOW, Quota, queue

T = TypeVar("T")
# Real seconds between two tries to reach a database that does not answer.
_AGAIN = 1.0
# A turn of a process that died is over after so many windows: one in which it would have made the call, one after.
_LOST = 2


class Turns:
    """Takes turns. Threads share it, and a thread that reserves turns uses those for its next calls."""

    def __init__(
        self, ledger: Ledger, quotas: Mapping[str, Quota], factor: float, sleep: Callable[[float], None]
    ) -> None:
        """`factor` is how many times as fast as ours the cloud's clock runs, `sleep` waits real seconds."""
        self._ledger, self._quotas, self._sleep = ledger, quotas, sleep
        self._window = WINDOW / factor
        self._mine = threading.local()
        self._closed = False

    def close(self) -> None:
        """Give no turns any more, and leave the database."""
        self._closed = True
        self._ledger.close()

    @contextmanager
    def turn(self, region: str, api: str) -> Iterator[None]:
        """Wait until a call may be made, and count it; calls of APIs without a limit pass."""
        if api not in self._quotas:
            yield
            return
        reserved = self._reserved(region, api)
        key = reserved.pop() if reserved else self._take(region, api, 1)[0]
        try:
            yield
        finally:
            self._ask(lambda: self._ledger.count(queue(api, region), key, self._window))

    @contextmanager
    def reserved(self, region: str, calls: Mapping[str, int]) -> Iterator[None]:
        """Wait until this thread may make so many calls of each API, so that it need not wait between them.

        What it has not used in the end is given back. Not more than a minute's worth is reserved.
        """
        try:
            for api, amount in sorted(calls.items()):
                if amount and api in self._quotas:
                    self._reserved(region, api).extend(self._take(region, api, min(amount, self._quotas[api].calls)))
            yield
        finally:
            for api in calls:
                unused = self._reserved(region, api)
                self._ask(lambda unused=unused: self._ledger.give_back(unused))  # type: ignore[misc]
                unused.clear()

    def _reserved(self, region: str, api: str) -> list[str]:
        found: list[str] = self._mine.__dict__.setdefault(queue(api, region), [])
        return found

    def _take(self, region: str, api: str, amount: int) -> Sequence[str]:
        name, most = queue(api, region), self._quotas[api].calls
        while True:
            found = self._ask(lambda: self._ledger.take(name, amount, most, self._window))
            if not isinstance(found, float):
                return found
            # One that is given back, or whose call is answered, is free sooner than it looked.
            self._sleep(min(found, self._window / WINDOW))

    def _ask(self, ask: Callable[[], T]) -> T:
        while not self._closed:
            try:
                return ask()
            except self._ledger.errors:
                self._sleep(_AGAIN)
                with suppress(*self._ledger.errors):
                    self._ledger.renew()
        raise StoppedError


class Ledger(ABC):
    """Has the turns that count, by the name of what they are of, in a table of a database."""

    errors: tuple[type[Exception], ...]
    _table: str
    # How statements name their parameters.
    _mark: str
    _database: Any

    def __init__(self) -> None:
        self._guard = threading.Lock()

    def take(self, name: str, amount: int, most: int, window: float) -> Sequence[str] | float:
        """Return the keys of so many turns, or in how many real seconds there may be as many."""
        with self._guard, self._alone(name) as now:
            self._do("DELETE FROM {} WHERE name = ? AND until <= ?", name, now)
            ((held,),) = self._do("SELECT count(*) FROM {} WHERE name = ?", name)
            if (over := held + amount - most) > 0:
                sql = "SELECT until FROM {} WHERE name = ? ORDER BY until LIMIT 1 OFFSET ?"
                ((until,),) = self._do(sql, name, over - 1)
                return float(until) - now
            keys = [os.urandom(12).hex() for _ in range(amount)]
            for key in keys:
                self._do("INSERT INTO {} VALUES (?, ?, ?)", key, name, now + _LOST * window)
            return keys

    def count(self, name: str, key: str, window: float) -> None:
        """Have a turn count for a window from now on."""
        with self._guard, self._alone(name) as now:
            sql = "INSERT INTO {} VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET until = excluded.until"
            self._do(sql, key, name, now + window)

    def give_back(self, keys: Sequence[str]) -> None:
        """Forget turns that were not used."""
        with self._guard:
            for key in keys:
                self._do("DELETE FROM {} WHERE key = ?", key)

    @abstractmethod
    def renew(self) -> None:
        """Make a connection again that was lost."""

    def close(self) -> None:
        """End the connection."""
        with self._guard:
            self._database.close()

    @abstractmethod
    def _alone(self, name: str) -> AbstractContextManager[float]:
        """Keep others from the turns of a name; gives the time, in seconds since the epoch."""

    @abstractmethod
    def _execute(self, sql: str, values: tuple[Any, ...]) -> list[Any]: ...

    def _do(self, sql: str, *values: Any) -> list[Any]:
        return self._execute(sql.format(self._table).replace("?", self._mark), values)

    def _create(self) -> None:
        self._do("CREATE TABLE IF NOT EXISTS {} (key TEXT PRIMARY KEY, name TEXT NOT NULL, until FLOAT8 NOT NULL)")


class FileLedger(Ledger):
    """In a SQLite file of a fleet: one process has it at a time, and finds what the one before it did."""

    errors = ()
    _table, _mark = "turns", "?"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # What a loss of power takes is a minute's turns.
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._create()

    def renew(self) -> None:
        """A file is not lost."""

    def _alone(self, name: str) -> AbstractContextManager[float]:
        return nullcontext(time.time())

    def _execute(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        return list(self._database.execute(sql, values).fetchall())


class SharedLedger(Ledger):
    """In a PostgreSQL database that processes on several machines share, by its clock."""

    _table, _mark = "multieip.turns", "%s"

    def __init__(self, url: str) -> None:
        from psycopg import Error  # noqa: PLC0415 - with the engine

        super().__init__()
        self.errors = (Error,)
        self._url, self._database = url, postgres.connected(url)
        try:
            with self._alone(self._table):
                self._do("CREATE SCHEMA IF NOT EXISTS multieip")
                self._create()
        except Error as error:
            raise postgres.unusable(error) from None

    def renew(self) -> None:
        """Make a connection again that was lost."""
        with self._guard:
            if self._database.broken:
                self._database = postgres.connect(self._url)

    @contextmanager
    def _alone(self, name: str) -> Iterator[float]:
        with self._database.transaction():
            sql = "SELECT extract(epoch FROM clock_timestamp()) FROM (SELECT pg_advisory_xact_lock(?)) AS held"
            ((now,),) = self._do(sql, postgres.key_of(name))
            yield float(now)

    def _execute(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        found = self._database.execute(sql, values)
        return list(found.fetchall()) if found.description else []
