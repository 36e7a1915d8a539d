"""What carries multieip's tags, or hangs on instances that do, and belongs to no fleet: an idle EIP is billed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from generator.cloud import eips, enis, instances, networks
from generator.cloud.client import Cloud
from generator.cloud.eips import Eip
from generator.cloud.enis import Eni
from generator.cloud.instances import Instance
from generator.cloud.networks import SecurityGroup
from generator.cloud.records import Tags
from generator.fleet import names
from generator.fleet.actions import Removal
from generator.fleet.destroy import Report, carry_out
from generator.fleet.diff import protected
from generator.fleet.engine import Settings


@dataclass(frozen=True)
class Orphans:
    """Resources that no known fleet owns. Each says by its `created` how old it is."""

    instances: tuple[Instance, ...] = ()
    enis: tuple[Eni, ...] = ()
    eips: tuple[Eip, ...] = ()
    groups: tuple[SecurityGroup, ...] = ()

    @property
    def removal(self) -> Removal:
        """How they go. EIPs that somebody else bound to these ENIs are unassociated, and not released."""
        bound = dict.fromkeys(eip.id for eip in self.eips if eip.status in ("Associating", "InUse"))
        bound |= dict.fromkeys(address.eip for eni in self.enis for address in eni.addresses if address.eip)
        return Removal(
            unassociate=tuple(bound),
            release=tuple(eip.id for eip in self.eips if not eip.segment),
            segments=tuple(dict.fromkeys(eip.segment for eip in self.eips if eip.segment)),
            instances=tuple(one.id for one in self.instances),
            enis=tuple(eni.id for eni in self.enis if not eni.primary),
            groups=tuple(group.id for group in self.groups),
            protected=protected(self.instances),
        )


def find(cloud: Cloud, known: Collection[str]) -> Orphans:
    """Return what multieip made in a region for fleets other than the known ones."""

    def is_orphan(tags: Tags) -> bool:
        fleet = dict(tags).get(names.FLEET)
        return fleet is not None and fleet not in known

    tagged = {names.FLEET: ""}
    found = [one for one in instances.describe(cloud, tags=tagged) if is_orphan(one.tags)]
    held = {eni.id: eni for eni in enis.describe(cloud, tags=tagged) if is_orphan(eni.tags)}
    # RunInstances tags no secondary ENIs: those hang on instances, or are loose and say whose they were.
    linked = [eni for one in found for eni in one.enis if eni not in held]
    held |= {eni.id: eni for eni in (enis.describe(cloud, ids=linked) if linked else ())}
    for eni in enis.describe(cloud, status="Available"):
        owner = names.owner_of(eni.description)
        if owner and owner not in known and not dict(eni.tags).get(names.FLEET):
            held[eni.id] = eni
    return Orphans(
        tuple(found),
        tuple(held.values()),
        tuple(eip for eip in eips.describe(cloud, tags=tagged) if is_orphan(eip.tags)),
        tuple(group for group in networks.groups(cloud, tags=tagged) if is_orphan(group.tags)),
    )


def remove(
    orphans: Orphans,
    region: str,
    *,
    unprotect: bool = False,
    folder: Path | None = None,
    settings: Settings | None = None,
    quiet: bool = False,
) -> Report:
    """Remove orphans that somebody has seen and agreed to. Cut short, it is simply done again.

    Nothing goes while instances among them are protected against deletion, but with `unprotect`.
    """
    inputs = (region, orphans.removal, unprotect)
    return carry_out("sweep", "multieip-sweep", region, inputs, folder, settings, quiet=quiet)
