"""What a fleet spec asks for, with all that has to be looked up in the region: the input of the diff and of a launch.

It is kept with the run that carries it out, so that a run that was cut short goes on with what it began with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from generator.cloud import images, instances, networks
from generator.cloud.client import Cloud
from generator.cloud.eips import NewEip
from generator.cloud.records import Tags
from generator.errors import CloudRefusedError
from generator.fleet import names
from generator.fleet.names import Place
from generator.spec.fleet import FleetSpec


@dataclass(frozen=True)
class Where:
    """A vSwitch with its zone."""

    vswitch: str
    zone: str


@dataclass(frozen=True)
class WantedEni:
    """One ENI of each instance, the first is the primary one; EIPs are for its first private IPs."""

    private_ips: int
    eips: int
    name: str
    vswitch: str = ""
    queues: int = 0
    addresses: tuple[str, ...] = ()
    existing: str = ""


@dataclass(frozen=True)
class Desired:
    """A fleet as it should be. `groups` is empty while the security group with `rules` is not made yet, and `image`
    when the one that the file means is not there, which only those may ask for who launch nothing.
    """

    fleet: str
    region: str
    prefix: str
    count: int
    image: str
    types: tuple[str, ...]
    places: tuple[Where, ...]
    spread: bool
    vpc: str
    groups: tuple[str, ...]
    rules: tuple[networks.Rule, ...]
    enis: tuple[WantedEni, ...]
    eip: NewEip
    package: str
    segment: int
    eip_ids: tuple[str, ...]
    tags: tuple[tuple[str, str], ...]
    system_disk: instances.Disk
    data_disks: tuple[instances.Disk, ...]
    key_pair: str
    ram_role: str
    resource_group: str
    http_tokens: str
    deletion_protection: bool
    spot: str
    spot_price: float
    spot_hours: int
    spot_interruption: str
    user_data: bytes

    @property
    def config(self) -> str:
        """A digest of what decides an instance besides its image and type, and cannot be read back from the API."""
        disks = [
            (disk.category, disk.size, disk.level, disk.encrypted) for disk in (self.system_disk, *self.data_disks)
        ]
        parts = (self.user_data, self.ram_role, self.http_tokens, disks)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def tags_of(self, run: str) -> Tags:
        """Return the tags of what a run makes."""
        return names.ours(self.fleet, run, dict(self.tags))

    def targets(self) -> Iterator[Place]:
        """Yield the places of all EIPs in the order of the file's: those of instance 1 first, ENI by ENI."""
        for slot in range(1, self.count + 1):
            for index, eni in enumerate(self.enis):
                for number in range(eni.eips):
                    yield Place(slot, index, number)


def desired(cloud: Cloud, spec: FleetSpec, user_data: bytes = b"", *, image: str = "") -> Desired:
    """Return what a spec asks for in its region; `image` is its image's id where that is known or does not matter.

    Raises `CloudRefusedError` for an image or a vSwitch that is not there, and for vSwitches of several VPCs.
    """
    places = networks.vswitches(cloud, spec.vswitches)
    if missing := set(spec.vswitches) - {one.id for one in places}:
        raise CloudRefusedError(
            f"there is no vSwitch {sorted(missing)[0]} in {spec.region}",
            hint="vswitches: are of one region and account",
        )
    if len({one.vpc for one in places}) > 1:
        raise CloudRefusedError("the vSwitches are of several VPCs", hint="a fleet has one VPC")
    spot = spec.spot
    group = spec.security_group
    return Desired(
        fleet=spec.name,
        region=spec.region,
        prefix=spec.instance_name or spec.name,
        count=spec.count,
        image=image or image_of(cloud, spec),
        types=tuple(spec.instance_types),
        places=tuple(Where(one.id, one.zone) for one in places),
        spread=spec.spread,
        vpc=places[0].vpc,
        groups=(group.id,) if group.id else (),
        rules=tuple(
            networks.Rule(rule.protocol.upper(), rule.port_range, rule.cidr, names.made(rule.description))
            for rule in group.rules
        ),
        enis=tuple(_eni(spec, index) for index in range(len(spec.enis))),
        eip=NewEip(
            bandwidth=spec.eips.bandwidth_mbps,
            charge=spec.eips.internet_charge_type,
            isp=spec.eips.isp,
            pool=spec.eips.pool or "",
            protected=spec.eips.security_protection,
            resource_group=spec.resource_group or "",
        ),
        package=spec.eips.bandwidth_package or "",
        segment=spec.eips.segment or 0,
        eip_ids=tuple(spec.eips.ids),
        tags=tuple(sorted(spec.tags.items())),
        system_disk=instances.Disk(
            spec.system_disk.category, spec.system_disk.size_gib or 0, spec.system_disk.performance_level or ""
        ),
        data_disks=tuple(
            instances.Disk(
                disk.category, disk.size_gib, disk.performance_level or "", disk.name or "", encrypted=disk.encrypted
            )
            for disk in spec.data_disks
        ),
        key_pair=spec.key_pair or "",
        ram_role=spec.ram_role or "",
        resource_group=spec.resource_group or "",
        http_tokens=spec.metadata.tokens,
        deletion_protection=spec.deletion_protection,
        spot="NoSpot" if spot is None else "SpotWithPriceLimit" if spot.price_limit else "SpotAsPriceGo",
        spot_price=(spot.price_limit or 0.0) if spot else 0.0,
        spot_hours=spot.protected_hours if spot else 1,
        spot_interruption=spot.interruption if spot else "",
        user_data=user_data,
    )


def image_of(cloud: Cloud, spec: FleetSpec) -> str:
    """Return the id of the image that a spec means; `CloudRefusedError` when the region has none."""
    if spec.image.id:
        if images.find(cloud.ecs, spec.image.id) is None:
            raise CloudRefusedError(
                f"there is no image {spec.image.id} in {spec.region}", hint="image.id is of one region and one account"
            )
        return spec.image.id
    if spec.image.family:
        return images.newest_of_family(cloud.ecs, spec.image.family)
    return images.newest_of_spec(cloud.ecs, spec.image.name or "")


def _eni(spec: FleetSpec, index: int) -> WantedEni:
    eni = spec.enis[index]
    return WantedEni(
        private_ips=eni.ip_count,
        eips=eni.eip_count,
        name=spec.eni_name_of(index),
        vswitch=eni.vswitch or "",
        queues=eni.queues or 0,
        addresses=tuple(eni.addresses),
        existing=eni.id or "",
    )
