"""IPv4 gateways and routes: with a gateway enabled, EIPs need a default route to it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

from generator.sandbox.api import lookup, paging
from generator.sandbox.api.call import Body, Call, action, between, one_of
from generator.sandbox.api.errors import ApiError, not_found
from generator.sandbox.region.clock import to_seconds
from generator.sandbox.region.model import Eni, Instance, Ipv4Gateway, Route, RouteTable, Vpc, VSwitch

_TOKEN_PAGES = {"MaxResults": between(1, 100)}


@action(
    "vpc",
    "ListIpv4Gateways",
    required="RegionId",
    takes="VpcId Ipv4GatewayId Ipv4GatewayName MaxResults NextToken",
    limits=_TOKEN_PAGES,
)
def list_ipv4_gateways(call: Call) -> Body:
    """Show IPv4 gateways."""
    found = [
        one
        for one in call.region.all(Ipv4Gateway)
        if call.text("VpcId", one.vpc) == one.vpc
        and call.text("Ipv4GatewayId", one.id) == one.id
        and call.text("Ipv4GatewayName", one.name) == one.name
    ]
    page, token = paging.by_token(call, found, default=10)
    shown = [{**_shown(call, one), "GmtCreate": to_seconds(one.created)} for one in page]
    return {"Ipv4GatewayModels": shown, "NextToken": token, "TotalCount": str(len(found))}


@action("vpc", "GetIpv4GatewayAttribute", required="RegionId Ipv4GatewayId")
def get_ipv4_gateway_attribute(call: Call) -> Body:
    """Show one IPv4 gateway."""
    one = _gateway(call)
    return {**_shown(call, one), "CreateTime": to_seconds(one.created)}


def _shown(call: Call, one: Ipv4Gateway) -> dict[str, Any]:
    return {
        "Ipv4GatewayId": one.id,
        "Ipv4GatewayName": one.name,
        "Ipv4GatewayDescription": "",
        "VpcId": one.vpc,
        "Enabled": one.enabled,
        "Status": "Created",
        "Ipv4GatewayRouteTableId": "",
    }


def _gateway(call: Call) -> Ipv4Gateway:
    found = call.region.find(Ipv4Gateway, call.text("Ipv4GatewayId"))
    if found is None:
        raise ApiError("ResourceNotFound.Ipv4Gateway", "The specified resource of Ipv4Gateway is not found.")
    return found


@action("vpc", "CreateIpv4Gateway", required="RegionId VpcId", takes="Ipv4GatewayName ClientToken DryRun")
def create_ipv4_gateway(call: Call) -> Body:
    """Make an IPv4 gateway; a VPC has at most one."""
    vpc = lookup.vpc(call, call.text("VpcId"))
    if any(one.vpc == vpc.id for one in call.region.all(Ipv4Gateway)):
        raise ApiError("ResourceAlreadyExist.Vpc", "The specified resource of Vpc already has an Ipv4Gateway.")
    one = Ipv4Gateway(call.new("ipv4gw"), call.text("Ipv4GatewayName"), vpc.id, enabled=False, created=call.now)
    call.region.put(one)
    return {"Ipv4GatewayId": one.id}


@action("vpc", "EnableVpcIpv4Gateway", required="RegionId Ipv4GatewayId", takes="RouteTableList ClientToken DryRun")
def enable_vpc_ipv4_gateway(call: Call) -> Body:
    """Have a VPC's traffic to the internet go through its gateway, by default routes in the tables that are named."""
    one = call.region.put(replace(_gateway(call), enabled=True))
    for key in call.items("RouteTableList"):
        table = call.region.find(RouteTable, key)
        if table is None or table.vpc != one.vpc:
            raise not_found("InvalidRouteTableId", "RouteTableId")
        call.region.put(Route(call.new("rte"), key, "0.0.0.0/0", "Ipv4Gateway", one.id))
    return {}


def reaches_internet(call: Call, vswitch: str) -> bool:
    """Return whether EIPs work in a vSwitch: without a gateway always, with one by a default route to it."""
    where = call.region.get(VSwitch, vswitch)
    gateways = {one.id for one in call.region.all(Ipv4Gateway) if one.vpc == where.vpc and one.enabled}
    return not gateways or any(
        route.table == where.route_table and route.destination == "0.0.0.0/0" and route.next_id in gateways
        for route in call.region.all(Route)
    )


@action(
    "vpc",
    "DescribeRouteTableList",
    takes="VpcId RouteTableId PageNumber PageSize",
    limits={"PageNumber": between(1, 10**6), "PageSize": between(1, 50)},
)
def describe_route_table_list(call: Call) -> Body:
    """Show route tables; each VPC has its system one."""
    found = [
        table
        for table in call.region.all(RouteTable)
        if call.text("VpcId", table.vpc) == table.vpc and call.text("RouteTableId", table.id) == table.id
    ]
    page, fields = paging.by_number(call, found)
    switches = call.region.all(VSwitch)
    return {
        "RouterTableList": [
            {
                "RouteTableId": table.id,
                "RouteTableType": "System",
                "RouterType": "VRouter",
                "RouterId": call.region.get(Vpc, table.vpc).router,
                "VpcId": table.vpc,
                "Status": "Available",
                "AssociateType": "VSwitch",
                "CreationTime": to_seconds(table.created),
                "VSwitchIds": {"VSwitchId": [one.id for one in switches if one.route_table == table.id]},
            }
            for table in page
        ],
        **fields,
    }


@action(
    "vpc",
    "DescribeRouteEntryList",
    required="RegionId RouteTableId",
    takes="RouteEntryId DestinationCidrBlock NextHopType NextHopId MaxResult NextToken",
    limits={"MaxResult": between(1, 500)},
)
def describe_route_entry_list(call: Call) -> Body:
    """Show the routes of a table."""
    if call.region.find(RouteTable, call.text("RouteTableId")) is None:
        raise not_found("InvalidRouteTableId", "RouteTableId")
    found = [
        route
        for route in call.region.all(Route)
        if route.table == call.text("RouteTableId")
        and call.text("RouteEntryId", route.id) == route.id
        and call.text("DestinationCidrBlock", route.destination) == route.destination
        and call.text("NextHopType", route.next_type) == route.next_type
        and call.text("NextHopId", route.next_id) == route.next_id
    ]
    page, token = paging.by_token(call, found, default=50, size="MaxResult")
    return {"RouteEntrys": [_shown_route(route) for route in page], "NextToken": token, "TotalCount": len(found)}


def _shown_route(route: Route) -> dict[str, Any]:
    return {
        "RouteEntryId": route.id,
        "RouteTableId": route.table,
        "DestinationCidrBlock": route.destination,
        "Type": "System" if route.next_type == "local" else "Custom",
        "Status": "Available",
        "IpVersion": "IPv4",
        "NextHops": [{"NextHopType": route.next_type, "NextHopId": route.next_id, "Enabled": 1, "Weight": 0}],
    }


@action(
    "vpc",
    "CreateRouteEntry",
    required="RouteTableId DestinationCidrBlock",
    takes="NextHopId NextHopType ClientToken DryRun",
    limits={"NextHopType": one_of("Instance", "NetworkInterface", "Ipv4Gateway")},
)
def create_route_entry(call: Call) -> Body:
    """Add a route to an instance, an ENI or an IPv4 gateway."""
    table = call.text("RouteTableId")
    if call.region.find(RouteTable, table) is None:
        raise not_found("InvalidRouteTableId", "RouteTableId")
    try:
        destination = str(IPv4Network(call.text("DestinationCidrBlock")))
    except ValueError:
        raise ApiError("InvalidDestinationCidrBlock.Malformed", "The destination is not an IPv4 network.") from None
    if any(route.table == table and route.destination == destination for route in call.region.all(Route)):
        raise ApiError("InvalidCIDRBlock.Duplicate", "Specified CIDR block is already exists.")
    kinds: dict[str, type] = {"Instance": Instance, "NetworkInterface": Eni, "Ipv4Gateway": Ipv4Gateway}
    kind, hop = call.text("NextHopType", "Instance"), call.text("NextHopId")
    if call.region.find(kinds[kind], hop) is None:
        raise not_found("InvalidNextHopId", "NextHopId")
    route = call.region.put(Route(call.new("rte"), table, destination, kind, hop))
    return {"RouteEntryId": route.id}


@action("vpc", "DeleteRouteEntry", takes="RouteEntryId RouteTableId DestinationCidrBlock NextHopId DryRun")
def delete_route_entry(call: Call) -> Body:
    """Delete a route that somebody added, by its id, or by table and destination."""
    for route in call.region.all(Route):
        named = route.id == call.text("RouteEntryId") or (
            route.table == call.text("RouteTableId") and route.destination == call.text("DestinationCidrBlock")
        )
        if named and route.next_type != "local":
            call.region.drop(route)
            return {}
    raise ApiError("InvalidRouteEntry.NotFound", "The specified route entry does not exist.", 404)
