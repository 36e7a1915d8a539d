"""The durable workflow that launches new instances beside old ones: each with its primary ENI alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dbos import DBOS

from generator.cloud import enis, instances
from generator.errors import ExitCode
from generator.fleet import names
from generator.fleet.calls import Failure, Outcome, attempt
from generator.fleet.desired import Desired
from generator.fleet.engine import process
from generator.fleet.rollout.values import Fresh
from generator.fleet.running import order_of


@dataclass(frozen=True)
class Batch:
    """Numbers from `first` on, in one zone: the offers are its instance types and vSwitches."""

    first: int
    amount: int
    groups: tuple[str, ...]
    offers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Launched:
    """What came of a batch: the new instances that run, by number, the ids of all others, and why they do not."""

    running: tuple[tuple[int, Fresh], ...] = ()
    lost: tuple[tuple[int, str], ...] = ()
    failure: Failure | None = None


@DBOS.workflow(name="run-new")
def run_new(desired: Desired, run: str, batch: Batch, seconds: float) -> Launched:
    """Launch new instances: of the first offer where there are some, the rest of the next. Then wait until they run."""
    first, left = batch.first, batch.amount
    ids: list[str] = []
    failure: Failure | None = None
    for number, offer in enumerate(batch.offers):
        outcome = _run(desired, run, batch, first, left, offer, f"{DBOS.workflow_id}.{number}")
        got = outcome.value or ()
        ids += got
        first, left, failure = first + len(got), left - len(got), outcome.failure
        if not left or (failure and failure.fatal):
            break
    if left and failure is None:
        failure = _none_left(desired, first)
    return _shown(desired, ids, batch.first, seconds, failure)


@DBOS.step(name="run")
def _run(  # noqa: PLR0917 - a step takes all that decides its call
    desired: Desired, run: str, batch: Batch, first: int, amount: int, offer: tuple[str, str], token: str
) -> Outcome:
    kind, vswitch = offer
    order = order_of(replace(desired, enis=desired.enis[:1]), run, batch.groups, first, amount)
    order = replace(order, tags=(*order.tags, (names.ROLE, names.NEW)))
    cloud = process().cloud(desired.region)
    return attempt(
        lambda: instances.run(cloud, order, kind=kind, vswitch=vswitch, amount=amount, token=names.token(token, "run"))
    )


@DBOS.step(name="await-new")
def _shown(desired: Desired, ids: Sequence[str], first: int, seconds: float, failure: Failure | None) -> Launched:
    """Wait until instances run, so many seconds of the cloud's clock. Their numbers are in their names."""
    cloud = process().cloud(desired.region)
    waited, delay = 0.0, 0.25
    while ids:
        shown = instances.describe(cloud, ids=ids)
        if len(shown) == len(ids) and all(one.status == "Running" for one in shown):
            break
        if waited >= seconds or (len(shown) < len(ids) and waited > 5 and instances.vanished(cloud, ids)):
            failure = failure or Failure(
                f"new instances do not run after {waited:.0f} s",
                "see their events in the console",
                int(ExitCode.TIMEOUT),
                fatal=False,
            )
            break
        cloud.sleep(delay)
        waited, delay = waited + delay, min(1.5 * delay, 5.0)
    shown = instances.describe(cloud, ids=ids) if ids else []
    held = (
        {eni.id: eni for eni in enis.describe(cloud, ids=[one.enis[0] for one in shown if one.enis])} if shown else {}
    )
    running, lost = [], []
    for number, one in enumerate(sorted(shown, key=lambda one: one.name)):
        slot = names.slot_of(one.name, desired.prefix) or first + number
        eni = held.get(one.enis[0]) if one.enis else None
        if one.status == "Running" and eni:
            running.append((slot, Fresh(one.id, one.type, eni.id, tuple(address.ip for address in eni.addresses))))
        else:
            lost.append((slot, one.id))
    return Launched(tuple(running), tuple(lost), failure)


def _none_left(desired: Desired, first: int) -> Failure:
    return Failure(
        f"there is no stock for a new {desired.prefix}-{first:03} in its zone",
        "add instance types or vSwitches to the fleet's file, or go on later",
        int(ExitCode.CLOUD),
        fatal=False,
    )
