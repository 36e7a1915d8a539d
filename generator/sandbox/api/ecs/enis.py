"""ENIs and their private IPs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from generator.sandbox.api import lookup, paging
from generator.sandbox.api.call import (
    RESOURCE_GROUP,
    TAGS,
    Body,
    Call,
    action,
    at_most,
    between,
    clamped,
    matching,
    one_of,
    tagged,
)
from generator.sandbox.api.ecs.instances import shown_tags
from generator.sandbox.api.ecs.nics import check_queues, check_quota, ipv4_exceeded, queues_of
from generator.sandbox.api.errors import ApiError, invalid, missing
from generator.sandbox.region import plane
from generator.sandbox.region.clock import to_seconds
from generator.sandbox.region.model import GONE, Eip, Eni, Instance
from generator.sandbox.region.seeding import TYPES

_NAME = matching(r"(?!https?://)[^\W\d_][\w.:-]{1,127}", "InvalidEniName.Malformed")
_DESCRIPTION = matching(r"(?!https?://).{2,256}", "InvalidDescription.Malformed")
# Of an ENI that is attached nowhere, by the SDK's documentation of CreateNetworkInterface (49, besides the primary
# one) and of AssignPrivateIpAddresses (32 explicit ones a call).
MOST_SECONDARY = 49


_UNASSIGNED = ApiError("InvalidIp.IpUnassigned", "The specified private IP is not assigned to this ENI.", 403)
_REPEATED = ApiError("InvalidIp.IpRepeated", "A private IP is specified twice.", 403)


def _bad_state(what: str) -> ApiError:
    return ApiError("InvalidOperation.InvalidEniState", f"The status of the network interface does not allow {what}.")


@action(
    "ecs",
    "CreateNetworkInterface",
    required="RegionId VSwitchId",
    takes="SecurityGroupId SecurityGroupIds PrimaryIpAddress PrivateIpAddress SecondaryPrivateIpAddressCount"
    " NetworkInterfaceName Description QueueNumber DeleteOnRelease InstanceType Tag ResourceGroupId ClientToken",
    ignores="NetworkInterfaceTrafficMode Visible BusinessType",
    limits={
        "NetworkInterfaceName": _NAME,
        "Description": _DESCRIPTION,
        "SecondaryPrivateIpAddressCount": between(1, MOST_SECONDARY),
        "PrivateIpAddress": at_most(10),
        "SecurityGroupIds": at_most(16),
        "QueueNumber": between(1, 2048),
        "InstanceType": one_of("Secondary"),
        "ResourceGroupId": RESOURCE_GROUP,
        "Tag": TAGS,
    },
)
def create_network_interface(call: Call) -> Body:
    """Make a secondary ENI, which is Available at once."""
    check_quota(call)
    where = lookup.vswitch(call, call.text("VSwitchId"))
    one, several = call.text("SecurityGroupId"), call.items("SecurityGroupIds")
    if one and several:
        raise invalid("SecurityGroupIds", "It excludes SecurityGroupId.", "InvalidParameter.Conflict")
    if not one and not several:
        raise missing("SecurityGroupId")
    groups = lookup.groups(call, several or [one], where.vpc)
    asked = call.items("PrivateIpAddress")
    if asked and "SecondaryPrivateIpAddressCount" in call.parameters:
        raise invalid("PrivateIpAddress", "It excludes SecondaryPrivateIpAddressCount.", "InvalidParameter.Conflict")
    primary = [call.text("PrimaryIpAddress")] if call.text("PrimaryIpAddress") else []
    chosen = [lookup.asked_address(call.region, where, text) for text in (*primary, *asked)]
    if len(set(chosen)) != len(chosen):
        raise _REPEATED
    more = call.number("SecondaryPrivateIpAddressCount", 0) + (0 if primary else 1)
    free = lookup.free_addresses(call.region, where, more, frozenset(chosen))
    addresses = (*chosen[:1], *free, *chosen[1:]) if primary else (free[0], *chosen, *free[1:])
    eni = call.region.put(
        Eni(
            id=call.new("eni"),
            name=call.text("NetworkInterfaceName"),
            description=call.text("Description"),
            type="Secondary",
            mac=call.account.ids.mac(),
            vpc=where.vpc,
            vswitch=where.id,
            zone=where.zone,
            groups=groups,
            addresses=addresses,
            status="Available",
            created=call.now,
            queues=call.number("QueueNumber", 0),
            delete_on_release=call.flag("DeleteOnRelease", default=True),
            resource_group=call.text("ResourceGroupId"),
            tags=call.tags(),
        )
    )
    names = (
        *("NetworkInterfaceId", "NetworkInterfaceName", "Description", "MacAddress", "PrivateIpAddress", "Status"),
        *("ResourceGroupId", "SecurityGroupIds", "Tags", "Type", "VSwitchId", "VpcId", "ZoneId"),
    )
    shown = _shown(call, eni)
    body = {name: shown[name] for name in names}
    return {**body, "PrivateIpSets": _plain_addresses(eni)}


def _plain_addresses(eni: Eni) -> list[dict[str, Any]]:
    return [{"PrivateIpAddress": address, "Primary": number == 0} for number, address in enumerate(eni.addresses)]


@action(
    "ecs",
    "AttachNetworkInterface",
    required="RegionId NetworkInterfaceId InstanceId",
    ignores="NetworkCardIndex WaitForNetworkConfigurationReady",
)
def attach_network_interface(call: Call) -> Body:
    """Attach an ENI that is Available to an instance of its zone, running or stopped."""
    eni = lookup.eni(call, call.text("NetworkInterfaceId"))
    instance = lookup.instance(call, call.text("InstanceId"))
    if eni.type == "Primary":
        raise ApiError("InvalidOperation.InvalidEniType", "A primary network interface cannot be attached.", 403)
    if eni.status != "Available":
        raise _bad_state("attaching")
    kind = TYPES[instance.type]
    if instance.status not in (("Running", "Stopped") if kind.hot_plug else ("Stopped",)) or instance.steps:
        raise ApiError("InvalidOperation.InvalidEcsState", "The status of the instance does not allow attaching.")
    if eni.vpc != instance.vpc:
        raise ApiError("InvalidOperation.VpcMismatch", "The ENI is not of the instance's VPC.", 403)
    if eni.zone != instance.zone:
        raise ApiError("InvalidOperation.AvailabilityZoneMismatch", "The ENI is not of the instance's zone.", 403)
    if len(call.region.enis_of(instance.id)) >= kind.enis:
        raise ApiError("EniPerInstanceLimitExceeded", "The number of ENIs exceeds the limit of the instance type.", 403)
    if len(eni.addresses) > kind.eni_ips:
        raise ipv4_exceeded()
    attached = replace(eni, instance=instance.id)
    check_queues(call, attached)
    call.region.put(
        replace(
            attached,
            status="Attaching",
            attached=call.now,
            steps=call.steps((call.delays.attaching, "InUse")),
        )
    )
    return {}


@action("ecs", "DetachNetworkInterface", required="RegionId NetworkInterfaceId InstanceId")
def detach_network_interface(call: Call) -> Body:
    """Detach a secondary ENI; its private IPs and EIPs stay with it."""
    eni = lookup.eni(call, call.text("NetworkInterfaceId"))
    instance = lookup.instance(call, call.text("InstanceId"))
    if eni.type == "Primary":
        raise ApiError("InvalidOperation.InvalidEniType", "A primary network interface cannot be detached.", 403)
    if eni.status == "Detaching":
        # The advice for one that hangs is to call again.
        return {}
    if eni.status != "InUse" or eni.instance != instance.id:
        raise _bad_state("detaching")
    if instance.status not in ("Running", "Stopped"):
        raise ApiError("InvalidOperation.InvalidEcsState", "The status of the instance does not allow detaching.")
    call.region.put(replace(eni, status="Detaching", steps=call.steps((call.delays.detaching, "Available"))))
    return {}


@action("ecs", "DeleteNetworkInterface", required="RegionId NetworkInterfaceId")
def delete_network_interface(call: Call) -> Body:
    """Delete an ENI that is Available."""
    eni = lookup.eni(call, call.text("NetworkInterfaceId"))
    if eni.status != "Available":
        raise _bad_state("deleting")
    call.region.put(replace(eni, status="Deleting", steps=call.steps((call.delays.deleting, GONE))))
    return {}


@action(
    "ecs",
    "AssignPrivateIpAddresses",
    required="RegionId NetworkInterfaceId",
    takes="PrivateIpAddress SecondaryPrivateIpAddressCount ClientToken",
    limits={"PrivateIpAddress": at_most(MOST_SECONDARY), "SecondaryPrivateIpAddressCount": between(1, MOST_SECONDARY)},
)
def assign_private_ip_addresses(call: Call) -> Body:
    """Give an ENI more private IPs: these, or so many."""
    eni = lookup.eni(call, call.text("NetworkInterfaceId"))
    where = lookup.vswitch(call, eni.vswitch)
    asked, count = call.items("PrivateIpAddress"), call.number("SecondaryPrivateIpAddressCount", 0)
    if asked and count:
        raise invalid("PrivateIpAddress", "It excludes SecondaryPrivateIpAddressCount.", "InvalidParameter.Conflict")
    if not asked and not count:
        raise missing("SecondaryPrivateIpAddressCount")
    if eni.status not in ("Available", "InUse"):
        raise _bad_state("assigning private IPs")
    if eni.status == "Available" and len(asked) > 32:
        raise invalid("PrivateIpAddress", "It takes up to 32 values while the ENI is attached to nothing.")
    _check_room(call, eni, len(asked) + count)
    more = [lookup.asked_address(call.region, where, text) for text in asked]
    if len(set(more)) != len(more):
        raise _REPEATED
    more += lookup.free_addresses(call.region, where, count)
    after = call.region.put(replace(eni, addresses=(*eni.addresses, *more)))
    call.region.events.append(plane.EniAddressesChanged(eni, after))
    return {
        "AssignedPrivateIpAddressesSet": {
            "NetworkInterfaceId": eni.id,
            "PrivateIpSet": {"PrivateIpAddress": more},
        }
    }


def _check_room(call: Call, eni: Eni, more: int) -> None:
    most = 1 + MOST_SECONDARY
    if eni.instance:
        most = TYPES[call.region.get(Instance, eni.instance).type].eni_ips
    if len(eni.addresses) + more > most:
        raise ipv4_exceeded()


@action(
    "ecs",
    "UnassignPrivateIpAddresses",
    required="RegionId NetworkInterfaceId PrivateIpAddress",
    limits={"PrivateIpAddress": at_most(MOST_SECONDARY)},
)
def unassign_private_ip_addresses(call: Call) -> Body:
    """Take secondary private IPs from an ENI; one with an EIP is refused."""
    eni = lookup.eni(call, call.text("NetworkInterfaceId"))
    if eni.status not in ("Available", "InUse"):
        raise _bad_state("unassigning private IPs")
    gone = set(call.items("PrivateIpAddress"))
    if not gone <= set(eni.addresses):
        raise _UNASSIGNED
    if eni.addresses[0] in gone:
        # Of the primary private IP the cloud says the same.
        raise _UNASSIGNED
    if any(call.region.eip_at(eni.id, address) for address in gone):
        raise ApiError("InvalidOperation.Conflict", "The specified private IP is associated with an EIP.")
    after = call.region.put(replace(eni, addresses=tuple(one for one in eni.addresses if one not in gone)))
    call.region.events.append(plane.EniAddressesChanged(eni, after))
    return {}


@action(
    "ecs",
    "ModifyNetworkInterfaceAttribute",
    required="RegionId NetworkInterfaceId",
    takes="NetworkInterfaceName Description SecurityGroupId DeleteOnRelease QueueNumber",
    limits={
        "NetworkInterfaceName": _NAME,
        "Description": _DESCRIPTION,
        "SecurityGroupId": at_most(16),
        "QueueNumber": between(1, 2048),
    },
)
def modify_network_interface_attribute(call: Call) -> Body:
    """Change an ENI's name, description, security groups, queues, or whether it goes with its instance."""
    eni = lookup.eni(call, call.text("NetworkInterfaceId"))
    groups = call.items("SecurityGroupId")
    if eni.type == "Primary":
        _check_primary(call)
    if "QueueNumber" in call.parameters and eni.status != "Available":
        stopped = eni.status == "InUse" and call.region.get(Instance, eni.instance).status == "Stopped"
        if not stopped:
            why = "Available status or ECS instance attached is Stopped is allowed to modify queue number."
            raise ApiError("InvalidOperation.InvalidEniState", why, 403)
        check_queues(call, replace(eni, queues=call.number("QueueNumber", 0)))
    call.region.put(
        replace(
            eni,
            name=call.text("NetworkInterfaceName", eni.name),
            description=call.text("Description", eni.description),
            groups=lookup.groups(call, groups, eni.vpc) if groups else eni.groups,
            delete_on_release=call.flag("DeleteOnRelease", default=eni.delete_on_release),
            queues=call.number("QueueNumber", eni.queues),
        )
    )
    return {}


def _check_primary(call: Call) -> None:
    if "QueueNumber" in call.parameters:
        why = "Primary NetworkInterface is not allowed to modify queue number."
        raise ApiError("InvalidOperation.ModifyPrimaryEniQueueNumber", why, 403)
    if {"SecurityGroupId", "DeleteOnRelease"} & set(call.parameters):
        why = "Primary NetworkInterface is only allowed to modify name and description."
        raise ApiError("InvalidOperation.PrimaryEniOnlySupportModifyNameAndDesc", why, 404)


# Which parameter asks for which field.
_PLAIN = {
    "InstanceId": "instance",
    "NetworkInterfaceName": "name",
    "Status": "status",
    "Type": "type",
    "VSwitchId": "vswitch",
    "VpcId": "vpc",
    "ResourceGroupId": "resource_group",
}
_ONLY_PAGES = {"RegionId", "NetworkInterfaceId", "PageNumber", "PageSize", "MaxResults", "NextToken", "Tag", *_PLAIN}


@action(
    "ecs",
    "DescribeNetworkInterfaces",
    required="RegionId",
    takes=f"NetworkInterfaceId PrivateIpAddress PrimaryIpAddress SecurityGroupId Tag {' '.join(_PLAIN)} MaxResults"
    " NextToken PageNumber PageSize",
    limits={
        "NetworkInterfaceId": at_most(100),
        "PrivateIpAddress": at_most(100),
        "Status": one_of("Available", "Attaching", "InUse", "Detaching", "Deleting"),
        "Type": one_of("Primary", "Secondary"),
        "MaxResults": clamped(10, 500),
        "PageNumber": between(1, 10**6),
        "PageSize": between(1, 500),
    },
)
def describe_network_interfaces(call: Call) -> Body:
    """Show ENIs, each private IP with its EIP."""
    found = list(_candidates(call))
    for field, value in call.given(_PLAIN):
        found = [eni for eni in found if getattr(eni, field) == value]
    found = [eni for eni in tagged(found, call.items("Tag")) if _is_visible(call, eni)]
    if not _ONLY_PAGES.issuperset(call.parameters):
        found = [eni for eni in found if _is_wanted(call, eni)]
    page, fields = paging.either(call, found)
    return {"NetworkInterfaceSets": [_shown(call, eni) for eni in page], **fields}


def _candidates(call: Call) -> Sequence[Eni]:
    if "NetworkInterfaceId" in call.parameters:
        named = (call.region.find(Eni, key) for key in dict.fromkeys(call.items("NetworkInterfaceId")))
        found = [eni for eni in named if eni]
    elif "InstanceId" in call.parameters:
        found = call.region.enis_of(call.text("InstanceId"))
    else:
        return call.region.all(Eni)
    return sorted(found, key=call.region.position)


def _is_wanted(call: Call, eni: Eni) -> bool:
    asked, said = set(call.items("PrivateIpAddress")), call.parameters
    return (
        (not asked or not asked.isdisjoint(eni.addresses))
        and said.get("PrimaryIpAddress", eni.addresses[0]) == eni.addresses[0]
        and ("SecurityGroupId" not in said or said["SecurityGroupId"] in eni.groups)
    )


def _is_visible(call: Call, eni: Eni) -> bool:
    # What RunInstances made is seen no earlier than its instance.
    return not eni.instance or call.region.get(Instance, eni.instance).visible <= call.now


def _shown(call: Call, eni: Eni) -> dict[str, Any]:
    bound = {eip.private_ip: eip for eip in call.region.eips_of(eni.id)}
    instance = eni.instance
    return {
        "NetworkInterfaceId": eni.id,
        "NetworkInterfaceName": eni.name,
        "Description": eni.description,
        "Type": eni.type,
        "Status": eni.status,
        "MacAddress": eni.mac,
        "VpcId": eni.vpc,
        "VSwitchId": eni.vswitch,
        "ZoneId": eni.zone,
        "InstanceId": instance,
        "Attachment": {"InstanceId": instance, "NetworkCardIndex": 0} if instance else {},
        "DeleteOnRelease": eni.delete_on_release,
        "QueueNumber": queues_of(call, eni),
        "PrivateIpAddress": eni.addresses[0],
        "AssociatedPublicIp": _shown_eip(bound.get(eni.addresses[0])),
        "PrivateIpSets": [
            {**shown, "AssociatedPublicIp": _shown_eip(bound.get(shown["PrivateIpAddress"]))}
            for shown in _plain_addresses(eni)
        ],
        "SecurityGroupIds": {"SecurityGroupId": list(eni.groups)},
        "NetworkInterfaceTrafficMode": "Standard",
        "SourceDestCheck": False,
        "ServiceManaged": False,
        "ResourceGroupId": eni.resource_group,
        "CreationTime": to_seconds(eni.created),
        "Tags": shown_tags(eni.tags),
    }


def _shown_eip(eip: Eip | None) -> Mapping[str, str]:
    if eip is None or eip.status not in ("InUse", "Unassociating"):
        return {}
    return {"AllocationId": eip.id, "PublicIpAddress": eip.address}
