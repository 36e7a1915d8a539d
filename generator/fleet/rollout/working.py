"""Several processes, on one machine or many, that carry out one rollout through one PostgreSQL database.

Each holds an advisory lock of the database for as long as its connection lives. Who can take another's lock knows that
the other one is dead, and takes its unfinished work over. One that loses its own connection ends: it may be taken for
dead.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from generator.fleet.engine import process
from generator.fleet.postgres import connected, key_of

# Seconds between two looks for dead ones.
_EVERY = 1.0


def new_name(fleet: str) -> str:
    """Return the name of a process that works on a fleet; there is no other of that name."""
    return f"{fleet}.{socket.gethostname()}.{os.getpid()}.{os.urandom(3).hex()}"


class Presence:
    """Says to others that this process lives, and takes over what dead ones left."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.taken: list[str] = []
        self._connection = connected(url)
        # The server cuts it off at 63 characters: the fleet comes first.
        self._connection.execute("SELECT set_config('application_name', %s, false)", (f"multieip {name}"[:63],))
        self._connection.execute("SELECT pg_advisory_lock(%s)", (key_of(name),))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    @contextmanager
    def taking_over(self) -> Iterator[None]:
        """Look for dead ones; the engine must be open."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def _run(self) -> None:
        from psycopg import Error  # noqa: PLC0415 - with the engine

        while not self._stop.wait(_EVERY):
            try:
                self._take_over()
            except Error:
                # Others may take this process for dead now: it must not go on beside them.
                process().conduct.stop.set()
                return

    def _take_over(self) -> None:
        """Hand the work of dead processes back to the queues."""
        from dbos import DBOS  # noqa: PLC0415 - with the engine

        found = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
        for other in sorted({one.executor_id for one in found if one.executor_id} - {self.name}):
            row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (key_of(other),)).fetchone()
            if not (row and row[0]):
                continue
            try:
                # What recovers an executor's own work when it starts again; done twice it does no more. DBOS's public
                # resume_workflow passes the queues' limits by.
                DBOS._recover_pending_workflows([other])
                self.taken.append(other)
            finally:
                self._connection.execute("SELECT pg_advisory_unlock(%s)", (key_of(other),))


def is_anybody_present(url: str, fleet: str) -> bool:
    """Return whether any process is present that works on a fleet."""
    with connected(url) as connection:
        found = connection.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE %s",
            (f"multieip {fleet}.%",),
        )
        return found.fetchone() is not None
