"""EIPs in NAT mode: each maps to one private IP of one ENI. Always the VPC product: ECS's copies are deprecated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from generator.cloud.client import Cloud
from generator.cloud.faults import ApiRefusedError, Fault
from generator.cloud.records import Tags, tags_of, wrapped

# DescribeEipAddresses takes so many ids, and gives so many EIPs on a page; TagResources takes so many.
MOST = 50
PAGE = 100
PAGES_AT_ONCE = 4
MOST_TAGGED = 20
# AddCommonBandwidthPackageIps takes so many EIPs.
MOST_PACKED = 10

_ANSWERED = frozenset((Fault.THROTTLE, Fault.TRANSIENT))


@dataclass(frozen=True)
class Eip:
    """One EIP as DescribeEipAddresses shows it; `target` is the ENI (or instance) it is bound to, if any."""

    id: str
    address: str
    status: str
    target: str
    private_ip: str
    segment: str
    bandwidth: str
    charge: str
    isp: str
    created: str
    package: str = ""
    tags: Tags = ()


@dataclass(frozen=True)
class NewEip:
    """What EIPs to be allocated are like; `bandwidth` in Mbit/s."""

    bandwidth: int = 5
    charge: str = "PayByTraffic"
    isp: str = "BGP"
    pool: str = ""
    protected: bool = False
    resource_group: str = ""


@dataclass(frozen=True)
class Allocated:
    """An EIP that was allocated."""

    id: str
    address: str


def allocate(cloud: Cloud, new: NewEip, *, name: str, tags: Tags, token: str) -> Allocated:
    """Allocate one EIP with its tags."""
    from alibabacloud_vpc20160428 import models  # noqa: PLC0415

    request = models.AllocateEipAddressRequest(
        region_id=cloud.region,
        client_token=token,
        bandwidth=str(new.bandwidth),
        internet_charge_type=new.charge,
        instance_charge_type="PostPaid",
        isp=new.isp,
        name=name,
        public_ip_address_pool_id=new.pool or None,
        security_protection_types=["AntiDDoS_Enhanced"] if new.protected else None,
        resource_group_id=new.resource_group or None,
        tag=[models.AllocateEipAddressRequestTag(key=key, value=value) for key, value in tags],
    )
    body = cloud.vpc.call(cloud.vpc.client.allocate_eip_address_with_options, request)
    return Allocated(str(body.allocation_id), str(body.eip_address))


def allocate_segment(cloud: Cloud, new: NewEip, *, mask: int, token: str) -> str:
    """Allocate contiguous EIPs and return the segment's id. They have neither tags nor names: `tag` them."""
    from alibabacloud_vpc20160428 import models  # noqa: PLC0415

    request = models.AllocateEipSegmentAddressRequest(
        region_id=cloud.region,
        client_token=token,
        eip_mask=str(mask),
        bandwidth=str(new.bandwidth),
        internet_charge_type=new.charge,
        isp=new.isp,
        resource_group_id=new.resource_group or None,
    )
    body = cloud.vpc.call(cloud.vpc.client.allocate_eip_segment_address_with_options, request)
    return str(body.eip_segment_instance_id)


def associate(cloud: Cloud, eip: str, eni: str, private_ip: str, *, token: str) -> None:
    """Begin to map an EIP to a private IP of an ENI; one that is mapped so already is no error.

    Raises `ApiRefusedError` with STATE while the EIP is busy, or bound elsewhere, and with DONE when the private IP
    has another EIP.
    """
    from alibabacloud_vpc20160428 import models  # noqa: PLC0415

    request = models.AssociateEipAddressRequest(
        region_id=cloud.region,
        client_token=token,
        allocation_id=eip,
        instance_id=eni,
        instance_type="NetworkInterface",
        mode="NAT",
        private_ip_address=private_ip,
    )
    waited, delay = 0.0, 1.0
    while True:
        try:
            cloud.vpc.call(cloud.vpc.client.associate_eip_address_with_options, request, _ANSWERED)
            return
        except ApiRefusedError as refusal:
            if refusal.code == "InvalidAssociation.Duplicated":
                return
            if refusal.fault not in (Fault.STATE, Fault.DONE):
                raise
            if refusal.code != "TaskConflict" and is_bound(cloud, eip, eni, private_ip):
                return
            if refusal.fault is Fault.DONE or waited >= cloud.pace.busy:
                raise
        cloud.sleep(delay)
        waited, delay = waited + delay, min(2 * delay, cloud.pace.longest)


def is_bound(cloud: Cloud, eip: str, eni: str, private_ip: str) -> bool:
    """Return whether an EIP is mapped to a private IP of an ENI, or about to be."""
    return any(
        (one.target, one.private_ip) == (eni, private_ip) and one.status in ("Associating", "InUse")
        for one in describe(cloud, ids=[eip])
    )


def unassociate(cloud: Cloud, eip: str, *, token: str) -> None:
    """Begin to end the association of an EIP; one that has none, or is gone, is no error."""
    from alibabacloud_vpc20160428 import models  # noqa: PLC0415

    request = models.UnassociateEipAddressRequest(region_id=cloud.region, client_token=token, allocation_id=eip)
    waited, delay = 0.0, 1.0
    while True:
        try:
            cloud.vpc.call(cloud.vpc.client.unassociate_eip_address_with_options, request, _ANSWERED)
            return
        except ApiRefusedError as refusal:
            if refusal.fault not in (Fault.STATE, Fault.DONE):
                raise
            if all(one.status in ("Available", "Unassociating") for one in describe(cloud, ids=[eip])):
                return
            if waited >= cloud.pace.busy:
                raise
        cloud.sleep(delay)
        waited, delay = waited + delay, min(2 * delay, cloud.pace.longest)


def release(cloud: Cloud, eip: str) -> None:
    """Release an EIP as soon as it is bound to nothing; one that is gone is no error."""
    from alibabacloud_vpc20160428 import models  # noqa: PLC0415

    request = models.ReleaseEipAddressRequest(region_id=cloud.region, allocation_id=eip)
    _unless_gone(cloud, cloud.vpc.client.release_eip_address_with_options, request)


def release_segment(cloud: Cloud, segment: str, *, token: str) -> None:
    """Release all EIPs of a segment as soon as none is bound; one that is gone is no error."""
    from alibabacloud_vpc20160428 import models  # noqa: PLC0415

    request = models.ReleaseEipSegmentAddressRequest(
        region_id=cloud.region, client_token=token, segment_instance_id=segment
    )
    _unless_gone(cloud, cloud.vpc.client.release_eip_segment_address_with_options, request)


def _unless_gone(cloud: Cloud, operation: Any, request: Any) -> None:
    try:
        cloud.vpc.call(operation, request)
    except ApiRefusedError as refusal:
        if refusal.fault is not Fault.DONE:
            raise


def pack(cloud: Cloud, package: str, eips: Sequence[str], *, token: str) -> None:
    """Add up to 10 EIPs to an Internet Shared Bandwidth instance; ones that are in it are no error."""
    from alibabacloud_vpc20160428 import models  # noqa: PLC0415

    request = models.AddCommonBandwidthPackageIpsRequest(
        region_id=cloud.region, client_token=token, bandwidth_package_id=package, ip_instance_ids=list(eips)
    )
    try:
        cloud.vpc.call(cloud.vpc.client.add_common_bandwidth_package_ips_with_options, request)
    except ApiRefusedError as refusal:
        if refusal.code != "IpInstanceId.AlreadyInBandwidthPackage":
            raise


def tag(cloud: Cloud, eips: Sequence[str], tags: Tags) -> None:
    """Put tags on EIPs, 20 a call; others that they have stay."""
    from alibabacloud_vpc20160428 import models  # noqa: PLC0415

    pairs = [models.TagResourcesRequestTag(key=key, value=value) for key, value in tags]
    for start in range(0, len(eips), MOST_TAGGED):
        request = models.TagResourcesRequest(
            region_id=cloud.region,
            resource_type="EIP",
            resource_id=list(eips[start : start + MOST_TAGGED]),
            tag=pairs,
        )
        cloud.vpc.call(cloud.vpc.client.tag_resources_with_options, request)


def describe(
    cloud: Cloud, *, ids: Sequence[str] = (), tags: Mapping[str, str] | None = None, segment: str = "", status: str = ""
) -> list[Eip]:
    """Return EIPs that meet all that is given; ids that nobody knows are left out."""
    found: dict[str, Eip] = {}
    for start in range(0, len(ids), MOST) if ids else (0,):
        asked = {
            "allocation_id": ",".join(ids[start : start + MOST]) or None,
            "segment_instance_id": segment or None,
            "status": status or None,
        }
        # Pages shift when EIPs come and go meanwhile: one that two pages show is one EIP.
        found |= {one.id: one for body in _pages(cloud, asked, tags or {}) for one in _eips(body)}
    return list(found.values())


def _pages(cloud: Cloud, asked: Mapping[str, str | None], tags: Mapping[str, str]) -> list[Any]:
    """Return all pages of an answer. The first says how many there are; the rest are asked for side by side."""
    from alibabacloud_vpc20160428 import models  # noqa: PLC0415

    wanted = [models.DescribeEipAddressesRequestTag(key=key, value=value or None) for key, value in tags.items()]

    def page(number: int) -> Any:
        request = models.DescribeEipAddressesRequest(
            region_id=cloud.region, tag=wanted or None, page_number=number, page_size=PAGE, **asked
        )
        return cloud.vpc.call(cloud.vpc.client.describe_eip_addresses_with_options, request)

    found = [page(1)]
    with ThreadPoolExecutor(PAGES_AT_ONCE, "eips") as pool:
        while len(found) < (last := -(-max(body.total_count or 0 for body in found) // PAGE)):
            found += pool.map(page, range(len(found) + 1, last + 1))
    return found


def _eips(body: Any) -> list[Eip]:
    return [_eip(one) for one in wrapped(body.eip_addresses, "eip_address")]


def _eip(one: Any) -> Eip:
    return Eip(
        id=one.allocation_id,
        address=one.ip_address or "",
        status=one.status or "",
        target=one.instance_id or "",
        private_ip=one.private_ip_address or "",
        segment=one.segment_instance_id or "",
        bandwidth=one.bandwidth or "",
        charge=one.internet_charge_type or "",
        isp=one.isp or "",
        created=one.allocation_time or "",
        package=one.bandwidth_package_id or "",
        tags=tags_of(wrapped(one.tags, "tag")),
    )
