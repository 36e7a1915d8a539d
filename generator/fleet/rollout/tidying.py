"""Instances that an earlier rollout left behind, when its record was lost: what is the fleet's comes back, they go."""

from __future__ import annotations

from dataclasses import dataclass

from dbos import DBOS

from generator.fleet import names
from generator.fleet.desired import Desired
from generator.fleet.engine import process
from generator.fleet.hotplug import is_cold
from generator.fleet.matching import Machines
from generator.fleet.observe import Observed, look
from generator.fleet.rollout.carrying import Move
from generator.fleet.rollout.moving import Rebind, carry_out
from generator.fleet.rollout.replacing import delete
from generator.fleet.rollout.values import Order
from generator.fleet.work import Queues, tag
from generator.spec.strategy import Strategy


def tidy(desired: Desired, order: Order) -> str:
    """Bring ENIs and EIPs on such instances back to the current one of their number, then delete them.

    One of a number that has no other instance is its current one from then on: a rollout was cut short between an old
    instance that made room and its new one. Returns why that was not possible, empty when it was.
    """
    queues = Queues(f"{DBOS.workflow_id}.tidy", desired.region)
    left = _left_behind(desired, order.strategy)
    if left.alone and (failure := tag(desired.region, "instance", left.alone, ((names.ROLE, names.CURRENT),))):
        return failure.message
    moved = carry_out(queues, order, left.moves, left.rebinds)
    if moved.failures:
        return moved.failures[0][1].message
    failure = delete(desired.region, left.going, names.token(queues.run, "left")) if left.going else None
    return failure.message if failure else ""


@dataclass(frozen=True)
class Left:
    """What is on such instances and belongs to the current one of their number; ids of those that are `alone` there,
    and of those that go."""

    moves: tuple[Move, ...]
    rebinds: tuple[Rebind, ...]
    alone: tuple[str, ...]
    going: tuple[str, ...]


@DBOS.step(name="left-behind")
def _left_behind(desired: Desired, strategy: Strategy) -> Left:
    return left_behind(desired, look(process().cloud(desired.region), desired), strategy)


def left_behind(desired: Desired, seen: Observed, strategy: Strategy) -> Left:
    """Return what an earlier rollout left behind."""
    machines = Machines(desired, seen)
    public = {eip.id: eip.address for eip in seen.eips}
    moves: list[Move] = []
    rebinds: list[Rebind] = []
    for aside in machines.aside:
        slot = names.slot_of(aside.name, desired.prefix) or 0
        current = machines.by_slot.get(slot)
        if current is None:
            continue
        held = [eni for eni in seen.enis if eni.instance == aside.id]
        carried = tuple(eni.id for eni in held if not eni.primary)
        if carried:
            cold = tuple(one.id for one in (aside, current) if is_cold(strategy, one.type))
            moves.append(Move(slot, current.id, carried, cold=cold))
        own = machines.eni_at(slot, 0)
        for eni in held:
            for number, address in enumerate(eni.addresses):
                if eni.primary and address.eip and own and number < len(own.addresses):
                    target = own.addresses[number].ip
                    rebinds.append(Rebind(slot, address.eip, public.get(address.eip, address.public), own.id, target))
    alone: dict[int, str] = {}
    for aside in machines.aside:
        slot = names.slot_of(aside.name, desired.prefix) or 0
        if 1 <= slot <= desired.count and slot not in machines.by_slot:
            alone.setdefault(slot, aside.id)
    going = tuple(aside.id for aside in machines.aside if aside.id not in alone.values())
    return Left(tuple(moves), tuple(rebinds), tuple(alone.values()), going)
