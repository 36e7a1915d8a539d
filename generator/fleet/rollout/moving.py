"""Moving what EIPs are on from one instance to another: secondary ENIs by two calls, the rest one by one.

Every step looks where things are first, so one that was cut short is done again from where it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dbos import DBOS, SetWorkflowID

from generator.cloud import eips
from generator.cloud.client import Cloud
from generator.errors import LeftBehindError
from generator.fleet import calls, names
from generator.fleet.calls import Failure, Outcome, attempt
from generator.fleet.engine import process
from generator.fleet.quotas import queue
from generator.fleet.rollout.carrying import FIRST, LONGEST, Carrier, Move
from generator.fleet.rollout.outage import Watch
from generator.fleet.rollout.values import Order, Outage
from generator.fleet.work import Queues, parts

# Real seconds for which EIPs that have moved are watched until they answer.
_BACK = 30.0

# How an EIP moved: with its ENI between running instances, with it and a stop, bound anew, or after the old instance.
ENI, STOP, EIP, PLACE = "ENI", "stop", "EIP", "place"


@dataclass(frozen=True)
class Rebind:
    """An EIP that goes to a private IP of an ENI from whichever it is on, or off it where `eni` is empty.

    `since` is when it went away if that was earlier, in seconds since the epoch.
    """

    slot: int
    eip: str
    public: str
    eni: str
    ip: str
    since: float | None = None


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
    handles = [
        *(
            _enqueue(queues, "DetachNetworkInterface", move_enis, part, order)
            for part in _batches(moves, queues.sizes["DetachNetworkInterface"])
        ),
        *(
            _enqueue(queues, "AssociateEipAddress", rebind_eips, part, order)
            for part in parts(rebinds, queues.sizes["AssociateEipAddress"])
        ),
    ]
    found: list[Moved] = [process().result(handle) for handle in handles]
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
    patience = order.strategy.ready_timeout
    watched = [move for move in moves if move.target and order.probing]
    away = [public for move in watched if move.since for public in move.publics]
    with Watch([public for move in watched for public in move.publics], order.probe, away=away) as watch:
        carrier = Carrier(cloud, moves, patience)
        failures = carrier.go()
        boots = any(carrier.stopped(move) for move in moves)
        watch.settle(max(_BACK, patience / cloud.pace.factor) if boots else _BACK)
    outages = tuple(
        (move.slot, Outage(public, _how(move, carrier), watch.outage(public, move.since)))
        for move in moves
        if move.target
        for public in move.publics
    )
    return Moved(tuple(failures.items()), outages)


def _how(move: Move, carrier: Carrier) -> str:
    return PLACE if move.since else STOP if carrier.stopped(move) else ENI


@DBOS.workflow(name="rebind-eips")
def rebind_eips(region: str, items: Sequence[Rebind], order: Order) -> Moved:
    """Bind EIPs to other private IPs, one by one."""
    return _rebind(region, items, order, str(DBOS.workflow_id))


@DBOS.step(name="rebind")
def _rebind(region: str, items: Sequence[Rebind], order: Order, workflow: str) -> Moved:
    cloud = process().cloud(region)
    publics = [item.public for item in items if item.eni and order.probing]
    failures: dict[int, Failure] = {}
    with Watch(publics, order.probe, away=[item.public for item in items if item.since]) as watch:
        for number, item in enumerate(items):
            outcome: Outcome = attempt(lambda item=item, number=number: _bring(cloud, item, f"{workflow}.{number}"))  # type: ignore[misc]
            if outcome.failure:
                failures.setdefault(item.slot, replace(outcome.failure, fatal=True))
        outcome = attempt(lambda: _in_use(cloud, [item for item in items if item.eni and item.slot not in failures]))
        if outcome.failure:
            failures |= {item.slot: outcome.failure for item in items}
        watch.settle(_BACK)
    outages = tuple(
        (item.slot, Outage(item.public, PLACE if item.since else EIP, watch.outage(item.public, item.since)))
        for item in items
        if item.eni
    )
    return Moved(tuple(failures.items()), outages)


def _bring(cloud: Cloud, item: Rebind, token: str) -> None:
    """Take an EIP from where it is, and bind it where it belongs."""
    found = eips.describe(cloud, ids=[item.eip])
    if not found:
        raise LeftBehindError(f"the EIP {item.public} is gone", hint="`multieip launch` allocates another one")
    if (found[0].target, found[0].private_ip) == (item.eni, item.ip):
        return
    # An EIP that is on its way must not wait for a minute to pass.
    needed = {"UnassociateEipAddress": 1 if found[0].target else 0, "AssociateEipAddress": 1 if item.eni else 0}
    with cloud.conduct.reserved(cloud.region, needed):
        if found[0].target:
            eips.unassociate(cloud, item.eip, token=names.token(token, "from", found[0].target))
            _wait(cloud, [item.eip], "Available")
        if item.eni:
            calls.associate(cloud, calls.Associate(item.eip, item.eni, item.ip), names.token(token, "to"))


def _in_use(cloud: Cloud, items: Sequence[Rebind]) -> None:
    if items:
        _wait(cloud, [item.eip for item in items], "InUse")


def _wait(cloud: Cloud, ids: Sequence[str], status: str) -> None:
    waited, delay = 0.0, FIRST
    while any(one.status != status for one in eips.describe(cloud, ids=ids)):
        if waited > cloud.pace.busy:
            raise LeftBehindError(f"{ids[0]} does not become {status}", hint="look at it in the console")
        cloud.sleep(delay)
        waited, delay = waited + delay, min(2 * delay, LONGEST)
