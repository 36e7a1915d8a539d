"""RunInstances and CreateInstance: from a request to instances with their ENIs, all that fit or none."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Any

from generator.sandbox.api import lookup
from generator.sandbox.api.call import Body, Call, action, at_most, between, matching, one_of
from generator.sandbox.api.ecs import names
from generator.sandbox.api.ecs.images import newest_of_family
from generator.sandbox.api.ecs.places import stock
from generator.sandbox.api.errors import ApiError, invalid, missing, not_emulated, not_found
from generator.sandbox.region.faults import Kind
from generator.sandbox.region.model import VANISHED, Eni, Image, Instance, Steps, VSwitch
from generator.sandbox.region.seeding import TYPES, InstanceType

# https://www.alibabacloud.com/help/en/ecs/user-guide/customize-the-initialization-configuration-for-an-instance
MOST_USER_DATA = 32 * 1024
_SINGLE_LIMITS = {
    "Description": matching(r"(?!https?://).{2,256}", "InvalidDescription.Malformed"),
    "HttpEndpoint": one_of("enabled", "disabled"),
    "HttpTokens": one_of("optional", "required"),
    "HttpPutResponseHopLimit": between(1, 64),
    "InternetMaxBandwidthOut": between(0, 100),
    "InternetChargeType": one_of("PayByTraffic", "PayByBandwidth"),
    "InstanceChargeType": one_of("PostPaid"),
    "SpotStrategy": one_of("NoSpot", "SpotWithPriceLimit", "SpotAsPriceGo"),
    "SystemDisk.Size": between(20, 2048, "InvalidSystemDiskSize.ValueNotSupported"),
    "SystemDisk.Category": one_of(
        "cloud_efficiency", "cloud_ssd", "cloud_essd", "cloud_essd_entry", "cloud_auto", "cloud"
    ),
    "Tag": at_most(20),
}
_SINGLE = (
    "ImageId ImageFamily InstanceType VSwitchId SecurityGroupId ZoneId InstanceName HostName Description KeyPairName"
    " UserData HttpEndpoint HttpTokens HttpPutResponseHopLimit RamRoleName SpotStrategy PrivateIpAddress"
    " InternetMaxBandwidthOut InternetChargeType InstanceChargeType DeletionProtection SystemDisk.Size"
    " SystemDisk.Category Tag DryRun ClientToken"
)
# What changes nothing that a client of this region could see.
_IGNORED = (
    "IoOptimized SystemDisk.PerformanceLevel SystemDisk.DiskName SystemDisk.Description SpotDuration SpotPriceLimit"
    " SpotInterruptionBehavior SecurityEnhancementStrategy InternetMaxBandwidthIn CreditSpecification"
    " PasswordInherit ResourceGroupId Tenancy"
)


@dataclass(frozen=True)
class _Nic:
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


@action(
    "ecs",
    "RunInstances",
    required="RegionId InstanceType",
    takes=f"{_SINGLE} Amount MinAmount UniqueSuffix HostNames SecurityGroupIds NetworkInterface.InstanceType"
    " NetworkInterface.VSwitchId NetworkInterface.SecurityGroupId NetworkInterface.SecurityGroupIds"
    " NetworkInterface.PrimaryIpAddress NetworkInterface.SecondaryPrivateIpAddressCount"
    " NetworkInterface.NetworkInterfaceId NetworkInterface.NetworkInterfaceName NetworkInterface.Description"
    " NetworkInterface.DeleteOnRelease NetworkInterface.QueueNumber NetworkInterfaceQueueNumber",
    ignores=f"{_IGNORED} AutoReleaseTime NetworkInterface.NetworkInterfaceTrafficMode"
    " NetworkInterface.NetworkCardIndex",
    limits={
        **_SINGLE_LIMITS,
        "Amount": between(1, 100, "InvalidParameter.Amount"),
        "MinAmount": between(1, 100, "InvalidParameter.MinAmount"),
        "NetworkInterface.InstanceType": one_of("Primary", "Secondary"),
        "NetworkInterface.SecondaryPrivateIpAddressCount": between(1, 49),
        "NetworkInterface.QueueNumber": between(1, 2048),
        "NetworkInterfaceQueueNumber": between(1, 2048),
    },
)
def run_instances(call: Call) -> Body:
    """Make instances that start at once; `MinAmount` of them suffice when there is not stock for all."""
    if call.number("InternetMaxBandwidthOut", 0) > 0:
        raise not_emulated("a public IP of the instance's own (InternetMaxBandwidthOut): associate an EIP")
    amount = call.number("Amount", 1)
    least = call.number("MinAmount", amount)
    if least > amount:
        raise invalid("MinAmount", "It exceeds Amount.", "InvalidParameter.MinAmount")
    kind, nics = _instance_type(call), _nics(call)
    granted = _in_stock(call, nics[0].vswitch.zone, kind, amount, least)
    steps = call.steps((call.delays.pending, "Starting"), (call.delays.starting, "Running"))
    batch = _Batch(kind, _image(call, kind), nics, amount, steps)
    ids = [_instance(call, batch, number) for number in range(granted)]
    _have_some_vanish(call, ids)
    return {"InstanceIdSets": {"InstanceIdSet": ids}}


@action(
    "ecs",
    "CreateInstance",
    required="RegionId InstanceType",
    takes=_SINGLE,
    ignores=f"{_IGNORED} UseAdditionalService",
    limits={
        **_SINGLE_LIMITS,
        "InstanceName": matching(r"[^][]*", "InvalidInstanceName.Malformed"),
        "HostName": matching(r"[^][]*", "InvalidHostName.Malformed"),
    },
)
def create_instance(call: Call) -> Body:
    """Make one instance that does not start."""
    kind, nics = _instance_type(call), _nics(call)
    _in_stock(call, nics[0].vswitch.zone, kind, 1, 1)
    batch = _Batch(kind, _image(call, kind), nics, 1, call.steps((call.delays.pending, "Stopped")))
    return {"InstanceId": _instance(call, batch, 0)}


def _instance_type(call: Call) -> InstanceType:
    kind = TYPES.get(call.text("InstanceType"))
    if kind is None:
        raise invalid("InstanceType", code="InvalidInstanceType.ValueNotSupported")
    return kind


def _image(call: Call, kind: InstanceType) -> Image:
    if call.text("ImageId"):
        image = lookup.image(call, call.text("ImageId"))
    elif call.text("ImageFamily"):
        newest = newest_of_family(call, call.text("ImageFamily"))
        if newest is None:
            raise not_found("InvalidImageFamily", "ImageFamily")
        image = newest
    else:
        raise missing("ImageId")
    if image.status not in ("Available", "Deprecated"):
        raise ApiError("IncorrectImageStatus", "The current status of the image does not support this operation.", 403)
    if (image.architecture == "arm64") != (kind.architecture == "ARM"):
        raise ApiError(
            "ImageNotSupportInstanceType", "The specified image does not support the specified InstanceType.", 403
        )
    if call.text("HttpTokens") == "required" and image.imds != "v2":
        raise invalid("HttpTokens", "The image does not support it.", "InvalidParameter.HttpTokens")
    return image


def _in_stock(call: Call, zone: str, kind: InstanceType, amount: int, least: int) -> int:
    left = stock(call, zone, kind.id)
    if fault := call.account.faults.take("RunInstances", {Kind.NO_STOCK}):
        left = min(left, fault.amount)
    if min(amount, left) < least:
        raise ApiError("OperationDenied.NoStock", "The requested resource is sold out in the specified zone.", 403)
    return min(amount, left)


def _have_some_vanish(call: Call, ids: Sequence[str]) -> None:
    fault = call.account.faults.take("RunInstances", {Kind.VANISH})
    for key in ids[len(ids) - min(fault.amount, len(ids)) :] if fault else ():
        doomed = call.region.get(Instance, key)
        call.region.put(replace(doomed, steps=call.steps((call.delays.vanish, VANISHED))))


# ENIs


def _nics(call: Call) -> list[_Nic]:
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
    if primary.address and call.number("Amount", 1) > 1 and len(nics) > 1:
        raise invalid("NetworkInterface.2", "Primary private IPs of several instances exclude secondary ENIs.")
    _check_limits(_instance_type(call), nics)
    return nics


def _primary(call: Call, given: dict[str, Any]) -> _Nic:
    if not given.get("VSwitchId"):
        raise missing("VSwitchId")
    where = lookup.vswitch(call, given["VSwitchId"])
    if call.text("ZoneId", where.zone) != where.zone:
        raise invalid("ZoneId", "The vSwitch is in another zone.", "InvalidVSwitchId.ZoneMismatch")
    keys = _group_keys(given)
    if not keys:
        raise missing("SecurityGroupId")
    return _Nic(
        primary=True,
        vswitch=where,
        groups=lookup.groups(call, keys, where.vpc),
        extra=given.get("SecondaryPrivateIpAddressCount", 0),
        address=given.get("PrimaryIpAddress", ""),
        queues=given.get("QueueNumber", 0),
    )


def _secondary(call: Call, given: dict[str, Any], primary: _Nic) -> _Nic:
    if key := given.get("NetworkInterfaceId"):
        return _existing(call, given, key, primary)
    where = lookup.vswitch(call, given["VSwitchId"]) if given.get("VSwitchId") else primary.vswitch
    if where.zone != primary.vswitch.zone or where.vpc != primary.vswitch.vpc:
        raise invalid("NetworkInterface.VSwitchId", "It is not of the instance's zone and VPC.")
    keys = _group_keys(given)
    return _Nic(
        primary=False,
        vswitch=where,
        groups=lookup.groups(call, keys, where.vpc) if keys else primary.groups,
        extra=given.get("SecondaryPrivateIpAddressCount", 0),
        address=given.get("PrimaryIpAddress", ""),
        name=given.get("NetworkInterfaceName", ""),
        description=given.get("Description", ""),
        queues=given.get("QueueNumber", 0),
        delete_on_release=given.get("DeleteOnRelease", True),
    )


def _existing(call: Call, given: dict[str, Any], key: str, primary: _Nic) -> _Nic:
    if call.number("Amount", 1) != 1:
        raise invalid("Amount", "One ENI cannot be of several instances.", "InvalidParameter.Amount")
    if set(given) - {"NetworkInterfaceId", "InstanceType", "DeleteOnRelease"}:
        raise invalid("NetworkInterface.NetworkInterfaceId", "It excludes parameters of an ENI to be made.")
    eni = lookup.eni(call, key)
    where = lookup.vswitch(call, eni.vswitch)
    if eni.status != "Available":
        raise ApiError("InvalidOperation.InvalidEniState", "The status of the network interface is not Available.")
    if where.zone != primary.vswitch.zone or where.vpc != primary.vswitch.vpc:
        raise invalid("NetworkInterface.NetworkInterfaceId", "It is not of the instance's zone and VPC.")
    return _Nic(primary=False, vswitch=where, groups=eni.groups, extra=len(eni.addresses) - 1, existing=eni.id)


def _group_keys(given: dict[str, Any]) -> list[str]:
    one, several = given.get("SecurityGroupId"), given.get("SecurityGroupIds") or []
    if one and several:
        raise invalid("SecurityGroupIds", "It excludes SecurityGroupId.", "InvalidParameter.Conflict")
    return [one] if one else list(several)


def _check_limits(kind: InstanceType, nics: Sequence[_Nic]) -> None:
    if len(nics) > kind.enis:
        raise ApiError("EniPerInstanceLimitExceeded", "The number of ENIs exceeds the limit of the instance type.", 403)
    if any(1 + nic.extra > kind.eni_ips for nic in nics):
        raise ipv4_exceeded()
    if any(nic.queues > kind.queues for nic in nics):
        raise invalid("NetworkInterface.QueueNumber", "The instance type has fewer queues.")


def ipv4_exceeded() -> ApiError:
    """Return the refusal of more private IPs than an ENI of the instance's type can have."""
    return ApiError(
        "InvalidOperation.Ipv4CountExceeded", "The number of private IPs exceeds the limit of the instance type.", 403
    )


# Instances


@dataclass(frozen=True)
class _Batch:
    """What the instances of one call share; `amount` is how many were asked for."""

    kind: InstanceType
    image: Image
    nics: Sequence[_Nic]
    amount: int
    steps: Steps


def _instance(call: Call, batch: _Batch, number: int) -> str:
    image, primary, key = batch.image, batch.nics[0], call.new("i")
    where, amount = primary.vswitch, batch.amount
    size = int(call.parameters.get("SystemDisk", {}).get("Size", max(image.size, 40)))
    if size < image.size:
        raise ApiError("InvalidSystemDiskSize.LessThanImageSize", "The system disk is smaller than the image.", 403)
    if call.text("KeyPairName"):
        lookup.key_pair(call, call.text("KeyPairName"))
    instance = call.region.put(
        Instance(
            id=key,
            name=names.of_instance(call, key, number, amount),
            hostname=names.of_host(call, key, number, amount),
            description=call.text("Description"),
            image=image.id,
            type=batch.kind.id,
            vpc=where.vpc,
            vswitch=where.id,
            zone=where.zone,
            groups=primary.groups,
            status="Pending",
            created=call.now,
            disk=call.new("d"),
            disk_size=size,
            disk_category=call.parameters.get("SystemDisk", {}).get("Category", "cloud_essd"),
            visible=call.now + call.delays.visible,
            key_pair=call.text("KeyPairName"),
            user_data=_user_data(call),
            http_endpoint=call.text("HttpEndpoint", "enabled"),
            http_tokens=call.text("HttpTokens", "optional"),
            hop_limit=call.number("HttpPutResponseHopLimit", 1),
            ram_role=call.text("RamRoleName"),
            spot_strategy=call.text("SpotStrategy", "NoSpot"),
            internet_out=call.number("InternetMaxBandwidthOut", 0),
            deletion_protection=call.flag("DeletionProtection"),
            steps=batch.steps,
            tags=call.tags(),
        )
    )
    for nic in batch.nics:
        _plug(call, instance, nic, number)
    return key


def _plug(call: Call, instance: Instance, nic: _Nic, number: int) -> None:
    kind = TYPES[instance.type]
    if nic.existing:
        eni = lookup.eni(call, nic.existing)
        call.region.put(replace(eni, instance=instance.id, status="InUse", attached=call.now))
        return
    if nic.address:
        wanted = str(IPv4Address(int(_address(nic.address)) + number))
        address = lookup.asked_address(call.region, nic.vswitch, wanted, "PrimaryIpAddress")
        others = lookup.free_addresses(call.region, nic.vswitch, nic.extra, frozenset((address,)))
    else:
        address, *others = lookup.free_addresses(call.region, nic.vswitch, 1 + nic.extra)
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
            queues=nic.queues or (kind.queues if nic.primary else kind.secondary_queues),
            instance=instance.id,
            attached=call.now,
            delete_on_release=nic.delete_on_release,
            # The cloud hands an instance's tags on to its primary ENI only.
            tags=instance.tags if nic.primary else (),
        )
    )


def _address(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError:
        raise invalid("PrivateIpAddress", code="InvalidPrivateIpAddress.Malformed") from None


def _user_data(call: Call) -> str:
    text = call.text("UserData")
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ApiError("InvalidUserData.Base64FormatInvalid", "The specified UserData is not Base64.") from None
    if len(raw) > MOST_USER_DATA:
        raise ApiError("InvalidUserData.SizeExceeded", "The size of the specified UserData exceeds 32 KB.")
    return text
