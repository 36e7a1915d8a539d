"""What a new account has: regions and zones, instance types, public images, and in its home region a network."""

from __future__ import annotations

from dataclasses import dataclass

from generator.sandbox.region.ids import Ids
from generator.sandbox.region.model import Image, Route, RouteTable, Rule, SecurityGroup, Vpc, VSwitch
from generator.sandbox.region.plane import VpcCreated, VSwitchCreated
from generator.sandbox.region.region import Region

# A few of the cloud's regions with their endpoints' names, and zones by letter.
REGIONS = {
    "cn-hangzhou": ("China (Hangzhou)", "hijk"),
    "cn-beijing": ("China (Beijing)", "hkl"),
    "cn-shanghai": ("China (Shanghai)", "bgl"),
    "cn-shenzhen": ("China (Shenzhen)", "def"),
    "cn-hongkong": ("China (Hong Kong)", "bcd"),
    "ap-southeast-1": ("Singapore", "abc"),
    "eu-central-1": ("Germany (Frankfurt)", "abc"),
    "us-west-1": ("US (Silicon Valley)", "ab"),
}


@dataclass(frozen=True, slots=True)
class InstanceType:
    """What an instance type can hold; `eni_ips` is the private IPv4 addresses of an ENI, the primary one included."""

    id: str
    cpus: int
    memory: float
    enis: int
    eni_ips: int
    queues: int
    secondary_queues: int
    hot_plug: bool = True
    architecture: str = "X86"

    @property
    def family(self) -> str:
        """The family: `ecs.g7` of `ecs.g7.large`."""
        return self.id.rpartition(".")[0]

    @property
    def total_queues(self) -> int:
        """How many queues all its ENIs have together."""
        return self.queues + self.secondary_queues * (self.enis - 1)


# https://www.alibabacloud.com/help/en/ecs/user-guide/overview-of-instance-families lists cpu, memory, ENIs, private
# IPv4 addresses per ENI and queues. c6.large is the example of the EIP guide. A few types only: limits that tests
# and examples meet, small and large.
TYPES = {
    kind.id: kind
    for kind in (
        InstanceType("ecs.t6-c1m1.large", 2, 2.0, 2, 2, 1, 1, hot_plug=False),
        InstanceType("ecs.c6.large", 2, 4.0, 2, 6, 2, 2),
        InstanceType("ecs.g6.large", 2, 8.0, 2, 6, 2, 2),
        InstanceType("ecs.g6.2xlarge", 8, 32.0, 4, 10, 8, 4),
        InstanceType("ecs.c7.large", 2, 4.0, 3, 6, 2, 2),
        InstanceType("ecs.g7.large", 2, 8.0, 3, 6, 2, 2),
        InstanceType("ecs.g7.xlarge", 4, 16.0, 4, 15, 4, 4),
        InstanceType("ecs.g7.2xlarge", 8, 32.0, 4, 15, 8, 4),
        InstanceType("ecs.g7.4xlarge", 16, 64.0, 8, 30, 8, 4),
        InstanceType("ecs.g7.8xlarge", 32, 128.0, 8, 30, 16, 8),
        InstanceType("ecs.g8i.large", 2, 8.0, 3, 6, 2, 2),
        InstanceType("ecs.g8i.4xlarge", 16, 64.0, 8, 30, 16, 8),
        InstanceType("ecs.g8y.large", 2, 8.0, 3, 6, 2, 2, architecture="ARM"),
        InstanceType("ecs.ebmg7.32xlarge", 128, 512.0, 32, 10, 32, 32, hot_plug=False),
    )
}

# Family, name, OS name and platform of public images.
_IMAGES = (
    ("acs:debian_12_11_x64", "debian_12_11_x64_20G_alibase_20250804.vhd", "Debian 12.11 64 bit", "Debian"),
    ("acs:ubuntu_24_04_x64", "ubuntu_24_04_x64_20G_alibase_20250804.vhd", "Ubuntu 24.04 64 bit", "Ubuntu"),
    ("acs:rockylinux_9_6_x64", "rockylinux_9_6_x64_20G_alibase_20250804.vhd", "Rocky Linux 9.6 64 bit", "Rocky Linux"),
    (
        "acs:alibaba_cloud_linux_3_2104_lts_x64",
        "aliyun_3_x64_20G_alibase_20250804.vhd",
        "Alibaba Cloud Linux 3.2104",
        "Aliyun",
    ),
)

# The ids of the home region's first network: examples and tests name them.
VPC_ID = "vpc-bp1sandbox"
ROUTE_TABLE_ID = "vtb-bp1sandbox"
SECURITY_GROUP_ID = "sg-bp1sandbox"


def zones(region: str) -> list[str]:
    """Return the zones of a region."""
    # Regions in China have letters after a hyphen, the others right after the region's number.
    joint = "-" if region.startswith("cn-") else ""
    return [f"{region}{joint}{letter}" for letter in REGIONS[region][1]]


def vswitch_id(zone: str) -> str:
    """Return the id of the vSwitch that a zone of the home region begins with."""
    return f"vsw-bp1sandbox{zone[-1]}"


def seed(region: Region, ids: Ids, now: float, *, home: bool) -> None:
    """Fill a new region: public images everywhere; a VPC, a vSwitch per zone and a security group at home."""
    for family, name, os_name, platform in _IMAGES:
        region.put(
            Image(
                id=name,
                name=name,
                description="",
                family=family,
                owner="system",
                os_name=os_name,
                platform=platform,
                architecture="x86_64",
                boot_mode="UEFI-Preferred",
                size=20,
                snapshot="",
                status="Available",
                created=now,
                imds="v2",
            )
        )
    if home:
        _network(region, ids, now)


def _network(region: Region, ids: Ids, now: float) -> None:
    vpc = region.put(Vpc(VPC_ID, "sandbox", "172.16.0.0/12", ids.new("vrt"), ROUTE_TABLE_ID, now))
    region.events.append(VpcCreated(vpc))
    region.put(RouteTable(ROUTE_TABLE_ID, VPC_ID, now))
    for number, zone in enumerate(zones(region.name)):
        cidr = f"172.{16 + number}.0.0/16"
        vswitch = region.put(VSwitch(vswitch_id(zone), "sandbox", VPC_ID, zone, cidr, ROUTE_TABLE_ID, now))
        region.put(Route(ids.new("rte"), ROUTE_TABLE_ID, cidr, "local", ""))
        region.events.append(VSwitchCreated(vswitch))
    rules = tuple(
        Rule(ids.new("sgr"), "ingress", protocol, ports, "0.0.0.0/0", "Accept", 1, "", now)
        for protocol, ports in (("TCP", "22/22"), ("ICMP", "-1/-1"))
    )
    region.put(SecurityGroup(SECURITY_GROUP_ID, "sandbox", "", VPC_ID, "normal", now, rules))
