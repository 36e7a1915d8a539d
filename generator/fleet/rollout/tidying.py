"""Instances that an earlier rollout left behind, when its record was lost: what is the fleet's comes back, they go."""

from __future__ import annotations

from dbos import DBOS

from generator.fleet import names
from generator.fleet.desired import Desired
from generator.fleet.engine import process
from generator.fleet.matching import Machines
from generator.fleet.observe import Observed, look
from generator.fleet.rollout.moving import Move, Rebind, carry_out
from generator.fleet.rollout.replacing import delete
from generator.fleet.rollout.values import Order
from generator.fleet.work import Queues


def tidy(desired: Desired, order: Order) -> str:
    """Bring ENIs and EIPs on such instances back to the current one of their number, then delete them.

    Returns why that was not possible, empty when it was.
    """
    queues = Queues(f"{DBOS.workflow_id}.tidy", desired.region)
    moves, rebinds, ids = _left_behind(desired)
    moved = carry_out(queues, order, moves, rebinds)
    if moved.failures:
        return moved.failures[0][1].message
    failure = delete(desired.region, ids, names.token(queues.run, "left"))
    return failure.message if failure else ""


@DBOS.step(name="left-behind")
def _left_behind(desired: Desired) -> tuple[list[Move], list[Rebind], list[str]]:
    return left_behind(desired, look(process().cloud(desired.region), desired))


def left_behind(desired: Desired, seen: Observed) -> tuple[list[Move], list[Rebind], list[str]]:
    """Return what is on such instances and belongs to the current one of their number, and the ids of those that go."""
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
            moves.append(Move(slot, current.id, carried))
        own = machines.eni_at(slot, 0)
        for eni in held:
            for number, address in enumerate(eni.addresses):
                if eni.primary and address.eip and own and number < len(own.addresses):
                    target = own.addresses[number].ip
                    rebinds.append(Rebind(slot, address.eip, public.get(address.eip, address.public), own.id, target))
    kept = {aside.id for aside in machines.aside if names.slot_of(aside.name, desired.prefix) not in machines.by_slot}
    return moves, rebinds, [aside.id for aside in machines.aside if aside.id not in kept]
