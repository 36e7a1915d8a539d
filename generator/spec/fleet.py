"""The fleet spec: what a user writes in `fleets/*.yaml`, version 1.

It says which instances there are, with which ENIs, private IPs and EIPs, and how they are changed (`strategy`).
Limits are those of the requests that create them: RunInstances and AllocateEipAddress in the official SDK, ECS
7.11.8 and VPC 7.2.2. What depends on the instance type or the account is the plan's to check.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from generator.spec import fleet_rules, reading, source
from generator.spec.fields import (
    BandwidthPackageId,
    Bool,
    Cidr,
    EcsName,
    EipId,
    EniId,
    FleetName,
    ImageFamily,
    ImageId,
    ImageSpecName,
    InstanceType,
    Int,
    Name,
    NamePart,
    OneLine,
    PoolId,
    Ports,
    PositiveFloat,
    PrivateIp,
    RamRole,
    RegionId,
    ResourceGroupId,
    SecurityGroupId,
    TagKey,
    TagValue,
    Timeout,
    Version,
    VSwitchId,
)
from generator.spec.findings import Finding, FindingsError, Problem
from generator.spec.image import DiskCategory
from generator.spec.limits import ECS_LIMIT
from generator.spec.model import Model
from generator.spec.source import Document
from generator.spec.strategy import MOST_INSTANCES, Strategy

PerformanceLevel = Literal["PL0", "PL1", "PL2", "PL3"]


class Image(Model):
    """The image that instances are launched from."""

    RULES = (fleet_rules.one_image,)

    name: Name | None = Field(
        None, description="The newest image in the region that multieip built from the image spec of this name."
    )
    id: ImageId | None = Field(None, description="An image id.")
    family: ImageFamily | None = Field(None, description="The newest image of a family, such as a stock image's.")


class Rule(Model):
    """Traffic that is let in. What no rule names stays out; ICMP too."""

    RULES = (fleet_rules.ports_of_protocol,)

    protocol: Literal["tcp", "udp", "icmp"] = Field(description="Protocol.")
    ports: Ports | None = Field(None, description="Ports, for tcp and udp.")
    cidr: Cidr = Field(description="Where it may come from.")
    description: OneLine = Field("", description="What it is for.")

    @property
    def port_range(self) -> str:
        """The ports as AuthorizeSecurityGroup takes them: `443/443`, and `-1/-1` for ICMP."""
        if self.ports is None:
            return "-1/-1"
        first, _, last = self.ports.partition("-")
        return f"{first}/{last or first}"


class SecurityGroup(Model):
    """The security group of all ENIs: one that is there, or rules of one that is made for the fleet."""

    RULES = (fleet_rules.one_group,)

    id: SecurityGroupId | None = Field(None, description="A security group in the VPC of the vSwitches.")
    rules: tuple[Rule, ...] = Field((), max_length=100, description="Rules of the group that multieip makes.")


class SystemDisk(Model):
    """The system disk of each instance."""

    RULES = (fleet_rules.size_of_level,)

    category: DiskCategory = Field("cloud_essd", description="Disk category.")
    size_gib: Annotated[Int, Field(ge=20, le=2048)] | None = Field(
        None, description="Size in GiB; without it that of the image."
    )
    performance_level: PerformanceLevel | None = Field(
        None, description="Performance level of a cloud_essd; without it ECS takes PL1."
    )


class DataDisk(Model):
    """A data disk of each instance, deleted with it."""

    RULES = (fleet_rules.size_of_level,)

    name: EcsName | None = Field(None, description="Name of the disk.")
    category: DiskCategory = Field("cloud_essd", description="Disk category.")
    size_gib: Annotated[Int, Field(ge=20, le=32_768)] = Field(description="Size in GiB.")
    performance_level: PerformanceLevel | None = Field(
        None, description="Performance level of a cloud_essd; without it ECS takes PL1."
    )
    encrypted: Bool = Field(False, description="Encrypt it with the account's service key.")


class Metadata(Model):
    """The metadata service of each instance, from which the guest learns its private IPs; it is always on."""

    tokens: Literal["required", "optional"] = Field(
        "required", description="Whether the service answers only with a token (IMDSv2)."
    )


class UserData(Model):
    """What each instance gets at its launch."""

    form: Literal["golden", "standalone", "none"] = Field(
        "golden", description="For an image that multieip built, for a stock image, or no user-data at all."
    )
    image_spec: ImageSpecName | None = Field(
        None, description="Image spec that user-data comes from; without it that of `image.name`."
    )
    cloud_config: dict[str, Any] = Field(
        {}, description="Extra cloud-config, beside that of the image spec; checked against cloud-init's schema."
    )


class Spot(Model):
    """Launch spot instances. The EIPs of one that is reclaimed stay, and the next launch gives them to another."""

    RULES = (fleet_rules.price_of_spot,)

    price_limit: PositiveFloat | None = Field(
        None, description="Highest price per hour, in the account's currency; without it the market's."
    )
    protected_hours: Annotated[Int, Field(ge=0, le=1)] = Field(1, description="Hours that it is sure to run.")
    interruption: Literal["Terminate", "Stop"] = Field("Terminate", description="What happens when it is reclaimed.")


class Eni(Model):
    """An ENI of each instance. EIPs are mapped 1:1 to its private IPs, in their order."""

    RULES = (fleet_rules.addresses_or_count, fleet_rules.eips_fit, fleet_rules.existing_eni_as_it_is)

    # SecondaryPrivateIpAddressCount is 1 to 49, and the primary private IP comes before them.
    private_ips: Annotated[Int, Field(ge=1, le=50)] | None = Field(
        None, description="Number of private IPs; without it 1, or as many as `addresses`."
    )
    # CreateNetworkInterface takes the primary private IP and up to 10 more.
    addresses: tuple[PrivateIp, ...] = Field(
        (), max_length=11, description="The private IPs themselves, the primary one first; for a single instance."
    )
    eips: Annotated[Int, Field(ge=0, le=50)] | None = Field(
        None, description="Number of EIPs, for the first private IPs; without it one for each."
    )
    id: EniId | None = Field(
        None,
        description="A secondary ENI that is there already, for a single instance; it gets the private IPs it lacks.",
    )
    vswitch: VSwitchId | None = Field(
        None, description="vSwitch of a secondary ENI, in the instance's zone; without it the instance's."
    )
    queues: Annotated[Int, Field(ge=1, le=2048)] | None = Field(
        None, description="Number of queues; without it the instance type's."
    )
    name: NamePart | None = Field(
        None, description="End of a secondary ENI's name, after the start of instance names; without it eth1, …"
    )

    @property
    def ip_count(self) -> int:
        """How many private IPs it has, the primary one included."""
        return self.private_ips or len(self.addresses) or 1

    @property
    def eip_count(self) -> int:
        """How many EIPs it has; they belong to its first private IPs."""
        return self.ip_count if self.eips is None else self.eips


class Eips(Model):
    """What all EIPs of the fleet are like, or which they are."""

    RULES = (fleet_rules.bandwidth_of_charge, fleet_rules.existing_as_they_are, fleet_rules.segment_is_plain)

    internet_charge_type: Literal["PayByTraffic", "PayByBandwidth"] = Field(
        "PayByTraffic", description="How traffic is billed."
    )
    bandwidth_mbps: Annotated[Int, Field(ge=1, le=500)] = Field(
        5, description="Bandwidth in Mbit/s; up to 200 with PayByTraffic."
    )
    isp: Literal[
        "BGP",
        "BGP_PRO",
        "ChinaTelecom",
        "ChinaUnicom",
        "ChinaMobile",
        "ChinaTelecom_L2",
        "ChinaUnicom_L2",
        "ChinaMobile_L2",
        "BGP_FinanceCloud",
    ] = Field("BGP", description="Line; all but BGP need a region or an account that has it.")
    pool: PoolId | None = Field(None, description="Address pool that they come from.")
    security_protection: Bool = Field(False, description="Anti-DDoS (Enhanced).")
    bandwidth_package: BandwidthPackageId | None = Field(
        None, description="Internet Shared Bandwidth instance that they are added to."
    )
    segment: Annotated[Int, Field(ge=24, le=28)] | None = Field(
        None,
        description=(
            "Take them from one contiguous block with a mask of this length: 28 has 16, 24 has 256. The reference of "
            "AllocateEipSegmentAddress calls the service offline since 2025-03: ECS may refuse the launch."
        ),
    )
    ids: tuple[EipId, ...] = Field(
        (), max_length=10_000, description="EIPs that are there already, as they are: one for each place, in order."
    )


class Probe(Model):
    """How `verify` and a rollout ask each EIP from outside."""

    RULES = (fleet_rules.port_of_probe,)

    protocol: Literal["tcp", "icmp"] = Field("tcp", description="Open a connection, or ping.")
    port: Annotated[Int, Field(ge=1, le=65_535)] | None = Field(None, description="Port, for tcp; 22 without it.")
    timeout: Timeout = Field(5, description="How long an answer may take.")

    @property
    def tcp_port(self) -> int:
        """The port to connect to; of no meaning for icmp."""
        return self.port or 22


class FleetSpec(Model):
    """One fleet: `fleets/NAME.yaml`."""

    RULES = (
        fleet_rules.listed_once,
        fleet_rules.primary_is_made,
        fleet_rules.single_instance_only,
        fleet_rules.addresses_once,
        fleet_rules.vswitches_of_enis,
        fleet_rules.as_many_eips,
        fleet_rules.segment_fits,
        fleet_rules.user_data_of_image,
        fleet_rules.spot_is_unprotected,
        fleet_rules.protected_are_there,
        fleet_rules.probe_is_let_in,
        fleet_rules.without_alg,
    )

    version: Version = Field(description="Version of the spec's format.")
    name: FleetName = Field(description="Name of the fleet: a tag of all that it has, and the start of names.")
    description: OneLine = Field("", description="What the fleet is for, in one line.")
    region: RegionId = Field(description="Region.")
    image: Image = Field(description="What instances are launched from.")
    instance_types: tuple[InstanceType, ...] = Field(
        min_length=1, max_length=10, description="Instance types; the next one is for when there is no stock."
    )
    vswitches: tuple[VSwitchId, ...] = Field(
        min_length=1, max_length=20, description="vSwitches, and so zones; the next one is for when one is full."
    )
    spread: Bool = Field(False, description="Spread instances over all vSwitches in turn.")
    security_group: SecurityGroup = Field(description="What traffic is let in.")
    count: Annotated[Int, Field(ge=1, le=MOST_INSTANCES)] = Field(1, description="Number of instances.")
    enis: tuple[Eni, ...] = Field(
        min_length=1, max_length=32, description="ENIs of each instance; the first is the primary one."
    )
    eips: Eips = Field(Eips(), description="What the EIPs are like.")
    instance_name: FleetName | None = Field(
        None, description="Start of instance and host names, before -001, -002, …; without it the fleet's name."
    )
    key_pair: EcsName | None = Field(None, description="Key pair for SSH.")
    ram_role: RamRole | None = Field(None, description="RAM role of the instances.")
    resource_group: ResourceGroupId | None = Field(None, description="Resource group of instances, ENIs and EIPs.")
    deletion_protection: Bool = Field(False, description="Refuse to delete instances until this is taken back.")
    spot: Spot | None = Field(None, description="Launch spot instances; without it pay-as-you-go.")
    system_disk: SystemDisk = Field(SystemDisk(), description="System disk.")
    data_disks: tuple[DataDisk, ...] = Field((), max_length=16, description="Data disks.")
    metadata: Metadata = Field(Metadata(), description="Metadata service.")
    user_data: UserData = Field(UserData(), description="What instances get at their launch.")
    # ECS takes 20 tags on a resource, and multieip writes up to 8 of its own.
    tags: dict[TagKey, TagValue] = Field({}, max_length=12, description="Tags of instances, ENIs, disks and EIPs.")
    probe: Probe = Field(Probe(), description="How EIPs are asked from outside.")
    strategy: Strategy = Field(Strategy(), description="How a rollout goes through the fleet.")

    @property
    def enis_per_instance(self) -> int:
        """How many ENIs each instance has, the primary one included."""
        return len(self.enis)

    @property
    def private_ips_per_instance(self) -> int:
        """How many private IPs each instance has, over all its ENIs."""
        return sum(eni.ip_count for eni in self.enis)

    @property
    def eips_per_instance(self) -> int:
        """How many EIPs each instance has, over all its ENIs."""
        return sum(eni.eip_count for eni in self.enis)

    @property
    def total_eips(self) -> int:
        """How many EIPs the fleet has."""
        return self.count * self.eips_per_instance

    @property
    def image_spec(self) -> str:
        """The image spec that user-data is rendered from: a name or a path; empty when there is none."""
        return "" if self.user_data.form == "none" else self.user_data.image_spec or self.image.name or ""

    def name_of(self, number: int) -> str:
        """Return the name and host name of an instance; numbers are 1 to `count`."""
        return f"{self.instance_name or self.name}-{number:03}"

    def eni_name_of(self, index: int) -> str:
        """Return the name of a secondary ENI, the same on every instance: ECS numbers instances, not their ENIs."""
        return f"{self.instance_name or self.name}-{self.enis[index].name or f'eth{index}'}"


def resolve(name: str | os.PathLike[str]) -> Path:
    """Return the file that a spec's name means: a path, `fleets/NAME.yaml` here, or an example that we ship.

    A name that means none of them is returned as the path that it is, for the reader to say so.
    """
    return reading.resolve(name, "fleets")


def examine(path: str | os.PathLike[str]) -> tuple[FleetSpec | None, tuple[Finding, ...]]:
    """Read a fleet spec: the spec, or None when it has errors, and every finding in the order of the file."""
    file = resolve(path)
    if not file.exists():
        return None, (reading.absent(file, "fleets"),)
    return judge(*source.read(file))


def judge(
    document: Document | None, findings: tuple[Finding, ...] = ()
) -> tuple[FleetSpec | None, tuple[Finding, ...]]:
    """Make a fleet spec of a document that was read (`source.read`), as `examine` does."""
    return reading.judge(FleetSpec, document, findings, fleet_rules.beyond_models)


def load(path: str | os.PathLike[str]) -> FleetSpec:
    """Return the spec in a file; `FindingsError` with every finding when there is an error among them."""
    spec, findings = examine(path)
    if spec is None:
        raise FindingsError(findings)
    return spec


def size_findings(path: str, size: int) -> tuple[Finding, ...]:
    """Judge the size of user-data in bytes, before Base64; `path` is the spec that it came from."""
    if size <= ECS_LIMIT:
        return ()
    message = f"user-data has {size:,} bytes, ECS takes {ECS_LIMIT:,}"
    problem = Problem(("user_data",), "user-data-size", message, "bake large files into the image", on_key=True)
    document, _ = source.read(Path(path))
    return (document.finding(problem),) if document else ()
