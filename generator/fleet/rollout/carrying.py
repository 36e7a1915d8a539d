"""Bringing ENIs to their instances: looks where each is, and does what comes next, until all are there.

What an earlier process began is gone on with: nothing is remembered here, all is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from generator.cloud import enis, instances
from generator.cloud.client import Cloud
from generator.cloud.enis import Eni
from generator.cloud.faults import ApiRefusedError
from generator.errors import ExitCode
from generator.fleet.calls import Failure, attempt

# Seconds of the cloud's clock after which an instance that takes no ENI is stopped for it. By then the ENI's EIPs are
# away, and a boot is sooner over than a way back, which ends at an instance of the same kind as often as not.
TAKES = 10.0
_STATE = "InvalidOperation.InvalidEcsState"
# Seconds of the cloud's clock between two looks at ENIs that move: short at first, since EIPs are away meanwhile.
FIRST, LONGEST = 0.25, 1.0


@dataclass(frozen=True)
class Move:
    """ENIs of one number that go to an instance from whichever they are on, or off it where `target` is empty.

    `publics` are the EIPs on them. `cold` are the instances that must be stopped for it; the target is started again.
    `since` is when the EIPs went away if that was earlier, in seconds since the epoch.
    """

    slot: int
    target: str
    enis: tuple[str, ...]
    publics: tuple[str, ...] = ()
    cold: tuple[str, ...] = ()
    since: float | None = None


class Carrier:
    """Carries out moves, those of several numbers side by side."""

    def __init__(self, cloud: Cloud, moves: Sequence[Move], patience: float) -> None:
        """Look where everything is; `patience` is how long a move with a stop may take, in the cloud's seconds."""
        self.cloud, self.moves = cloud, moves
        self.failures: dict[int, Failure] = {}
        self._cold = {move.slot: set(move.cold) for move in moves}
        self._stops = patience
        self._called = False
        self._look()

    def go(self) -> dict[int, Failure]:
        """Do it all, and return why not, by number."""
        left = [move for move in self._left() for eni in move.enis if not self._is_there(eni, move)]
        calls = {
            "DetachNetworkInterface": len(left),
            "AttachNetworkInterface": sum(bool(move.target) for move in left),
        }
        # ENIs that are on their way must not wait for a minute to pass.
        with self.cloud.conduct.reserved(self.cloud.region, calls):
            return self._go()

    def _go(self) -> dict[int, Failure]:
        waited, delay = 0.0, FIRST
        while left := self._left():
            if waited > (self._stops if any(self._cold.values()) else self.cloud.pace.busy):
                for move in left:
                    where = f"do not get to {move.target}" if move.target else "do not come off"
                    self._fail(move, f"{', '.join(move.enis)} {where}")
                break
            self._called = False
            for move in left:
                self._next(move)
            delay = FIRST if self._called else delay
            self.cloud.sleep(delay)
            waited, delay = waited + delay, min(2 * delay, LONGEST)
            self._look()
        return self.failures

    def stopped(self, move: Move) -> bool:
        """Return whether instances were stopped for a move."""
        return bool(self._cold[move.slot])

    def _look(self) -> None:
        moves = [move for move in self.moves if move.slot not in self.failures]
        ids = [eni for move in moves for eni in move.enis]
        self._enis = {eni.id: eni for eni in enis.describe(self.cloud, ids=ids)} if ids else {}
        cold = sorted({instance for move in moves for instance in self._cold[move.slot]})
        found = instances.describe(self.cloud, ids=cold) if cold else []
        self._status = {one.id: one.status for one in found}

    def _left(self) -> list[Move]:
        """Return the moves that are not done and have not failed."""
        return [move for move in self.moves if move.slot not in self.failures and not self._is_done(move)]

    def _is_done(self, move: Move) -> bool:
        runs = move.target not in self._cold[move.slot] or self._status.get(move.target) == "Running"
        return runs and all(self._is_there(eni, move) for eni in move.enis)

    def _is_there(self, key: str, move: Move) -> bool:
        eni = self._enis.get(key)
        if eni is None:
            return False
        return (eni.instance, eni.status) == (move.target, "InUse") if move.target else eni.status == "Available"

    def _next(self, move: Move) -> None:
        """Do what is next for a number's ENIs."""
        missing = [key for key in move.enis if not self._is_there(key, move)]
        if gone := [key for key in missing if key not in self._enis]:
            self._fail(move, f"{gone[0]} is gone")
        elif not missing:
            self._switch(move, move.target, "Stopped", instances.start)
        elif self._are_stopped(move, (self._enis[key] for key in missing)):
            for key in missing:
                self._step(move, self._enis[key])

    def _are_stopped(self, move: Move, moving: Iterable[Eni]) -> bool:
        """Return whether every instance is stopped that must be for ENIs to move, and tell the next one to.

        The target comes first: what the ENIs are on serves meanwhile.
        """
        taking_part = dict.fromkeys((move.target, *(eni.instance for eni in moving)))
        for one in taking_part:
            if one in self._cold[move.slot] and self._status.get(one, "Stopped") != "Stopped":
                self._switch(move, one, "Running", instances.stop)
                return False
        return True

    def _switch(self, move: Move, instance: str, status: str, switch: Callable[[Cloud, str], None]) -> None:
        if self._status.get(instance) == status:
            self._do(move, lambda: switch(self.cloud, instance))

    def _step(self, move: Move, eni: Eni) -> None:
        if eni.status == "InUse":
            self._do(move, lambda: enis.detach(self.cloud, eni.id, eni.instance))
        elif eni.status == "Available":
            self._do(move, lambda: self._attach(move, eni.id))

    def _attach(self, move: Move, eni: str) -> None:
        try:
            enis.attach(self.cloud, eni, move.target, patience=TAKES)
        except ApiRefusedError as refusal:
            if refusal.code != _STATE or move.target in self._cold[move.slot]:
                raise
            self._cold[move.slot].add(move.target)

    def _do(self, move: Move, call: Callable[[], None]) -> None:
        self._called = True
        if failure := attempt(call).failure:
            self.failures.setdefault(move.slot, failure)

    def _fail(self, move: Move, message: str) -> None:
        failure = Failure(message, "look at it in the console", int(ExitCode.TIMEOUT), fatal=True)
        self.failures.setdefault(move.slot, failure)
