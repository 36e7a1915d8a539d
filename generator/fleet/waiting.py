"""Waiting for workflows: one look into the engine's database is for all threads of a process that wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from generator.cloud.client import StoppedError

# Real seconds after which a thread that waits sees that the process is to end, if nobody told it.
_LONGEST = 1.0
# Which of the workflows with these ids have no end yet.
Look = Callable[[Collection[str]], Collection[str]]


class Waiting:
    """Wakes threads when the workflows that they wait for are over."""

    def __init__(self, look: Look, every: float, stop: threading.Event) -> None:
        """`every` is how many real seconds pass between two looks; all waits end when `stop` is set."""
        self._look, self._every, self._stop = look, every, stop
        self._waiting: dict[str, threading.Event] = {}
        self._new = threading.Event()
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="waiting", daemon=True)
        self._thread.start()

    def until_over(self, workflow: str) -> None:
        """Wait until a workflow is over; `StoppedError` when the process is to end."""
        with self._guard:
            over = self._waiting.setdefault(workflow, threading.Event())
        # It may be over already: that is looked at now.
        self._new.set()
        while not over.wait(_LONGEST) and not self._stop.is_set():
            pass
        if self._stop.is_set():
            raise StoppedError

    def close(self) -> None:
        """End all waits; `stop` must be set."""
        self._new.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._guard:
                known = set(self._waiting)
            self._wake(known - self._open(known))
            self._new.wait(self._every if known else None)
            self._new.clear()
        self._wake(set(self._waiting))

    def _wake(self, over: Collection[str]) -> None:
        with self._guard:
            for workflow in over:
                self._waiting.pop(workflow).set()

    def _open(self, known: set[str]) -> set[str]:
        try:
            return set(self._look(known)) if known else set()
        except Exception:
            return set()
