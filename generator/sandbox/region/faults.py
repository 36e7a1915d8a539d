"""Faults on request: what goes wrong, with which calls, how often."""

from __future__ import annotations

import random
from collections.abc import Container
from dataclasses import dataclass, replace
from enum import StrEnum


class Kind(StrEnum):
    """What goes wrong."""

    THROTTLE = "throttle"
    # A gateway's page instead of an answer, before the call was carried out.
    UNAVAILABLE = "unavailable"
    # The call is carried out, its answer lost with the connection.
    LOST = "lost"
    # The connection breaks before the call is carried out.
    RESET = "reset"
    SLOW = "slow"
    # RunInstances and CreateInstance find only `amount` instances in stock.
    NO_STOCK = "no-stock"
    # `amount` of the instances that RunInstances answered with vanish afterwards.
    VANISH = "vanish"
    # Any code: `code`, with `status`.
    ERROR = "error"


# What the handler of a call meets; the rest are the server's.
STOCK = frozenset((Kind.NO_STOCK, Kind.VANISH))
TRANSPORT = frozenset(Kind) - STOCK


@dataclass(frozen=True)
class Fault:
    """A fault with the calls of `action` (`*`: every call).

    It meets the next `count` calls (None: all), each with `probability`. `seconds` is real time, for SLOW.
    """

    kind: Kind
    action: str = "*"
    count: int | None = 1
    probability: float = 1.0
    seconds: float = 1.0
    amount: int = 0
    code: str = "InternalError"
    status: int = 500
    message: str = "The request processing has failed due to some unknown error."


class Faults:
    """The faults that are waiting, oldest first. Chances come from a seed, so a run can be had again."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Have a fault wait for its calls."""
        self._waiting.append(fault)

    def waiting(self) -> tuple[Fault, ...]:
        """Return the faults that still wait."""
        return tuple(self._waiting)

    def clear(self) -> None:
        """Have nothing go wrong any more."""
        self._waiting.clear()

    def take(self, action: str, kinds: Container[Kind]) -> Fault | None:
        """Return the fault of these kinds that a call of an action meets, and count it."""
        for number, fault in enumerate(self._waiting):
            meant = fault.kind in kinds and fault.action in ("*", action)
            if meant and self._random.random() < fault.probability:
                if fault.count is not None:
                    left = fault.count - 1
                    self._waiting[number : number + 1] = [replace(fault, count=left)] if left > 0 else []
                return fault
        return None
