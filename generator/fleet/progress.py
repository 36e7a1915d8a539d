"""How far a run is: for a terminal a line that is kept up to date, for a pipe a line a phase."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field

from generator import console

# Seconds between two updates of the line.
_EVERY = 0.5


@dataclass
class _Phase:
    total: int
    done: int = 0
    begun: float = field(default_factory=time.monotonic)


class Progress:
    """Counts things that are done, by phase. Threads may share it.

    `factor` is how many times as fast as ours the cloud's clock runs: rates and times are by its clock.
    """

    def __init__(self, factor: float = 1.0, *, quiet: bool = False) -> None:
        self._factor, self._quiet = factor, quiet
        self._phases: dict[str, _Phase] = {}
        self._shown, self._line = 0.0, False
        self._guard = threading.Lock()

    def begin(self, phase: str, total: int) -> None:
        """Begin a phase of so many things; one that is under way grows."""
        with self._guard:
            if total and phase in self._phases:
                self._phases[phase].total += total
            elif total:
                self._phases[phase] = _Phase(total)

    def advance(self, phase: str, count: int = 1) -> bool:
        """Count things that are done, and return whether the phase is under way."""
        with self._guard:
            if phase not in self._phases:
                return False
            self._phases[phase].done += count
            self._show()
            return True

    def end(self, phase: str) -> None:
        """End a phase and say how it went."""
        with self._guard:
            if found := self._phases.pop(phase, None):
                self._clear()
                self._say(f"✓ {found.done} {phase} ({self._seconds(found):.1f} s{self._rate(found)})")

    def say(self, text: str) -> None:
        """Say something between."""
        with self._guard:
            self._clear()
            self._say(text)

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return what is done and how much there is to do, of phases under way."""
        with self._guard:
            return {phase: (one.done, one.total) for phase, one in self._phases.items()}

    def _seconds(self, phase: _Phase) -> float:
        return (time.monotonic() - phase.begun) * self._factor

    def _rate(self, phase: _Phase) -> str:
        seconds = self._seconds(phase)
        return f", {phase.done * 60 / seconds:.0f}/min" if seconds > 1 and phase.done > 1 else ""

    def _show(self) -> None:
        now = time.monotonic()
        if self._quiet or not sys.stderr.isatty() or now - self._shown < _EVERY:
            return
        self._shown, self._line = now, True
        parts = []
        for name, one in self._phases.items():
            left = (one.total - one.done) * self._seconds(one) / one.done if one.done else 0
            parts.append(f"{one.done}/{one.total} {name}" + (f", {_span(left)} left" if left >= 1 else ""))
        sys.stderr.write("\r\x1b[2K… " + " · ".join(parts))
        sys.stderr.flush()

    def _clear(self) -> None:
        if self._line:
            sys.stderr.write("\r\x1b[2K")
            self._line = False

    def _say(self, text: str) -> None:
        if not self._quiet:
            console.say(text)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
