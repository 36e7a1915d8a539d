"""What would make a launch fail, found before anything is spent. `gather` reads, the rest is pure.

What the API does not tell is said to be unknown (`Unknown`), never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from generator.cloud import eips, enis, networks, offers, traits
from generator.cloud.client import Cloud
from generator.cloud.eips import Eip
from generator.cloud.enis import Eni
from generator.cloud.faults import ApiRefusedError, Fault
from generator.cloud.networks import Gateway, Rule, SecurityGroup, VSwitch
from generator.cloud.offers import InstanceType
from generator.cloud.traits import Traits
from generator.errors import CloudRefusedError
from generator.fleet.actions import Actions
from generator.fleet.desired import Desired, image_of
from generator.spec.fleet import FleetSpec

T = TypeVar("T")


@dataclass(frozen=True)
class Unknown:
    """Something that could not be checked, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Facts:
    """What the region and the account say about what a fleet stands on.

    `stock` has (type, zone); `routed` the vSwitches whose default route leads to the IPv4 gateway; numbers that the
    API does not tell are None, with an entry in `unknown`.
    """

    image: Traits | None = None
    no_image: str = ""
    vswitches: tuple[VSwitch, ...] = ()
    types: tuple[InstanceType, ...] = ()
    stock: frozenset[tuple[str, str]] = frozenset()
    group: SecurityGroup | None = None
    group_rules: tuple[Rule, ...] = ()
    gateway: Gateway | None = None
    routed: frozenset[str] = frozenset()
    key_pair: bool = True
    given_eips: tuple[Eip, ...] = ()
    given_enis: tuple[Eni, ...] = ()
    eips_in_use: int | None = None
    enis_in_use: int | None = None
    limits: dict[str, int] = field(default_factory=dict)
    user_data: int = 0
    unknown: tuple[Unknown, ...] = ()


def gather(cloud: Cloud, spec: FleetSpec, user_data: int) -> Facts:
    """Read what the checks need: a few calls, none of which changes anything. `user_data` is its size in bytes."""
    unknown: list[Unknown] = []
    no_image, image = "", None
    try:
        image = traits.of_image(cloud, image_of(cloud, spec))
    except ApiRefusedError:
        raise
    except CloudRefusedError as missing:
        no_image = missing.message
    vswitches = tuple(networks.vswitches(cloud, _vswitches(spec)))
    vpc = vswitches[0].vpc if vswitches else ""
    zones = {one.zone for one in vswitches if one.id in spec.vswitches}
    group = networks.groups(cloud, ids=[spec.security_group.id]) if spec.security_group.id else []
    gateway = networks.gateway(cloud, vpc) if vpc else None
    stock = [(kind, zone) for kind in spec.instance_types for zone in sorted(zones)]
    return Facts(
        image=image,
        no_image=no_image,
        vswitches=vswitches,
        types=tuple(offers.instance_types(cloud, spec.instance_types)),
        stock=frozenset(offer for offer in stock if offers.in_stock(cloud, *offer)),
        group=group[0] if group else None,
        group_rules=tuple(networks.rules_of(cloud, group[0].id)) if group else (),
        gateway=gateway,
        routed=frozenset(
            one.id
            for one in vswitches
            if gateway and gateway.enabled and networks.has_default_route(cloud, one.id, gateway.id)
        ),
        key_pair=not spec.key_pair or traits.key_pair_exists(cloud, spec.key_pair),
        given_eips=tuple(eips.describe(cloud, ids=spec.eips.ids)) if spec.eips.ids else (),
        given_enis=tuple(enis.describe(cloud, ids=given)) if (given := [eni.id for eni in spec.enis if eni.id]) else (),
        enis_in_use=told("ENIs of the account", lambda: traits.enis_in_use(cloud), unknown),
        eips_in_use=told("EIPs of the account", lambda: traits.eips_in_use(cloud), unknown),
        limits=told("quotas of ECS", lambda: traits.account_limits(cloud), unknown) or {},
        user_data=user_data,
        unknown=tuple(unknown),
    )


def told(what: str, ask: Callable[[], T], unknown: list[Unknown]) -> T | None:
    """Return what a call tells, or None with a note when it is refused: not allowed, or not offered here."""
    try:
        return ask()
    except ApiRefusedError as refusal:
        if refusal.fault is Fault.THROTTLE:
            raise
        unknown.append(Unknown(what, f"the API refused to tell ({refusal.code})"))
        return None


def _vswitches(spec: FleetSpec) -> Sequence[str]:
    return tuple(dict.fromkeys((*spec.vswitches, *(eni.vswitch for eni in spec.enis if eni.vswitch))))


@dataclass(frozen=True)
class Use:
    """A quota of the account: what is in use, what a launch adds, and how much there may be. None is not known."""

    what: str
    in_use: int | None
    more: int
    limit: int | None

    @property
    def is_exceeded(self) -> bool:
        """Whether a launch would take more than there is, as far as is known."""
        return self.limit is not None and bool(self.more) and (self.in_use or 0) + self.more > self.limit


def uses(spec: FleetSpec, desired: Desired, actions: Actions, facts: Facts) -> tuple[Use, ...]:
    """Return the quotas that a launch draws on. No API of ECS or VPC tells the limit of EIPs."""
    kind = "spot" if spec.spot else "postpaid"
    instances = len(actions.create) + len(actions.revive)
    cpus = next((one.cpus for one in facts.types if one.id == spec.instance_types[0]), 0)
    new = sum(not eni.existing for eni in desired.enis) * len(actions.create)
    new += sum(len(desired.enis) - len(one.enis) for one in actions.revive)
    new += sum(not one.existing for one in actions.add_enis)
    return (
        Use(
            "spot vCPUs" if spec.spot else "vCPUs",
            facts.limits.get(f"used-{kind}-instance-vcpu-count"),
            cpus * instances,
            facts.limits.get(f"max-{kind}-instance-vcpu-count"),
        ),
        Use("ENIs", facts.enis_in_use, new, facts.limits.get("max-elastic-network-interfaces")),
        Use("EIPs", facts.eips_in_use, len(actions.allocate), None),
    )


def unknown(desired: Desired, facts: Facts) -> tuple[Unknown, ...]:
    """Return what nobody could check."""
    found = [*facts.unknown]
    found.append(Unknown("the account's quota of EIPs", "no API of ECS or VPC tells it: the Quota Center shows it"))
    if desired.ram_role:
        found.append(Unknown(f"whether {desired.ram_role} may be passed on", "only RunInstances itself says"))
    return tuple(found)
