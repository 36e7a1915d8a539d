"""EIPs: allocated, shown and released. ECS's own copies of the calls serve clients of old."""

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
    matching,
    one_of,
    tagged,
)
from generator.sandbox.api.errors import ApiError, invalid, not_found
from generator.sandbox.api.vpc.binding import BOUND_TO
from generator.sandbox.region.clock import to_seconds
from generator.sandbox.region.ids import free_eip, free_segment
from generator.sandbox.region.model import BandwidthPackage, Eip, Eni, Segment


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


def _check_bandwidth(call: Call, charge: str) -> None:
    if charge == "PayByTraffic" and int(call.text("Bandwidth", "5")) > 200:
        raise invalid("Bandwidth", "PayByTraffic goes up to 200.", "InvalidBandwidth.Malformed")


@action(
    "vpc",
    "ModifyEipAddressAttribute",
    required="RegionId AllocationId",
    takes="Bandwidth Name Description",
    limits=_ALLOCATION,
)
def modify_eip_address_attribute(call: Call) -> Body:
    """Change an EIP's bandwidth, name or description."""
    eip = lookup.eip(call, call.text("AllocationId"))
    _check_bandwidth(call, eip.charge)
    if eip.status not in ("Available", "InUse"):
        raise ApiError("IncorrectEipStatus", "The current status of the EIP does not support this operation.")
    call.region.put(
        replace(
            eip,
            bandwidth=call.text("Bandwidth", eip.bandwidth),
            name=call.text("Name", eip.name),
            description=call.text("Description", eip.description),
        )
    )
    return {}


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
    _check_bandwidth(call, charge)
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
_ONLY_PAGES = {"RegionId", "AllocationId", "PageNumber", "PageSize", "Tag", "DryRun", *_PLAIN}
_FILTER_LIMITS = {
    "AllocationId": comma_list(50),
    "EipAddress": comma_list(50),
    "AssociatedInstanceType": BOUND_TO,
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
    found = tagged(found, call.items("Tag"))
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
