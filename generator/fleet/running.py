"""The durable workflow behind RunInstances: from numbers of instances to instances that run, with their ENIs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dbos import DBOS

from generator.cloud import enis, instances
from generator.cloud.client import Cloud
from generator.cloud.enis import Eni
from generator.cloud.instances import Instance, Nic, Order
from generator.errors import ExitCode
from generator.fleet import names
from generator.fleet.actions import Target
from generator.fleet.calls import Failure, Outcome, attempt
from generator.fleet.desired import Desired
from generator.fleet.engine import process
from generator.fleet.matching import Machines
from generator.fleet.names import Place
from generator.fleet.observe import Observed
from generator.fleet.work import tag

# Seconds of the cloud's clock that an instance may take until it runs.
MOST_STARTING = 600.0
# Instance types and vSwitches where there was none: tried last from then on.
Offer = tuple[str, str]


@dataclass(frozen=True)
class Batch:
    """Instances with consecutive numbers from `first` on, and the ENIs (index, id) that a single one gets back."""

    first: int
    amount: int
    groups: tuple[str, ...]
    offers: tuple[Offer, ...]
    existing: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Made:
    """What came of a batch: private IPs by place, offers that had none, and why not all are there."""

    targets: tuple[tuple[Place, Target], ...] = ()
    running: int = 0
    sold_out: tuple[Offer, ...] = ()
    failure: Failure | None = None


@DBOS.workflow(name="run-instances")
def run_instances(desired: Desired, run: str, batch: Batch) -> Made:
    """Run instances of a batch: of the first type where there are some, the rest of the next."""
    first, left = batch.first, batch.amount
    ids: list[tuple[str, Offer]] = []
    sold_out: list[Offer] = []
    for number, offer in enumerate(batch.offers):
        outcome = _run(desired, run, batch, first, left, offer, f"{DBOS.workflow_id}.{number}")
        if outcome.failure and outcome.failure.fatal:
            return Made(sold_out=tuple(sold_out), failure=outcome.failure)
        got = outcome.value or ()
        ids += [(one, offer) for one in got]
        first, left = first + len(got), left - len(got)
        if not left:
            break
        sold_out.append(offer)
    found = _await(desired.region, [one for one, _ in ids]) if ids else Found()
    gone = {offer for one, offer in ids if one in found.gone}
    machines = Machines(desired, found.observed(desired))
    process().count(str(DBOS.workflow_id), "RunInstances", len(machines.by_slot))
    failure = _tag(desired, run, machines)
    if failure is None and left:
        failure = _none_left(desired, first, left)
    return Made(tuple(_targets(desired, machines)), len(machines.by_slot), (*sold_out, *sorted(gone)), failure)


@DBOS.step(name="order")
def _run(  # noqa: PLR0917 - a step takes all that decides its call
    desired: Desired, run: str, batch: Batch, first: int, amount: int, offer: Offer, token: str
) -> Outcome:
    kind, vswitch = offer
    order = order_of(desired, run, batch.groups, first, amount, batch.existing)
    cloud = process().cloud(desired.region)
    return attempt(
        lambda: instances.run(cloud, order, kind=kind, vswitch=vswitch, amount=amount, token=names.token(token, "run"))
    )


def order_of(  # noqa: PLR0917 - a plan and a launch give the same six
    desired: Desired,
    run: str,
    groups: Sequence[str],
    first: int,
    amount: int,
    existing: Sequence[tuple[int, str]] = (),
) -> Order:
    """Return the order for instances with consecutive numbers. ENIs with given addresses come later, one by one."""
    held = dict(existing)
    nics = []
    for index, eni in enumerate(desired.enis):
        if index and (kept := held.get(index) or eni.existing):
            nics.append(Nic(existing=kept))
        elif not (index and eni.addresses):
            nics.append(
                Nic(
                    private_ips=1 if eni.addresses else eni.private_ips,
                    address=eni.addresses[0] if eni.addresses else "",
                    vswitch=eni.vswitch,
                    queues=eni.queues,
                    name=eni.name,
                    description=names.owned(desired.fleet),
                )
            )
    return Order(
        image=desired.image,
        vpc=desired.vpc,
        groups=tuple(groups),
        nics=tuple(nics),
        system_disk=desired.system_disk,
        name=names.numbered(desired.prefix, first, amount),
        data_disks=desired.data_disks,
        key_pair=desired.key_pair,
        ram_role=desired.ram_role,
        resource_group=desired.resource_group,
        user_data=desired.user_data,
        http_tokens=desired.http_tokens,
        spot=desired.spot,
        spot_price=desired.spot_price,
        spot_hours=desired.spot_hours,
        spot_interruption=desired.spot_interruption,
        deletion_protection=desired.deletion_protection,
        tags=(*desired.tags_of(run), (names.CONFIG, desired.config)),
    )


@dataclass(frozen=True)
class Found:
    """Instances that run, with their ENIs, and those that vanished."""

    instances: tuple[Instance, ...] = ()
    enis: tuple[Eni, ...] = ()
    gone: frozenset[str] = frozenset()

    def observed(self, desired: Desired) -> Observed:
        """Return those whose names say which they are; the others are left to the next look at the whole fleet."""
        known = [one for one in self.instances if names.slot_of(one.name, desired.prefix)]
        ids = {one.id for one in known}
        return Observed(tuple(known), tuple(eni for eni in self.enis if eni.instance in ids))


@DBOS.step(name="await")
def _await(region: str, ids: Sequence[str]) -> Found:
    cloud = process().cloud(region)
    seen, gone = _until_running(cloud, ids)
    linked = [eni for one in seen for eni in one.enis]
    return Found(tuple(seen), tuple(enis.describe(cloud, ids=linked)) if linked else (), gone)


def _until_running(cloud: Cloud, ids: Sequence[str]) -> tuple[list[Instance], frozenset[str]]:
    """Wait until instances run. One that was shown and is not any more, or that ECS says it deleted, is gone.

    RunInstances answers before Describe calls show what it made, so one that was never shown may be to come.
    """
    known: set[str] = set()
    gone: set[str] = set()
    waited, delay = 0.0, 1.0
    while True:
        shown = instances.describe(cloud, ids=[one for one in ids if one not in gone])
        now = {one.id for one in shown}
        gone |= known - now
        known |= now
        if unseen := [one for one in ids if one not in known | gone]:
            gone |= instances.vanished(cloud, unseen)
        running = sum(one.status == "Running" for one in shown)
        if running + len(gone) == len(ids) or waited >= MOST_STARTING:
            return shown, frozenset(gone)
        cloud.sleep(delay)
        waited, delay = waited + delay, min(1.5 * delay, 5.0)


def _tag(desired: Desired, run: str, machines: Machines) -> Failure | None:
    """Tag secondary ENIs: RunInstances hands an instance's tags on to the primary one only."""
    for index, ids in machines.untagged():
        more = ((names.ENI, str(index)),) if index else ()
        if failure := tag(desired.region, "eni", ids, (*desired.tags_of(run), *more)):
            return failure
    return None


def _targets(desired: Desired, machines: Machines) -> list[tuple[Place, Target]]:
    return [
        (Place(slot, index, number), Target(eni.id, address.ip))
        for (slot, index), eni in sorted(machines.enis.items())
        if not desired.enis[index].addresses
        for number, address in enumerate(eni.addresses[: desired.enis[index].eips])
    ]


def _none_left(desired: Desired, first: int, left: int) -> Failure:
    which = f"{desired.prefix}-{first:03}" + (f" and {left - 1} more" if left > 1 else "")
    return Failure(
        f"{desired.region} has no room for {which}: no stock of {', '.join(desired.types)} in any vSwitch of the fleet",
        "add instance types or vSwitches to the fleet's file, or run the same command again later",
        int(ExitCode.CLOUD),
        fatal=False,
    )
