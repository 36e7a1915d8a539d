"""What is there of a fleet: a few reads, whatever its size in EIPs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from generator.cloud import eips, enis, instances, networks
from generator.cloud.client import Cloud
from generator.cloud.eips import Eip
from generator.cloud.enis import Eni
from generator.cloud.instances import Instance
from generator.cloud.networks import SecurityGroup
from generator.fleet import names
from generator.fleet.desired import Desired

# What passes by itself. A fleet is planned when nothing of it is on its way from one state to the next.
_PASSING = {
    "Associating",
    "Attaching",
    "Deleting",
    "Detaching",
    "Releasing",
    "Stopping",
    "Unassociating",
}


@dataclass(frozen=True)
class Observed:
    """All resources that carry a fleet's tag, are linked to those, or are named in its file."""

    instances: tuple[Instance, ...] = ()
    enis: tuple[Eni, ...] = ()
    eips: tuple[Eip, ...] = ()
    groups: tuple[SecurityGroup, ...] = ()
    rules: tuple[networks.Rule, ...] = ()

    @property
    def is_passing(self) -> bool:
        """Whether anything of it is on its way to another state."""
        statuses = {one.status for one in self.instances} | {one.status for one in self.enis}
        return not _PASSING.isdisjoint(statuses | {one.status for one in self.eips})


def observe(
    cloud: Cloud,
    fleet: str,
    *,
    eni_names: Iterable[str] = (),
    eni_ids: Iterable[str] = (),
    eip_ids: Iterable[str] = (),
    with_rules: bool = False,
) -> Observed:
    """Return what there is of a fleet.

    `eni_names` are those that RunInstances gives secondary ENIs: of ones that have no tag yet and whose instance has
    gone, nothing else tells. `eni_ids` and `eip_ids` are resources that the fleet's file names.
    """
    tags = {names.FLEET: fleet}
    with ThreadPoolExecutor(1, "eips") as aside:
        # Most pages are EIPs', and the rest need not wait for them.
        public = aside.submit(_eips, cloud, fleet, eip_ids)
        found = instances.describe(cloud, tags=tags)
        groups = networks.groups(cloud, tags=tags)
        rules = networks.rules_of(cloud, groups[0].id) if with_rules and groups else []
        held = tuple(_enis(cloud, fleet, found, eni_names, eni_ids))
        return Observed(tuple(found), held, public.result(), tuple(groups), tuple(rules))


def _eips(cloud: Cloud, fleet: str, ids: Iterable[str]) -> tuple[Eip, ...]:
    known = {eip.id: eip for eip in eips.describe(cloud, tags={names.FLEET: fleet})}
    if missing := [one for one in ids if one not in known]:
        known |= {eip.id: eip for eip in eips.describe(cloud, ids=missing)}
    return tuple(known.values())


def _enis(
    cloud: Cloud, fleet: str, owners: list[Instance], eni_names: Iterable[str], eni_ids: Iterable[str]
) -> Iterable[Eni]:
    known = {eni.id: eni for eni in enis.describe(cloud, tags={names.FLEET: fleet})}
    for name in eni_names:
        # Those on an instance are found by the link, in the next step.
        loose = enis.describe(cloud, name=name, status="Available")
        known |= {eni.id: eni for eni in loose if names.is_owned(eni.description, fleet)}
    linked = (eni for owner in owners for eni in owner.enis)
    if missing := [one for one in dict.fromkeys((*linked, *eni_ids)) if one not in known]:
        known |= {eni.id: eni for eni in enis.describe(cloud, ids=missing)}
    return known.values()


def settled(cloud: Cloud, look: Callable[[], Observed], patience: float = 60.0) -> Observed:
    """Look until nothing is on its way to another state, for so many seconds at most; then take it as it is."""
    waited, delay = 0.0, 1.0
    while (seen := look()).is_passing and waited < patience:
        cloud.sleep(delay)
        waited, delay = waited + delay, min(2 * delay, 8.0)
    return seen


def look(cloud: Cloud, wanted: Desired) -> Observed:
    """Return what there is of a fleet, as soon as nothing of it is on its way to another state."""
    return settled(
        cloud,
        lambda: observe(
            cloud,
            wanted.fleet,
            eni_names=[eni.name for eni in wanted.enis[1:] if not eni.existing],
            eni_ids=[eni.existing for eni in wanted.enis if eni.existing],
            eip_ids=wanted.eip_ids,
            with_rules=bool(wanted.rules),
        ),
    )


def look_at_all(cloud: Cloud, fleet: str) -> Observed:
    """Return what there is of a fleet whose file is not at hand, as soon as nothing of it is on its way.

    Loose ENIs without tags are found among all of the region that are on no instance.
    """

    def all_of_it() -> Observed:
        seen = observe(cloud, fleet)
        known = {eni.id for eni in seen.enis}
        loose = (eni for eni in enis.describe(cloud, status="Available") if names.is_owned(eni.description, fleet))
        return replace(seen, enis=(*seen.enis, *(eni for eni in loose if eni.id not in known)))

    return settled(cloud, all_of_it)
