"""Moving what EIPs are on from one instance to another: secondary ENIs by two calls, the rest one by one.

Every step looks where things are first, so one that was cut short is done again from where it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dbos import DBOS, SetWorkflowID

from generator.cloud import eips, enis
from generator.cloud.client import Cloud
from generator.cloud.enis import Eni
from generator.errors import ExitCode, LeftBehindError
from generator.fleet import calls, names
from generator.fleet.calls import Failure, Outcome, attempt
from generator.fleet.engine import process, queue
from generator.fleet.rollout.outage import Watch
from generator.fleet.rollout.values import Order, Outage
from generator.fleet.work import Queues, parts

# Seconds of the cloud's clock between two looks at ENIs that move: short at first, since EIPs are away meanwhile.
_FIRST, _LONGEST = 0.25, 1.0
# Real seconds for which EIPs that have moved are watched until they answer.
_BACK = 30.0

ENI, EIP = "ENI", "EIP"


@dataclass(frozen=True)
class Move:
    """ENIs of one number that go to an instance, from whichever they are on; `publics` are the EIPs on them."""

    slot: int
    target: str
    enis: tuple[str, ...]
    publics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rebind:
    """An EIP that goes to a private IP of an ENI, from whichever it is on."""

    slot: int
    eip: str
    public: str
    eni: str
    ip: str


@dataclass(frozen=True)
class Moved:
    """What became of moves: why not, by number, and what EIPs missed."""

    failures: tuple[tuple[int, Failure], ...] = ()
    outages: tuple[tuple[int, Outage], ...] = ()

    def failed(self, slot: int) -> Failure | None:
        """Return why the move of a number was not done."""
        return next((failure for one, failure in self.failures if one == slot), None)


def carry_out(queues: Queues, order: Order, moves: Sequence[Move], rebinds: Sequence[Rebind]) -> Moved:
    """Do moves, each API's calls as often as the account may make them, and wait for all."""
    quotas = process().quotas
    handles = [
        *(
            _enqueue(queues, "DetachNetworkInterface", move_enis, part, order)
            for part in _batches(moves, quotas["DetachNetworkInterface"].batch)
        ),
        *(
            _enqueue(queues, "AssociateEipAddress", rebind_eips, part, order)
            for part in parts(rebinds, quotas["AssociateEipAddress"].batch)
        ),
    ]
    found: list[Moved] = [handle.get_result(polling_interval_sec=process().poll) for handle in handles]
    return Moved(
        tuple(one for moved in found for one in moved.failures), tuple(one for moved in found for one in moved.outages)
    )


def _enqueue(queues: Queues, api: str, workflow: Any, items: Any, order: Order) -> Any:
    with SetWorkflowID(queues.name(f"{api}.move")):
        return DBOS.enqueue_workflow(queue(api, queues.region), workflow, queues.region, tuple(items), order)


def _batches(moves: Sequence[Move], most: int) -> Iterator[list[Move]]:
    """Yield moves in batches of so many ENIs, at least one move each."""
    batch: list[Move] = []
    for move in moves:
        if batch and sum(len(one.enis) for one in batch) + len(move.enis) > most:
            yield batch
            batch = []
        batch.append(move)
    if batch:
        yield batch


@DBOS.workflow(name="move-enis")
def move_enis(region: str, moves: Sequence[Move], order: Order) -> Moved:
    """Detach ENIs and attach them to their new instances."""
    return _move(region, moves, order)


@DBOS.step(name="move")
def _move(region: str, moves: Sequence[Move], order: Order) -> Moved:
    cloud = process().cloud(region)
    publics = [public for move in moves for public in move.publics] if order.probing else []
    with Watch(publics, order.probe) as watch:
        carrier = _Carrier(cloud, moves)
        failures = carrier.go()
        if publics:
            watch.settle(_BACK)
    outages = tuple((move.slot, Outage(public, ENI, watch.outage(public))) for move in moves for public in move.publics)
    return Moved(tuple(failures.items()), outages)


class _Carrier:
    """Brings ENIs to their instances: looks where each is, and does what comes next."""

    def __init__(self, cloud: Cloud, moves: Sequence[Move]) -> None:
        self.cloud = cloud
        self.goals = {eni: move for move in moves for eni in move.enis}
        self.failures: dict[int, Failure] = {}
        self._seen = self._look()
        # Whether nothing has moved yet: of a move that goes on where it was cut short, nobody knows the outage.
        self.was_whole = all(eni.status == "InUse" for eni in self._seen.values()) and len(self._left()) == len(
            self.goals
        )

    def go(self) -> dict[int, Failure]:
        """Do it all, and return why not, by number."""
        waited, delay = 0.0, _FIRST
        while left := self._left():
            if waited > self.cloud.pace.busy:
                for eni in left:
                    self._fail(eni, f"{eni} does not get to {self.goals[eni].target}")
                break
            called = [self._next(eni) for eni in left]
            delay = _FIRST if any(called) else delay
            self.cloud.sleep(delay)
            waited, delay = waited + delay, min(2 * delay, _LONGEST)
            self._seen = self._look()
        return self.failures

    def _look(self) -> dict[str, Eni]:
        ids = [key for key, move in self.goals.items() if move.slot not in self.failures]
        return {eni.id: eni for eni in enis.describe(self.cloud, ids=ids)} if ids else {}

    def _left(self) -> list[str]:
        """Return the ENIs that are not where they belong, of moves that have not failed."""
        return [
            key
            for key, move in self.goals.items()
            if move.slot not in self.failures and not self._is_there(self._seen.get(key), move.target)
        ]

    @staticmethod
    def _is_there(eni: Eni | None, target: str) -> bool:
        return eni is not None and eni.instance == target and eni.status == "InUse"

    def _next(self, key: str) -> bool:
        """Do what is next for an ENI; say whether that was a call that changes something."""
        eni, move = self._seen.get(key), self.goals[key]
        if eni is None:
            self._fail(key, f"{key} is gone")
            return False
        if eni.status == "InUse":
            outcome = attempt(lambda: enis.detach(self.cloud, key, eni.instance))
        elif eni.status == "Available":
            outcome = attempt(lambda: enis.attach(self.cloud, key, move.target))
        else:
            return False
        if outcome.failure:
            self.failures.setdefault(move.slot, outcome.failure)
        return True

    def _fail(self, key: str, message: str) -> None:
        failure = Failure(message, "look at it in the console", int(ExitCode.TIMEOUT), fatal=True)
        self.failures.setdefault(self.goals[key].slot, failure)


@DBOS.workflow(name="rebind-eips")
def rebind_eips(region: str, items: Sequence[Rebind], order: Order) -> Moved:
    """Bind EIPs to other private IPs, one by one."""
    return _rebind(region, items, order, str(DBOS.workflow_id))


@DBOS.step(name="rebind")
def _rebind(region: str, items: Sequence[Rebind], order: Order, workflow: str) -> Moved:
    cloud = process().cloud(region)
    publics = [item.public for item in items] if order.probing else []
    failures: dict[int, Failure] = {}
    with Watch(publics, order.probe) as watch:
        for number, item in enumerate(items):
            outcome: Outcome = attempt(lambda item=item, number=number: _bring(cloud, item, f"{workflow}.{number}"))  # type: ignore[misc]
            if outcome.failure:
                failures.setdefault(item.slot, replace(outcome.failure, fatal=True))
        outcome = attempt(lambda: _in_use(cloud, [item for item in items if item.slot not in failures]))
        if outcome.failure:
            failures |= {item.slot: outcome.failure for item in items}
        if publics:
            watch.settle(_BACK)
    outages = tuple((item.slot, Outage(item.public, EIP, watch.outage(item.public))) for item in items)
    return Moved(tuple(failures.items()), outages)


def _bring(cloud: Cloud, item: Rebind, token: str) -> None:
    """Take an EIP from where it is, and bind it where it belongs."""
    found = eips.describe(cloud, ids=[item.eip])
    if not found:
        raise LeftBehindError(f"the EIP {item.public} is gone", hint="`multieip launch` allocates another one")
    if (found[0].target, found[0].private_ip) == (item.eni, item.ip):
        return
    if found[0].target:
        eips.unassociate(cloud, item.eip, token=names.token(token, "from", found[0].target))
        _wait(cloud, [item.eip], "Available")
    calls.associate(cloud, calls.Associate(item.eip, item.eni, item.ip), names.token(token, "to"))


def _in_use(cloud: Cloud, items: Sequence[Rebind]) -> None:
    if items:
        _wait(cloud, [item.eip for item in items], "InUse")


def _wait(cloud: Cloud, ids: Sequence[str], status: str) -> None:
    waited, delay = 0.0, _FIRST
    while any(one.status != status for one in eips.describe(cloud, ids=ids)):
        if waited > cloud.pace.busy:
            raise LeftBehindError(f"{ids[0]} does not become {status}", hint="look at it in the console")
        cloud.sleep(delay)
        waited, delay = waited + delay, min(2 * delay, _LONGEST)
