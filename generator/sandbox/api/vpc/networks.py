"""VPCs and vSwitches."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from generator.sandbox.api import lookup, paging
from generator.sandbox.api.call import Body, Call, action, between, has_tags, matching
from generator.sandbox.api.errors import ApiError, not_found
from generator.sandbox.region import plane
from generator.sandbox.region.clock import to_seconds
from generator.sandbox.region.model import Eni, Ipv4Gateway, Route, RouteTable, SecurityGroup, Vpc, VSwitch
from generator.sandbox.region.seeding import REGIONS, zones

_NAME = matching(r"(?!https?://).{1,128}")
_PAGES = {"PageNumber": between(1, 10**6), "PageSize": between(1, 50)}
# https://www.alibabacloud.com/help/en/vpc: what a VPC may have for its addresses, or subnets of these.
_PRIVATE = [IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]


@action("vpc", "DescribeRegions", ignores="AcceptLanguage ProductType")
def describe_regions(call: Call) -> Body:
    """Show all regions."""
    return {
        "Regions": [
            {"RegionId": name, "LocalName": local, "RegionEndpoint": f"vpc.{name}.aliyuncs.com"}
            for name, (local, _) in REGIONS.items()
        ]
    }


@action("vpc", "DescribeZones", required="RegionId", ignores="AcceptLanguage ZoneType")
def describe_zones(call: Call) -> Body:
    """Show the zones of a region."""
    return {"Zones": [{"ZoneId": zone, "LocalName": zone} for zone in zones(call.region.name)]}


@action(
    "vpc",
    "DescribeVpcs",
    takes="VpcId VpcName IsDefault Tag PageNumber PageSize DryRun",
    limits=_PAGES,
)
def describe_vpcs(call: Call) -> Body:
    """Show VPCs; `VpcId` may be several between commas."""
    page, fields = paging.by_number(call, shown_vpcs(call))
    return {"Vpcs": page, **fields}


def shown_vpcs(call: Call) -> list[dict[str, Any]]:
    """Return the VPCs that a call asks for, as VPC shows them."""
    wanted = [key for key in call.text("VpcId").split(",") if key]
    return [
        _shown_vpc(call, vpc)
        for vpc in call.region.all(Vpc)
        if (not wanted or vpc.id in wanted)
        and call.text("VpcName", vpc.name) == vpc.name
        and not call.flag("IsDefault")
        and has_tags(vpc.tags, call.items("Tag"))
    ]


def _shown_vpc(call: Call, vpc: Vpc) -> dict[str, Any]:
    return {
        "VpcId": vpc.id,
        "VpcName": vpc.name,
        "RegionId": call.region.name,
        "CidrBlock": vpc.cidr,
        "CreationTime": to_seconds(vpc.created),
        "Description": "",
        "IsDefault": False,
        "Status": "Available",
        "VRouterId": vpc.router,
        "RouterTableIds": {"RouterTableIds": [vpc.route_table]},
        "VSwitchIds": {"VSwitchId": [one.id for one in call.region.all(VSwitch) if one.vpc == vpc.id]},
        "Tags": [{"Key": key, "Value": value} for key, value in vpc.tags],
    }


@action("vpc", "DescribeVpcAttribute", required="VpcId", takes="DryRun")
def describe_vpc_attribute(call: Call) -> Body:
    """Show one VPC, with its IPv4 gateway."""
    vpc = lookup.vpc(call, call.text("VpcId"))
    gateways = [one.id for one in call.region.all(Ipv4Gateway) if one.vpc == vpc.id]
    shown = _shown_vpc(call, vpc)
    del shown["RouterTableIds"]
    return {**shown, "SupportIpv4Gateway": True, "Ipv4GatewayId": gateways[0] if gateways else ""}


@action(
    "vpc",
    "DescribeVSwitches",
    takes="VSwitchId VpcId ZoneId VSwitchName IsDefault Tag PageNumber PageSize DryRun",
    limits=_PAGES,
)
def describe_vswitches(call: Call) -> Body:
    """Show vSwitches, with how many private IPs each has left."""
    page, fields = paging.by_number(call, shown_vswitches(call))
    return {"VSwitches": page, **fields}


def shown_vswitches(call: Call) -> list[dict[str, Any]]:
    """Return the vSwitches that a call asks for, as VPC shows them."""
    wanted = [key for key in call.text("VSwitchId").split(",") if key]
    return [
        _shown_vswitch(call, one)
        for one in call.region.all(VSwitch)
        if (not wanted or one.id in wanted)
        and call.text("VpcId", one.vpc) == one.vpc
        and call.text("ZoneId", one.zone) == one.zone
        and call.text("VSwitchName", one.name) == one.name
        and not call.flag("IsDefault")
        and has_tags(one.tags, call.items("Tag"))
    ]


def _shown_vswitch(call: Call, one: VSwitch) -> dict[str, Any]:
    return {
        "VSwitchId": one.id,
        "VSwitchName": one.name,
        "VpcId": one.vpc,
        "ZoneId": one.zone,
        "CidrBlock": one.cidr,
        "CreationTime": to_seconds(one.created),
        "Description": "",
        "IsDefault": False,
        "Status": "Available",
        "AvailableIpAddressCount": lookup.available(call.region, one),
        "RouteTable": {"RouteTableId": one.route_table, "RouteTableType": "System"},
        "Tags": [{"Key": key, "Value": value} for key, value in one.tags],
    }


@action("vpc", "DescribeVSwitchAttributes", required="VSwitchId", takes="DryRun")
def describe_vswitch_attributes(call: Call) -> Body:
    """Show one vSwitch."""
    return _shown_vswitch(call, lookup.vswitch(call, call.text("VSwitchId")))


@action(
    "vpc",
    "CreateVpc",
    required="RegionId",
    takes="CidrBlock VpcName ClientToken DryRun Tag",
    ignores="Description",
    limits={"VpcName": _NAME},
)
@action(
    "ecs",
    "CreateVpc",
    required="RegionId",
    takes="CidrBlock VpcName ClientToken",
    ignores="Description",
    limits={"VpcName": _NAME},
)
def create_vpc(call: Call) -> Body:
    """Make a VPC with its system route table."""
    cidr = _cidr(call.text("CidrBlock", "172.16.0.0/12"), 8, 28)
    if not any(cidr.subnet_of(private) for private in _PRIVATE):
        raise ApiError("InvalidCidrBlock.Malformed", "Specified CIDR block is not valid.")
    name, router, table = call.text("VpcName"), call.new("vrt"), call.new("vtb")
    vpc = call.region.put(Vpc(call.new("vpc"), name, str(cidr), router, table, call.now, call.tags()))
    call.region.put(RouteTable(table, vpc.id, call.now))
    call.region.events.append(plane.VpcCreated(vpc))
    return {"VpcId": vpc.id, "VRouterId": router, "RouteTableId": table}


@action(
    "vpc",
    "CreateVSwitch",
    required="ZoneId VpcId",
    takes="CidrBlock VSwitchName ClientToken Tag",
    ignores="Description",
    limits={"VSwitchName": _NAME},
)
@action(
    "ecs",
    "CreateVSwitch",
    required="ZoneId VpcId CidrBlock",
    takes="VSwitchName ClientToken",
    ignores="Description",
    limits={"VSwitchName": _NAME},
)
def create_vswitch(call: Call) -> Body:
    """Make a vSwitch in a VPC and a zone, whose addresses no other one has."""
    vpc = lookup.vpc(call, call.text("VpcId"))
    if call.text("ZoneId") not in zones(call.region.name):
        raise not_found("InvalidZoneId", "ZoneId")
    cidr = _cidr(call.text("CidrBlock"), 16, 29)
    if not cidr.subnet_of(IPv4Network(vpc.cidr)):
        raise ApiError("InvalidCidrBlock.Malformed", "Specified CIDR block is not valid.")
    for other in call.region.all(VSwitch):
        if other.vpc == vpc.id and cidr.overlaps(IPv4Network(other.cidr)):
            raise ApiError("InvalidCidrBlock.Overlapped", "Specified CIDR block overlapped with other subnets.")
    name, zone = call.text("VSwitchName"), call.text("ZoneId")
    one = VSwitch(call.new("vsw"), name, vpc.id, zone, str(cidr), vpc.route_table, call.now, call.tags())
    call.region.put(one)
    call.region.put(Route(call.new("rte"), vpc.route_table, str(cidr), "local", ""))
    call.region.events.append(plane.VSwitchCreated(one))
    return {"VSwitchId": one.id}


def _cidr(text: str, shortest: int, longest: int) -> IPv4Network:
    try:
        network = IPv4Network(text)
    except ValueError:
        network = None
    if network is None or not shortest <= network.prefixlen <= longest:
        raise ApiError("InvalidCidrBlock.Malformed", "Specified CIDR block is not valid.")
    return network


@action("vpc", "DeleteVSwitch", required="VSwitchId")
@action("ecs", "DeleteVSwitch", required="VSwitchId")
def delete_vswitch(call: Call) -> Body:
    """Delete a vSwitch in which no ENI is left."""
    one = lookup.vswitch(call, call.text("VSwitchId"))
    if any(eni.vswitch == one.id for eni in call.region.all(Eni)):
        raise ApiError("DependencyViolation", "Specified object has dependent resources.")
    for route in call.region.all(Route):
        if route.table == one.route_table and route.next_type == "local" and route.destination == one.cidr:
            call.region.drop(route)
    call.region.drop(one)
    call.region.events.append(plane.VSwitchDeleted(one))
    return {}


@action("vpc", "DeleteVpc", required="VpcId", takes="DryRun")
@action("ecs", "DeleteVpc", required="VpcId")
def delete_vpc(call: Call) -> Body:
    """Delete a VPC that has neither vSwitches nor security groups nor an IPv4 gateway."""
    vpc = lookup.vpc(call, call.text("VpcId"))
    holders = [one.vpc for one in call.region.all(VSwitch)] + [one.vpc for one in call.region.all(SecurityGroup)]
    if vpc.id in holders or any(one.vpc == vpc.id for one in call.region.all(Ipv4Gateway)):
        raise ApiError("DependencyViolation", "Specified object has dependent resources.")
    for route in call.region.all(Route):
        if route.table == vpc.route_table:
            call.region.drop(route)
    call.region.drop(call.region.get(RouteTable, vpc.route_table))
    call.region.drop(vpc)
    call.region.events.append(plane.VpcDeleted(vpc))
    return {}
