"""The image spec: what a user writes in `images/*.yaml`, version 1.

Each model refuses keys that it does not know. A rule that one field can break is on its field; a rule between
fields is in `rules`, named by the model that it belongs to. `load` and `examine` read a file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from generator.spec import cloud_config, reading, rules, source
from generator.spec.distro import TRAITS, Distro, Traits
from generator.spec.fields import (
    AccountId,
    Component,
    EcsFamily,
    EcsName,
    EniSelector,
    ImageFamily,
    ImageId,
    ImageUrl,
    InstanceType,
    Int,
    InterfaceName,
    Mirror,
    Name,
    OneLine,
    Package,
    RegionId,
    SecurityGroupId,
    Sha256,
    Suite,
    TagKey,
    TagValue,
    Version,
    VpcId,
    VSwitchId,
    ZoneId,
)
from generator.spec.findings import Finding, FindingsError
from generator.spec.model import Model
from generator.spec.source import Document


class EcsBase(Model):
    """The ECS image that the golden image starts from: the newest of a family, or one id."""

    RULES = (rules.family_or_id,)

    family: ImageFamily | None = Field(None, description="Image family; the newest image in it is the base.")
    id: ImageId | None = Field(None, description="Image id, for a base that never changes.")


class LocalBase(Model):
    """The disk image that a build without an account starts from.

    `suite` has it made on this machine from the distribution's packages (mmdebstrap); `url` with `sha256`
    fetches a cloud image that the distribution publishes.
    """

    RULES = (rules.suite_or_url,)

    suite: Suite | None = Field(None, description="Release to make the base of, from Debian packages.")
    mirror: Mirror | None = Field(None, description="Package archive for `suite`; without it the distribution's own.")
    components: tuple[Component, ...] = Field(("main",), min_length=1, description="Parts of the archive for `suite`.")
    url: ImageUrl | None = Field(None, description="Where the distribution publishes a cloud image (qcow2).")
    sha256: Sha256 | None = Field(None, description="Digest of what `url` returns.")
    disk_gib: Annotated[Int, Field(ge=2, le=2048)] = Field(8, description="Size of the disk, in GiB.")


class Base(Model):
    """Where the golden image starts from, on ECS and on this machine."""

    ecs: EcsBase = Field(description="Base on ECS, for the builder `alicloud-ecs`.")
    local: LocalBase | None = Field(None, description="Base on this machine, for the builder `qemu`.")


class Network(Model):
    """How the instance answers from each private IP through the ENI that holds it.

    ENI number k (eth1 is 1) has its private table `table_base + k - 1` and rules of priority
    `rule_priority + k - 1`. Metrics are route metrics in the main table; intervals are seconds.
    """

    RULES = (rules.free_tables, rules.primary_first, rules.primary_is_ours)

    table_base: Annotated[Int, Field(ge=1, le=4_294_967_000)] = Field(
        1001, description="Private routing table of the first secondary ENI; the next ENIs count up from it."
    )
    rule_priority: Annotated[Int, Field(ge=1, le=32_000)] = Field(
        10_001, description="Priority of the first secondary ENI's rules; the next ENIs count up from it."
    )
    refresh_interval: Annotated[Int, Field(ge=10, le=3600)] = Field(
        60, description="Seconds between two looks at the metadata service."
    )
    primary_interface: InterfaceName = Field("eth0", description="Interface of the primary ENI.")
    primary_metric: Annotated[Int, Field(ge=1, le=9999)] = Field(
        100, description="Metric of the primary ENI's default route."
    )
    secondary_metric: Annotated[Int, Field(ge=1, le=99_999)] = Field(
        1000, description="Metric of secondary ENIs' routes in the main table; above `primary_metric`."
    )
    leave_alone: tuple[EniSelector, ...] = Field((), max_length=64, description="ENIs that multieip never touches.")


# Kept here for those who render tables and priorities.
MAX_ENIS = rules.MAX_ENIS

DiskCategory = Literal["cloud_auto", "cloud_efficiency", "cloud_essd", "cloud_essd_entry", "cloud_ssd"]


class SystemDisk(Model):
    """The system disk of the builder instance, and so of the image."""

    category: DiskCategory = Field("cloud_essd", description="Disk category.")
    size_gib: Annotated[Int, Field(ge=20, le=2048)] = Field(20, description="Size in GiB.")


class DataDisk(Model):
    """A data disk that is part of the image."""

    name: EcsName | None = Field(None, description="Name of the disk.")
    category: DiskCategory = Field("cloud_essd", description="Disk category.")
    size_gib: Annotated[Int, Field(ge=20, le=32_768)] = Field(20, description="Size in GiB.")


class Alicloud(Model):
    """Where and how the image is built on ECS, and who gets it."""

    RULES = (rules.vpc_with_vswitch, rules.zone_in_region, rules.copies_elsewhere, rules.shares_once)

    region: RegionId = Field(description="Region that the image is built in.")
    zone: ZoneId | None = Field(None, description="Zone of the builder instance; without it ECS chooses.")
    instance_type: InstanceType = Field(description="Instance type of the builder instance.")
    vpc_id: VpcId | None = Field(
        None, description="VPC of the builder instance, with `vswitch_id`; without both Packer makes them."
    )
    vswitch_id: VSwitchId | None = Field(None, description="vSwitch of the builder instance, with `vpc_id`.")
    security_group_id: SecurityGroupId | None = Field(
        None, description="Security group of the builder instance, in the VPC; it must let SSH in."
    )
    internet_charge_type: Literal["PayByTraffic", "PayByBandwidth"] = Field(
        "PayByTraffic", description="How the builder's traffic is billed."
    )
    bandwidth_mbps: Annotated[Int, Field(ge=1, le=200)] = Field(
        10, description="Outgoing bandwidth of the builder's EIP, in Mbit/s."
    )
    system_disk: SystemDisk = Field(SystemDisk(), description="System disk.")
    data_disks: tuple[DataDisk, ...] = Field((), max_length=16, description="Data disks.")
    family: EcsFamily | None = Field(None, description="Image family that the image is put in.")
    copy_regions: tuple[RegionId, ...] = Field((), description="Regions that get a copy of the image.")
    share_accounts: tuple[AccountId, ...] = Field(
        (), max_length=50, description="Accounts that the image is shared with."
    )
    # ECS takes 20 tags on an image, and multieip writes up to 5 of its own.
    tags: dict[TagKey, TagValue] = Field({}, max_length=15, description="Tags of image and snapshots.")


class ImageSpec(Model):
    """One golden image: `images/NAME.yaml`."""

    RULES = (rules.suite_of_distro, rules.packages_once)

    version: Version = Field(description="Version of the spec's format.")
    name: Name = Field(description="Name of the image; file names and ECS image names begin with it.")
    description: OneLine = Field("", description="What the image is for, in one line.")
    distro: Distro = Field(description="Distribution of base and image.")
    base: Base = Field(description="Where the image starts from.")
    packages: tuple[Package, ...] = Field((), description="Packages to install besides those that multieip needs.")
    cloud_config: dict[str, Any] = Field(
        {}, description="Extra cloud-config, as in user-data; checked against cloud-init's schema."
    )
    network: Network = Field(Network(), description="How ENIs and private IPs are set up.")
    alicloud: Alicloud | None = Field(
        None, description="Build on ECS; without it the image can be built on this machine only."
    )

    @property
    def traits(self) -> Traits:
        """What multieip knows of the spec's distribution."""
        return TRAITS[self.distro]

    @property
    def all_packages(self) -> tuple[str, ...]:
        """The packages that the image must have: ours and the user's, sorted, each once."""
        return tuple(sorted({*self.traits.packages, *self.packages}))


def resolve(name: str | os.PathLike[str]) -> Path:
    """Return the file that a spec's name means: a path, `images/NAME.yaml` here, or an example that we ship.

    A name that means none of them is returned as the path that it is, for the reader to say so.
    """
    return reading.resolve(name, "images")


def examine(path: str | os.PathLike[str]) -> tuple[ImageSpec | None, tuple[Finding, ...]]:
    """Read an image spec: the spec, or None when it has errors, and every finding in the order of the file."""
    file = resolve(path)
    if not file.exists():
        return None, (reading.absent(file, "images"),)
    return judge(*source.read(file))


def judge(
    document: Document | None, findings: tuple[Finding, ...] = ()
) -> tuple[ImageSpec | None, tuple[Finding, ...]]:
    """Make an image spec of a document that was read (`source.read`), as `examine` does."""
    return reading.judge(ImageSpec, document, findings, cloud_config.problems)


def load(path: str | os.PathLike[str]) -> ImageSpec:
    """Return the spec in a file; `FindingsError` with every finding when there is an error among them."""
    spec, findings = examine(path)
    if spec is None:
        raise FindingsError(findings)
    return spec
