"""Regions, zones, instance types and what of them can be had; the VPCs and vSwitches as ECS shows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generator.sandbox.api import paging
from generator.sandbox.api.call import Body, Call, action, at_most, between, one_of
from generator.sandbox.api.ecs.disks import CATEGORIES
from generator.sandbox.api.errors import invalid, not_found
from generator.sandbox.api.vpc.networks import shown_vpcs, shown_vswitches
from generator.sandbox.region.model import Instance
from generator.sandbox.region.seeding import REGIONS, TYPES, InstanceType, zones


@action("ecs", "DescribeRegions", ignores="AcceptLanguage InstanceChargeType ResourceType")
def describe_regions(call: Call) -> Body:
    """Show all regions."""
    return {
        "Regions": [
            {
                "RegionId": name,
                "LocalName": local,
                "RegionEndpoint": f"ecs.{name}.aliyuncs.com",
                "Status": "available",
            }
            for name, (local, _) in REGIONS.items()
        ]
    }


@action(
    "ecs",
    "DescribeZones",
    required="RegionId",
    ignores="AcceptLanguage InstanceChargeType SpotStrategy Verbose",
)
def describe_zones(call: Call) -> Body:
    """Show the zones of a region: each has every instance type."""
    return {
        "Zones": [
            {
                "ZoneId": zone,
                "LocalName": zone,
                "ZoneType": "AvailabilityZone",
                "AvailableInstanceTypes": {"InstanceTypes": list(TYPES)},
                "AvailableDiskCategories": {"DiskCategories": list(CATEGORIES)},
                "AvailableResourceCreation": {"ResourceTypes": ["VSwitch", "IoOptimized", "Instance", "Disk"]},
            }
            for zone in zones(call.region.name)
        ]
    }


@action(
    "ecs",
    "DescribeInstanceTypes",
    takes="InstanceTypes InstanceTypeFamily InstanceTypeFamilies MaxResults NextToken MinimumEniQuantity"
    " MinimumEniPrivateIpAddressQuantity MinimumCpuCoreCount MaximumCpuCoreCount MinimumMemorySize"
    " MaximumMemorySize CpuArchitecture",
    limits={"InstanceTypes": at_most(10), "MaxResults": between(1, 1600)},
)
def describe_instance_types(call: Call) -> Body:
    """Show instance types with the ENIs and private IPs that they can hold."""
    kinds = [kind for kind in TYPES.values() if _is_wanted(call, kind)]
    # The types are few and do not change: there is always one page.
    return {"InstanceTypes": [_shown_type(kind) for kind in kinds], "NextToken": ""}


def _is_wanted(call: Call, kind: InstanceType) -> bool:
    families = [*call.items("InstanceTypeFamilies"), *filter(None, [call.text("InstanceTypeFamily")])]
    return (
        (not call.items("InstanceTypes") or kind.id in call.items("InstanceTypes"))
        and (not families or kind.family in families)
        and kind.enis >= call.number("MinimumEniQuantity", 0)
        and kind.eni_ips >= call.number("MinimumEniPrivateIpAddressQuantity", 0)
        and call.number("MinimumCpuCoreCount", 0) <= kind.cpus <= call.number("MaximumCpuCoreCount", 10**6)
        and call.parameters.get("MinimumMemorySize", 0) <= kind.memory
        and kind.memory <= call.parameters.get("MaximumMemorySize", 10**6)
        and call.text("CpuArchitecture", kind.architecture) == kind.architecture
    )


def _shown_type(kind: InstanceType) -> dict[str, Any]:
    return {
        "InstanceTypeId": kind.id,
        "InstanceTypeFamily": kind.family,
        "CpuCoreCount": kind.cpus,
        "MemorySize": kind.memory,
        "CpuArchitecture": kind.architecture,
        "EniQuantity": kind.enis,
        "EniTotalQuantity": kind.enis,
        "EniPrivateIpAddressQuantity": kind.eni_ips,
        "EniIpv6AddressQuantity": kind.eni_ips,
        "EniTrunkSupported": False,
        "PrimaryEniQueueNumber": kind.queues,
        "SecondaryEniQueueNumber": kind.secondary_queues,
        "MaximumQueueNumberPerEni": kind.queues,
        "TotalEniQueueQuantity": kind.total_queues,
        "NetworkCards": [{"NetworkCardIndex": 0}],
        "NetworkCardQuantity": 1,
        "JumboFrameSupport": False,
        "NvmeSupport": "unsupported",
        "SupportedBootModes": {"SupportedBootMode": ["BIOS", "UEFI"] if kind.architecture == "X86" else ["UEFI"]},
        "InstanceCategory": "General-purpose",
        "GPUAmount": 0,
    }


@action(
    "ecs",
    "DescribeAvailableResource",
    required="RegionId DestinationResource",
    takes="ZoneId InstanceType Cores Memory",
    ignores="InstanceChargeType IoOptimized NetworkCategory ResourceType SpotStrategy SystemDiskCategory Scope"
    " DataDiskCategory SpotDuration",
    limits={"DestinationResource": one_of("Zone", "InstanceType", "SystemDisk", "DataDisk", "Network", "IoOptimized")},
)
def describe_available_resource(call: Call) -> Body:
    """Show which instance types, or disk categories, each zone has in stock."""
    if call.text("ZoneId") and call.text("ZoneId") not in zones(call.region.name):
        raise not_found("InvalidZoneId", "ZoneId")
    return {
        "AvailableZones": [
            {
                "RegionId": call.region.name,
                "ZoneId": zone,
                "Status": "Available",
                "StatusCategory": "WithStock",
                "AvailableResources": [
                    {"Type": call.text("DestinationResource"), "SupportedResources": list(_in_stock(call, zone))}
                ],
            }
            for zone in zones(call.region.name)
            if call.text("ZoneId", zone) == zone
        ]
    }


def _in_stock(call: Call, zone: str) -> Iterator[dict[str, Any]]:
    if call.text("DestinationResource") in ("SystemDisk", "DataDisk"):
        for category in CATEGORIES:
            yield {
                "Value": category,
                "Status": "Available",
                "StatusCategory": "WithStock",
                "Min": 20,
                "Max": 32768,
                "Unit": "GiB",
            }
    else:
        for kind in TYPES.values():
            wanted = call.text("InstanceType", kind.id) == kind.id and call.number("Cores", kind.cpus) == kind.cpus
            if wanted and call.parameters.get("Memory", kind.memory) == kind.memory:
                there = stock(call, zone, kind.id) > 0
                yield {
                    "Value": kind.id,
                    "Status": "Available" if there else "SoldOut",
                    "StatusCategory": "WithStock" if there else "WithoutStock",
                }


_ATTRIBUTES = (
    *("instance-network-type", "max-elastic-network-interfaces", "max-postpaid-instance-vcpu-count"),
    *("used-postpaid-instance-vcpu-count", "max-spot-instance-vcpu-count", "used-spot-instance-vcpu-count"),
    *("supported-postpaid-instance-types", "real-name-authentication"),
)


def _known_attributes(name: str, value: Any) -> Any:
    for one in value:
        if one not in _ATTRIBUTES:
            raise invalid(name, f"The sandbox knows {', '.join(_ATTRIBUTES)}.")
    return value


@action(
    "ecs",
    "DescribeAccountAttributes",
    required="RegionId",
    takes="AttributeName ZoneId",
    limits={"AttributeName": _known_attributes},
)
def describe_account_attributes(call: Call) -> Body:
    """Show what the account may have in the region, and how much of it is used."""
    behaviour = call.account.behaviour
    values = {
        "instance-network-type": ["vpc"],
        "max-elastic-network-interfaces": [str(behaviour.enis)],
        "max-postpaid-instance-vcpu-count": [str(behaviour.vcpus)],
        "used-postpaid-instance-vcpu-count": [str(vcpus(call, spot=False))],
        "max-spot-instance-vcpu-count": [str(behaviour.vcpus)],
        "used-spot-instance-vcpu-count": [str(vcpus(call, spot=True))],
        "supported-postpaid-instance-types": list(TYPES),
        "real-name-authentication": ["yes"],
    }
    wanted = call.items("AttributeName") or values
    shown = [{"AttributeName": name, "AttributeValues": [{"Value": one} for one in values[name]]} for name in wanted]
    return {"AccountAttributeItems": shown}


def vcpus(call: Call, *, spot: bool) -> int:
    """Return how many vCPUs the account's instances of the region have, spot ones or the others."""
    instances = call.region.all(Instance)
    return sum(TYPES[one.type].cpus for one in instances if (one.spot_strategy != "NoSpot") == spot)


def stock(call: Call, zone: str, kind: str) -> int:
    """Return how many more instances of a type a zone can hold."""
    bound = call.account.behaviour.stock.get((zone, kind))
    if bound is None:
        return 10**6
    return bound - sum(one.zone == zone and one.type == kind for one in call.region.all(Instance))


@action(
    "ecs",
    "DescribeVpcs",
    takes="VpcId IsDefault PageNumber PageSize",
    limits={"PageNumber": between(1, 10**6), "PageSize": between(1, 50)},
)
def describe_vpcs(call: Call) -> Body:
    """Show VPCs, as clients of old ask for them (Packer 1.6 does); `VpcId` may be several between commas."""
    page, fields = paging.by_number(call, shown_vpcs(call))
    names = ("VpcId", "VpcName", "RegionId", "CidrBlock", "CreationTime", "Description", "IsDefault", "Status")
    shown = [{name: vpc[name] for name in (*names, "VRouterId", "VSwitchIds")} for vpc in page]
    return {"Vpcs": shown, **fields}


@action(
    "ecs",
    "DescribeVSwitches",
    takes="VSwitchId VpcId ZoneId IsDefault PageNumber PageSize",
    limits={"PageNumber": between(1, 10**6), "PageSize": between(1, 50)},
)
def describe_vswitches(call: Call) -> Body:
    """Show vSwitches, as clients of old ask for them."""
    page, fields = paging.by_number(call, shown_vswitches(call))
    names = ("VSwitchId", "VSwitchName", "VpcId", "ZoneId", "CidrBlock", "CreationTime", "Description", "IsDefault")
    shown = [{name: one[name] for name in (*names, "Status", "AvailableIpAddressCount")} for one in page]
    return {"VSwitches": shown, **fields}
