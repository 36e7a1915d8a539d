"""The image spec: what a user writes in `images/*.yaml`, version 1.

Each model refuses keys that it does not know. A rule that one field can break is on its field; a rule between
fields is a validator that names both. Messages say the rule and, after "; ", the remedy.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, StringConstraints, model_validator

from generator.spec.distro import TRAITS, Distro, Traits

Int = Annotated[int, Strict()]
Bool = Annotated[bool, Strict()]

# A name that is safe as a file name, an ECS image name and a host name at once.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9.-]{1,62}$")]
Package = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9+._:~=@/-]{0,127}$")]
RegionId = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}-[a-z]+(-[a-z]+)?(-[0-9]+)?$")]
ZoneId = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}-[a-z]+(-[a-z]+)?(-[0-9]+)?-?[a-z]$")]
AccountId = Annotated[str, StringConstraints(pattern=r"^[0-9]{16}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
InterfaceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,15}$")]
# What names an ENI to leave alone: an ENI id, a MAC address, or an interface name with shell wildcards.
EniSelector = Annotated[
    str,
    StringConstraints(
        pattern=r"^(eni-[a-z0-9]{8,32}|([0-9a-f]{2}:){5}[0-9a-f]{2}|[A-Za-z][A-Za-z0-9_.*?-]{0,14})$"
    ),
]

# https://www.alibabacloud.com/help/en/ecs/developer-reference/api-ecs-2014-05-26-createimage (ImageName)
_IMAGE_NAME = re.compile(r"^[A-Za-z\u4e00-\u9fff][\w:.\u4e00-\u9fff-]{1,127}$")
_RESERVED = ("acs", "aliyun", "http://", "https://")


def _ecs_name(value: str) -> str:
    if value.lower().startswith(_RESERVED):
        raise ValueError(
            f"ECS refuses a name that begins with {', '.join(_RESERVED)}; choose another beginning"
        )
    if not _IMAGE_NAME.match(value):
        raise ValueError(
            "ECS wants 2 to 128 characters, a letter first, then letters, digits, '_', '-', '.' or ':'; change the name"
        )
    return value


def _tag_key(value: str) -> str:
    if not 1 <= len(value) <= 128 or value.lower().startswith(("acs:", "aliyun")) or "http" in value.lower():
        raise ValueError(
            "ECS wants a tag key of 1 to 128 characters that does not begin with acs: or aliyun nor hold http://; rename it"
        )
    if value.lower().startswith("multieip:"):
        raise ValueError("tags that begin with multieip: are written by this tool; rename it")
    return value


def _tag_value(value: str) -> str:
    if len(value) > 128 or "http://" in value or "https://" in value:
        raise ValueError(
            "ECS wants a tag value of at most 128 characters without http:// or https://; shorten it"
        )
    return value


EcsName = Annotated[str, AfterValidator(_ecs_name)]
TagKey = Annotated[str, AfterValidator(_tag_key)]
TagValue = Annotated[str, AfterValidator(_tag_value)]


class Model(BaseModel):
    """A part of a spec: frozen, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EcsBase(Model):
    """The ECS image that the golden image starts from: the newest of a family, or one id."""

    family: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9:._-]{1,127}$")] | None = None
    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,127}$")] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.family is None) == (self.id is None):
            raise ValueError("base.ecs takes either family or id; give one of the two")
        return self


class LocalBase(Model):
    """The disk image that a build without an account starts from.

    `suite` has it made here from the distribution's packages (mmdebstrap); `url` with `sha256` fetches a cloud
    image that the distribution publishes. `mirror` and `components` go with `suite`, `disk_gib` with both.
    """

    suite: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,31}$")] | None = None
    mirror: Annotated[str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.:/_~-]{1,200}$")] | None = None
    components: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z-]{1,32}$")], ...] = ("main",)
    url: (
        Annotated[str, StringConstraints(pattern=r"^(https?|file)://[A-Za-z0-9.:/_~%+?=&-]{1,500}$")] | None
    ) = None
    sha256: Sha256 | None = None
    disk_gib: Annotated[Int, Field(ge=2, le=2048)] = 8

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.suite is None) == (self.url is None):
            raise ValueError("base.local takes either suite or url; give one of the two")
        if (self.url is None) != (self.sha256 is None):
            raise ValueError(
                "base.local.url goes with base.local.sha256; give the digest that the distribution publishes"
            )
        if self.mirror is not None and self.suite is None:
            raise ValueError("base.local.mirror goes with base.local.suite; remove it")
        return self


class Base(Model):
    """Where the golden image starts from, on ECS and on this machine."""

    ecs: EcsBase
    local: LocalBase | None = None


class Network(Model):
    """How the instance answers from each private IP through the ENI that holds it.

    ENI number k (eth1 is 1) has its private table `table_base + k - 1` and rules of priority
    `rule_priority + k - 1`. Metrics are route metrics in the main table; intervals are seconds.
    """

    table_base: Annotated[Int, Field(ge=1, le=4_294_967_000)] = 1001
    rule_priority: Annotated[Int, Field(ge=1, le=32_000)] = 10_001
    refresh_interval: Annotated[Int, Field(ge=10, le=3600)] = 60
    primary_interface: InterfaceName = "eth0"
    primary_metric: Annotated[Int, Field(ge=1, le=9999)] = 100
    secondary_metric: Annotated[Int, Field(ge=1, le=99_999)] = 1000
    leave_alone: tuple[EniSelector, ...] = ()

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        tables = range(self.table_base, self.table_base + MAX_ENIS)
        if any(table in tables for table in (253, 254, 255)):
            raise ValueError(
                "network.table_base reaches the kernel's tables 253 to 255; choose a base above 255"
            )
        if self.secondary_metric <= self.primary_metric:
            raise ValueError(
                "network.secondary_metric must be above network.primary_metric, or a secondary ENI becomes the way out; "
                "raise it"
            )
        return self


# ECS instance types have at most this many ENIs with room to spare; tables and priorities are reserved for them.
MAX_ENIS = 64

DiskCategory = Literal["cloud_auto", "cloud_efficiency", "cloud_essd", "cloud_essd_entry", "cloud_ssd"]


class SystemDisk(Model):
    """The system disk of the builder instance, and so of the image."""

    category: DiskCategory = "cloud_essd"
    size_gib: Annotated[Int, Field(ge=20, le=2048)] = 20


class DataDisk(Model):
    """A data disk that is part of the image."""

    name: EcsName | None = None
    category: DiskCategory = "cloud_essd"
    size_gib: Annotated[Int, Field(ge=20, le=32_768)] = 20


class Alicloud(Model):
    """Where and how the image is built on ECS, and who gets it."""

    region: RegionId
    zone: ZoneId | None = None
    instance_type: Annotated[str, StringConstraints(pattern=r"^ecs\.[a-z0-9.-]{3,60}$")]
    vpc_id: Annotated[str, StringConstraints(pattern=r"^vpc-[a-z0-9]{8,32}$")] | None = None
    vswitch_id: Annotated[str, StringConstraints(pattern=r"^vsw-[a-z0-9]{8,32}$")] | None = None
    security_group_id: Annotated[str, StringConstraints(pattern=r"^sg-[a-z0-9]{8,32}$")] | None = None
    internet_charge_type: Literal["PayByTraffic", "PayByBandwidth"] = "PayByTraffic"
    bandwidth_mbps: Annotated[Int, Field(ge=1, le=200)] = 10
    system_disk: SystemDisk = SystemDisk()
    data_disks: tuple[DataDisk, ...] = Field(default=(), max_length=16)
    family: EcsName | None = None
    copy_regions: tuple[RegionId, ...] = ()
    share_accounts: tuple[AccountId, ...] = Field(default=(), max_length=50)
    tags: dict[TagKey, TagValue] = Field(default={}, max_length=15)

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.vpc_id is None) != (self.vswitch_id is None):
            raise ValueError(
                "alicloud.vpc_id and alicloud.vswitch_id go together: with a vSwitch alone Packer makes a new VPC; "
                "give both or neither"
            )
        if self.security_group_id is not None and self.vpc_id is None:
            raise ValueError(
                "alicloud.security_group_id belongs to a VPC; give alicloud.vpc_id and alicloud.vswitch_id too"
            )
        if self.region in self.copy_regions:
            raise ValueError(
                "alicloud.copy_regions holds alicloud.region, where the image is already; remove it"
            )
        if len(set(self.copy_regions)) != len(self.copy_regions):
            raise ValueError("alicloud.copy_regions names a region twice; remove one")
        return self


class ImageSpec(Model):
    """One golden image: `images/NAME.yaml`."""

    version: Literal[1]
    name: Name
    description: Annotated[str, StringConstraints(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    distro: Distro
    base: Base
    packages: tuple[Package, ...] = ()
    cloud_config: dict[str, Any] = {}
    network: Network = Network()
    alicloud: Alicloud | None = None

    @property
    def traits(self) -> Traits:
        """What multieip knows of the spec's distribution."""
        return TRAITS[self.distro]

    @property
    def all_packages(self) -> tuple[str, ...]:
        """The packages that the image must have: ours and the user's, sorted, each once."""
        return tuple(sorted({*self.traits.packages, *self.packages}))
