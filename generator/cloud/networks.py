"""vSwitches, security groups, IPv4 gateways and routes: what a fleet stands on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from generator.cloud.client import Cloud
from generator.cloud.faults import ApiRefusedError, Fault
from generator.cloud.records import Tags, tags_of, wrapped

# RevokeSecurityGroup takes so many rules at once.
MOST_REVOKED = 100


@dataclass(frozen=True)
class VSwitch:
    """A vSwitch; `free` is the number of private IPs that are left in it."""

    id: str
    vpc: str
    zone: str
    cidr: str
    free: int
    status: str


@dataclass(frozen=True)
class Rule:
    """One ingress rule of a security group, as AuthorizeSecurityGroup takes it: `TCP`, `443/443`.

    `cidr` is a group, a prefix list or an IPv6 block where a person let that in. `id` is empty while it is not made.
    """

    protocol: str
    ports: str
    cidr: str
    description: str = ""
    id: str = ""

    @property
    def traffic(self) -> tuple[str, str, str]:
        """What it lets in: two rules of the same traffic are one to ECS. An address may be written without its /32."""
        return self.protocol, self.ports, self.cidr.removesuffix("/32")


@dataclass(frozen=True)
class SecurityGroup:
    """A security group of a VPC."""

    id: str
    name: str
    vpc: str
    created: str
    tags: Tags = ()


@dataclass(frozen=True)
class Gateway:
    """The IPv4 gateway of a VPC. Once it is enabled, EIPs need a default route to it."""

    id: str
    vpc: str
    enabled: bool


def vswitches(cloud: Cloud, ids: Sequence[str]) -> list[VSwitch]:
    """Return vSwitches, in the order of their ids; those that nobody knows are left out."""
    from alibabacloud_vpc20160428 import models  # noqa: PLC0415

    found = []
    for one in ids:
        request = models.DescribeVSwitchesRequest(region_id=cloud.region, v_switch_id=one, page_size=10)
        body = cloud.vpc.call(cloud.vpc.client.describe_vswitches_with_options, request)
        found += [
            VSwitch(
                id=shown.v_switch_id,
                vpc=shown.vpc_id or "",
                zone=shown.zone_id or "",
                cidr=shown.cidr_block or "",
                free=shown.available_ip_address_count or 0,
                status=shown.status or "",
            )
            for shown in wrapped(body.v_switches, "v_switch")
            if shown.v_switch_id == one
        ]
    return found


# Security groups


def groups(cloud: Cloud, *, ids: Sequence[str] = (), tags: Mapping[str, str] | None = None) -> list[SecurityGroup]:
    """Return security groups by their ids (up to 100) or by tags."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.DescribeSecurityGroupsRequest(
        region_id=cloud.region,
        security_group_ids=json.dumps(list(ids)) if ids else None,
        tag=[
            models.DescribeSecurityGroupsRequestTag(key=key, value=value or None) for key, value in (tags or {}).items()
        ]
        or None,
        max_results=100,
    )
    found: list[SecurityGroup] = []
    while True:
        body = cloud.ecs.call(cloud.ecs.client.describe_security_groups_with_options, request)
        found += [_group(one) for one in wrapped(body.security_groups, "security_group")]
        if not body.next_token:
            return found
        request.next_token = body.next_token


def create_group(cloud: Cloud, *, name: str, vpc: str, tags: Tags, token: str) -> str:
    """Make a security group that lets nothing in, and return its id."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.CreateSecurityGroupRequest(
        region_id=cloud.region,
        client_token=token,
        security_group_name=name,
        description="Made by multieip",
        vpc_id=vpc,
        tag=[models.CreateSecurityGroupRequestTag(key=key, value=value) for key, value in tags],
    )
    body = cloud.ecs.call(cloud.ecs.client.create_security_group_with_options, request)
    return str(body.security_group_id)


def authorize(cloud: Cloud, group: str, rules: Sequence[Rule]) -> None:
    """Let traffic in by up to 100 rules; one that is there already stays."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    permissions = [
        models.AuthorizeSecurityGroupRequestPermissions(
            ip_protocol=rule.protocol,
            port_range=rule.ports,
            source_cidr_ip=rule.cidr,
            policy="accept",
            description=rule.description or None,
        )
        for rule in rules
    ]
    request = models.AuthorizeSecurityGroupRequest(
        region_id=cloud.region, security_group_id=group, permissions=permissions
    )
    cloud.ecs.call(cloud.ecs.client.authorize_security_group_with_options, request)


def revoke(cloud: Cloud, group: str, rules: Sequence[Rule]) -> None:
    """Take up to 100 rules (MOST_REVOKED) away, by their ids.

    ECS takes all or none: when one of them is gone the others stay, which is no error, and a look shows it.
    """
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.RevokeSecurityGroupRequest(
        region_id=cloud.region, security_group_id=group, security_group_rule_id=[rule.id for rule in rules]
    )
    try:
        cloud.ecs.call(cloud.ecs.client.revoke_security_group_with_options, request)
    except ApiRefusedError as refusal:
        if refusal.fault is not Fault.DONE:
            raise


def rules_of(cloud: Cloud, group: str) -> list[Rule]:
    """Return what a security group lets in."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.DescribeSecurityGroupAttributeRequest(
        region_id=cloud.region, security_group_id=group, direction="ingress"
    )
    body = cloud.ecs.call(cloud.ecs.client.describe_security_group_attribute_with_options, request)
    return [
        Rule(
            one.ip_protocol.upper(),
            one.port_range,
            one.source_cidr_ip or one.ipv_6source_cidr_ip or one.source_group_id or one.source_prefix_list_id or "",
            one.description or "",
            one.security_group_rule_id or "",
        )
        for one in wrapped(body.permissions, "permission")
        if (one.policy or "Accept").lower() == "accept"
    ]


def delete_group(cloud: Cloud, group: str) -> None:
    """Delete a security group as soon as no ENI is in it; one that is gone is no error."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.DeleteSecurityGroupRequest(region_id=cloud.region, security_group_id=group)
    try:
        cloud.ecs.call(cloud.ecs.client.delete_security_group_with_options, request)
    except ApiRefusedError as refusal:
        if refusal.fault is not Fault.DONE:
            raise


# The way to the internet


def gateway(cloud: Cloud, vpc: str) -> Gateway | None:
    """Return the IPv4 gateway of a VPC, or None when EIPs need none."""
    from alibabacloud_vpc20160428 import models  # noqa: PLC0415

    request = models.ListIpv4GatewaysRequest(region_id=cloud.region, vpc_id=vpc)
    body = cloud.vpc.call(cloud.vpc.client.list_ipv_4gateways_with_options, request)
    found = list(body.ipv_4gateway_models or [])
    return Gateway(found[0].ipv_4gateway_id, vpc, bool(found[0].enabled)) if found else None


def has_default_route(cloud: Cloud, vswitch: str, gateway: str) -> bool:
    """Return whether a vSwitch's default route leads to an IPv4 gateway."""
    from alibabacloud_vpc20160428 import models  # noqa: PLC0415

    asked = models.DescribeVSwitchAttributesRequest(region_id=cloud.region, v_switch_id=vswitch)
    shown = cloud.vpc.call(cloud.vpc.client.describe_vswitch_attributes_with_options, asked)
    if not (shown.route_table and shown.route_table.route_table_id):
        return False
    request = models.DescribeRouteEntryListRequest(
        region_id=cloud.region,
        route_table_id=shown.route_table.route_table_id,
        destination_cidr_block="0.0.0.0/0",
        max_result=50,
    )
    body = cloud.vpc.call(cloud.vpc.client.describe_route_entry_list_with_options, request)
    return any(
        hop.next_hop_id == gateway
        for route in wrapped(body.route_entrys, "route_entry")
        for hop in wrapped(route.next_hops, "next_hop")
    )


def _group(one: Any) -> SecurityGroup:
    return SecurityGroup(
        id=one.security_group_id,
        name=one.security_group_name or "",
        vpc=one.vpc_id or "",
        created=one.creation_time or "",
        tags=tags_of(wrapped(one.tags, "tag")),
    )
