"""ENIs and their private IPs, through the official SDK."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from generator.sandbox.region.behaviour import Behaviour, Delays
from generator.sandbox.region.clock import SteppedClock
from tests.sandbox.enis import addresses, attach, create, eni
from tests.sandbox.region import GROUP, LAUNCH, REGION, VSWITCH, Cloud, refusal, served


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as one:
        yield one


# ENIs


def test_an_eni_is_made_with_its_private_ips_and_tags_at_once(cloud: Cloud) -> None:
    body = create(cloud, secondary_private_ip_address_count=9, tag=[{"Key": "a", "Value": "b"}], queue_number=2)
    assert body.status == "Available"
    assert len(body.private_ip_sets.private_ip_set) == 10
    assert body.private_ip_sets.private_ip_set[0].primary
    shown = eni(cloud, body.network_interface_id)
    assert (shown.status, shown.type, shown.tags.tag[0].tag_key) == ("Available", "Secondary", "a")


def test_an_eni_may_have_private_ips_of_one_s_choice(cloud: Cloud) -> None:
    chosen = ["172.16.5.2", "172.16.5.3"]
    body = create(cloud, primary_ip_address="172.16.5.1", private_ip_address=chosen)
    assert addresses(cloud, body.network_interface_id) == ["172.16.5.1", *chosen]
    code, _ = refusal(lambda: create(cloud, primary_ip_address="172.16.5.2"))
    assert code == "InvalidIp.IpAssigned"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"v_switch_id": None}, "MissingParameter"),
        ({"security_group_id": None}, "MissingParameter"),
        ({"security_group_ids": [GROUP]}, "InvalidParameter.Conflict"),
        ({"secondary_private_ip_address_count": 50}, "InvalidParameter"),
        (
            {"secondary_private_ip_address_count": 2, "private_ip_address": ["172.16.5.2"]},
            "InvalidParameter.Conflict",
        ),
        ({"private_ip_address": ["172.16.5.2", "172.16.5.2"]}, "InvalidIp.IpRepeated"),
        ({"private_ip_address": ["172.16.255.253"]}, "InvalidVSwitchId.IpInvalid"),
        ({"private_ip_address": ["nonsense"]}, "InvalidIp.Address"),
        ({"resource_group_id": "nobody"}, "InvalidResourceGroup.NotFound"),
        ({"private_ip_address": ["172.16.5.1"] * 11}, "InvalidParameter"),
        ({"queue_number": 2049}, "InvalidParameter"),
        ({"ipv_4prefix_count": 1}, "Sandbox.NotEmulated"),
        ({"network_interface_name": "http://x"}, "InvalidEniName.Malformed"),
    ],
)
def test_an_eni_that_cannot_be_is_refused(cloud: Cloud, changes: dict[str, Any], code: str) -> None:
    assert refusal(lambda: create(cloud, **changes))[0] == code


def test_an_eni_attaches_and_detaches_over_statuses_of_their_own() -> None:
    clock = SteppedClock()
    with served(clock=clock, behaviour=Behaviour(delays=Delays(attaching=5, detaching=5, visible=0))) as cloud:
        instance = _running(cloud, clock)
        key = create(cloud).network_interface_id
        cloud.do("AttachNetworkInterface", region_id=REGION, network_interface_id=key, instance_id=instance)
        assert eni(cloud, key).status == "Attaching"
        code, _ = refusal(lambda: attach(cloud, key, instance))
        assert code == "InvalidOperation.InvalidEniState"
        clock.advance(6)
        shown = eni(cloud, key)
        assert (shown.status, shown.instance_id) == ("InUse", instance)
        cloud.do("DetachNetworkInterface", region_id=REGION, network_interface_id=key, instance_id=instance)
        assert eni(cloud, key).status == "Detaching"
        cloud.do("DetachNetworkInterface", region_id=REGION, network_interface_id=key, instance_id=instance)
        clock.advance(6)
        shown = eni(cloud, key)
        assert (shown.status, shown.instance_id) == ("Available", "")


def _running(cloud: Cloud, clock: SteppedClock) -> str:
    key = cloud.do("RunInstances", **LAUNCH).instance_id_sets.instance_id_set[0]
    clock.advance(60)
    assert cloud.status(key) == "Running"
    return str(key)


def test_the_type_bounds_enis_and_private_ips(cloud: Cloud) -> None:
    (instance,) = cloud.launch()
    wide = create(cloud, secondary_private_ip_address_count=6).network_interface_id
    assert refusal(lambda: attach(cloud, wide, instance))[0] == "InvalidOperation.Ipv4CountExceeded"
    full = create(cloud, secondary_private_ip_address_count=5).network_interface_id
    attach(cloud, full, instance)
    attach(cloud, create(cloud).network_interface_id, instance)
    spare = create(cloud).network_interface_id
    assert refusal(lambda: attach(cloud, spare, instance)) == ("EniPerInstanceLimitExceeded", 403)
    more = {"region_id": REGION, "secondary_private_ip_address_count": 1}
    code, _ = refusal(lambda: cloud.do("AssignPrivateIpAddresses", network_interface_id=full, **more))
    assert code == "InvalidOperation.Ipv4CountExceeded"


def test_a_primary_eni_stays_where_it_is(cloud: Cloud) -> None:
    (instance,) = cloud.launch()
    primary = cloud.enis(instance)[0].network_interface_id
    for name in ("DetachNetworkInterface", "AttachNetworkInterface"):
        parameters = {"region_id": REGION, "network_interface_id": primary, "instance_id": instance}
        code, _ = refusal(lambda name=name, p=parameters: cloud.do(name, **p))  # type: ignore[misc]
        assert code == "InvalidOperation.InvalidEniType"
    code, _ = refusal(lambda: cloud.do("DeleteNetworkInterface", region_id=REGION, network_interface_id=primary))
    assert code == "InvalidOperation.InvalidEniState"


def test_some_types_take_enis_only_while_they_are_stopped(cloud: Cloud) -> None:
    (instance,) = cloud.launch(instance_type="ecs.ebmg7.32xlarge")
    key = create(cloud).network_interface_id
    assert refusal(lambda: attach(cloud, key, instance))[0] == "InvalidOperation.InvalidEcsState"
    cloud.do("StopInstance", instance_id=instance)
    cloud.until(lambda: cloud.status(instance) == "Stopped")
    attach(cloud, key, instance)


def test_an_eni_of_another_zone_does_not_attach(cloud: Cloud) -> None:
    (instance,) = cloud.launch()
    far = create(cloud, v_switch_id="vsw-bp1sandboxk").network_interface_id
    assert refusal(lambda: attach(cloud, far, instance))[0] == "InvalidOperation.AvailabilityZoneMismatch"


def test_private_ips_come_and_go(cloud: Cloud) -> None:
    key = create(cloud).network_interface_id
    first = addresses(cloud, key)
    body = cloud.do(
        "AssignPrivateIpAddresses",
        region_id=REGION,
        network_interface_id=key,
        secondary_private_ip_address_count=3,
        client_token="once",
    )
    given = body.assigned_private_ip_addresses_set.private_ip_set.private_ip_address
    cloud.do(
        "AssignPrivateIpAddresses",
        region_id=REGION,
        network_interface_id=key,
        secondary_private_ip_address_count=3,
        client_token="once",
    )
    assert addresses(cloud, key) == first + given, "the same token assigned again"
    cloud.do("UnassignPrivateIpAddresses", region_id=REGION, network_interface_id=key, private_ip_address=given[:2])
    assert addresses(cloud, key) == first + given[2:]
    for gone, code in ((first, "InvalidIp.IpUnassigned"), (given[:1], "InvalidIp.IpUnassigned")):
        parameters = {"region_id": REGION, "network_interface_id": key, "private_ip_address": gone}
        assert refusal(lambda p=parameters: cloud.do("UnassignPrivateIpAddresses", **p))[0] == code  # type: ignore[misc]


def test_an_eni_changes_its_attributes(cloud: Cloud) -> None:
    key = create(cloud).network_interface_id
    cloud.do(
        "ModifyNetworkInterfaceAttribute",
        region_id=REGION,
        network_interface_id=key,
        network_interface_name="other",
        description="of another kind",
        delete_on_release=False,
    )
    shown = eni(cloud, key)
    assert (shown.network_interface_name, shown.description) == ("other", "of another kind")
    assert shown.delete_on_release is False


def test_secondary_enis_go_with_their_instance_unless_they_shall_not(cloud: Cloud) -> None:
    (instance,) = cloud.launch(network_interface=[{"DeleteOnRelease": False}, {"DeleteOnRelease": True}])
    primary, kept, gone = (one.network_interface_id for one in cloud.enis(instance))
    cloud.do("DeleteInstance", instance_id=instance, force=True)
    cloud.until(lambda: cloud.status(instance) is None)
    assert eni(cloud, primary) is None
    assert eni(cloud, gone) is None
    assert eni(cloud, kept).status == "Available"
    cloud.do("DeleteNetworkInterface", region_id=REGION, network_interface_id=kept)
    cloud.until(lambda: eni(cloud, kept) is None)
    code = refusal(lambda: cloud.do("DeleteNetworkInterface", region_id=REGION, network_interface_id=kept))
    assert code == ("InvalidEniId.NotFound", 404)


def test_an_existing_eni_may_come_with_a_new_instance(cloud: Cloud) -> None:
    key = create(cloud, secondary_private_ip_address_count=2).network_interface_id
    (instance,) = cloud.launch(network_interface=[{"NetworkInterfaceId": key}])
    assert key in [one.network_interface_id for one in cloud.enis(instance)]
    assert eni(cloud, key).status == "InUse"


def test_enis_are_found_by_what_they_are_and_paged(cloud: Cloud) -> None:
    made = [create(cloud, network_interface_name=f"n{n % 2}x").network_interface_id for n in range(12)]
    # Fewer than ten are ten.
    body = cloud.do("DescribeNetworkInterfaces", region_id=REGION, max_results=1)
    assert [one.network_interface_id for one in body.network_interface_sets.network_interface_set] == made[:10]
    body = cloud.do("DescribeNetworkInterfaces", region_id=REGION, max_results=10, next_token=body.next_token)
    assert [one.network_interface_id for one in body.network_interface_sets.network_interface_set] == made[10:]
    assert body.next_token == ""
    address = addresses(cloud, made[3])[0]
    for parameters, expected in (
        ({"network_interface_name": "n1x"}, made[1::2]),
        ({"private_ip_address": [address]}, [made[3]]),
        ({"primary_ip_address": address}, [made[3]]),
        ({"status": "InUse"}, []),
        ({"type": "Primary"}, []),
        ({"security_group_id": GROUP, "v_switch_id": VSWITCH}, made),
    ):
        body = cloud.do("DescribeNetworkInterfaces", region_id=REGION, max_results=100, **parameters)
        assert [one.network_interface_id for one in body.network_interface_sets.network_interface_set] == expected
    for wrong in ({"page_size": 0}, {"network_interface_id": ["eni-x"] * 101}, {"status": "Lost"}):
        code, _ = refusal(lambda w=wrong: cloud.do("DescribeNetworkInterfaces", region_id=REGION, **w))  # type: ignore[misc]
        assert code == "InvalidParameter"


# Queues


def test_an_eni_has_the_queues_of_the_type_it_is_on_or_its_own(cloud: Cloud) -> None:
    (small,) = cloud.launch(instance_type="ecs.g7.large")
    (large,) = cloud.launch(instance_type="ecs.g7.2xlarge")
    plain, own = create(cloud).network_interface_id, create(cloud, queue_number=4).network_interface_id

    def move(key: str, to: str) -> None:
        cloud.do("AttachNetworkInterface", region_id=REGION, network_interface_id=key, instance_id=to)
        cloud.until(lambda: eni(cloud, key).status == "InUse")

    move(plain, large)
    assert eni(cloud, plain).queue_number == 4
    cloud.do("DetachNetworkInterface", region_id=REGION, network_interface_id=plain, instance_id=large)
    cloud.until(lambda: eni(cloud, plain).status == "Available")
    move(plain, small)
    assert eni(cloud, plain).queue_number == 2
    assert refusal(lambda: move(own, small)) == ("InvalidOperation.MaxEniQueueNumberExceeded", 403)
    move(own, large)
    assert eni(cloud, own).queue_number == 4


def test_queues_change_while_nothing_uses_them(cloud: Cloud) -> None:
    (instance,) = cloud.launch(instance_type="ecs.g7.2xlarge", network_interface=[{"VSwitchId": VSWITCH}])
    primary, secondary = [one.network_interface_id for one in cloud.enis(instance)]

    def change(key: str, **what: Any) -> Any:
        return cloud.do("ModifyNetworkInterfaceAttribute", region_id=REGION, network_interface_id=key, **what)

    def code(key: str, **what: Any) -> str:
        return refusal(lambda: change(key, **what))[0]

    assert code(primary, queue_number=2) == "InvalidOperation.ModifyPrimaryEniQueueNumber"
    assert code(primary, delete_on_release=False) == "InvalidOperation.PrimaryEniOnlySupportModifyNameAndDesc"
    change(primary, network_interface_name="first")
    assert code(secondary, queue_number=2) == "InvalidOperation.InvalidEniState"
    cloud.do("StopInstance", instance_id=instance)
    cloud.until(lambda: cloud.status(instance) == "Stopped")
    change(secondary, queue_number=2)
    assert eni(cloud, secondary).queue_number == 2
    assert code(secondary, queue_number=9) == "InvalidOperation.MaxEniQueueNumberExceeded"
    free = create(cloud).network_interface_id
    change(free, queue_number=32)
    assert eni(cloud, free).queue_number == 32
