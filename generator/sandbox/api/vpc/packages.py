"""Internet Shared Bandwidth instances: EIPs that share what they may carry. What is carried here is not limited."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from generator.sandbox.api import paging
from generator.sandbox.api.call import (
    TAGS,
    Body,
    Call,
    action,
    at_most,
    between,
    has_tags,
    matching,
    one_of,
)
from generator.sandbox.api.errors import ApiError, invalid, not_found
from generator.sandbox.api.vpc.eips import PRO_REGIONS
from generator.sandbox.region.clock import to_seconds
from generator.sandbox.region.model import BandwidthPackage, Eip

_TEXT = {
    "Name": matching(r"(?!https?://).{1,128}"),
    "Description": matching(r"(?!https?://).{1,256}"),
    "IpType": one_of("EIP"),
}
# AddCommonBandwidthPackageIps takes so many at a time; an instance holds 100 by default.
_MOST_AT_ONCE = 10
_MOST = 100


@action(
    "vpc",
    "CreateCommonBandwidthPackage",
    required="RegionId Bandwidth",
    takes="Name Description InternetChargeType ISP ResourceGroupId Tag ClientToken",
    limits={
        **_TEXT,
        "Bandwidth": between(1, 1000, "InvalidBandwidth.Malformed"),
        "InternetChargeType": one_of("PayByBandwidth", "PayByTraffic"),
        "ISP": one_of("BGP", "BGP_PRO", code="IllegalParam.Isp"),
        "ResourceGroupId": matching(r"rg-[a-z0-9]{1,60}", "InvalidResourceGroupId"),
        "Tag": TAGS,
    },
)
def create_common_bandwidth_package(call: Call) -> Body:
    """Make an Internet Shared Bandwidth instance."""
    isp = call.text("ISP", "BGP")
    if isp == "BGP_PRO" and call.region.name not in PRO_REGIONS:
        raise invalid("ISP", "The region does not have it.", "IllegalParam.Isp")
    package = call.region.put(
        BandwidthPackage(
            id=call.new("cbwp"),
            name=call.text("Name"),
            description=call.text("Description"),
            bandwidth=call.number("Bandwidth", 1),
            charge=call.text("InternetChargeType", "PayByBandwidth"),
            isp=isp,
            created=call.now,
            resource_group=call.text("ResourceGroupId"),
            tags=call.tags(),
        )
    )
    return {"BandwidthPackageId": package.id, "ResourceGroupId": package.resource_group}


@action(
    "vpc",
    "DescribeCommonBandwidthPackages",
    required="RegionId",
    takes="BandwidthPackageId Name ResourceGroupId Tag PageNumber PageSize DryRun",
    limits={"PageNumber": between(1, 10**6), "PageSize": between(1, 50)},
)
def describe_common_bandwidth_packages(call: Call) -> Body:
    """Show Internet Shared Bandwidth instances with their EIPs."""
    found = [
        one
        for one in call.region.all(BandwidthPackage)
        if call.text("BandwidthPackageId", one.id) == one.id
        and call.text("Name", one.name) == one.name
        and call.text("ResourceGroupId", one.resource_group) == one.resource_group
        and has_tags(one.tags, call.items("Tag"))
    ]
    page, fields = paging.by_number(call, found)
    return {"CommonBandwidthPackages": [_shown(call, one) for one in page], **fields}


def _shown(call: Call, one: BandwidthPackage) -> dict[str, Any]:
    eips = [
        {"AllocationId": eip.id, "IpAddress": eip.address, "BandwidthPackageIpRelationStatus": "BINDED"}
        for eip in _members(call, one)
    ]
    return {
        "BandwidthPackageId": one.id,
        "RegionId": call.region.name,
        "Name": one.name,
        "Description": one.description,
        "Bandwidth": str(one.bandwidth),
        "InternetChargeType": one.charge,
        "InstanceChargeType": "PostPaid",
        "ISP": one.isp,
        "Status": "Available",
        "BusinessStatus": "Normal",
        "CreationTime": to_seconds(one.created),
        "ExpiredTime": "",
        "ResourceGroupId": one.resource_group,
        "DeletionProtection": False,
        "PublicIpAddresses": eips,
        "Tags": [{"Key": key, "Value": value} for key, value in one.tags],
    }


def _members(call: Call, one: BandwidthPackage) -> list[Eip]:
    return [eip for eip in call.region.all(Eip) if eip.package == one.id]


@action(
    "vpc",
    "AddCommonBandwidthPackageIps",
    required="RegionId BandwidthPackageId IpInstanceIds",
    takes="IpType ClientToken",
    limits={**_TEXT, "IpInstanceIds": at_most(_MOST_AT_ONCE)},
)
def add_common_bandwidth_package_ips(call: Call) -> Body:
    """Add EIPs, all or none; here at once, where the cloud takes a while."""
    return _add(call, call.items("IpInstanceIds"))


@action(
    "vpc",
    "AddCommonBandwidthPackageIp",
    required="RegionId BandwidthPackageId IpInstanceId",
    takes="IpType ClientToken DryRun",
    limits=_TEXT,
)
def add_common_bandwidth_package_ip(call: Call) -> Body:
    """Add one EIP."""
    return _add(call, [call.text("IpInstanceId")])


def _add(call: Call, keys: list[str]) -> Body:
    package = _package(call, 400)
    room = _MOST - len(_members(call, package))
    for key in dict.fromkeys(keys):
        eip = _eip(call, key)
        if eip.package:
            why = "The specified Eip InstanceId already in bandwidthPackage."
            raise ApiError("IpInstanceId.AlreadyInBandwidthPackage", why)
        if eip.status not in ("Available", "InUse"):
            raise ApiError("IncorrectStatus.Eip", "Eip status error.")
        if eip.isp != package.isp:
            raise invalid("IpInstanceId", "Its line is not that of the bandwidth package.")
        room -= 1
        if room < 0:
            raise ApiError("IpInstanceId.QuotaExceeded", "The specified BandwidthPackageId has too many ip in it.")
        call.region.put(replace(eip, package=package.id))
    return {}


@action(
    "vpc",
    "RemoveCommonBandwidthPackageIp",
    required="RegionId BandwidthPackageId IpInstanceId",
    takes="ClientToken DryRun",
)
def remove_common_bandwidth_package_ip(call: Call) -> Body:
    """Take an EIP out; it has its own bandwidth again."""
    package, eip = _package(call, 404), _eip(call, call.text("IpInstanceId"))
    if eip.package != package.id:
        why = "The specified eip not exist in the commonBandwidthPackage."
        raise ApiError("OperationUnsupported.IpNotInCbwp", why)
    call.region.put(replace(eip, package=""))
    return {}


@action("vpc", "DeleteCommonBandwidthPackage", required="RegionId BandwidthPackageId", takes="Force")
def delete_common_bandwidth_package(call: Call) -> Body:
    """Delete an instance that has no EIPs, or with Force one that has some."""
    package = _package(call, 404)
    members = _members(call, package)
    if members and str(call.parameters.get("Force", "")).lower() != "true":
        raise ApiError("OperationFailed.BandwidthPackageNotEmpty", "Eip bandwidth package not empty.")
    for eip in members:
        call.region.put(replace(eip, package=""))
    call.region.drop(package)
    return {}


def _package(call: Call, status: int) -> BandwidthPackage:
    found = call.region.find(BandwidthPackage, call.text("BandwidthPackageId"))
    if found is None:
        refusal = not_found("InvalidBandwidthPackageId", "BandwidthPackageId")
        refusal.status = status
        raise refusal
    return found


def _eip(call: Call, key: str) -> Eip:
    found = call.region.find(Eip, key)
    if found is None:
        raise ApiError("InvalidIpInstanceId.NotFound", "The specified Eip InstanceId does not exist in our records.")
    return found
