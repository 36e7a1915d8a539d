"""Attributes of one instance: shown by themselves, and changed."""

from __future__ import annotations

from dataclasses import replace

from generator.sandbox.api import lookup
from generator.sandbox.api.call import Body, Call, action, at_most, matching
from generator.sandbox.api.ecs import names
from generator.sandbox.api.ecs.groups import MOST_GROUPS, regroup
from generator.sandbox.api.ecs.instances import shown
from generator.sandbox.api.ecs.launch import DESCRIPTION, user_data
from generator.sandbox.api.errors import ApiError
from generator.sandbox.region import plane

_SHOWN = (
    *("InstanceId", "InstanceName", "HostName", "Description", "Status", "RegionId", "ZoneId", "ImageId"),
    *("InstanceType", "Cpu", "Memory", "InstanceNetworkType", "InstanceChargeType", "InternetChargeType"),
    *("InternetMaxBandwidthOut", "InternetMaxBandwidthIn", "CreationTime", "ExpiredTime", "SerialNumber"),
    *("SecurityGroupIds", "VpcAttributes", "EipAddress", "PublicIpAddress", "InnerIpAddress", "OperationLocks"),
)


@action("ecs", "DescribeInstanceAttribute", required="InstanceId")
def describe_instance_attribute(call: Call) -> Body:
    """Show one instance."""
    every = shown(call, lookup.instance(call, call.text("InstanceId")))
    eip = {name: value for name, value in every["EipAddress"].items() if name != "IsSupportUnassociate"}
    return {**{name: every[name] for name in _SHOWN}, "EipAddress": eip, "IoOptimized": "optimized"}


@action(
    "ecs",
    "ModifyInstanceAttribute",
    required="InstanceId",
    takes="InstanceName Description HostName DeletionProtection UserData SecurityGroupIds",
    limits={
        "Description": DESCRIPTION,
        "InstanceName": matching(r"[^][]*", "InvalidInstanceName.Malformed"),
        "HostName": matching(r"[^][]*", "InvalidHostName.Malformed"),
        "SecurityGroupIds": at_most(MOST_GROUPS, "JoinedGroupLimitExceed"),
    },
)
def modify_instance_attribute(call: Call) -> Body:
    """Change an instance. Its host name and user-data are the new ones from its next start on."""
    one = lookup.instance(call, call.text("InstanceId"))
    if one.status not in ("Running", "Stopped"):
        raise ApiError("IncorrectInstanceStatus", "The current status of the resource does not support it.", 403)
    if call.flag("DeletionProtection") and one.spot_strategy != "NoSpot":
        why = "Deletion protection is only valid for postPaid instance, not for prePaid or spot instance."
        raise ApiError("InvalidChargeType.ValueNotSupported", why, 403)
    changed = call.region.put(
        replace(
            one,
            name=names.of_instance(call, one.id, 0, 1) if call.text("InstanceName") else one.name,
            hostname=names.of_host(call, one.id, 0, 1) if call.text("HostName") else one.hostname,
            description=call.text("Description", one.description),
            deletion_protection=call.flag("DeletionProtection", default=one.deletion_protection),
            user_data=user_data(call) if "UserData" in call.parameters else one.user_data,
        )
    )
    if keys := call.items("SecurityGroupIds"):
        regroup(call, call.region.enis_of(one.id)[0], lookup.groups(call, keys, one.vpc))
    call.region.events.append(plane.InstanceChanged(call.region.get(type(changed), one.id)))
    return {}
