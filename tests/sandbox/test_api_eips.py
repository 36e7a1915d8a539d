"""What EIPs can be besides bound: lines, pools, protection, shared bandwidth; and how they are found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from generator.sandbox.region.behaviour import Behaviour
from tests.sandbox.region import REGION, Cloud, refusal, served


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served(behaviour=Behaviour(eips=200, windows=None)) as one:
        yield one


def shown(cloud: Cloud, **parameters: Any) -> list[Any]:
    return list(cloud.eip("DescribeEipAddresses", **{"region_id": REGION, **parameters}).eip_addresses.eip_address)


def found(cloud: Cloud, **parameters: Any) -> list[str]:
    return [eip.allocation_id for eip in shown(cloud, **parameters)]


def test_an_eip_is_what_was_asked_for(cloud: Cloud) -> None:
    asked = {
        "region_id": REGION,
        "bandwidth": "100",
        "internet_charge_type": "PayByTraffic",
        "instance_charge_type": "PostPaid",
        "isp": "BGP",
        "name": "egress-001",
        "public_ip_address_pool_id": "pippool-2vc0kxcedhquybdsz0000",
        "security_protection_types": ["AntiDDoS_Enhanced"],
        "resource_group_id": "rg-acfmxazb4ph6aiy",
        "tag": [{"Key": "fleet", "Value": "web"}],
    }
    body = cloud.eip("AllocateEipAddress", **asked)
    assert body.resource_group_id == "rg-acfmxazb4ph6aiy"
    other = cloud.allocate()
    (one,) = shown(cloud, allocation_id=body.allocation_id)
    assert (one.bandwidth, one.internet_charge_type, one.isp, one.name) == ("100", "PayByTraffic", "BGP", "egress-001")
    assert one.public_ip_address_pool_id == "pippool-2vc0kxcedhquybdsz0000"
    assert one.security_protection_types.security_protection_type == ["AntiDDoS_Enhanced"]
    for parameters in (
        {"public_ip_address_pool_id": "pippool-2vc0kxcedhquybdsz0000"},
        {"security_protection_enabled": True},
        {"resource_group_id": "rg-acfmxazb4ph6aiy"},
        {"eip_name": "egress-001"},
        {"eip_address": body.eip_address},
        {"eip_address": f"{body.eip_address},198.18.99.99"},
        {"tag": [{"Key": "fleet", "Value": "web"}]},
        {"allocation_id": f"{body.allocation_id},{other}", "tag": [{"Key": "fleet"}]},
    ):
        assert found(cloud, **parameters) == [body.allocation_id], parameters
    assert found(cloud, security_protection_enabled=False) == [other]
    # Empty is no condition.
    assert found(cloud, allocation_id="", eip_address="") == [body.allocation_id, other]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"isp": "ChinaTelecom"}, "IllegalParam.Isp"),
        ({"isp": "BGP_PRO"}, "IllegalParam.Isp"),
        ({"public_ip_address_pool_id": "my-pool"}, "ResourceNotFound.PublicIpAddressPool"),
        ({"security_protection_types": ["Moat"]}, "InvalidParameter"),
        ({"security_protection_types": ["AntiDDoS_Enhanced"] * 2}, "InvalidParameter"),
        ({"resource_group_id": "production"}, "InvalidResourceGroupId"),
        ({"bandwidth": "201", "internet_charge_type": "PayByTraffic"}, "InvalidBandwidth.Malformed"),
        ({"bandwidth": "501"}, "InvalidBandwidth.Malformed"),
        ({"bandwidth": "fast"}, "InvalidBandwidth.Malformed"),
        ({"instance_charge_type": "PrePaid"}, "InvalidParameter"),
        ({"ip_address": "198.18.0.9"}, "Sandbox.NotEmulated"),
    ],
)
def test_an_eip_that_cannot_be_is_refused(cloud: Cloud, changes: dict[str, Any], code: str) -> None:
    assert refusal(lambda: cloud.eip("AllocateEipAddress", **{"region_id": REGION, **changes}))[0] == code
    assert found(cloud) == []


def test_the_better_line_is_of_a_few_regions(cloud: Cloud) -> None:
    assert cloud.eip("AllocateEipAddress", region_id="cn-hongkong", isp="BGP_PRO").allocation_id


def test_eips_are_found_by_what_they_are_bound_to(cloud: Cloud) -> None:
    (instance,) = cloud.launch(network_interface=[{"SecondaryPrivateIpAddressCount": 1}])
    primary, secondary = cloud.enis(instance)
    of_instance, of_eni, _ = cloud.allocate(), cloud.allocate(), cloud.allocate()
    cloud.eip("AssociateEipAddress", region_id=REGION, allocation_id=of_instance, instance_id=instance)
    address = secondary.private_ip_sets.private_ip_set[1].private_ip_address
    cloud.bind(of_eni, secondary.network_interface_id, address)
    cloud.until(lambda: cloud.eip_status(of_instance) == "InUse")
    for parameters, expected in (
        ({"associated_instance_id": instance, "associated_instance_type": "EcsInstance"}, [of_instance]),
        ({"associated_instance_id": instance}, [of_instance]),
        ({"associated_instance_id": secondary.network_interface_id}, [of_eni]),
        # It is bound to the instance, as its client named it.
        ({"associated_instance_id": primary.network_interface_id}, []),
        ({"associated_instance_type": "NetworkInterface"}, [of_eni]),
        ({"status": "InUse"}, [of_instance, of_eni]),
    ):
        assert found(cloud, **parameters) == expected, parameters
    (by_eip,) = cloud.do(
        "DescribeInstances", region_id=REGION, eip_addresses=f'["{shown(cloud, allocation_id=of_eni)[0].ip_address}"]'
    ).instances.instance
    assert by_eip.instance_id == instance
    # An instance has one EIP of its own.
    another = cloud.allocate()
    code, _ = refusal(
        lambda: cloud.eip("AssociateEipAddress", region_id=REGION, allocation_id=another, instance_id=instance)
    )
    assert code == "InvalidAssociation.Duplicated"


def test_an_eip_changes_its_attributes(cloud: Cloud) -> None:
    eip = cloud.eip("AllocateEipAddress", region_id=REGION, internet_charge_type="PayByTraffic").allocation_id

    def change(**what: Any) -> Any:
        return cloud.eip("ModifyEipAddressAttribute", **{"region_id": REGION, "allocation_id": eip, **what})

    change(bandwidth="100", name="egress")
    (one,) = shown(cloud, allocation_id=eip)
    assert (one.bandwidth, one.name) == ("100", "egress")
    assert refusal(lambda: change(bandwidth="201"))[0] == "InvalidBandwidth.Malformed"
    assert refusal(lambda: change(allocation_id="eip-nothing")) == ("InvalidAllocationId.NotFound", 404)


# Shared bandwidth


def test_eips_share_bandwidth(cloud: Cloud) -> None:
    package = cloud.eip(
        "CreateCommonBandwidthPackage", region_id=REGION, bandwidth=200, name="egress", tag=[{"Key": "a", "Value": "b"}]
    ).bandwidth_package_id
    named = {"region_id": REGION, "bandwidth_package_id": package}
    eips = [cloud.allocate() for _ in range(3)]
    cloud.eip("AddCommonBandwidthPackageIps", **named, ip_instance_ids=eips[:2])
    cloud.eip("AddCommonBandwidthPackageIp", **named, ip_instance_id=eips[2])
    (one,) = cloud.eip("DescribeCommonBandwidthPackages", **named).common_bandwidth_packages.common_bandwidth_package
    assert [eip.allocation_id for eip in one.public_ip_addresses.public_ip_addresse] == eips
    assert (one.name, one.bandwidth, one.tags.tag[0].value) == ("egress", "200", "b")
    (eip,) = shown(cloud, allocation_id=eips[0])
    assert (eip.bandwidth_package_id, eip.bandwidth_package_bandwidth) == (package, "200")
    again = refusal(lambda: cloud.eip("AddCommonBandwidthPackageIps", **named, ip_instance_ids=eips[:1]))
    assert again == ("IpInstanceId.AlreadyInBandwidthPackage", 400)
    assert refusal(lambda: cloud.eip("DeleteCommonBandwidthPackage", **named))[0] == (
        "OperationFailed.BandwidthPackageNotEmpty"
    )
    cloud.eip("RemoveCommonBandwidthPackageIp", **named, ip_instance_id=eips[0])
    code, _ = refusal(lambda: cloud.eip("RemoveCommonBandwidthPackageIp", **named, ip_instance_id=eips[0]))
    assert code == "OperationUnsupported.IpNotInCbwp"
    cloud.eip("DeleteCommonBandwidthPackage", **named, force="true")
    assert all(eip.bandwidth_package_id == "" for eip in shown(cloud))


def test_adding_to_shared_bandwidth_is_all_or_none_and_has_its_limits(cloud: Cloud) -> None:
    package = cloud.eip("CreateCommonBandwidthPackage", region_id=REGION, bandwidth=200).bandwidth_package_id
    eips = [cloud.allocate() for _ in range(11)]

    def code(**changes: Any) -> str:
        parameters = {"region_id": REGION, "bandwidth_package_id": package, "ip_instance_ids": eips[:2], **changes}
        return refusal(lambda: cloud.eip("AddCommonBandwidthPackageIps", **parameters))[0]

    assert code(bandwidth_package_id="cbwp-nothing") == "InvalidBandwidthPackageId.NotFound"
    assert code(ip_instance_ids=[eips[0], "eip-nothing"]) == "InvalidIpInstanceId.NotFound"
    assert code(ip_instance_ids=eips) == "InvalidParameter"
    assert all(eip.bandwidth_package_id == "" for eip in shown(cloud))
