"""Instances through the official SDK: launched, shown, stopped, started, deleted, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from generator.sandbox.region.behaviour import Behaviour, Delays
from generator.sandbox.region.clock import SteppedClock
from generator.sandbox.region.faults import Fault, Kind
from generator.sandbox.region.model import Instance
from tests.sandbox.region import GROUP, IMAGE, LAUNCH, REGION, VSWITCH, ZONE, Cloud, refusal, served


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as one:
        yield one


def run(cloud: Cloud, **changes: Any) -> list[str]:
    parameters = {name: value for name, value in {**LAUNCH, **changes}.items() if value is not None}
    return list(cloud.do("RunInstances", **parameters).instance_id_sets.instance_id_set)


def refused(cloud: Cloud, **changes: Any) -> str:
    return refusal(lambda: run(cloud, **changes))[0]


def test_an_instance_goes_from_pending_over_starting_to_running() -> None:
    clock = SteppedClock()
    delays = Delays(pending=5, starting=10, visible=0)
    with served(clock=clock, behaviour=Behaviour(delays=delays)) as cloud:
        (key,) = run(cloud)
        seen = [cloud.status(key)]
        for _ in range(4):
            clock.advance(4)
            seen.append(cloud.status(key))
        assert seen == ["Pending", "Pending", "Starting", "Starting", "Running"]


def test_describe_shows_an_instance_only_after_a_while() -> None:
    clock = SteppedClock()
    with served(clock=clock, behaviour=Behaviour(delays=Delays(visible=3))) as cloud:
        (key,) = run(cloud)
        assert cloud.status(key) is None
        assert cloud.enis(key) == []
        body = cloud.do("DescribeInstanceStatus", region_id=REGION, instance_id=[key])
        assert body.instance_statuses.instance_status == []
        clock.advance(4)
        assert cloud.status(key) == "Running"
        assert len(cloud.enis(key)) == 1


def test_one_call_makes_instances_with_a_secondary_eni_of_many_private_ips(cloud: Cloud) -> None:
    nics = [
        {"InstanceType": "Primary", "VSwitchId": VSWITCH, "SecurityGroupIds": [GROUP]}
        | {"SecondaryPrivateIpAddressCount": 2},
        {"InstanceType": "Secondary", "SecondaryPrivateIpAddressCount": 5, "NetworkInterfaceName": "second"},
    ]
    ids = cloud.launch(
        3,
        v_switch_id=None,
        security_group_id=None,
        network_interface=nics,
        tag=[{"Key": "fleet", "Value": "web"}],
        instance_name="web",
        unique_suffix=True,
    )
    every = set()
    for key in ids:
        primary, secondary = cloud.enis(key)
        assert (primary.type, secondary.type) == ("Primary", "Secondary")
        sets = [eni.private_ip_sets.private_ip_set for eni in (primary, secondary)]
        assert [len(one) for one in sets] == [3, 6]
        assert [[ip.primary for ip in one].count(True) for one in sets] == [1, 1]
        every |= {ip.private_ip_address for one in sets for ip in one}
        # The cloud tags the primary ENI with the instance, and no other.
        assert [(tag.tag_key, tag.tag_value) for tag in primary.tags.tag] == [("fleet", "web")]
        assert secondary.tags.tag == []
        assert secondary.network_interface_name == "second"
    assert len(every) == 27
    shown = cloud.do("DescribeInstances", region_id=REGION, instance_ids=json.dumps(ids)).instances.instance
    assert [one.instance_name for one in shown] == ["web001", "web002", "web003"]
    assert shown[0].tags.tag[0].tag_key == "fleet"


def test_private_ips_may_be_chosen_and_follow_each_other(cloud: Cloud) -> None:
    ids = cloud.launch(3, private_ip_address="172.16.9.250")
    assert [cloud.enis(key)[0].private_ip_address for key in ids] == ["172.16.9.250", "172.16.9.251", "172.16.9.252"]
    assert refused(cloud, private_ip_address="172.16.9.251") == "InvalidPrivateIpAddress.Duplicated"


@pytest.mark.parametrize("reserved", ["172.16.0.0", "172.16.255.253", "172.16.255.254", "172.16.255.255", "10.1.1.1"])
def test_addresses_that_the_vswitch_cannot_give_are_refused(cloud: Cloud, reserved: str) -> None:
    assert refused(cloud, private_ip_address=reserved) == "InvalidPrivateIpAddress"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"instance_type": "ecs.nothing"}, "InvalidInstanceType.ValueNotSupported"),
        ({"instance_type": None}, "MissingParameter"),
        ({"image_id": "m-nothing"}, "InvalidImageId.NotFound"),
        ({"image_id": None}, "MissingParameter"),
        ({"image_id": None, "image_family": "nobody"}, "InvalidImageFamily.MissingAvailableImage"),
        ({"instance_type": "ecs.g8y.large"}, "ImageNotSupportInstanceType"),
        ({"v_switch_id": "vsw-nothing"}, "InvalidVSwitchId.NotFound"),
        ({"v_switch_id": None}, "MissingParameter"),
        ({"security_group_id": "sg-nothing"}, "InvalidSecurityGroupId.NotFound"),
        ({"security_group_id": None}, "MissingParameter"),
        ({"zone_id": "cn-hangzhou-k"}, "InvalidParameter.Mismatch"),
        ({"key_pair_name": "nobody"}, "InvalidKeyPairName.NotFound"),
        ({"amount": 101}, "InvalidParam.Amount"),
        ({"amount": 0}, "InvalidParam.Amount"),
        ({"amount": 2, "min_amount": 3}, "InvalidMinAmount.Malformed"),
        ({"private_ip_address": "nonsense"}, "InvalidPrivateIpAddress.Malformed"),
        ({"http_tokens": "perhaps"}, "InvalidHttpTokens.NotSupported"),
        ({"host_name": "-x-"}, "InvalidHostName.Malformed"),
        ({"client_token": "x" * 65}, "InvalidParameter"),
        ({"client_token": "ä"}, "InvalidParameter"),
        ({"tag": [{"Key": "acs:x", "Value": "1"}]}, "InvalidTagKey.Malformed"),
        ({"internet_max_bandwidth_out": 5}, "Sandbox.NotEmulated"),
        ({"network_interface": [{"SecondaryPrivateIpAddressCount": 50}]}, "InvalidParameter"),
        ({"network_interface": [{"SecondaryPrivateIpAddressCount": 6}]}, "InvalidOperation.Ipv4CountExceeded"),
        ({"network_interface": [{"VSwitchId": VSWITCH}] * 3}, "InvalidParameter.EniNumExceededWithLaunchEcs"),
        ({"network_interface": [{"InstanceType": "Primary", "VSwitchId": VSWITCH}]}, "InvalidParameter.Conflict"),
        ({"network_interface": [{"NetworkInterfaceId": "eni-x"}], "amount": 2}, "InvalidParam.Amount"),
        ({"network_interface": [{"NetworkInterfaceId": "eni-x"}]}, "InvalidEniId.NotFound"),
        ({"system_disk": {"Size": "10"}}, "InvalidSystemDiskSize.LessThanImageSize"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(cloud: Cloud, changes: dict[str, Any], code: str) -> None:
    assert refused(cloud, **changes) == code
    assert cloud.do("DescribeNetworkInterfaces", region_id=REGION).total_count == 0
    assert cloud.do("DescribeInstances", region_id=REGION).total_count == 0


def test_a_vswitch_runs_out_of_addresses_and_nothing_is_made(cloud: Cloud) -> None:
    vpc = cloud.eip("CreateVpc", region_id=REGION, cidr_block="10.0.0.0/16")
    small = cloud.eip(
        "CreateVSwitch", region_id=REGION, vpc_id=vpc.vpc_id, zone_id=ZONE, cidr_block="10.0.1.0/28"
    ).v_switch_id
    group = cloud.do("CreateSecurityGroup", region_id=REGION, vpc_id=vpc.vpc_id).security_group_id
    shown = cloud.eip("DescribeVSwitchAttributes", region_id=REGION, v_switch_id=small)
    assert shown.available_ip_address_count == 12
    where = {"v_switch_id": small, "security_group_id": group}
    assert refused(cloud, **where, amount=13) == "InvalidVSwitchId.IpNotEnough"
    run(cloud, **where, amount=12)
    assert refused(cloud, **where) == "InvalidVSwitchId.IpNotEnough"
    shown = cloud.eip("DescribeVSwitchAttributes", region_id=REGION, v_switch_id=small)
    assert shown.available_ip_address_count == 0


def test_stock_bounds_what_is_made_and_min_amount_what_is_enough() -> None:
    with served(behaviour=Behaviour(stock={(ZONE, "ecs.g7.large"): 5}, windows=None)) as cloud:
        assert refusal(lambda: run(cloud, amount=6)) == ("OperationDenied.NoStock", 403)
        assert len(run(cloud, amount=9, min_amount=4)) == 5
        assert refused(cloud) == "OperationDenied.NoStock"
        body = cloud.do(
            "DescribeAvailableResource", region_id=REGION, destination_resource="InstanceType", zone_id=ZONE
        )
        (zone,) = body.available_zones.available_zone
        supported = zone.available_resources.available_resource[0].supported_resources.supported_resource
        assert {one.value: one.status for one in supported}["ecs.g7.large"] == "SoldOut"


def test_stock_can_run_out_on_request(cloud: Cloud) -> None:
    cloud.run(lambda: cloud.account.faults.add(Fault(Kind.NO_STOCK, "RunInstances", amount=2)))
    assert refused(cloud, amount=3) == "OperationDenied.NoStock"
    assert len(run(cloud, amount=3)) == 3


def test_instances_that_lost_the_race_for_stock_vanish_and_leave_an_event(cloud: Cloud) -> None:
    cloud.run(lambda: cloud.account.faults.add(Fault(Kind.VANISH, "RunInstances", amount=1)))
    kept, lost = run(cloud, amount=2)
    cloud.until(lambda: cloud.status(kept) == "Running" and cloud.status(lost) is None)
    cloud.until(lambda: cloud.do("DescribeInstanceHistoryEvents", region_id=REGION, instance_id=lost).total_count == 1)
    body = cloud.do("DescribeInstanceHistoryEvents", region_id=REGION, instance_id=lost)
    (event,) = body.instance_system_event_set.instance_system_event_type
    assert event.event_type.name == "SystemFailure.Delete"
    assert cloud.enis(lost) == []


def test_a_dry_run_checks_everything_and_makes_nothing(cloud: Cloud) -> None:
    assert refusal(lambda: run(cloud, dry_run=True)) == ("DryRunOperation", 400)
    assert refused(cloud, dry_run=True, image_id="m-nothing") == "InvalidImageId.NotFound"
    assert cloud.do("DescribeInstances", region_id=REGION).total_count == 0
    first = run(cloud)
    with served() as other:
        assert run(other) == first, "a dry run took an id"


def test_a_client_token_gives_the_same_instances_again(cloud: Cloud) -> None:
    first = run(cloud, amount=2, client_token="token")
    assert run(cloud, amount=2, client_token="token") == first
    assert cloud.account.regions[REGION].count(Instance) == 2
    assert refused(cloud, amount=3, client_token="token") == "IdempotentParameterMismatch"
    assert run(cloud, amount=2, client_token="Token") != first


def test_a_refused_call_does_not_use_its_token_up(cloud: Cloud) -> None:
    assert refused(cloud, client_token="t", image_id="m-nothing") == "InvalidImageId.NotFound"
    assert len(run(cloud, client_token="t")) == 1


def test_create_instance_makes_one_that_does_not_start(cloud: Cloud) -> None:
    key = cloud.do("CreateInstance", **LAUNCH, host_name="${instance_id}").instance_id
    cloud.until(lambda: cloud.status(key) == "Stopped")
    (shown,) = cloud.do("DescribeInstances", region_id=REGION, instance_ids=f'["{key}"]').instances.instance
    assert shown.host_name == key
    cloud.do("StartInstance", instance_id=key)
    cloud.until(lambda: cloud.status(key) == "Running")


def test_power_follows_the_statuses(cloud: Cloud) -> None:
    (key,) = cloud.launch()
    assert refusal(lambda: cloud.do("StartInstance", instance_id=key)) == ("IncorrectInstanceStatus", 403)
    cloud.do("RebootInstance", instance_id=key)
    cloud.do("StopInstance", instance_id=key)
    assert refusal(lambda: cloud.do("StopInstance", instance_id=key))[0] == "IncorrectInstanceStatus"
    cloud.until(lambda: cloud.status(key) == "Stopped")
    assert refusal(lambda: cloud.do("RebootInstance", instance_id=key))[0] == "IncorrectInstanceStatus"
    cloud.do("DeleteInstance", instance_id=key)
    cloud.until(lambda: cloud.status(key) is None)
    assert refusal(lambda: cloud.do("DeleteInstance", instance_id=key)) == ("InvalidInstanceId.NotFound", 404)


def test_many_instances_are_stopped_started_rebooted_and_deleted_at_once(cloud: Cloud) -> None:
    ids = cloud.launch(3)
    body = cloud.do("StopInstances", region_id=REGION, instance_id=ids)
    assert {one.current_status for one in body.instance_responses.instance_response} == {"Stopping"}
    cloud.until(lambda: all(cloud.status(key) == "Stopped" for key in ids))
    cloud.do("StartInstances", region_id=REGION, instance_id=ids[:2])
    cloud.until(lambda: all(cloud.status(key) == "Running" for key in ids[:2]))
    assert refusal(lambda: cloud.do("RebootInstances", region_id=REGION, instance_id=ids))[0] == (
        "IncorrectInstanceStatus"
    )
    body = cloud.do("RebootInstances", region_id=REGION, instance_id=ids, batch_optimization="SuccessFirst")
    codes = [one.code for one in body.instance_responses.instance_response]
    assert codes == ["200", "200", "IncorrectInstanceStatus"]
    assert refusal(lambda: cloud.do("DeleteInstances", region_id=REGION, instance_id=ids))[0] == (
        "IncorrectInstanceStatus"
    )
    assert cloud.status(ids[2]) == "Stopped", "deleting is all or none"
    cloud.do("DeleteInstances", region_id=REGION, instance_id=ids, force=True)
    cloud.until(lambda: all(cloud.status(key) is None for key in ids))
    assert refusal(lambda: cloud.do("DeleteInstances", region_id=REGION, instance_id=["i-x"] * 101))[0] == (
        "InvalidParameter"
    )


def test_a_protected_instance_is_not_deleted(cloud: Cloud) -> None:
    (key,) = cloud.launch(deletion_protection=True)
    code, _ = refusal(lambda: cloud.do("DeleteInstance", instance_id=key, force=True))
    assert code == "InvalidOperation.DeletionProtection"


def test_an_instance_that_initializes_is_not_deleted() -> None:
    with served(clock=SteppedClock()) as cloud:
        (key,) = run(cloud)
        code, _ = refusal(lambda: cloud.do("DeleteInstance", instance_id=key, force=True))
        assert code == "IncorrectInstanceStatus.Initializing"


def test_instances_are_found_by_what_they_are(cloud: Cloud) -> None:
    (one,) = cloud.launch(instance_name="one", tag=[{"Key": "fleet", "Value": "a"}])
    (two,) = cloud.launch(instance_name="two", tag=[{"Key": "fleet", "Value": "b"}])
    address = cloud.enis(two)[0].private_ip_address
    for parameters, expected in (
        ({"instance_name": "one"}, [one]),
        ({"tag": [{"Key": "fleet", "Value": "b"}]}, [two]),
        ({"tag": [{"Key": "fleet"}]}, [one, two]),
        ({"private_ip_addresses": json.dumps([address])}, [two]),
        ({"status": "Stopped"}, []),
        ({"v_switch_id": VSWITCH, "zone_id": ZONE, "image_id": IMAGE}, [one, two]),
        ({"security_group_id": "sg-other"}, []),
        ({"instance_ids": "[]"}, []),
    ):
        shown = cloud.do("DescribeInstances", region_id=REGION, **parameters).instances.instance
        assert [instance.instance_id for instance in shown] == expected, parameters
    code, _ = refusal(lambda: cloud.do("DescribeInstances", region_id=REGION, instance_ids="i-1"))
    assert code == "InvalidInstanceIds.Malformed"


def test_pages_by_token_miss_and_repeat_nothing_while_instances_go(cloud: Cloud) -> None:
    ids = run(cloud, amount=25)
    cloud.until(lambda: cloud.do("DescribeInstances", region_id=REGION).total_count == 25)
    cloud.until(lambda: cloud.status(ids[0]) == "Running")
    seen, token = [], None
    while True:
        body = cloud.do("DescribeInstances", region_id=REGION, max_results=10, next_token=token)
        seen += [one.instance_id for one in body.instances.instance]
        token = body.next_token
        if not token:
            break
        if len(seen) == 10:
            cloud.do("DeleteInstance", instance_id=ids[0], force=True)
            cloud.until(lambda: cloud.status(ids[0]) is None)
    assert seen == ids
    body = cloud.do("DescribeInstances", region_id=REGION, page_size=10, page_number=3)
    assert (len(body.instances.instance), body.total_count, body.page_number) == (4, 24, 3)
    # A page has ten at least, and a hundred at most.
    for asked, got in ((1, 10), (101, 24)):
        body = cloud.do("DescribeInstances", region_id=REGION, max_results=asked)
        assert len(body.instances.instance) == got
    code, _ = refusal(lambda: cloud.do("DescribeInstances", region_id=REGION, next_token="!"))
    assert code == "InvalidParameter"


def test_metadata_options_change(cloud: Cloud) -> None:
    (key,) = cloud.launch(http_tokens="required")
    cloud.do(
        "ModifyInstanceMetadataOptions",
        region_id=REGION,
        instance_id=key,
        http_endpoint="enabled",
        http_tokens="optional",
        http_put_response_hop_limit=3,
    )
    (shown,) = cloud.do("DescribeInstances", region_id=REGION).instances.instance
    options = shown.metadata_options
    assert (options.http_tokens, options.http_put_response_hop_limit) == ("optional", 3)


def test_instance_types_say_how_many_enis_and_private_ips_they_hold(cloud: Cloud) -> None:
    (kind,) = cloud.do("DescribeInstanceTypes", instance_types=["ecs.g7.large"]).instance_types.instance_type
    assert (kind.eni_quantity, kind.eni_private_ip_address_quantity) == (3, 6)
    body = cloud.do("DescribeInstanceTypes", minimum_eni_quantity=4, minimum_eni_private_ip_address_quantity=20)
    assert all(
        one.eni_quantity >= 4 and one.eni_private_ip_address_quantity >= 20 for one in body.instance_types.instance_type
    )
    assert refusal(lambda: cloud.do("DescribeInstanceTypes", instance_types=["x"] * 11))[0] == "InvalidParameter"


def test_regions_and_zones_are_shown(cloud: Cloud) -> None:
    assert REGION in [one.region_id for one in cloud.do("DescribeRegions").regions.region]
    assert REGION in [one.region_id for one in cloud.eip("DescribeRegions").regions.region]
    assert ZONE in [one.zone_id for one in cloud.do("DescribeZones", region_id=REGION).zones.zone]
    assert ZONE in [one.zone_id for one in cloud.eip("DescribeZones", region_id=REGION).zones.zone]


def test_another_region_has_nothing_of_this_one(cloud: Cloud) -> None:
    run(cloud)
    assert cloud.do("DescribeInstances", region_id="cn-beijing").total_count == 0
    assert cloud.do("DescribeImages", region_id="cn-beijing").total_count == 4
    assert refused(cloud, region_id="cn-beijing") == "InvalidVSwitchId.NotFound"
