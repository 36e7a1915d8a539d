"""EIPs in NAT mode: each maps to one private IP of an ENI. ECS's own copies of the calls serve clients of old."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from generator.sandbox.api import lookup, paging
from generator.sandbox.api.call import (
    TAGS,
    Body,
    Call,
    action,
    between,
    comma_list,
    has_tags,
    matching,
    one_of,
)
from generator.sandbox.api.errors import ApiError, invalid, missing, not_found
from generator.sandbox.api.vpc.gateways import reaches_internet
from generator.sandbox.region.clock import to_seconds
from generator.sandbox.region.ids import free_eip, free_segment
from generator.sandbox.region.model import BandwidthPackage, Eip, Eni, Instance, Segment


def _protection(name: str, value: Any) -> Any:
    if value != ["AntiDDoS_Enhanced"]:
        raise invalid(name, "It takes AntiDDoS_Enhanced, once.")
    return value


# BGP_PRO is of a few regions, as the SDK's documentation of AllocateEipAddress says; single-operator lines are of
# accounts that were let in, which the sandbox's is not.
PRO_REGIONS = ("cn-hongkong", "ap-southeast-1")
_ALLOCATION = {
    "Bandwidth": between(1, 500, "InvalidBandwidth.Malformed"),
    "InternetChargeType": one_of("PayByTraffic", "PayByBandwidth"),
    "InstanceChargeType": one_of("PostPaid"),
    "ISP": one_of("BGP", "BGP_PRO", code="IllegalParam.Isp"),
    "Isp": one_of("BGP", "BGP_PRO", code="IllegalParam.Isp"),
    # The sandbox has no pools, but takes whatever could be one's id, and shows it.
    "PublicIpAddressPoolId": matching(r"pippool-[a-z0-9]{1,60}", "ResourceNotFound.PublicIpAddressPool"),
    "SecurityProtectionTypes": _protection,
    "ResourceGroupId": matching(r"rg-[a-z0-9]{1,60}", "InvalidResourceGroupId"),
    "Name": matching(r"(?!https?://).{1,128}"),
    "Description": matching(r"(?!https?://).{2,256}"),
    "EipMask": one_of("28", "27", "26", "25", "24"),
    "Netmode": one_of("public"),
    "Tag": TAGS,
}
_PAGES = {"PageNumber": between(1, 10**6), "PageSize": between(1, 100)}
_STATUSES = one_of("Associating", "Unassociating", "InUse", "Available", "Releasing")
_BOUND_TO = one_of("EcsInstance", "NetworkInterface")


@action(
    "vpc",
    "AllocateEipAddress",
    required="RegionId",
    takes="Bandwidth InternetChargeType InstanceChargeType ISP PublicIpAddressPoolId SecurityProtectionTypes Name"
    " Description ResourceGroupId Tag ClientToken",
    ignores="Netmode AutoPay",
    limits=_ALLOCATION,
)
@action(
    "ecs",
    "AllocateEipAddress",
    required="RegionId",
    takes="Bandwidth InternetChargeType ISP ClientToken",
    limits=_ALLOCATION,
)
def allocate_eip_address(call: Call) -> Body:
    """Allocate an EIP."""
    _check_quota(call, 1, "QuotaExceeded.Eip")
    address = free_eip(call.account.is_public, call.account.ids.serial)
    if address is None:
        raise ApiError("OperationFailed.InsufficientEIP", "There are no EIPs left in the region.")
    eip = _new(call, str(address), segment="")
    body = {"AllocationId": eip.id, "EipAddress": eip.address}
    return {**body, "ResourceGroupId": eip.resource_group} if eip.resource_group else body


@action(
    "vpc",
    "AllocateEipSegmentAddress",
    required="RegionId EipMask",
    takes="Bandwidth InternetChargeType Isp ResourceGroupId ClientToken",
    ignores="Netmode",
    limits=_ALLOCATION,
)
def allocate_eip_segment_address(call: Call) -> Body:
    """Allocate contiguous EIPs, without name or tags. The cloud let new accounts have none since 2025."""
    mask = int(call.text("EipMask"))
    _check_quota(call, 2 ** (32 - mask), "OperationFailed.EipQuotaExceed")
    network = free_segment(call.account.is_public, mask)
    if network is None:
        raise ApiError("OperationFailed.AllocateEipSegment", "Operation failed because eip segment is out of stock.")
    segment = call.region.put(Segment(call.new("eipsg"), str(network), network.num_addresses, call.now))
    for address in network:
        _new(call, str(address), segment=segment.id)
    return {"EipSegmentInstanceId": segment.id}


def _check_quota(call: Call, more: int, code: str) -> None:
    # Of the account, in all its regions together.
    held = sum(region.count(Eip) for region in call.account.regions.values())
    if held + more > call.account.behaviour.eips:
        raise ApiError(code, "Elastic IP address quota exceeded.")


def _new(call: Call, address: str, *, segment: str) -> Eip:
    charge = call.text("InternetChargeType", "PayByBandwidth")
    if charge == "PayByTraffic" and int(call.text("Bandwidth", "5")) > 200:
        raise invalid("Bandwidth", "PayByTraffic goes up to 200.", "InvalidBandwidth.Malformed")
    isp = call.text("ISP") or call.text("Isp") or "BGP"
    if isp == "BGP_PRO" and call.region.name not in PRO_REGIONS:
        raise invalid("ISP", "The region does not have it.", "IllegalParam.Isp")
    return call.region.put(
        Eip(
            id=call.new("eip"),
            address=address,
            name=call.text("Name"),
            description=call.text("Description"),
            bandwidth=call.text("Bandwidth", "5"),
            charge=charge,
            isp=isp,
            status="Available",
            created=call.now,
            segment=segment,
            pool=call.text("PublicIpAddressPoolId"),
            protection=tuple(call.items("SecurityProtectionTypes")),
            resource_group=call.text("ResourceGroupId"),
            tags=call.tags(),
        )
    )


@action(
    "vpc",
    "AssociateEipAddress",
    required="AllocationId InstanceId",
    takes="InstanceType Mode PrivateIpAddress ClientToken",
    # It is for targets in another region, which the sandbox has none of.
    ignores="InstanceRegionId",
    limits={
        "InstanceType": _BOUND_TO,
        "Mode": one_of("NAT", code="Mode.NotSupport"),
    },
)
def associate_eip_address(call: Call) -> Body:
    """Map an EIP to a private IP of an ENI, or to an instance's primary one."""
    if call.text("InstanceType") == "NetworkInterface" and not call.text("PrivateIpAddress"):
        raise missing("PrivateIpAddress")
    return _associate(call)


@action(
    "ecs",
    "AssociateEipAddress",
    required="AllocationId",
    takes="InstanceId InstanceType",
    limits={"InstanceType": _BOUND_TO},
)
def associate_eip_address_of_old(call: Call) -> Body:
    """Map an EIP to a primary private IP, for clients of old, which cannot name others."""
    return _associate(call)


def _associate(call: Call) -> Body:
    eip = lookup.eip(call, call.text("AllocationId"))
    if eip.status == "InUse" and _is_bound_so(call, eip):
        raise ApiError("InvalidAssociation.Duplicated", "The specified EIP is associated with this target already.")
    if eip.status != "Available":
        raise ApiError("IncorrectEipStatus", "The current status of the EIP does not support this operation.")
    eni, address = _target(call)
    if call.account.behaviour.serial_binding and any(other.steps for other in call.region.eips_of(eni.id)):
        raise ApiError("TaskConflict", "The eip operate too frequent, TaskConflict.")
    if call.region.eip_at(eni.id, address):
        if call.text("InstanceType", "EcsInstance") == "EcsInstance":
            raise ApiError("InvalidAssociation.Duplicated", "Specified instance already is associated.")
        raise ApiError("ResourceAlreadyAssociated.IpAddress", "The private IP is associated with an EIP already.")
    if len(call.region.eips_of(eni.id)) >= len(eni.addresses):
        raise ApiError("InvalidEip.EipQuotaExceeded", "The number of eni assigned eip is more than privateIp.")
    if not reaches_internet(call, eni.vswitch):
        raise ApiError(
            "OperationFailed.Ipv4GatewayNotOpenedInVpc", "The vSwitch has no default route to the IPv4 gateway."
        )
    call.region.put(
        replace(
            eip,
            status="Associating",
            eni=eni.id,
            private_ip=address,
            bound_as=call.text("InstanceType", "EcsInstance"),
            steps=call.steps((call.delays.associating, "InUse")),
        )
    )
    return {}


def _target(call: Call) -> tuple[Eni, str]:
    if not call.text("InstanceId"):
        raise missing("InstanceId")
    if call.text("InstanceType", "EcsInstance") == "EcsInstance":
        instance = call.region.find(Instance, call.text("InstanceId"))
        if instance is None:
            # So it is spelled.
            raise not_found("InvalidInstanId", "InstanceId")
        if instance.status not in ("Running", "Stopped"):
            raise ApiError("IncorrectInstanceStatus", "The status of the instance does not support this operation.")
        eni = call.region.enis_of(instance.id)[0]
    else:
        found = call.region.find(Eni, call.text("InstanceId"))
        if found is None:
            raise ApiError("InvalidInstance.NotExist", "Bind instance data not exist.")
        eni = found
        if eni.status not in ("Available", "InUse"):
            raise ApiError(
                "InvalidStatus.EniStatusNotSupport", "The status of the ENI does not support this operation."
            )
        if eni.instance and call.region.get(Instance, eni.instance).status not in ("Running", "Stopped"):
            raise ApiError("InvalidStatus.EcsStatusNotSupport", "The status of the instance does not support it.")
    address = call.text("PrivateIpAddress", eni.addresses[0])
    if address not in eni.addresses:
        raise ApiError("InvalidPrivateIpAddress.NotFound", "The private IP is not one of the network interface's.", 404)
    return eni, address


def _is_bound_so(call: Call, eip: Eip) -> bool:
    owner = call.region.get(Eni, eip.eni)
    named = call.text("InstanceId") in (owner.id, owner.instance)
    return named and call.text("PrivateIpAddress", owner.addresses[0]) == eip.private_ip


@action(
    "vpc",
    "UnassociateEipAddress",
    required="AllocationId",
    takes="InstanceId InstanceType PrivateIpAddress ClientToken",
    ignores="Force",
    limits={"InstanceType": _BOUND_TO},
)
@action(
    "ecs",
    "UnassociateEipAddress",
    required="AllocationId",
    takes="InstanceId InstanceType",
    limits={"InstanceType": _BOUND_TO},
)
def unassociate_eip_address(call: Call) -> Body:
    """End the association of an EIP."""
    eip = lookup.eip(call, call.text("AllocationId"))
    if eip.status != "InUse":
        raise ApiError("IncorrectEipStatus", "The current status of the EIP does not support this operation.")
    eni = call.region.get(Eni, eip.eni)
    if call.text("InstanceId") not in ("", eni.id, eni.instance):
        raise ApiError("InvalidAssociation.NotExists", "The EIP is not associated with the specified instance.")
    if call.text("PrivateIpAddress", eip.private_ip) != eip.private_ip:
        raise ApiError("InvalidAssociation.NotExists", "The EIP is not associated with the specified private IP.")
    call.region.put(replace(eip, status="Unassociating", steps=call.steps((call.delays.unassociating, "Available"))))
    return {}


@action("vpc", "ReleaseEipAddress", required="AllocationId")
@action("ecs", "ReleaseEipAddress", required="AllocationId")
def release_eip_address(call: Call) -> Body:
    """Release an EIP that is bound to nothing; those of a segment go with it only."""
    eip = lookup.eip(call, call.text("AllocationId"))
    if eip.status != "Available":
        raise ApiError("IncorrectEipStatus", "The current status of the EIP does not support this operation.")
    if eip.segment:
        raise ApiError("Forbidden.ReleaseSegmentEip", "Release single segment eip is forbidden.")
    call.region.drop(eip)
    return {}


@action("vpc", "ReleaseEipSegmentAddress", required="SegmentInstanceId", takes="ClientToken")
def release_eip_segment_address(call: Call) -> Body:
    """Release a segment none of whose EIPs is bound."""
    segment = call.region.find(Segment, call.text("SegmentInstanceId"))
    if segment is None:
        raise not_found("InvalidSegmentInstanceId", "SegmentInstanceId")
    eips = [eip for eip in call.region.all(Eip) if eip.segment == segment.id]
    if any(eip.status != "Available" for eip in eips):
        raise ApiError("IncorrectEipStatus", "An EIP of the segment is not Available.")
    for eip in eips:
        call.region.drop(eip)
    call.region.drop(segment)
    return {}


_COMMON_FILTERS = "AllocationId EipAddress AssociatedInstanceId AssociatedInstanceType Status ChargeType ISP"
# Which parameter asks for which field.
_PLAIN = {
    "Status": "status",
    "EipName": "name",
    "ISP": "isp",
    "SegmentInstanceId": "segment",
    "AssociatedInstanceType": "bound_as",
    "PublicIpAddressPoolId": "pool",
    "ResourceGroupId": "resource_group",
}
_ONLY_PAGES = {"RegionId", "AllocationId", "PageNumber", "PageSize", "DryRun", *_PLAIN}
_FILTER_LIMITS = {
    "AllocationId": comma_list(50),
    "EipAddress": comma_list(50),
    "AssociatedInstanceType": _BOUND_TO,
    "Status": _STATUSES,
    **_PAGES,
}


@action(
    "vpc",
    "DescribeEipAddresses",
    required="RegionId",
    takes=f"{_COMMON_FILTERS} EipName SegmentInstanceId PublicIpAddressPoolId ResourceGroupId"
    " SecurityProtectionEnabled Tag PageNumber PageSize DryRun",
    ignores="IncludeReservationData",
    limits=_FILTER_LIMITS,
)
def describe_eip_addresses(call: Call) -> Body:
    """Show EIPs."""
    page, fields = paging.by_number(call, _found(call))
    return {"EipAddresses": [_shown(call, eip) for eip in page], **fields}


@action(
    "ecs",
    "DescribeEipAddresses",
    required="RegionId",
    takes=f"{_COMMON_FILTERS} PageNumber PageSize",
    limits=_FILTER_LIMITS,
)
def describe_eip_addresses_of_old(call: Call) -> Body:
    """Show EIPs to clients of old, which know fewer fields."""
    body = describe_eip_addresses(call)
    names = "AllocationId IpAddress Status Bandwidth ChargeType InternetChargeType InstanceId InstanceType RegionId"
    shown = [{name: one[name] for name in (*names.split(), "AllocationTime")} for one in body["EipAddresses"]]
    return {**body, "EipAddresses": shown}


def _found(call: Call) -> list[Eip]:
    """Return the EIPs that a call asks for, by indexes where it names them: a fleet has tens of thousands."""
    region = call.region
    if keys := call.items("AllocationId"):
        found = _these(call, keys)
    elif addresses := call.items("EipAddress"):
        found = _these(call, [region.public.get(address, "") for address in addresses])
    elif "AssociatedInstanceId" in call.parameters:
        target = call.text("AssociatedInstanceId")
        enis = [target, *(eni.id for eni in region.enis_of(target))]
        found = _these(call, [eip.id for eni in enis for eip in region.eips_of(eni)])
    else:
        found = region.all(Eip)
    for field, value in call.given(_PLAIN):
        found = [eip for eip in found if getattr(eip, field) == value]
    if not _ONLY_PAGES.issuperset(call.parameters):
        found = [eip for eip in found if _is_wanted(call, eip)]
    return found


def _these(call: Call, keys: Iterable[str]) -> list[Eip]:
    named = (call.region.find(Eip, key) for key in dict.fromkeys(keys))
    return sorted((eip for eip in named if eip), key=call.region.position)


def _is_wanted(call: Call, eip: Eip) -> bool:
    said = call.parameters
    return (
        (not said.get("EipAddress") or eip.address in said["EipAddress"])
        and call.text("ChargeType", "PostPaid") == "PostPaid"
        and ("AssociatedInstanceId" not in said or said["AssociatedInstanceId"] == _bound_to(call, eip))
        and call.flag("SecurityProtectionEnabled", default=bool(eip.protection)) == bool(eip.protection)
        and has_tags(eip.tags, call.items("Tag"))
    )


def _bound_to(call: Call, eip: Eip) -> str:
    return call.region.get(Eni, eip.eni).instance if eip.bound_as == "EcsInstance" else eip.eni


def _shown_package(call: Call, eip: Eip) -> dict[str, str]:
    if not eip.package:
        return {"BandwidthPackageId": "", "BandwidthPackageType": "", "BandwidthPackageBandwidth": ""}
    package = call.region.get(BandwidthPackage, eip.package)
    return {
        "BandwidthPackageId": package.id,
        "BandwidthPackageType": "CommonBandwidthPackage",
        "BandwidthPackageBandwidth": str(package.bandwidth),
    }


def _shown(call: Call, eip: Eip) -> dict[str, Any]:
    return {
        "AllocationId": eip.id,
        "IpAddress": eip.address,
        "Name": eip.name,
        "Description": eip.description,
        "Status": eip.status,
        "RegionId": call.region.name,
        "InstanceId": _bound_to(call, eip) if eip.eni else "",
        "InstanceType": eip.bound_as,
        "InstanceRegionId": call.region.name if eip.eni else "",
        "PrivateIpAddress": eip.private_ip if eip.bound_as == "NetworkInterface" else "",
        "Mode": "NAT" if eip.bound_as == "NetworkInterface" else "",
        "VpcId": call.region.get(Eni, eip.eni).vpc if eip.eni else "",
        "Bandwidth": eip.bandwidth,
        "EipBandwidth": eip.bandwidth,
        "ISP": eip.isp,
        "ChargeType": "PostPaid",
        "InternetChargeType": eip.charge,
        "AllocationTime": to_seconds(eip.created),
        "ExpiredTime": "",
        "BusinessStatus": "Normal",
        "SegmentInstanceId": eip.segment,
        "PublicIpAddressPoolId": eip.pool,
        "SecurityProtectionTypes": {"SecurityProtectionType": list(eip.protection)},
        "ResourceGroupId": eip.resource_group,
        **_shown_package(call, eip),
        "Netmode": "public",
        "DeletionProtection": False,
        "OperationLocks": [],
        "Tags": [{"Key": key, "Value": value} for key, value in eip.tags],
    }
