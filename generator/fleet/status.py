"""How a fleet is, and where it differs from its file. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from generator.cloud.records import Tags
from generator.fleet.actions import Actions, Drift
from generator.fleet.desired import Desired
from generator.fleet.observe import Observed
from generator.fleet.picture import Machine, Picture

SCHEMA_VERSION = 1
_BY_HAND = "change it in the console, or the file"


@dataclass(frozen=True)
class Status:
    """A fleet's state. `drift` is what differs and is no matter of a single EIP: those are the machines' problems."""

    picture: Picture
    wanted: int
    wanted_eips: int
    drift: tuple[Drift, ...]
    changes: bool

    @property
    def is_as_wanted(self) -> bool:
        """Whether nothing differs from the file."""
        return not (self.drift or self.changes or any(machine.problems() for machine in self.picture.machines))

    def to_json(self) -> dict[str, Any]:
        """Return the state with stable keys."""
        return {
            "schema_version": SCHEMA_VERSION,
            "fleet": self.picture.fleet,
            "region": self.picture.region,
            "ok": self.is_as_wanted,
            "instances": {"wanted": self.wanted, "running": running(self.picture)},
            "eips": {"wanted": self.wanted_eips, "mapped": self.picture.eips},
            "machines": [
                {
                    "name": one.name,
                    "id": one.id,
                    "status": one.status,
                    "type": one.type,
                    "zone": one.zone,
                    "image": one.image,
                    "eips": sum(1 for _ in one.mapped()),
                    "problems": one.problems(),
                }
                for one in self.picture.machines
            ],
            "drift": [asdict(one) for one in self.drift],
        }


def running(picture: Picture) -> int:
    """Return how many instances run."""
    return sum(machine.status == "Running" for machine in picture.machines)


def status(desired: Desired, observed: Observed, actions: Actions, picture: Picture, image: str = "") -> Status:
    """Return the state of a fleet; `actions` is what a launch would do, `image` how its file names its image."""
    return Status(
        picture=picture,
        wanted=desired.count,
        wanted_eips=desired.count * sum(eni.eips for eni in desired.enis),
        drift=(*_image(desired, image), *actions.drift, *_drift(desired, observed, actions, picture)),
        changes=not actions.is_empty or bool(actions.remove),
    )


def _image(desired: Desired, image: str) -> Iterator[Drift]:
    """Yield that the image is not there: instances run on, and none can be launched."""
    if not desired.image:
        yield Drift(desired.fleet, "image", image, "not found", "build it, or name another")


def _drift(desired: Desired, observed: Observed, actions: Actions, picture: Picture) -> Iterator[Drift]:
    for machine in picture.machines:
        if machine.slot > desired.count:
            yield Drift(machine.id, "instance", "none", machine.name, "`multieip launch --remove` removes it")
    for instance in observed.instances:
        yield from _tags(desired, instance.id, instance.tags)
        if instance.http_tokens and instance.http_tokens != desired.http_tokens:
            yield Drift(instance.id, "metadata tokens", desired.http_tokens, instance.http_tokens, _BY_HAND)
        if instance.deletion_protection != desired.deletion_protection:
            wanted, found = (
                "on" if one else "off" for one in (desired.deletion_protection, instance.deletion_protection)
            )
            yield Drift(instance.id, "deletion protection", wanted, found, _BY_HAND)
    yield from _enis(desired, observed)
    for eip in observed.eips:
        if eip.id not in desired.eip_ids:
            yield from _tags(desired, eip.id, eip.tags)
    yield from _rules(desired, observed, actions)


def _enis(desired: Desired, observed: Observed) -> Iterator[Drift]:
    given = {eni.existing for eni in desired.enis}
    groups = desired.groups or tuple(group.id for group in observed.groups)
    for eni in observed.enis:
        if eni.id in given:
            continue
        yield from _tags(desired, eni.id, eni.tags)
        if groups and eni.instance and set(eni.groups) != set(groups):
            yield Drift(eni.id, "security group", ", ".join(groups), ", ".join(eni.groups), _BY_HAND)


def _tags(desired: Desired, resource: str, found: Tags) -> Iterator[Drift]:
    has = dict(found)
    for key, value in desired.tags:
        if has.get(key) != value:
            yield Drift(resource, f"tag {key}", value, has.get(key, "none"), _BY_HAND)


def _rules(desired: Desired, observed: Observed, actions: Actions) -> Iterator[Drift]:
    """Yield what a person lets in to the fleet's own security group beside the file; all else is for a launch."""
    if desired.groups or not observed.groups:
        return
    wanted = {rule.traffic for rule in desired.rules}
    for rule in observed.rules:
        if rule.traffic not in wanted and rule not in actions.revoke_rules:
            found = f"{rule.protocol} {rule.ports} from {rule.cidr}"
            yield Drift(observed.groups[0].id, "rule", "none", found, _BY_HAND)


COLUMNS = ("name", "id", "status", "type", "zone", "ENIs", "EIPs", "wrong")


def row(machine: Machine) -> tuple[str, ...]:
    """Return an instance as a row of a table: name, id, status, type, zone, ENIs, EIPs, what is wrong."""
    enis = f"{sum(bool(nic.id) for nic in machine.nics)}/{len(machine.nics)}"
    wanted = sum(address.wanted for nic in machine.nics for address in nic.addresses)
    mapped = sum(1 for _ in machine.mapped())
    problems = machine.problems()
    note = problems[0] + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "") if problems else ""
    return (
        machine.name,
        machine.id or "-",
        machine.status,
        machine.type or "-",
        machine.zone or "-",
        enis,
        f"{mapped}/{wanted}",
        note,
    )
