"""Security groups. Their rules are kept and shown; nothing filters by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from generator.sandbox.api import lookup, paging
from generator.sandbox.api.call import TAGS, Body, Call, action, at_most, between, has_tags, json_list, matching, one_of
from generator.sandbox.api.ecs.instances import shown_tags
from generator.sandbox.api.errors import ApiError, invalid, missing, not_found
from generator.sandbox.region.clock import to_seconds
from generator.sandbox.region.model import Eni, Instance, Rule, SecurityGroup

_PROTOCOLS = one_of("TCP", "UDP", "ICMP", "ICMPv6", "GRE", "ALL", "tcp", "udp", "icmp", "gre", "all")
# The parameter that names the other side, by the direction of a rule.
_PEER = {"ingress": "SourceCidrIp", "egress": "DestCidrIp"}
_RULE_LIMITS = {
    "IpProtocol": _PROTOCOLS,
    "PortRange": matching(r"-1/-1|[0-9]{1,5}/[0-9]{1,5}"),
    **{peer: matching(r"[0-9.]{7,15}(/[0-9]{1,2})?") for peer in _PEER.values()},
    "Policy": one_of("accept", "drop", "Accept", "Drop"),
    "Priority": between(1, 100),
}


def _rule_names(direction: str) -> list[str]:
    return ["IpProtocol", "PortRange", _PEER[direction], "Policy", "Priority", "Description"]


def _changes(name: str, direction: str, *more: str) -> Callable[[Callable[[Call], Body]], Callable[[Call], Body]]:
    """Register a call about rules of a direction, one at the top level or several in `Permissions.N`."""
    names = _rule_names(direction)
    return action(
        "ecs",
        name,
        required="RegionId SecurityGroupId",
        takes=" ".join((*names, *(f"Permissions.{one}" for one in names), *more, "ClientToken")),
        ignores="NicType Permissions.NicType",
        limits={
            **{one: _RULE_LIMITS[one] for one in names if one in _RULE_LIMITS},
            **{f"Permissions.{one}": _RULE_LIMITS[one] for one in names if one in _RULE_LIMITS},
            "Permissions": at_most(100),
        },
    )


@action(
    "ecs",
    "CreateSecurityGroup",
    required="RegionId",
    takes="SecurityGroupName Description VpcId SecurityGroupType Tag ClientToken",
    ignores="ResourceGroupId",
    limits={
        "SecurityGroupName": matching(r"(?!https?://)[^\W\d_][\w.:-]{1,127}", "InvalidSecurityGroupName.Malformed"),
        "SecurityGroupType": one_of("normal", "enterprise"),
        "Tag": TAGS,
    },
)
def create_security_group(call: Call) -> Body:
    """Make a security group in a VPC."""
    if not call.text("VpcId"):
        # Without a VPC it would be one of the classic network, which is gone.
        raise missing("VpcId")
    group = SecurityGroup(
        id=call.new("sg"),
        name=call.text("SecurityGroupName"),
        description=call.text("Description"),
        vpc=lookup.vpc(call, call.text("VpcId")).id,
        type=call.text("SecurityGroupType", "normal"),
        created=call.now,
        tags=call.tags(),
    )
    call.region.put(group)
    return {"SecurityGroupId": group.id}


@action(
    "ecs",
    "DescribeSecurityGroups",
    required="RegionId",
    takes="SecurityGroupId SecurityGroupIds SecurityGroupName SecurityGroupType VpcId NetworkType Tag PageNumber"
    " PageSize MaxResults NextToken DryRun",
    ignores="IsQueryEcsCount",
    limits={
        "SecurityGroupIds": json_list(100),
        "PageNumber": between(1, 10**6),
        "PageSize": between(1, 100),
        "MaxResults": between(1, 100),
    },
)
def describe_security_groups(call: Call) -> Body:
    """Show security groups."""
    several = call.items("SecurityGroupIds")
    found = [
        one
        for one in call.region.all(SecurityGroup)
        if (not several or one.id in several)
        # Empty is no condition: Packer 1.6 sends all of them so.
        and (call.text("SecurityGroupId") or one.id) == one.id
        and (call.text("SecurityGroupName") or one.name) == one.name
        and (call.text("SecurityGroupType") or one.type) == one.type
        and (call.text("VpcId") or one.vpc) == one.vpc
        and call.text("NetworkType", "vpc") == "vpc"
        and has_tags(one.tags, call.items("Tag"))
    ]
    page, fields = paging.either(call, found)
    return {"SecurityGroups": [_shown(call, one) for one in page], "RegionId": call.region.name, **fields}


def _shown(call: Call, one: SecurityGroup) -> Mapping[str, Any]:
    return {
        "SecurityGroupId": one.id,
        "SecurityGroupName": one.name,
        "SecurityGroupType": one.type,
        "Description": one.description,
        "VpcId": one.vpc,
        "CreationTime": to_seconds(one.created),
        "RuleCount": len(one.rules),
        "ServiceManaged": False,
        "Tags": shown_tags(one.tags),
    }


@action(
    "ecs",
    "DescribeSecurityGroupAttribute",
    required="RegionId SecurityGroupId",
    takes="Direction",
    ignores="NicType MaxResults",
    limits={"Direction": one_of("ingress", "egress", "all")},
)
def describe_security_group_attribute(call: Call) -> Body:
    """Show the rules of a security group."""
    group = _group(call)
    shown = [
        {
            "SecurityGroupRuleId": rule.id,
            "Direction": rule.direction,
            "IpProtocol": rule.protocol,
            "PortRange": rule.ports,
            _PEER[rule.direction]: rule.cidr,
            "Policy": rule.policy,
            "Priority": str(rule.priority),
            "NicType": "intranet",
            "Description": rule.description,
            "CreateTime": to_seconds(rule.created),
        }
        for rule in group.rules
        if call.text("Direction", "all") in ("all", rule.direction)
    ]
    return {
        "SecurityGroupId": group.id,
        "SecurityGroupName": group.name,
        "Description": group.description,
        "VpcId": group.vpc,
        "RegionId": call.region.name,
        "InnerAccessPolicy": "Accept",
        "Permissions": shown,
    }


@_changes("AuthorizeSecurityGroup", "ingress")
def authorize_security_group(call: Call) -> Body:
    """Add ingress rules; a rule that is there already stays as it is."""
    return _authorize(call, "ingress")


@_changes("AuthorizeSecurityGroupEgress", "egress")
def authorize_security_group_egress(call: Call) -> Body:
    """Add egress rules; a rule that is there already stays as it is."""
    return _authorize(call, "egress")


def _authorize(call: Call, direction: str) -> Body:
    group = _group(call)
    rules = list(group.rules)
    for rule in _given(call, direction):
        if not any(_same(rule, other) for other in rules):
            rules.append(rule)
    if len(rules) > 200:
        raise ApiError("AuthorizationLimitExceed", "The limit of authorization records in the group is reached.", 403)
    call.region.put(replace(group, rules=tuple(rules)))
    return {}


def _given(call: Call, direction: str) -> list[Rule]:
    names = _rule_names(direction)
    given = call.items("Permissions") or [{name: call.parameters.get(name) for name in names}]
    return [_rule(call, one, direction) for one in given]


def _rule(call: Call, given: Mapping[str, Any], direction: str) -> Rule:
    for name in ("IpProtocol", "PortRange", _PEER[direction]):
        if not given.get(name):
            raise missing(name)
    protocol = str(given["IpProtocol"]).upper()
    if (given["PortRange"] == "-1/-1") != (protocol not in ("TCP", "UDP")):
        raise invalid("PortRange", "It does not go with IpProtocol.", "InvalidIpProtocol.ValueNotSupported")
    return Rule(
        id=call.new("sgr"),
        direction=direction,
        protocol=protocol,
        ports=given["PortRange"],
        cidr=given[_PEER[direction]],
        policy=str(given.get("Policy") or "Accept").capitalize(),
        priority=int(given.get("Priority") or 1),
        description=given.get("Description") or "",
        created=call.now,
    )


def _same(one: Rule, other: Rule) -> bool:
    return replace(one, id="", created=0, description="") == replace(other, id="", created=0, description="")


@_changes("RevokeSecurityGroup", "ingress", "SecurityGroupRuleId")
def revoke_security_group(call: Call) -> Body:
    """Take ingress rules away, by their ids or by what they are; ones that are not there are no error."""
    return _revoke(call, "ingress")


@_changes("RevokeSecurityGroupEgress", "egress", "SecurityGroupRuleId")
def revoke_security_group_egress(call: Call) -> Body:
    """Take egress rules away."""
    return _revoke(call, "egress")


# https://help.aliyun.com/en/ecs/api-revokesecuritygroup and the page on egress, since 2024-07-08.
_NO_RULE = {"ingress": "InvalidParam.SecurityGroupRuleId", "egress": "InvalidSecurityGroupRule.RuleNotExist"}


def _revoke(call: Call, direction: str) -> Body:
    group = _group(call)
    if ids := call.items("SecurityGroupRuleId"):
        if call.items("Permissions"):
            raise invalid("Permissions", "It excludes SecurityGroupRuleId.", "InvalidParameter.Conflict")
        known = {rule.id for rule in group.rules if rule.direction == direction}
        if not known.issuperset(ids):
            raise ApiError(_NO_RULE[direction], "The specified security group rule does not exist.")
        kept = [rule for rule in group.rules if rule.id not in ids]
    else:
        gone = _given(call, direction)
        kept = [rule for rule in group.rules if not any(_same(rule, one) for one in gone)]
    call.region.put(replace(group, rules=tuple(kept)))
    return {}


# Of an ENI: https://www.alibabacloud.com/help/en/ecs/user-guide/limitations, the default for one user.
MOST_GROUPS = 5


@action("ecs", "JoinSecurityGroup", required="RegionId SecurityGroupId", takes="InstanceId NetworkInterfaceId")
def join_security_group(call: Call) -> Body:
    """Put an instance's primary ENI, or an ENI, into a group of its VPC."""
    eni, group = _member(call), _group(call)
    if group.vpc != eni.vpc:
        raise ApiError("InvalidOperation.VpcMismatch", "The security group is not of the ENI's VPC.", 403)
    if group.id in eni.groups:
        raise ApiError("InvalidInstanceId.AlreadyExists", "The specified instance is in the group already.")
    if len(eni.groups) >= MOST_GROUPS:
        raise ApiError("JoinedGroupLimitExceed", "It has joined the maximum number of security groups.", 403)
    regroup(call, eni, (*eni.groups, group.id))
    return {}


@action("ecs", "LeaveSecurityGroup", required="RegionId SecurityGroupId", takes="InstanceId NetworkInterfaceId")
def leave_security_group(call: Call) -> Body:
    """Take an instance's primary ENI, or an ENI, out of a group, unless it is its only one."""
    eni, group = _member(call), _group(call)
    if group.id not in eni.groups:
        raise ApiError("InstanceNotInSecurityGroup", "The instance is not in the group.", 403)
    if len(eni.groups) == 1:
        raise ApiError("InstanceLastSecurityGroup", "The group is the last one of the instance.", 403)
    regroup(call, eni, tuple(one for one in eni.groups if one != group.id))
    return {}


def _member(call: Call) -> Eni:
    instance, eni = call.text("InstanceId"), call.text("NetworkInterfaceId")
    if instance and eni:
        raise invalid("NetworkInterfaceId", "It excludes InstanceId.", "InvalidParameter.Conflict")
    if eni:
        return lookup.eni(call, eni)
    if not instance:
        raise missing("InstanceId")
    return call.region.enis_of(lookup.instance(call, instance).id)[0]


def regroup(call: Call, eni: Eni, groups: tuple[str, ...]) -> None:
    """Have an ENI be in these groups."""
    call.region.put(replace(eni, groups=groups))
    if eni.type == "Primary":
        # The groups that are shown of an instance are those of its primary ENI.
        call.region.put(replace(call.region.get(Instance, eni.instance), groups=groups))


@action("ecs", "DeleteSecurityGroup", required="RegionId SecurityGroupId")
def delete_security_group(call: Call) -> Body:
    """Delete a security group that no ENI is in."""
    group = _group(call)
    if any(group.id in eni.groups for eni in call.region.all(Eni)):
        raise ApiError("DependencyViolation", "There is still instance(s) in the specified security group.", 403)
    call.region.drop(group)
    return {}


def _group(call: Call) -> SecurityGroup:
    found = call.region.find(SecurityGroup, call.text("SecurityGroupId"))
    if found is None:
        raise not_found("InvalidSecurityGroupId", "SecurityGroupId")
    return found
