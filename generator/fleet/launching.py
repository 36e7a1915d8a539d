"""The durable workflow of a launch: look, compare, make what is missing, until nothing is.

Instances and EIPs are made side by side, and an EIP is mapped as soon as both ends are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dbos import DBOS, SetWorkflowID

from generator.cloud import eips, networks
from generator.cloud.enis import NewEni
from generator.errors import ExitCode
from generator.fleet import names
from generator.fleet.actions import Actions, AddEni, Need, Target, stretches
from generator.fleet.calls import PHASES, Allocate, Assign, Associate, Attach, Failure, attempt
from generator.fleet.desired import Desired
from generator.fleet.diff import diff, dropped_rules, missing_rules
from generator.fleet.engine import process
from generator.fleet.names import Place
from generator.fleet.observe import look
from generator.fleet.protection import refusal
from generator.fleet.quotas import queue
from generator.fleet.removing import remove_all
from generator.fleet.running import Batch, Made, Offer, run_instances
from generator.fleet.work import Queues, collect, parts, tag

# A round that is disturbed (an instance vanishes, an EIP is taken) leads to another one.
MOST_ROUNDS = 8

INSTANCES, ALLOCATED, ASSOCIATED = (
    PHASES[api] for api in ("RunInstances", "AllocateEipAddress", "AssociateEipAddress")
)


@dataclass(frozen=True)
class Result:
    """What came of a run. `last` is the last comparison: empty when the fleet is as it should be."""

    last: Actions
    rounds: int
    failure: Failure | None = None


@DBOS.workflow(name="launch")
def launch(desired: Desired, removal: bool, unprotect: bool = False) -> Result:
    """Bring a fleet to what is desired. What is not wanted any more goes only with `removal`, and while some of its
    instances are protected against deletion only with `unprotect`: nothing is begun otherwise.
    """
    run = str(DBOS.workflow_id)
    queues, last = Queues(run, desired.region), Actions()
    sold_out: tuple[Offer, ...] = ()
    for number in range(MOST_ROUNDS):
        last = compare(desired)
        if last.remove and not removal:
            return Result(last, number, _less_is_wanted(desired, last))
        if not unprotect and (failure := refusal(last.remove)):
            return Result(last, number, failure)
        if last.is_empty and not last.remove:
            return Result(last, number)
        done = _Round(desired, run, queues, last, sold_out).go(removal=removal, unprotect=unprotect)
        if done.failure:
            return Result(last, number, done.failure)
        sold_out = done.sold_out
    return Result(last, MOST_ROUNDS, _no_end(desired))


@DBOS.step(name="compare")
def compare(desired: Desired) -> Actions:
    """Look at what there is of the fleet, and return what is to be done."""
    return diff(desired, look(process().cloud(desired.region), desired))


class _EndedError(Exception):
    """Something failed for good: nothing more of the round is begun."""


@dataclass
class _Round:
    """One round: all that one comparison asks for."""

    desired: Desired
    run: str
    queues: Queues
    actions: Actions
    sold_out: tuple[Offer, ...]
    failure: Failure | None = None
    _instances: list[Any] = field(default_factory=list)
    _targets: dict[Place, Target] = field(default_factory=dict)

    def go(self, *, removal: bool, unprotect: bool) -> _Round:
        """Do all of it; `failure` says why not."""
        try:
            groups = self._groups()
            self._start_instances(groups)
            self._eips(groups)
            self._tags()
            leftovers = self.queues.do("DeleteNetworkInterface", self.actions.leftover_enis)
            self._note(outcome.failure for _, outcome in leftovers)
            if removal and self.failure is None and self.actions.remove:
                self.failure = remove_all(self.queues, self.actions.remove, unprotect=unprotect)
        except _EndedError:
            self.queues.end()
        return self

    def _note(self, failures: Iterable[Failure | None]) -> None:
        for failure in failures:
            if failure and failure.fatal:
                self.failure = failure
                raise _EndedError

    # Security group and instances

    def _groups(self) -> tuple[str, ...]:
        if self.desired.groups:
            return self.desired.groups
        outcome = _security_group(self.desired, self.run, names.token(self.run, self.queues.name("group")))
        self._note([outcome.failure and replace(outcome.failure, fatal=True)])
        return (str(outcome.value),)

    def _start_instances(self, groups: tuple[str, ...]) -> None:
        batches = [
            Batch(first, amount, groups, self._offers(turn))
            for turn, (first, amount) in enumerate(stretches(self.actions.create, len(self._ways())))
        ]
        batches += [Batch(one.slot, 1, groups, self._offers(0, one.zone), one.enis) for one in self.actions.revive]
        process().progress.begin(INSTANCES, sum(batch.amount for batch in batches))
        for batch in batches:
            name = self.queues.name("RunInstances")
            with SetWorkflowID(name):
                where = queue("RunInstances", self.desired.region)
                self._instances.append(DBOS.enqueue_workflow(where, run_instances, self.desired, self.run, batch))

    def _ways(self) -> tuple[str, ...]:
        """Return the vSwitches over which instances are spread."""
        places = tuple(place.vswitch for place in self.desired.places)
        return places if self.desired.spread else places[:1]

    def _offers(self, turn: int, zone: str = "") -> tuple[Offer, ...]:
        """Return types and vSwitches in the order in which they are tried, those that were sold out last."""
        places = [place.vswitch for place in self.desired.places if not zone or place.zone == zone]
        if self.desired.spread and places:
            turn %= len(places)
            places = [*places[turn:], *places[:turn]]
        found = [(kind, vswitch) for kind in self.desired.types for vswitch in places]
        return tuple(sorted(found, key=lambda offer: offer in self.sold_out))

    def _made(self) -> None:
        """Wait for the next batch of instances, and take note of its private IPs."""
        handle = self._instances.pop(0)
        made: Made = process().result(handle)
        self._targets |= dict(made.targets)
        self.sold_out = (*self.sold_out, *made.sold_out)
        process().count_once(handle.get_workflow_id(), "RunInstances", made.running)
        self._note([made.failure])
        # No stock for some: what is there is finished before the run says so.
        self.failure = self.failure or made.failure
        if not self._instances:
            process().progress.end(INSTANCES)

    def _target(self, place: Place, known: Target | None) -> Target | None:
        """Return the private IP of a place; waits for instances that are being made until one has it."""
        if known:
            return known
        while place not in self._targets and self._instances:
            self._made()
        return self._targets.get(place)

    # EIPs

    def _eips(self, groups: tuple[str, ...]) -> None:
        progress = process().progress
        progress.begin(ALLOCATED, len(self.actions.allocate) if not self.desired.segment else 0)
        progress.begin(ASSOCIATED, len(self.actions.allocate) + len(self.actions.bind))
        allocated = []
        if self.desired.segment and self.actions.allocate:
            self._segment()
        else:
            items = [self._allocation(need) for need in self.actions.allocate]
            allocated = self.queues.add_all("AllocateEipAddress", items)
        self._add_to_instances(groups)
        waiting: list[Associate] = []
        batches = []
        known = {need.place: need.target for need in self.actions.allocate}
        for place, eip, target in self._pairs(allocated, known):
            if found := self._target(place, target):
                waiting.append(Associate(eip, found.eni, found.ip))
            if len(waiting) == self.queues.sizes["AssociateEipAddress"]:
                batches.append(self.queues.add("AssociateEipAddress", waiting))
                waiting = []
        if waiting:
            batches.append(self.queues.add("AssociateEipAddress", waiting))
        progress.end(ALLOCATED)
        while self._instances:
            self._made()
        self._note(outcome.failure for _, outcome in collect(self.queues, batches))
        progress.end(ASSOCIATED)

    def _pairs(
        self, allocated: Sequence[Any], known: dict[Place, Target | None]
    ) -> Iterator[tuple[Place, str, Target | None]]:
        """Yield EIPs that are there, then those that come, each with its place."""
        for bind in self.actions.bind:
            yield bind.place, bind.eip, bind.target
        for item, outcome in collect(self.queues, allocated):
            if outcome.failure:
                self._note([replace(outcome.failure, fatal=True)])
            else:
                yield item.place, outcome.value.id, known[item.place]

    def _allocation(self, need: Need) -> Allocate:
        desired, place = self.desired, need.place
        tags = (*desired.tags_of(self.run), (names.PLACE, str(place)))
        name = f"{desired.prefix}-{place.slot:03}-eth{place.eni}-{place.ip}"
        return Allocate(place, name, tags, desired.eip)

    def _segment(self) -> None:
        outcome = _segment(self.desired, self.run, names.token(self.run, self.queues.name("segment")))
        self._note([outcome.failure and replace(outcome.failure, fatal=True)])

    # What instances that are there lack

    def _add_to_instances(self, groups: tuple[str, ...]) -> None:
        attached = self.queues.do(
            "AttachNetworkInterface", [self._attachment(one, groups) for one in self.actions.add_enis]
        )
        self._note(outcome.failure for _, outcome in attached)
        items = [Assign(one.eni, one.count, one.addresses) for one in self.actions.add_ips]
        self._note(outcome.failure for _, outcome in self.queues.do("AssignPrivateIpAddresses", items))

    def _attachment(self, one: AddEni, groups: tuple[str, ...]) -> Attach:
        wanted = self.desired.enis[one.index]
        new = NewEni(
            vswitch=one.vswitch,
            groups=groups,
            name=wanted.name,
            private_ips=wanted.private_ips,
            addresses=wanted.addresses,
            queues=wanted.queues,
            description=names.owned(self.desired.fleet),
            resource_group=self.desired.resource_group,
            tags=(*self.desired.tags_of(self.run), (names.ENI, str(one.index))),
        )
        return Attach(one.instance, one.existing, None if one.existing else new)

    def _tags(self) -> None:
        tags = self.desired.tags_of(self.run)
        for index, ids in self.actions.tag_enis:
            more = ((names.ENI, str(index)),) if index else ()
            self._note([tag(self.desired.region, "eni", ids, (*tags, *more))])
        if self.actions.tag_eips:
            self._note([_tag_eips(self.desired.region, self.actions.tag_eips, tags)])
        for some in parts(self.actions.pack, eips.MOST_PACKED):
            token = names.token(self.run, self.queues.name("pack"))
            self._note([_pack(self.desired.region, self.desired.package, some, token)])


@DBOS.step(name="security-group")
def _security_group(desired: Desired, run: str, token: str) -> Any:
    """Find or make the fleet's security group, bring its rules to those of the file, and return its id."""
    cloud = process().cloud(desired.region)

    def made() -> str:
        found = networks.groups(cloud, tags={names.FLEET: desired.fleet})
        group = found[0].id if found else ""
        if not group:
            group = networks.create_group(
                cloud, name=f"multieip-{desired.fleet}", vpc=desired.vpc, tags=desired.tags_of(run), token=token
            )
        held = networks.rules_of(cloud, group)
        if missing := missing_rules(desired.rules, held):
            networks.authorize(cloud, group, missing)
        # After what is let in anew, so that a block that became smaller is never shut out.
        for some in parts(dropped_rules(desired.rules, held), networks.MOST_REVOKED):
            networks.revoke(cloud, group, some)
        return group

    return attempt(made)


@DBOS.step(name="segment")
def _segment(desired: Desired, run: str, token: str) -> Any:
    """Allocate contiguous EIPs and tag them; the next round gives them to their places."""
    cloud = process().cloud(desired.region)

    def made() -> str:
        segment = eips.allocate_segment(cloud, desired.eip, mask=desired.segment, token=token)
        found = eips.describe(cloud, segment=segment)
        while not found:
            cloud.sleep(1.0)
            found = eips.describe(cloud, segment=segment)
        eips.tag(cloud, [one.id for one in found], desired.tags_of(run))
        return segment

    return attempt(made)


@DBOS.step(name="tag-eips")
def _tag_eips(region: str, ids: Sequence[str], tags: tuple[tuple[str, str], ...]) -> Failure | None:
    return attempt(lambda: eips.tag(process().cloud(region), ids, tags)).failure


@DBOS.step(name="pack")
def _pack(region: str, package: str, ids: Sequence[str], token: str) -> Failure | None:
    return attempt(lambda: eips.pack(process().cloud(region), package, ids, token=token)).failure


def _less_is_wanted(desired: Desired, last: Actions) -> Failure:
    gone = last.remove
    what = [
        f"{len(ids)} {name}"
        for ids, name in (
            (gone.instances, "instances"),
            (gone.enis, "ENIs"),
            (gone.release, "EIPs"),
            (gone.unassign, "ENIs' private IPs"),
        )
        if ids
    ]
    return Failure(
        f"the fleet {desired.fleet} has more than its file asks for: {', '.join(what) or 'associations'} would go",
        "see `multieip plan`; launch again with removal allowed, or correct the file",
        int(ExitCode.FAILED),
        fatal=True,
    )


def _no_end(desired: Desired) -> Failure:
    return Failure(
        f"the fleet {desired.fleet} is not as its file says after {MOST_ROUNDS} rounds",
        "see `multieip plan` for what is missing, and run the same command again",
        int(ExitCode.TIMEOUT),
        fatal=True,
    )
