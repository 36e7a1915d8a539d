"""The ENIs of instances to be: what RunInstances asks for, whether it goes together, and the ENIs made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Any

from generator.sandbox.api import lookup
from generator.sandbox.api.call import Call
from generator.sandbox.api.errors import ApiError, invalid, missing
from generator.sandbox.region.model import Eni, Instance, VSwitch
from generator.sandbox.region.seeding import TYPES, InstanceType


@dataclass(frozen=True)
class Nic:
    """An ENI of each instance to be; `address` is the first instance's, `existing` an ENI that is there already."""

    primary: bool
    vswitch: VSwitch
    groups: tuple[str, ...]
    extra: int = 0
    address: str = ""
    existing: str = ""
    name: str = ""
    description: str = ""
    queues: int = 0
    delete_on_release: bool = True


def asked(call: Call, kind: InstanceType) -> list[Nic]:
    """Return the ENIs that each instance gets, the primary one first, or raise what does not go together."""
    given = call.items("NetworkInterface")
    primaries = [one for one in given if one.get("InstanceType") == "Primary"]
    if len(primaries) > 1:
        raise invalid("NetworkInterface.2.InstanceType", "An instance has one primary ENI.")
    if primaries:
        for name in ("VSwitchId", "SecurityGroupId", "SecurityGroupIds", "PrivateIpAddress"):
            if name in call.parameters:
                raise invalid(name, "It is set for the primary ENI.", "InvalidParameter.Conflict")
        primary = _primary(call, primaries[0])
    else:
        primary = _primary(
            call,
            {
                "VSwitchId": call.text("VSwitchId"),
                "SecurityGroupId": call.text("SecurityGroupId"),
                "SecurityGroupIds": call.items("SecurityGroupIds"),
                "PrimaryIpAddress": call.text("PrivateIpAddress"),
                "QueueNumber": call.number("NetworkInterfaceQueueNumber", 0),
            },
        )
    nics = [primary, *(_secondary(call, one, primary) for one in given if one not in primaries)]
    if call.number("Amount", 1) > 1:
        if primary.address and len(nics) > 1:
            why = "Primary private IPs of several instances exclude secondary ENIs."
            raise ApiError("InvalidParam.SecondaryNetworkInterface", why)
        if any(nic.address for nic in nics[1:]):
            raise ApiError("InvalidPrimaryIpAddress.SizeInvalid", "PrimaryIpAddress is of one secondary ENI only.")
    _check_limits(kind, nics)
    return nics


def _primary(call: Call, given: dict[str, Any]) -> Nic:
    if not given.get("VSwitchId"):
        raise missing("VSwitchId")
    where = lookup.vswitch(call, given["VSwitchId"])
    if call.text("ZoneId", where.zone) != where.zone:
        raise invalid("ZoneId", "The vSwitch is in another zone.", "InvalidParameter.Mismatch")
    keys = _group_keys(given)
    if not keys:
        raise missing("SecurityGroupId")
    return Nic(
        primary=True,
        vswitch=where,
        groups=lookup.groups(call, keys, where.vpc, of_launch=True),
        extra=given.get("SecondaryPrivateIpAddressCount", 0),
        address=given.get("PrimaryIpAddress", ""),
        queues=given.get("QueueNumber", 0),
    )


def _secondary(call: Call, given: dict[str, Any], primary: Nic) -> Nic:
    if key := given.get("NetworkInterfaceId"):
        return _existing(call, given, key, primary)
    where = lookup.vswitch(call, given["VSwitchId"]) if given.get("VSwitchId") else primary.vswitch
    if where.zone != primary.vswitch.zone or where.vpc != primary.vswitch.vpc:
        raise invalid("NetworkInterface.VSwitchId", "It is not of the instance's zone and VPC.")
    keys = _group_keys(given)
    return Nic(
        primary=False,
        vswitch=where,
        groups=lookup.groups(call, keys, where.vpc, of_launch=True) if keys else primary.groups,
        extra=given.get("SecondaryPrivateIpAddressCount", 0),
        address=given.get("PrimaryIpAddress", ""),
        name=given.get("NetworkInterfaceName", ""),
        description=given.get("Description", ""),
        queues=given.get("QueueNumber", 0),
        delete_on_release=given.get("DeleteOnRelease", True),
    )


def _existing(call: Call, given: dict[str, Any], key: str, primary: Nic) -> Nic:
    if call.number("Amount", 1) != 1:
        raise invalid("Amount", "One ENI cannot be of several instances.", "InvalidParam.Amount", 403)
    if set(given) - {"NetworkInterfaceId", "InstanceType", "DeleteOnRelease"}:
        raise invalid("NetworkInterface.NetworkInterfaceId", "It excludes parameters of an ENI to be made.")
    eni = lookup.eni(call, key)
    where = lookup.vswitch(call, eni.vswitch)
    if eni.status != "Available":
        raise ApiError("InvalidOperation.InvalidEniState", "The status of the network interface is not Available.")
    if where.zone != primary.vswitch.zone or where.vpc != primary.vswitch.vpc:
        raise invalid("NetworkInterface.NetworkInterfaceId", "It is not of the instance's zone and VPC.")
    return Nic(
        primary=False,
        vswitch=where,
        groups=eni.groups,
        extra=len(eni.addresses) - 1,
        existing=eni.id,
        delete_on_release=given.get("DeleteOnRelease", eni.delete_on_release),
    )


def _group_keys(given: dict[str, Any]) -> list[str]:
    one, several = given.get("SecurityGroupId"), given.get("SecurityGroupIds") or []
    if one and several:
        code = "InvalidSecurityGroupId.SingleIdAndMultiIdConflict"
        raise invalid("SecurityGroupIds", "It excludes SecurityGroupId.", code)
    return [one] if one else list(several)


def _check_limits(kind: InstanceType, nics: Sequence[Nic]) -> None:
    if len(nics) > kind.enis:
        why = "The number of ENIs exceeds the limit of the instance type."
        raise ApiError("InvalidParameter.EniNumExceededWithLaunchEcs", why, 403)
    existing = [nic.existing for nic in nics if nic.existing]
    if len(set(existing)) != len(existing):
        raise invalid("NetworkInterface.NetworkInterfaceId", "It is named twice.")
    if any(1 + nic.extra > kind.eni_ips for nic in nics):
        raise ipv4_exceeded()
    _check_queues(kind, [nic.queues or (kind.queues if nic.primary else kind.secondary_queues) for nic in nics])


def check_queues(call: Call, eni: Eni) -> None:
    """Raise what the cloud says if an ENI cannot have its queues on its instance, beside the others there."""
    others = [one for one in call.region.enis_of(eni.instance) if one.id != eni.id]
    kind = TYPES[call.region.get(Instance, eni.instance).type]
    _check_queues(kind, [queues_of(call, one) for one in (*others, eni)])


def queues_of(call: Call, eni: Eni) -> int:
    """Return how many queues an ENI has: its own number, or that of the type of the instance that it is on."""
    if eni.queues or not eni.instance:
        return eni.queues
    kind = TYPES[call.region.get(Instance, eni.instance).type]
    return kind.queues if eni.type == "Primary" else kind.secondary_queues


def _check_queues(kind: InstanceType, queues: Sequence[int]) -> None:
    if max(queues) > kind.queues:
        why = "The instance type has fewer queues for an ENI."
        raise ApiError("InvalidOperation.MaxEniQueueNumberExceeded", why, 403)
    if sum(queues) > kind.total_queues:
        why = "The instance type has fewer queues for all ENIs."
        raise ApiError("InvalidOperation.ExceedInstanceTypeQueueNumber", why, 403)


def ipv4_exceeded() -> ApiError:
    """Return the refusal of more private IPs than an ENI of the instance's type can have."""
    return ApiError(
        "InvalidOperation.Ipv4CountExceeded", "The number of private IPs exceeds the limit of the instance type.", 403
    )


def plug(call: Call, instance: Instance, nics: Sequence[Nic], number: int) -> None:
    """Give an instance, the `number`th of its call from 0 on, its ENIs."""
    chosen = frozenset(_following(nic.address, number) for nic in nics if nic.address)
    for nic in nics:
        _plug(call, instance, nic, number, chosen)


def _plug(call: Call, instance: Instance, nic: Nic, number: int, chosen: frozenset[str]) -> None:
    if nic.existing:
        eni = lookup.eni(call, nic.existing)
        plugged = replace(eni, instance=instance.id, status="InUse", attached=call.now)
        call.region.put(replace(plugged, delete_on_release=nic.delete_on_release))
        return
    check_quota(call)
    if nic.address:
        wanted = _following(nic.address, number)
        address = lookup.asked_address(call.region, nic.vswitch, wanted, lookup.LAUNCH_CODES)
        others = lookup.free_addresses(call.region, nic.vswitch, nic.extra, chosen)
    else:
        address, *others = lookup.free_addresses(call.region, nic.vswitch, 1 + nic.extra, chosen)
    call.region.put(
        Eni(
            id=call.new("eni"),
            name=nic.name,
            description=nic.description,
            type="Primary" if nic.primary else "Secondary",
            mac=call.account.ids.mac(),
            vpc=nic.vswitch.vpc,
            vswitch=nic.vswitch.id,
            zone=nic.vswitch.zone,
            groups=nic.groups,
            addresses=(address, *others),
            status="InUse",
            created=call.now,
            queues=nic.queues,
            instance=instance.id,
            attached=call.now,
            delete_on_release=nic.delete_on_release,
            resource_group=instance.resource_group,
            # The cloud hands an instance's tags on to its primary ENI only.
            tags=instance.tags if nic.primary else (),
        )
    )


def check_quota(call: Call) -> None:
    """Raise what the cloud says when the account has all the ENIs that it may have in the region."""
    if call.region.count(Eni) >= call.account.behaviour.enis:
        raise ApiError("MaxEniCountExceeded", "The maximum number of ENIs that can be managed has been reached.", 403)


def _following(text: str, number: int) -> str:
    try:
        return str(IPv4Address(int(IPv4Address(text)) + number))
    except ValueError:
        # What it is, the check says that it goes to.
        return text
