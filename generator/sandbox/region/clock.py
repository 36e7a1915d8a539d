"""The sandbox's time: real time, or faster, so that windows of quota and delays can be tested in a blink."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """Time that runs `factor` times as fast as real time from `start` (seconds since the epoch) on."""

    def __init__(self, factor: float = 1.0, start: float | None = None) -> None:
        self.factor = factor
        self._start = time.time() if start is None else start
        self._began = time.monotonic()

    def now(self) -> float:
        """Return the sandbox's time in seconds since the epoch."""
        return self._start + (time.monotonic() - self._began) * self.factor

    def not_before(self, moment: float) -> None:
        """Go on from `moment` if it is later than now: time never runs back, across restarts either."""
        if moment > self.now():
            self._start, self._began = moment, time.monotonic()

    def seconds_until(self, moment: float) -> float:
        """Return how many real seconds are left until `moment`."""
        return max(0.0, (moment - self.now()) / self.factor)


class SteppedClock(Clock):
    """A clock that stands until it is told to go on: for tests that must not depend on the machine's speed."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        super().__init__(1.0, start)
        self._now = start

    def now(self) -> float:
        """Return the time it was set to."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let seconds pass."""
        self._now += seconds

    def not_before(self, moment: float) -> None:
        """Go on from `moment` if it is later than now."""
        self._now = max(self._now, moment)


def minutes(moment: float) -> str:
    """Return a time as ECS writes it: UTC, to the minute."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%MZ")


def to_seconds(moment: float) -> str:
    """Return a time as VPC writes it: UTC, to the second."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
