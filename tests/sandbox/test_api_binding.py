"""EIPs and the private IPs that they map to, through the official SDK."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from generator.sandbox.region import plane
from generator.sandbox.region.behaviour import Behaviour, Delays
from generator.sandbox.region.clock import SteppedClock
from generator.sandbox.region.model import Eip
from tests.sandbox.enis import addresses, attach, create, eni
from tests.sandbox.region import REGION, VSWITCH, ZONE, Cloud, Recorder, refusal, served


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as one:
        yield one


def test_each_private_ip_of_an_eni_has_its_own_eip(cloud: Cloud) -> None:
    (instance,) = cloud.launch(network_interface=[{"SecondaryPrivateIpAddressCount": 4}])
    bound = {}
    for one in cloud.enis(instance):
        for private in one.private_ip_sets.private_ip_set:
            eip = cloud.allocate()
            cloud.bind(eip, one.network_interface_id, private.private_ip_address)
            bound[private.private_ip_address] = eip
    shown = {
        private.private_ip_address: private.associated_public_ip.allocation_id
        for one in cloud.enis(instance)
        for private in one.private_ip_sets.private_ip_set
    }
    assert shown == bound
    assert len(bound) == 6


def test_binding_takes_a_while_and_only_queries_are_allowed_meanwhile() -> None:
    clock = SteppedClock()
    delays = Delays(associating=5, unassociating=5, visible=0)
    with served(clock=clock, behaviour=Behaviour(delays=delays)) as cloud:
        key = create(cloud, secondary_private_ip_address_count=1).network_interface_id
        first, second = addresses(cloud, key)
        one, two = cloud.allocate(), cloud.allocate()
        parameters = {"instance_id": key, "instance_type": "NetworkInterface"}
        cloud.eip("AssociateEipAddress", allocation_id=one, private_ip_address=first, **parameters)
        assert cloud.eip_status(one) == "Associating"
        for name in ("UnassociateEipAddress", "ReleaseEipAddress"):
            code, _ = refusal(lambda name=name: cloud.eip(name, allocation_id=one))  # type: ignore[misc]
            assert code == "IncorrectEipStatus"
        # One at a time for each ENI: what many clients of the cloud meet.
        other = {"allocation_id": two, "private_ip_address": second, **parameters}
        assert refusal(lambda: cloud.eip("AssociateEipAddress", **other)) == ("TaskConflict", 400)
        clock.advance(6)
        assert cloud.eip_status(one) == "InUse"
        cloud.eip("AssociateEipAddress", **other)
        clock.advance(6)
        cloud.eip("UnassociateEipAddress", allocation_id=one)
        assert cloud.eip_status(one) == "Unassociating"
        clock.advance(6)
        assert cloud.eip_status(one) == "Available"


def test_an_eip_that_cannot_be_bound_is_refused(cloud: Cloud) -> None:
    key = create(cloud).network_interface_id
    (address,) = addresses(cloud, key)
    one, two = cloud.allocate(), cloud.allocate()
    target = {"instance_id": key, "instance_type": "NetworkInterface", "private_ip_address": address}

    def code(**changes: Any) -> str:
        return refusal(lambda: cloud.eip("AssociateEipAddress", **{"allocation_id": one, **target, **changes}))[0]

    assert code(allocation_id="eip-nothing") == "InvalidAllocationId.NotFound"
    assert code(instance_id="eni-nothing") == "InvalidInstance.NotExist"
    assert code(instance_id="i-nothing", instance_type="EcsInstance") == "InvalidInstanId.NotFound"
    assert code(instance_id=None) == "MissingParameter"
    assert code(private_ip_address=None) == "MissingParameter"
    assert code(private_ip_address="172.16.99.99") == "InvalidPrivateIpAddress.NotFound"
    assert code(mode="MULTI_BINDED") == "Mode.NotSupport"
    assert code(instance_type="Balloon") == "InvalidParameter"
    assert code(instance_type="EcsInstance") == "InvalidInstanId.NotFound"
    cloud.bind(one, key, address)
    assert code(private_ip_address=address) == "InvalidAssociation.Duplicated"
    assert code(instance_id="eni-nothing") == "IncorrectEipStatus"
    assert code(allocation_id=two, private_ip_address=address) == "ResourceAlreadyAssociated.IpAddress"
    parameters = {"allocation_id": one, "instance_id": "i-other"}
    assert refusal(lambda: cloud.eip("UnassociateEipAddress", **parameters))[0] == "InvalidAssociation.NotExists"


def test_an_instance_s_own_eip_is_that_of_its_primary_private_ip(cloud: Cloud) -> None:
    (instance,) = cloud.launch()
    eip = cloud.allocate()
    cloud.eip("AssociateEipAddress", allocation_id=eip, instance_id=instance)
    cloud.until(lambda: cloud.eip_status(eip) == "InUse")
    (shown,) = cloud.eip(
        "DescribeEipAddresses",
        region_id=REGION,
        associated_instance_id=instance,
        associated_instance_type="EcsInstance",
    ).eip_addresses.eip_address
    assert shown.allocation_id == eip
    (seen,) = cloud.do("DescribeInstances", region_id=REGION).instances.instance
    assert seen.eip_address.allocation_id == eip
    cloud.eip("UnassociateEipAddress", allocation_id=eip, instance_id=instance)
    cloud.until(lambda: cloud.eip_status(eip) == "Available")
    cloud.eip("ReleaseEipAddress", allocation_id=eip)
    assert refusal(lambda: cloud.eip("ReleaseEipAddress", allocation_id=eip)) == ("InvalidAllocationId.NotFound", 404)


def test_an_eni_takes_its_eips_along_to_another_instance(cloud: Cloud) -> None:
    old, new = cloud.launch(2)
    key = create(cloud).network_interface_id
    attach(cloud, key, old)
    eip = cloud.allocate()
    cloud.bind(eip, key, addresses(cloud, key)[0])
    cloud.do("DetachNetworkInterface", region_id=REGION, network_interface_id=key, instance_id=old)
    cloud.until(lambda: eni(cloud, key).status == "Available")
    attach(cloud, key, new)
    assert eni(cloud, key).associated_public_ip.allocation_id == eip
    assert cloud.eip_status(eip) == "InUse"


def test_eips_of_what_is_deleted_live_on_bound_to_nothing(cloud: Cloud) -> None:
    (instance,) = cloud.launch()
    eip = cloud.allocate()
    (primary,) = cloud.enis(instance)
    cloud.bind(eip, primary.network_interface_id, primary.private_ip_address)
    parameters = {"network_interface_id": primary.network_interface_id, "region_id": REGION}
    cloud.do("DeleteInstance", instance_id=instance, force=True)
    cloud.until(lambda: cloud.status(instance) is None)
    assert cloud.eip_status(eip) == "Available"
    assert cloud.do("DescribeNetworkInterfaces", region_id=REGION).total_count == 0
    assert refusal(lambda: cloud.do("DeleteNetworkInterface", **parameters))[0] == "InvalidEniId.NotFound"


def test_a_private_ip_with_an_eip_is_not_unassigned(cloud: Cloud) -> None:
    key = create(cloud, secondary_private_ip_address_count=1).network_interface_id
    second = addresses(cloud, key)[1]
    cloud.bind(cloud.allocate(), key, second)
    parameters = {"region_id": REGION, "network_interface_id": key, "private_ip_address": [second]}
    assert refusal(lambda: cloud.do("UnassignPrivateIpAddresses", **parameters))[0] == "InvalidOperation.Conflict"


def test_the_account_has_twenty_eips(cloud: Cloud) -> None:
    made = [cloud.allocate() for _ in range(20)]
    assert len(set(made)) == 20
    assert refusal(cloud.allocate) == ("QuotaExceeded.Eip", 400)
    cloud.eip("ReleaseEipAddress", allocation_id=made[0])
    cloud.allocate()
    segment = {"region_id": REGION, "eip_mask": "28"}
    assert refusal(lambda: cloud.eip("AllocateEipSegmentAddress", **segment))[0] == "OperationFailed.EipQuotaExceed"


def test_no_two_regions_give_the_same_public_address() -> None:
    with served(behaviour=Behaviour(eips=300, windows=None)) as cloud:
        for region in (REGION, "cn-beijing"):
            cloud.eip("AllocateEipSegmentAddress", region_id=region, eip_mask="28")
            cloud.eip("AllocateEipAddress", region_id=region)
        given = [eip.address for one in cloud.account.regions.values() for eip in one.all(Eip)]
        assert len(set(given)) == len(given) == 34


def test_a_segment_is_contiguous_untagged_and_released_as_a_whole() -> None:
    with served(behaviour=Behaviour(eips=100, windows=None)) as cloud:
        segment = cloud.eip("AllocateEipSegmentAddress", region_id=REGION, eip_mask="28").eip_segment_instance_id
        body = cloud.eip("DescribeEipAddresses", region_id=REGION, segment_instance_id=segment, page_size=100)
        shown = body.eip_addresses.eip_address
        last = [int(one.ip_address.rpartition(".")[2]) for one in shown]
        assert last == list(range(last[0], last[0] + 16))
        assert all(one.tags.tag == [] and one.name == "" for one in shown)
        code, _ = refusal(lambda: cloud.eip("ReleaseEipAddress", allocation_id=shown[0].allocation_id))
        assert code == "Forbidden.ReleaseSegmentEip"
        key = create(cloud).network_interface_id
        cloud.bind(shown[0].allocation_id, key, addresses(cloud, key)[0])
        release = {"region_id": REGION, "segment_instance_id": segment}
        assert refusal(lambda: cloud.eip("ReleaseEipSegmentAddress", **release))[0] == "IncorrectEipStatus"
        cloud.eip("UnassociateEipAddress", allocation_id=shown[0].allocation_id)
        cloud.until(lambda: cloud.eip_status(shown[0].allocation_id) == "Available")
        cloud.eip("ReleaseEipSegmentAddress", **release)
        assert cloud.eip("DescribeEipAddresses", region_id=REGION).total_count == 0


def test_allocation_is_idempotent_by_its_token_and_takes_tags(cloud: Cloud) -> None:
    parameters = {"region_id": REGION, "client_token": "t", "name": "web", "tag": [{"Key": "fleet", "Value": "w"}]}
    first = cloud.eip("AllocateEipAddress", **parameters)
    assert cloud.eip("AllocateEipAddress", **parameters).allocation_id == first.allocation_id
    code, _ = refusal(lambda: cloud.eip("AllocateEipAddress", **{**parameters, "bandwidth": "9"}))
    assert code == "IdempotentParameterMismatch"
    body = cloud.eip("DescribeEipAddresses", region_id=REGION, tag=[{"Key": "fleet", "Value": "w"}])
    assert [one.ip_address for one in body.eip_addresses.eip_address] == [first.eip_address]


@pytest.mark.parametrize(
    "changes",
    [
        {"bandwidth": "0"},
        {"bandwidth": "much"},
        {"bandwidth": "300", "internet_charge_type": "PayByTraffic"},
        {"internet_charge_type": "PayByMood"},
    ],
)
def test_an_eip_that_cannot_be_is_refused(cloud: Cloud, changes: dict[str, Any]) -> None:
    code, _ = refusal(lambda: cloud.eip("AllocateEipAddress", region_id=REGION, **changes))
    assert code in ("InvalidBandwidth.Malformed", "InvalidParameter")


def test_eips_are_paged_by_number_and_found_by_lists(cloud: Cloud) -> None:
    made = [cloud.allocate() for _ in range(15)]
    body = cloud.eip("DescribeEipAddresses", region_id=REGION, page_number=2)
    assert [one.allocation_id for one in body.eip_addresses.eip_address] == made[10:]
    body = cloud.eip("DescribeEipAddresses", region_id=REGION, allocation_id=",".join(made[:3]))
    assert [one.allocation_id for one in body.eip_addresses.eip_address] == made[:3]
    for wrong in ({"allocation_id": ",".join(made * 4)}, {"page_size": 101}):
        code, _ = refusal(lambda w=wrong: cloud.eip("DescribeEipAddresses", region_id=REGION, **w))  # type: ignore[misc]
        assert code == "InvalidParameter"


def test_with_an_ipv4_gateway_eips_need_a_route_to_it(cloud: Cloud) -> None:
    gateway = cloud.eip("CreateIpv4Gateway", region_id=REGION, vpc_id="vpc-bp1sandbox").ipv_4gateway_id
    cloud.eip("EnableVpcIpv4Gateway", region_id=REGION, ipv_4gateway_id=gateway)
    key = create(cloud).network_interface_id
    eip, (address,) = cloud.allocate(), addresses(cloud, key)
    assert refusal(lambda: cloud.bind(eip, key, address))[0] == "OperationFailed.Ipv4GatewayNotOpenedInVpc"
    (table,) = cloud.eip("DescribeRouteTableList", region_id=REGION).router_table_list.router_table_list_type
    route = {"route_table_id": table.route_table_id, "destination_cidr_block": "0.0.0.0/0"}
    made = cloud.eip("CreateRouteEntry", next_hop_type="Ipv4Gateway", next_hop_id=gateway, **route)
    cloud.bind(eip, key, address)
    cloud.eip("DeleteRouteEntry", route_entry_id=made.route_entry_id)


def test_the_plane_is_told_what_carries_packets_and_nothing_before_it_does() -> None:
    recorder = Recorder()
    with served(plane=recorder) as cloud:
        recorder.events.clear()
        (instance,) = cloud.launch(network_interface=[{"SecondaryPrivateIpAddressCount": 1}])
        second = cloud.enis(instance)[1].network_interface_id
        private = addresses(cloud, second)[1]
        eip = cloud.allocate()
        cloud.bind(eip, second, private)
        cloud.do("DetachNetworkInterface", region_id=REGION, network_interface_id=second, instance_id=instance)
        cloud.until(lambda: eni(cloud, second).status == "Available")
        attach(cloud, second, instance)
        cloud.do(
            "AssignPrivateIpAddresses",
            region_id=REGION,
            network_interface_id=second,
            secondary_private_ip_address_count=1,
        )
        cloud.do("StopInstance", instance_id=instance)
        cloud.until(lambda: cloud.status(instance) == "Stopped")
        cloud.do("DeleteInstance", instance_id=instance)
        cloud.until(lambda: cloud.status(instance) is None)
        told = [type(event).__name__ for event in recorder.events]
    assert told == [
        *("InstanceStarted", "EipAssociated", "EniDetached", "EniAttached", "EniAddressesChanged", "InstanceStopped"),
        *("EniDetached", "EniDeleted", "EipUnassociated", "EniDetached", "EniDeleted", "InstanceDeleted"),
    ]
    started = recorder.events[0]
    assert isinstance(started, plane.InstanceStarted)
    assert [len(one.addresses) for one in started.enis] == [1, 2]
    associated = recorder.events[1]
    assert isinstance(associated, plane.EipAssociated)
    assert (associated.eip.id, associated.eip.private_ip) == (eip, private)


def test_zone_of_the_first_vswitch_is_what_the_tests_think(cloud: Cloud) -> None:
    shown = cloud.eip("DescribeVSwitches", region_id=REGION, v_switch_id=VSWITCH).v_switches.v_switch
    assert [one.zone_id for one in shown] == [ZONE]
