"""What instances are: shown, their user-data and history, their metadata options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from generator.sandbox.api import lookup, paging
from generator.sandbox.api.call import Body, Call, action, at_most, between, clamped, json_list, one_of, tagged
from generator.sandbox.region import plane
from generator.sandbox.region.clock import minutes
from generator.sandbox.region.model import Eip, Eni, HistoryEvent, Image, Instance
from generator.sandbox.region.region import Region
from generator.sandbox.region.seeding import TYPES

_STATUSES = one_of("Pending", "Starting", "Running", "Stopping", "Stopped")
# Which parameter asks for which field.
_PLAIN = {
    "InstanceName": "name",
    "Status": "status",
    "ZoneId": "zone",
    "VpcId": "vpc",
    "VSwitchId": "vswitch",
    "ImageId": "image",
    "InstanceType": "type",
    "KeyPairName": "key_pair",
    "HttpTokens": "http_tokens",
    "HttpEndpoint": "http_endpoint",
    "ResourceGroupId": "resource_group",
}
_ONLY_PAGES = {"RegionId", "InstanceIds", "PageNumber", "PageSize", "MaxResults", "NextToken", "Tag", "DryRun", *_PLAIN}


@action(
    "ecs",
    "DescribeInstances",
    required="RegionId",
    takes=f"InstanceIds {' '.join(_PLAIN)} SecurityGroupId PrivateIpAddresses EipAddresses InstanceNetworkType"
    " InstanceTypeFamily InstanceChargeType Tag PageNumber PageSize MaxResults NextToken DryRun",
    ignores="AdditionalAttributes NeedSaleCycle",
    limits={
        "InstanceIds": json_list(100, "InvalidInstanceIds.Malformed"),
        "PrivateIpAddresses": json_list(100),
        "EipAddresses": json_list(100),
        "Status": _STATUSES,
        "PageNumber": between(1, 10**6),
        "PageSize": between(1, 100),
        "MaxResults": clamped(10, 100),
    },
)
def describe_instances(call: Call) -> Body:
    """Show instances, newer ones only after a while."""
    found, now = _candidates(call), call.now
    found = [one for one in found if one.visible <= now]
    for field, value in call.given(_PLAIN):
        found = [one for one in found if getattr(one, field) == value]
    found = tagged(found, call.items("Tag"))
    if not _ONLY_PAGES.issuperset(call.parameters):
        found = [one for one in found if _is_wanted(call, one)]
    page, fields = paging.either(call, found)
    return {"Instances": [shown(call, one) for one in page], **fields}


def _candidates(call: Call) -> list[Instance]:
    if "InstanceIds" in call.parameters:
        keys = call.items("InstanceIds")
    elif "EipAddresses" in call.parameters:
        keys = [_holder(call.region, address) for address in call.items("EipAddresses")]
    else:
        return call.region.all(Instance)
    named = (call.region.find(Instance, key) for key in dict.fromkeys(keys))
    return sorted((one for one in named if one), key=call.region.position)


def _holder(region: Region, address: str) -> str:
    """Return the id of the instance that has an EIP, empty without one."""
    eip = region.find(Eip, region.public.get(address, ""))
    return region.get(Eni, eip.eni).instance if eip and eip.eni else ""


def _is_wanted(call: Call, one: Instance) -> bool:
    return (
        call.text("InstanceNetworkType", "vpc") == "vpc"
        and call.text("InstanceChargeType", "PostPaid") == "PostPaid"
        and call.text("InstanceTypeFamily", TYPES[one.type].family) == TYPES[one.type].family
        and ("SecurityGroupId" not in call.parameters or call.text("SecurityGroupId") in one.groups)
        and _has_addresses(call, one)
    )


def _has_addresses(call: Call, one: Instance) -> bool:
    for name in ("PrivateIpAddresses", "EipAddresses"):
        if name in call.parameters:
            enis = call.region.enis_of(one.id)
            held = (
                {address for eni in enis for address in eni.addresses}
                if name == "PrivateIpAddresses"
                else {eip.address for eni in enis for eip in call.region.eips_of(eni.id)}
            )
            if not held & set(call.items(name)):
                return False
    return True


def shown(call: Call, one: Instance) -> dict[str, Any]:
    """Return an instance as DescribeInstances shows it."""
    enis = call.region.enis_of(one.id)
    kind, image = TYPES[one.type], call.region.find(Image, one.image)
    primary = enis[0]
    return {
        "InstanceId": one.id,
        "InstanceName": one.name,
        "HostName": one.hostname,
        "Description": one.description,
        "Status": one.status,
        "RegionId": call.region.name,
        "ZoneId": one.zone,
        "ImageId": one.image,
        "OSName": image.os_name if image else "",
        "OSType": "linux",
        "InstanceType": one.type,
        "InstanceTypeFamily": kind.family,
        "Cpu": kind.cpus,
        "Memory": int(kind.memory * 1024),
        "InstanceNetworkType": "vpc",
        "InstanceChargeType": "PostPaid",
        "InternetChargeType": "PayByTraffic",
        "InternetMaxBandwidthOut": one.internet_out,
        "InternetMaxBandwidthIn": 0,
        "IoOptimized": True,
        "SpotStrategy": one.spot_strategy,
        "SpotPriceLimit": one.spot_price,
        "SpotDuration": one.spot_hours if one.spot_strategy != "NoSpot" else None,
        "SpotInterruptionBehavior": one.spot_interruption if one.spot_strategy != "NoSpot" else None,
        "ResourceGroupId": one.resource_group,
        "CreationTime": minutes(one.created),
        "StartTime": minutes(one.started) if one.started else "",
        "ExpiredTime": "2099-12-31T15:59Z",
        "KeyPairName": one.key_pair,
        "DeletionProtection": one.deletion_protection,
        "DeviceAvailable": True,
        "SerialNumber": one.id[2:],
        "SecurityGroupIds": {"SecurityGroupId": list(one.groups)},
        "VpcAttributes": {
            "VpcId": one.vpc,
            "VSwitchId": one.vswitch,
            "PrivateIpAddress": {"IpAddress": [primary.addresses[0]]},
            "NatIpAddress": "",
        },
        "EipAddress": _shown_eip(call.region.eip_at(primary.id, primary.addresses[0])),
        "PublicIpAddress": {"IpAddress": []},
        "InnerIpAddress": {"IpAddress": []},
        "NetworkInterfaces": [_shown_eni(eni) for eni in enis],
        "MetadataOptions": {
            "HttpEndpoint": one.http_endpoint,
            "HttpTokens": one.http_tokens,
            "HttpPutResponseHopLimit": one.hop_limit,
        },
        "OperationLocks": {"LockReason": []},
        "Tags": shown_tags(one.tags),
    }


def _shown_eip(eip: Eip | None) -> Mapping[str, Any]:
    if eip is None or eip.status != "InUse":
        return {"AllocationId": "", "IpAddress": "", "InternetChargeType": ""}
    return {
        "AllocationId": eip.id,
        "IpAddress": eip.address,
        "Bandwidth": int(eip.bandwidth),
        "InternetChargeType": eip.charge,
        "IsSupportUnassociate": True,
    }


def _shown_eni(eni: Eni) -> Mapping[str, Any]:
    return {
        "NetworkInterfaceId": eni.id,
        "MacAddress": eni.mac,
        "PrimaryIpAddress": eni.addresses[0],
        "Type": eni.type,
        "PrivateIpSets": [
            {"PrivateIpAddress": address, "Primary": number == 0} for number, address in enumerate(eni.addresses)
        ],
    }


def shown_tags(tags: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    """Return tags as ECS shows them."""
    return [{"TagKey": key, "TagValue": value} for key, value in tags]


@action(
    "ecs",
    "DescribeInstanceStatus",
    required="RegionId",
    takes="InstanceId ZoneId PageNumber PageSize",
    limits={"InstanceId": at_most(100), "PageNumber": between(1, 10**6), "PageSize": between(1, 50)},
)
def describe_instance_status(call: Call) -> Body:
    """Show the statuses of instances."""
    wanted = set(call.items("InstanceId"))
    found = [
        one
        for one in call.region.all(Instance)
        if one.visible <= call.now and (not wanted or one.id in wanted) and call.text("ZoneId", one.zone) == one.zone
    ]
    page, fields = paging.by_number(call, found)
    return {"InstanceStatuses": [{"InstanceId": one.id, "Status": one.status} for one in page], **fields}


@action(
    "ecs",
    "DescribeInstanceRamRole",
    required="RegionId",
    takes="InstanceIds RamRoleName PageNumber PageSize",
    limits={"InstanceIds": json_list(100), "PageNumber": between(1, 10**6), "PageSize": between(1, 50)},
)
def describe_instance_ram_role(call: Call) -> Body:
    """Show the RAM roles of instances that have one. Which roles there are, the sandbox does not know."""
    found = [
        one
        for one in _candidates(call)
        if one.ram_role and call.text("RamRoleName", one.ram_role) == one.ram_role and one.visible <= call.now
    ]
    page, fields = paging.by_number(call, found)
    roles = [{"InstanceId": one.id, "RamRoleName": one.ram_role} for one in page]
    return {"InstanceRamRoleSets": roles, "RegionId": call.region.name, "TotalCount": fields["TotalCount"]}


@action("ecs", "DescribeUserData", required="RegionId InstanceId")
def describe_user_data(call: Call) -> Body:
    """Show an instance's user-data, Base64."""
    one = lookup.instance(call, call.text("InstanceId"))
    return {"InstanceId": one.id, "RegionId": call.region.name, "UserData": one.user_data}


@action(
    "ecs",
    "DescribeInstanceHistoryEvents",
    required="RegionId",
    takes="InstanceId EventId EventType InstanceEventType EventCycleStatus InstanceEventCycleStatus ResourceId"
    " ResourceType PageNumber PageSize MaxResults NextToken",
    limits={
        "PageNumber": between(1, 10**6),
        "PageSize": between(1, 100),
        "MaxResults": clamped(10, 100),
        "ResourceType": one_of("instance"),
    },
)
def describe_instance_history_events(call: Call) -> Body:
    """Show what happened to instances, also to those that are gone."""
    of = {*call.items("ResourceId"), *filter(None, [call.text("InstanceId")])}
    kinds = {*call.items("InstanceEventType"), *filter(None, [call.text("EventType")])}
    statuses = {*call.items("InstanceEventCycleStatus"), *filter(None, [call.text("EventCycleStatus")])}
    ids = set(call.items("EventId"))
    found = [
        event
        for event in call.region.all(HistoryEvent)
        if (not of or event.instance in of)
        and (not kinds or event.type in kinds)
        and (not statuses or event.status in statuses)
        and (not ids or event.id in ids)
    ]
    page, fields = paging.either(call, found)
    return {"InstanceSystemEventSet": [_shown_event(event) for event in page], **fields}


def _shown_event(event: HistoryEvent) -> Mapping[str, Any]:
    return {
        "EventId": event.id,
        "InstanceId": event.instance,
        "ResourceType": "instance",
        "EventType": {"Code": 39, "Name": event.type},
        "EventCycleStatus": {"Code": 34, "Name": event.status},
        "EventPublishTime": minutes(event.published),
        "EventFinishTime": minutes(event.published),
        "NotBefore": minutes(event.published),
        "Reason": event.reason,
    }


@action(
    "ecs",
    "ModifyInstanceMetadataOptions",
    required="RegionId InstanceId HttpEndpoint",
    takes="HttpTokens HttpPutResponseHopLimit",
    limits={
        "HttpEndpoint": one_of("enabled", "disabled"),
        "HttpTokens": one_of("optional", "required"),
        "HttpPutResponseHopLimit": between(1, 64),
    },
)
def modify_instance_metadata_options(call: Call) -> Body:
    """Change how an instance reaches its metadata."""
    one = lookup.instance(call, call.text("InstanceId"))
    one = call.region.put(
        replace(
            one,
            http_endpoint=call.text("HttpEndpoint"),
            http_tokens=call.text("HttpTokens", one.http_tokens),
            hop_limit=call.number("HttpPutResponseHopLimit", one.hop_limit),
        )
    )
    call.region.events.append(plane.InstanceChanged(one))
    return {}
