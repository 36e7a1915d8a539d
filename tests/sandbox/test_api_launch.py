"""RunInstances as launchers of fleets send it: names in sequence, disks, spot, resource groups; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from generator.sandbox.region.behaviour import Behaviour
from tests.sandbox.region import GROUP, LAUNCH, REGION, VSWITCH, Cloud, refusal, served


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as one:
        yield one


def shown(cloud: Cloud, ids: list[str]) -> list[Any]:
    body = cloud.do("DescribeInstances", region_id=REGION, instance_ids=json.dumps(ids))
    return list(body.instances.instance)


def refused(cloud: Cloud, **changes: Any) -> tuple[str, int]:
    return refusal(lambda: cloud.do("RunInstances", **{**LAUNCH, **changes}))


def disks(cloud: Cloud, **parameters: Any) -> list[Any]:
    return list(cloud.do("DescribeDisks", region_id=REGION, **parameters).disks.disk)


# Names


@pytest.mark.parametrize(
    ("given", "unique", "names"),
    [
        ("web-[7,3]", False, ["web-007", "web-008"]),
        # A number at the end is suffix enough; one within is not.
        ("web-[7,3]", True, ["web-007", "web-008"]),
        ("web-[7,3]-a", False, ["web-007-a", "web-008-a"]),
        ("web-[7,3]-a", True, ["web-007-a001", "web-008-a002"]),
        ("web-[]", False, ["web-000000", "web-000001"]),
        ("web-[,]", False, ["web-000000", "web-000001"]),
        ("web-[99,]", False, ["web-000099", "web-000100"]),
        ("web-[,2]", False, ["web-00", "web-01"]),
        # More digits than asked for are six.
        ("web-[999,1]", False, ["web-000999", "web-001000"]),
        ("web-[9,1]", False, ["web-9", "web-10"]),
        ("web", True, ["web001", "web002"]),
        ("web", False, ["web", "web"]),
    ],
)
def test_names_count_as_the_brackets_say(cloud: Cloud, given: str, unique: bool, names: list[str]) -> None:
    ids = cloud.launch(2, instance_name=given, host_name=given, unique_suffix=unique)
    assert [one.instance_name for one in shown(cloud, ids)] == names
    assert [one.host_name for one in shown(cloud, ids)] == names


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"instance_name": "web-[7, 3]"}, "InvalidInstanceName.CustomMalformed"),
        ({"instance_name": "web-[7]"}, "InvalidInstanceName.CustomMalformed"),
        ({"instance_name": "web-[1,7]"}, "InvalidInstanceName.CustomMalformed"),
        ({"instance_name": "[7,3]"}, "InvalidInstanceName.Malformed"),
        ({"instance_name": "web [7,3]"}, "InvalidInstanceName.Malformed"),
        ({"instance_name": "7web"}, "InvalidInstanceName.Malformed"),
        ({"instance_name": "w" * 126, "unique_suffix": True, "amount": 2}, "InvalidParams.InstanceNameExceed"),
        ({"host_name": "h" * 62, "unique_suffix": True, "amount": 2}, "InvalidParams.HostnameExceed"),
        ({"host_name": "a..b"}, "InvalidHostName.Malformed"),
        ({"host_name": "a"}, "InvalidHostName.Malformed"),
        ({"host_name": "web", "host_names": ["a1"]}, "InvalidHostname.SingleAndMultiConflict"),
        ({"host_names": ["a1", "b1"]}, "InvalidHostname.SizeInvalid"),
    ],
)
def test_names_that_cannot_be_are_refused(cloud: Cloud, changes: dict[str, Any], code: str) -> None:
    assert refused(cloud, **changes)[0] == code


def test_host_names_may_be_given_one_by_one(cloud: Cloud) -> None:
    ids = cloud.launch(2, host_names=["alpha", "${instance_id}"])
    assert [one.host_name for one in shown(cloud, ids)] == ["alpha", ids[1]]


# What fleets ask for


def test_a_fleet_s_request_is_taken_whole_and_shown(cloud: Cloud) -> None:
    ids = cloud.launch(
        2,
        v_switch_id=None,
        security_group_id=None,
        network_interface=[
            {"InstanceType": "Primary", "VSwitchId": VSWITCH, "SecurityGroupIds": [GROUP]},
            {"InstanceType": "Secondary", "VSwitchId": VSWITCH, "SecurityGroupIds": [GROUP]}
            | {"SecondaryPrivateIpAddressCount": 4, "DeleteOnRelease": False, "QueueNumber": 2},
        ],
        system_disk={"Category": "cloud_essd", "Size": "50", "PerformanceLevel": "PL1", "Encrypted": "true"},
        data_disk=[{"Category": "cloud_essd", "Size": 500, "PerformanceLevel": "PL2", "DiskName": "cache"}],
        ram_role_name="egress-instance",
        resource_group_id="rg-acfmxazb4ph6aiy",
        spot_strategy="SpotWithPriceLimit",
        spot_price_limit=0.25,
        spot_duration=0,
        spot_interruption_behavior="Stop",
        tag=[{"Key": "fleet", "Value": "web"}],
    )
    for one in shown(cloud, ids):
        assert (one.spot_strategy, one.spot_price_limit, one.spot_duration) == ("SpotWithPriceLimit", 0.25, 0)
        assert (one.spot_interruption_behavior, one.resource_group_id) == ("Stop", "rg-acfmxazb4ph6aiy")
        system, data = disks(cloud, instance_id=one.instance_id)
        assert (system.type, system.size, system.performance_level, system.encrypted) == ("system", 50, "PL1", True)
        assert (data.type, data.size, data.disk_name, data.status) == ("data", 500, "cache", "In_use")
        assert [tag.tag_value for tag in data.tags.tag] == ["web"]
        assert {eni.resource_group_id for eni in cloud.enis(one.instance_id)} == {"rg-acfmxazb4ph6aiy"}
    body = cloud.do("DescribeInstanceRamRole", region_id=REGION, instance_ids=json.dumps(ids))
    roles = body.instance_ram_role_sets.instance_ram_role_set
    assert [(one.instance_id, one.ram_role_name) for one in roles] == [(key, "egress-instance") for key in ids]


def test_disks_are_found_tagged_and_deleted_when_an_instance_leaves_them_behind(cloud: Cloud) -> None:
    data = [{"Size": 20}, {"Size": 30, "DeleteWithInstance": False, "DiskName": "kept"}]
    (key,) = cloud.launch(data_disk=data)
    system, gone, kept = [one.disk_id for one in disks(cloud)]
    assert [one.disk_id for one in disks(cloud, disk_type="data")] == [gone, kept]
    assert [one.disk_id for one in disks(cloud, delete_with_instance=False)] == [kept]
    assert [one.disk_id for one in disks(cloud, disk_ids=json.dumps([system]))] == [system]
    tags = [{"Key": "a", "Value": "b"}]
    cloud.do("TagResources", region_id=REGION, resource_type="disk", resource_id=[kept], tag=tags)
    assert [one.disk_id for one in disks(cloud, tag=tags)] == [kept]
    assert refusal(lambda: cloud.do("DeleteDisk", disk_id=kept)) == ("IncorrectDiskStatus", 403)
    cloud.do("DeleteInstance", instance_id=key, force=True)
    cloud.until(lambda: cloud.status(key) is None)
    (left,) = disks(cloud)
    assert (left.disk_id, left.status, left.instance_id) == (kept, "Available", "")
    assert [one.disk_id for one in disks(cloud, status="Available")] == [kept]
    cloud.do("DeleteDisk", disk_id=kept)
    assert disks(cloud) == []
    assert refusal(lambda: cloud.do("DeleteDisk", disk_id=kept)) == ("InvalidDiskId.NotFound", 404)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"data_disk": [{"Category": "cloud_essd"}]}, "InvalidDataDiskSize.ValueNotSupported"),
        ({"data_disk": [{"Category": "cloud_essd", "Size": 19}]}, "InvalidDataDiskSize.ValueNotSupported"),
        ({"data_disk": [{"Size": 65_537}]}, "InvalidDataDiskSize.ValueNotSupported"),
        ({"data_disk": [{"Size": 460, "PerformanceLevel": "PL2"}]}, "OperationDenied.PerformanceLevelNotMatch"),
        ({"data_disk": [{"Size": 20, "PerformanceLevel": "PL9"}]}, "InvalidPerformanceLevel.Malformed"),
        ({"data_disk": [{"Size": 20, "Category": "floppy"}]}, "InvalidDataDiskCategory.ValueNotSupported"),
        ({"data_disk": [{"Size": 20, "Category": "cloud"}]}, "InvalidInstanceType.NotSupportDiskCategory"),
        ({"data_disk": [{"Size": 20, "DiskName": "1"}]}, "InvalidDiskName.Malformed"),
        ({"data_disk": [{"Size": 20}] * 17}, "InstanceDiskNumLimitExceed"),
        ({"data_disk": [{"Size": 20, "SnapshotId": "s-1"}]}, "Sandbox.NotEmulated"),
        ({"system_disk": {"Size": "2049"}}, "InvalidSystemDiskSize.ValueNotSupported"),
        ({"system_disk": {"Category": "floppy"}}, "InvalidSystemDiskCategory.ValueNotSupported"),
        (
            {"system_disk": {"Category": "cloud_essd", "Size": "40", "PerformanceLevel": "PL2"}},
            "InvalidSystemDiskSize.LessThanMinSize",
        ),
        ({"resource_group_id": "production"}, "InvalidResourceGroup.NotFound"),
        ({"spot_strategy": "Cheap"}, "InvalidSpotStrategy"),
        ({"spot_strategy": "SpotWithPriceLimit"}, "InvalidSpotPriceLimit"),
        ({"spot_strategy": "SpotAsPriceGo", "spot_duration": 3}, "InvalidSpotDuration"),
        ({"spot_interruption_behavior": "Cry"}, "InvalidSpotInterruptionBehavior"),
        ({"spot_strategy": "SpotAsPriceGo", "deletion_protection": True}, "InvalidChargeType.ValueNotSupported"),
        ({"image_family": "debian"}, "UnexpectedImageFamily.ImageIdSupplied"),
        ({"tag": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}, "Duplicate.TagKey"),
        ({"tag": [{"Key": f"k{n}", "Value": ""} for n in range(21)]}, "NumberExceed.Tags"),
        ({"security_group_ids": [GROUP]}, "InvalidSecurityGroupId.SingleIdAndMultiIdConflict"),
        ({"security_group_id": None, "security_group_ids": [GROUP] * 2}, "InvalidParameter.SecurityGroupIdRepeated"),
        ({"network_interface_queue_number": 3}, "InvalidOperation.MaxEniQueueNumberExceeded"),
        (
            {"amount": 2, "private_ip_address": "172.16.7.1", "network_interface": [{"VSwitchId": VSWITCH}]},
            "InvalidParam.SecondaryNetworkInterface",
        ),
        (
            {"amount": 2, "network_interface": [{"PrimaryIpAddress": "172.16.7.1"}]},
            "InvalidPrimaryIpAddress.SizeInvalid",
        ),
    ],
)
def test_what_a_fleet_cannot_have_is_refused(cloud: Cloud, changes: dict[str, Any], code: str) -> None:
    assert refused(cloud, **changes)[0] == code
    assert disks(cloud) == []


def test_private_ips_of_one_s_choice_are_kept_free_for_the_eni_that_names_them(cloud: Cloud) -> None:
    # The lowest free one, which the primary ENI would get.
    nic = {"PrimaryIpAddress": "172.16.0.1", "SecondaryPrivateIpAddressCount": 1}
    (key,) = cloud.launch(network_interface=[nic])
    primary, secondary = cloud.enis(key)
    assert secondary.private_ip_address == "172.16.0.1"
    assert primary.private_ip_address == "172.16.0.2"


# Attributes and prices


def test_attributes_of_an_instance_change(cloud: Cloud) -> None:
    (key,) = cloud.launch(deletion_protection=True, instance_name="before")
    vpc = "vpc-bp1sandbox"
    other = cloud.do("CreateSecurityGroup", region_id=REGION, vpc_id=vpc).security_group_id
    assert refusal(lambda: cloud.do("DeleteInstance", instance_id=key, force=True))[0] == (
        "InvalidOperation.DeletionProtection"
    )
    cloud.do(
        "ModifyInstanceAttribute",
        instance_id=key,
        instance_name="after",
        host_name="after",
        description="it changed",
        deletion_protection=False,
        user_data="I2Nsb3VkLWNvbmZpZwo=",
        security_group_ids=[other],
    )
    one = cloud.do("DescribeInstanceAttribute", instance_id=key)
    assert (one.instance_name, one.host_name, one.description) == ("after", "after", "it changed")
    assert one.security_group_ids.security_group_id == [other]
    assert one.vpc_attributes.vpc_id == vpc
    assert cloud.do("DescribeUserData", region_id=REGION, instance_id=key).user_data == "I2Nsb3VkLWNvbmZpZwo="
    cloud.do("DeleteInstance", instance_id=key, force=True)
    cloud.until(lambda: cloud.status(key) is None)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"instance_name": "7"}, "InvalidInstanceName.Malformed"),
        ({"instance_name": "web-[1,2]"}, "InvalidInstanceName.Malformed"),
        ({"host_name": "-"}, "InvalidHostName.Malformed"),
        ({"user_data": "###"}, "InvalidUserData.Base64FormatInvalid"),
        ({"security_group_ids": ["sg-nothing"]}, "InvalidSecurityGroupId.NotFound"),
        ({"password": "secret"}, "Sandbox.NotEmulated"),
        ({"instance_id": "i-nothing"}, "InvalidInstanceId.NotFound"),
        ({"deletion_protection": True}, "InvalidChargeType.ValueNotSupported"),
    ],
)
def test_attributes_that_cannot_be_are_refused(cloud: Cloud, changes: dict[str, Any], code: str) -> None:
    (key,) = cloud.launch(spot_strategy="SpotAsPriceGo")
    assert refusal(lambda: cloud.do("ModifyInstanceAttribute", **{"instance_id": key, **changes}))[0] == code


def price(cloud: Cloud, **changes: Any) -> float:
    parameters = {"region_id": REGION, "instance_type": "ecs.g7.large", **changes}
    shown = cloud.do("DescribePrice", **parameters).price_info.price
    assert shown.currency == "CNY"
    assert round(sum(part.trade_price for part in shown.detail_infos.detail_info), 6) == shown.trade_price
    return float(shown.trade_price)


def test_prices_grow_with_what_is_asked_for(cloud: Cloud) -> None:
    plain = price(cloud)
    assert price(cloud, amount=10) == pytest.approx(10 * plain)
    assert price(cloud, instance_type="ecs.g7.xlarge") > plain
    assert price(cloud, data_disk=[{"Category": "cloud_essd", "Size": 500, "PerformanceLevel": "PL2"}]) > plain
    assert price(cloud, system_disk={"Category": "cloud_essd", "Size": 100}) > plain
    assert price(cloud, spot_strategy="SpotAsPriceGo", spot_duration=1) < plain
    for changes, code in (
        ({"instance_type": "ecs.nothing"}, "InvalidInstanceType.ValueNotSupported"),
        ({"instance_type": None}, "MissingParameter"),
        ({"amount": 1001}, "InvalidParameter"),
        ({"image_id": "m-nothing"}, "InvalidImageId.NotFound"),
        ({"zone_id": "cn-atlantis-a"}, "InvalidZoneId.NotFound"),
        ({"resource_type": "ddh"}, "InvalidParameter"),
    ):
        assert refusal(lambda c=changes: price(cloud, **c))[0] == code  # type: ignore[misc]


def test_an_account_has_its_limits_and_tells_them() -> None:
    with served(behaviour=Behaviour(vcpus=5, enis=4, windows=None)) as cloud:

        def limits() -> dict[str, str]:
            body = cloud.do("DescribeAccountAttributes", region_id=REGION)
            shown = body.account_attribute_items.account_attribute_item
            return {one.attribute_name: one.attribute_values.value_item[0].value for one in shown}

        assert limits()["max-postpaid-instance-vcpu-count"] == "5"
        cloud.launch(2)
        assert limits()["used-postpaid-instance-vcpu-count"] == "4"
        assert refused(cloud) == ("QuotaExceed.ElasticQuota", 403)
        # Spot instances have a quota of their own.
        cloud.launch(spot_strategy="SpotAsPriceGo")
        assert limits()["used-spot-instance-vcpu-count"] == "2"
        new = {"region_id": REGION, "v_switch_id": VSWITCH, "security_group_id": GROUP}
        cloud.do("CreateNetworkInterface", **new)
        assert refusal(lambda: cloud.do("CreateNetworkInterface", **new)) == ("MaxEniCountExceeded", 403)
        named = {"region_id": REGION, "attribute_name": ["instance-network-type"]}
        (one,) = cloud.do("DescribeAccountAttributes", **named).account_attribute_items.account_attribute_item
        assert one.attribute_values.value_item[0].value == "vpc"
        code, _ = refusal(lambda: cloud.do("DescribeAccountAttributes", region_id=REGION, attribute_name=["luck"]))
        assert code == "InvalidParameter"
