"""Removing resources in the order in which the cloud lets them go, inside a durable workflow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dbos import DBOS

from generator.cloud import eips, enis, instances, networks
from generator.cloud.client import Cloud
from generator.errors import ExitCode
from generator.fleet import names
from generator.fleet.actions import Removal
from generator.fleet.calls import PHASES, Failure, Outcome, attempt
from generator.fleet.diff import everything
from generator.fleet.engine import process
from generator.fleet.observe import look_at_all
from generator.fleet.protection import refusal
from generator.fleet.work import Queues, collect, parts

# A round that is disturbed leads to another one.
MOST_ROUNDS = 5
# Seconds of the cloud's clock that an instance may take until it is gone.
MOST_RELEASING = 600.0
UNBOUND, RELEASED, DELETED = (
    PHASES[api] for api in ("UnassociateEipAddress", "ReleaseEipAddress", "DeleteNetworkInterface")
)


@dataclass(frozen=True)
class Result:
    """What came of a removal: all that was removed, what is left, and why."""

    removed: Removal
    left: Removal
    failure: Failure | None = None


@DBOS.workflow(name="destroy")
def destroy(fleet: str, region: str, keep_eips: bool, unprotect: bool) -> Result:
    """Remove all that a fleet has; its EIPs stay, bound to nothing, when they are to be kept.

    Nothing goes while instances are protected against deletion, but with `unprotect`.
    """
    queues, first = Queues(str(DBOS.workflow_id), region), None
    left = Removal()
    for _ in range(MOST_ROUNDS):
        left = left_of(fleet, region, keep_eips)
        first = first or left
        if not left:
            return Result(first, left)
        if failure := remove_all(queues, left, unprotect=unprotect):
            queues.end()
            return Result(first, left, failure)
    return Result(first or left, left, _not_gone(fleet))


@DBOS.step(name="look")
def left_of(fleet: str, region: str, keep_eips: bool) -> Removal:
    """Look at what a fleet has, and return what is to go."""
    cloud = process().cloud(region)
    return everything(look_at_all(cloud, fleet), fleet, keep_eips=keep_eips)


@DBOS.workflow(name="sweep")
def sweep(region: str, gone: Removal, unprotect: bool) -> Result:
    """Remove what a person has seen and agreed to."""
    queues = Queues(str(DBOS.workflow_id), region)
    return Result(gone, Removal(), remove_all(queues, gone, unprotect=unprotect))


def _not_gone(fleet: str) -> Failure:
    return Failure(
        f"resources of the fleet {fleet} are left after {MOST_ROUNDS} rounds",
        "run the same command again; `multieip sweep` shows what is left",
        int(ExitCode.TIMEOUT),
        fatal=True,
    )


def remove_all(queues: Queues, gone: Removal, *, unprotect: bool) -> Failure | None:
    """Remove what a removal names: EIPs, then instances, ENIs and security groups. What is gone is no error.

    Instances that are protected keep all of it from going, unless the protection is to be taken back first.
    """
    if gone.protected:
        held = _unprotect(queues.region, [key for key, _ in gone.protected]) if unprotect else refusal(gone)
        if held:
            return held
    failure = _eips(queues, gone)
    for ids in parts(gone.instances, instances.MOST):
        failure = failure or _delete_instances(queues.region, ids, names.token(queues.run, queues.name("delete")))
    for eni, addresses in gone.unassign:
        failure = failure or _unassign(queues.region, eni, addresses)
    if failure is None:
        process().progress.begin(DELETED, len(gone.enis))
        failure = _first(queues.do("DeleteNetworkInterface", gone.enis))
        process().progress.end(DELETED)
    for group in gone.groups:
        failure = failure or _delete_group(queues.region, group)
    return failure


def _eips(queues: Queues, gone: Removal) -> Failure | None:
    """End associations, and release EIPs as they come free."""
    progress = process().progress
    progress.begin(UNBOUND, len(gone.unassociate))
    progress.begin(RELEASED, len(gone.release))
    bound = set(gone.unassociate)
    releases = queues.add_all("ReleaseEipAddress", [eip for eip in gone.release if eip not in bound])
    wanted, free, failure = set(gone.release), [], None
    for batch in queues.add_all("UnassociateEipAddress", gone.unassociate):
        for eip, outcome in collect(queues, [batch]):
            failure = failure or outcome.failure
            if outcome.failure is None and eip in wanted:
                free.append(eip)
        if failure:
            return failure
        releases += queues.add_all("ReleaseEipAddress", free)
        free = []
    progress.end(UNBOUND)
    failure = _first(collect(queues, releases))
    progress.end(RELEASED)
    for segment in gone.segments:
        failure = failure or _release_segment(queues.region, segment, names.token(queues.run, segment))
    return failure


def _first(outcomes: Iterable[tuple[Any, Outcome]]) -> Failure | None:
    failure = None
    for _, outcome in outcomes:
        failure = failure or outcome.failure
    return failure


@DBOS.step(name="unprotect")
def _unprotect(region: str, ids: Sequence[str]) -> Failure | None:
    """Take the protection of instances against deletion back; ones that are gone are no error."""
    for key in ids:
        failure = attempt(lambda key=key: instances.unprotect(process().cloud(region), key)).failure  # type: ignore[misc]
        if failure:
            return replace(failure, fatal=True)
    return None


@DBOS.step(name="delete-instances")
def _delete_instances(region: str, ids: Sequence[str], token: str) -> Failure | None:
    return delete_instances(process().cloud(region), ids, token)


def delete_instances(cloud: Cloud, ids: Sequence[str], token: str) -> Failure | None:
    """Delete instances and wait until they are gone; return why not."""
    outcome = attempt(lambda: _delete(cloud, ids, token))
    if outcome.value:
        return Failure(
            f"instances do not go: {', '.join(ids[:3])}{' …' if len(ids) > 3 else ''}",
            "look at them in the console, and run the same command again",
            int(ExitCode.TIMEOUT),
            fatal=True,
        )
    return outcome.failure


def _delete(cloud: Cloud, ids: Sequence[str], token: str) -> bool:
    """Delete instances, and return whether some are still there after a long wait."""
    for number, some in enumerate(parts(ids, instances.MOST)):
        instances.delete(cloud, some, token=names.token(token, number))
    waited, delay = 0.0, 0.25
    while left := bool(instances.describe(cloud, ids=ids)):
        if waited >= MOST_RELEASING:
            break
        cloud.sleep(delay)
        waited, delay = waited + delay, min(2 * delay, 5.0)
    return left


@DBOS.step(name="unassign")
def _unassign(region: str, eni: str, addresses: Sequence[str]) -> Failure | None:
    return attempt(lambda: enis.unassign(process().cloud(region), eni, addresses)).failure


@DBOS.step(name="release-segment")
def _release_segment(region: str, segment: str, token: str) -> Failure | None:
    return attempt(lambda: eips.release_segment(process().cloud(region), segment, token=token)).failure


@DBOS.step(name="delete-group")
def _delete_group(region: str, group: str) -> Failure | None:
    return attempt(lambda: networks.delete_group(process().cloud(region), group)).failure
