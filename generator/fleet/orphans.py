"""What `sweep` found, as a person wants to see it before it goes: whose it was, how old it is, what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from generator.cloud import prices
from generator.cloud.client import Cloud, Pace
from generator.cloud.instances import Disk, Instance
from generator.cloud.prices import Price
from generator.cloud.records import Tags
from generator.fleet import names, quotas
from generator.fleet.preflight import Unknown, told
from generator.fleet.sweep import Orphans

COLUMNS = ("what", "id", "name", "fleet", "age", "an hour")
_NOT_KNOWN = "not known"


@dataclass(frozen=True)
class Orphan:
    """One thing that no fleet owns. `hourly` is what the API says, with its currency; empty where it says nothing."""

    kind: str
    id: str
    name: str
    fleet: str
    created: str
    age: str
    hourly: str

    def row(self) -> tuple[str, ...]:
        """Return it as a row of a table."""
        return (self.kind, self.id, self.name, self.fleet, self.age, self.hourly)

    def to_json(self) -> dict[str, Any]:
        """Return it with stable keys."""
        return asdict(self)


def connect(region: str) -> Cloud:
    """Return the clients for a region, by the clock that $MULTIEIP_CLOCK tells."""
    return Cloud(region, Pace(factor=quotas.clock()))


def listed(cloud: Cloud, found: Orphans) -> list[Orphan]:
    """Return each thing with its age and cost. A read for each instance type, for its price."""
    now = datetime.now(UTC)
    costs = {one.type: one for one in found.instances}
    hourly = {kind: _hourly(cloud, one) for kind, one in costs.items()}
    return [*_listed(found, hourly, now)]


def _listed(found: Orphans, hourly: dict[str, str], now: datetime) -> Iterator[Orphan]:
    for one in found.instances:
        yield Orphan(
            "instance", one.id, one.name, _fleet(one.tags), one.created, age(one.created, now), hourly[one.type]
        )
    for eip in found.eips:
        yield Orphan("EIP", eip.id, eip.address, _fleet(eip.tags), eip.created, age(eip.created, now), _NOT_KNOWN)
    for eni in found.enis:
        if not eni.primary:
            fleet = _fleet(eni.tags) or names.owner_of(eni.description) or ""
            yield Orphan("ENI", eni.id, eni.name, fleet, eni.created, age(eni.created, now), "free")
    for group in found.groups:
        yield Orphan(
            "security group", group.id, group.name, _fleet(group.tags), group.created, age(group.created, now), "free"
        )


def _fleet(tags: Tags) -> str:
    return dict(tags).get(names.FLEET, "")


def _hourly(cloud: Cloud, one: Instance) -> str:
    """Return what an instance of a type costs an hour, its data disks not counted."""
    unknown: list[Unknown] = []

    def ask() -> Price | None:
        return prices.instances(cloud, kind=one.type, zone=one.zone, image=one.image, system_disk=Disk("cloud_essd"))

    price = told("", ask, unknown)
    return f"{price.amount:.4f} {price.currency}" if price else _NOT_KNOWN


def age(created: str, now: datetime) -> str:
    """Return how long something has been there, as ECS writes times: `2026-11-25T10:00Z`, with seconds or without."""
    for form in ("%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ"):
        try:
            seconds = (now - datetime.strptime(created, form).replace(tzinfo=UTC)).total_seconds()
        except ValueError:
            continue
        if seconds < 3600:
            return f"{max(0, int(seconds // 60))} min"
        return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} d"
    return _NOT_KNOWN
