"""A plan counts the calls that a launch then makes, changes nothing, and finds what stands in a launch's way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from generator.fleet import opening, planning
from generator.fleet.launch import launch
from generator.fleet.opening import Opened
from generator.fleet.planning import Review
from generator.sandbox.api import dispatch
from generator.sandbox.region.behaviour import Behaviour
from generator.sandbox.region.clock import Clock
from generator.sandbox.region.faults import Fault, Kind
from generator.spec.fleet import FleetSpec
from tests.sandbox.fleets import FAST, settings, spec_of
from tests.sandbox.region import GROUP, REGION, VSWITCH, Cloud, served

READS = ("Describe", "List", "Get")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what the sandbox carries out, by action; what it refuses (an ENI that is busy) is tried again."""
    counts: Counter[str] = Counter()
    carry_out = dispatch.carry_out

    def counting(prepared: dispatch.Prepared) -> Any:
        body = carry_out(prepared)
        counts[prepared.action.name] += 1
        return body

    monkeypatch.setattr(dispatch, "carry_out", counting)
    return counts


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setenv("MULTIEIP_CLOCK", str(FAST))
    with served(clock=Clock(FAST), behaviour=Behaviour(windows=None, eips=300)) as region:
        monkeypatch.setenv("MULTIEIP_ENDPOINT", region.server.url)
        yield region


def review(spec: FleetSpec, *, dry_run: bool = False) -> Review:
    return planning.review(opening.connect(spec), Opened("fleet.yaml", spec, b"", ()), dry_run=dry_run)


def planned(found: Review) -> Counter[str]:
    assert found.plan is not None
    counts: Counter[str] = Counter()
    for call in found.plan.calls:
        counts[call.api] += call.times
    return counts


def writes(calls: Counter[str]) -> Counter[str]:
    return Counter({name: times for name, times in calls.items() if not name.startswith(READS)})


PACKAGE = "cbwp-to-be-made"
RULES = {"rules": [{"protocol": "tcp", "ports": "22", "cidr": "0.0.0.0/0"}]}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"count": 60, "enis": [{"eips": 0}, {"private_ips": 2, "eips": 1}, {"eips": 0}]},
        {"security_group": RULES, "enis": [{"private_ips": 3}]},
        {"vswitches": ["vsw-bp1sandboxh", "vsw-bp1sandboxi"], "spread": True},
        {"eips": {"segment": 28}, "count": 2},
        {"eips": {"bandwidth_package": PACKAGE}},
        {"count": 1, "enis": [{"addresses": ["172.16.9.1", "172.16.9.2"]}, {"addresses": ["172.16.9.8"]}]},
    ],
    ids=["usual", "many", "own group", "spread", "segment", "package", "addresses"],
)
def test_a_launch_makes_the_calls_that_were_planned(
    cloud: Cloud, calls: Counter[str], tmp_path: Path, more: dict[str, Any]
) -> None:
    if "bandwidth_package" in more.get("eips", {}):
        package = cloud.eip("CreateCommonBandwidthPackage", region_id=REGION, bandwidth=200).bandwidth_package_id
        more = {"eips": {"bandwidth_package": package}}
        calls.clear()
    spec = spec_of(**more)
    before = planned(review(spec))
    assert writes(calls) == {}
    launch(spec, folder=tmp_path, settings=settings(), quiet=True)
    assert writes(calls) == before
    after = review(spec).plan
    assert after is not None
    assert not after.is_change
    assert (after.kept_instances, after.kept_eips) == (spec.count, spec.total_eips)


def test_a_plan_of_a_fleet_that_grows_has_the_difference_only(
    cloud: Cloud, calls: Counter[str], tmp_path: Path
) -> None:
    launch(spec_of(), folder=tmp_path, settings=settings(), quiet=True)
    calls.clear()
    found = review(spec_of(count=4))
    assert planned(found) == {"RunInstances": 1, "TagResources": 1, "AllocateEipAddress": 5, "AssociateEipAddress": 5}
    assert writes(calls) == {}


def test_rules_that_the_file_drops_are_planned_as_they_are_revoked(
    cloud: Cloud, calls: Counter[str], tmp_path: Path
) -> None:
    more = {"protocol": "icmp", "cidr": "0.0.0.0/0"}
    launch(spec_of(security_group={"rules": [*RULES["rules"], more]}), folder=tmp_path, settings=settings(), quiet=True)
    calls.clear()
    spec = spec_of(security_group=RULES)
    found = review(spec)
    assert planned(found) == {"RevokeSecurityGroup": 1}
    assert found.plan is not None
    assert [call.removes for call in found.plan.calls] == [True]
    launch(spec, folder=tmp_path, settings=settings(), quiet=True)
    assert writes(calls) == {"RevokeSecurityGroup": 1}


def test_what_is_not_wanted_any_more_is_named_apart(cloud: Cloud, tmp_path: Path) -> None:
    launch(spec_of(), folder=tmp_path, settings=settings(), quiet=True)
    found = review(spec_of(count=2)).plan
    assert found is not None
    assert found.calls == ()
    assert [(call.api, call.times) for call in found.removals] == [
        ("UnassociateEipAddress", 5),
        ("ReleaseEipAddress", 5),
        ("DeleteInstances", 1),
        ("DeleteNetworkInterface", 1),
    ]


def rules(spec: FleetSpec, user_data: bytes = b"") -> set[tuple[str, str]]:
    """Return the rules that a spec breaks in this region, with the keys that are to blame."""
    found = planning.review(opening.connect(spec), Opened("fleet.yaml", spec, user_data, ()))
    return {(problem.rule, ".".join(map(str, problem.loc))) for problem in found.problems}


def test_what_the_file_names_must_be_there(cloud: Cloud) -> None:
    spec = spec_of(
        image={"name": "nothing"},
        vswitches=["vsw-bp1sandboxh", "vsw-nowhere1"],
        security_group={"id": "sg-nowhere1"},
        key_pair="nobody",
    )
    assert rules(spec) == {
        ("image", "image"),
        ("vswitch", "vswitches.1"),
        ("group", "security_group.id"),
        ("key-pair", "key_pair"),
    }


def test_a_group_of_another_vpc_is_found(cloud: Cloud) -> None:
    other = cloud.eip("CreateVpc", region_id="cn-hangzhou", cidr_block="10.0.0.0/8").vpc_id
    group = cloud.do("CreateSecurityGroup", region_id="cn-hangzhou", vpc_id=other).security_group_id
    assert rules(spec_of(security_group={"id": group})) == {("group", "security_group.id")}


def test_limits_of_types_stock_room_and_user_data_are_checked(cloud: Cloud) -> None:
    spec = spec_of(
        instance_types=["ecs.c6.large", "ecs.g8y.large", "ecs.unheard"],
        enis=[{"private_ips": 8}, {}, {}],
        count=9000,
    )
    found = rules(spec, b"#" * 40_000)
    assert {
        ("eni-limit", "instance_types.0"),
        ("ip-limit", "enis.0.private_ips"),
        ("instance-type", "instance_types.2"),
        ("image-fit", "image"),
        ("addresses", "vswitches"),
        ("eip-quota", "enis"),
        ("user-data-size", "user_data"),
        ("stock", "instance_types.2"),
    } <= found


def test_a_type_that_is_sold_out_everywhere_is_an_error_and_one_of_several_a_warning(cloud: Cloud) -> None:
    from generator.fleet import preflight

    spec = spec_of(instance_types=["ecs.g7.large", "ecs.unheard"])
    facts = preflight.gather(opening.connect(spec), spec, 0)
    assert facts.stock == {("ecs.g7.large", "cn-hangzhou-h")}


def test_an_ipv4_gateway_needs_its_route(cloud: Cloud) -> None:
    gateway = cloud.eip("CreateIpv4Gateway", region_id="cn-hangzhou", vpc_id="vpc-bp1sandbox").ipv_4gateway_id
    assert ("gateway", "vswitches.0") not in rules(spec_of())
    cloud.eip(
        "EnableVpcIpv4Gateway",
        region_id="cn-hangzhou",
        ipv_4gateway_id=gateway,
        route_table_list=["vtb-bp1sandbox"],
    )
    with_route = rules(spec_of())
    assert ("gateway", "vswitches.0") not in with_route
    cloud.eip(
        "DeleteRouteEntry",
        route_table_id="vtb-bp1sandbox",
        destination_cidr_block="0.0.0.0/0",
        next_hop_id=gateway,
        region_id="cn-hangzhou",
    )
    assert rules(spec_of()) - with_route == {("gateway", "vswitches.0")}


def test_an_old_image_does_not_go_with_metadata_tokens(cloud: Cloud) -> None:
    (instance,) = cloud.launch()
    image = cloud.do("CreateImage", region_id="cn-hangzhou", instance_id=instance, image_name="old").image_id
    cloud.until(lambda: cloud.do("DescribeImages", region_id="cn-hangzhou", image_id=image).total_count == 1)
    assert ("imds", "image") in rules(spec_of(image={"id": image}))
    assert ("imds", "metadata.tokens") in rules(spec_of(image={"id": image}, metadata={"tokens": "required"}))
    assert "imds" not in {rule for rule, _ in rules(spec_of(image={"id": image}, metadata={"tokens": "optional"}))}


def test_a_group_that_lets_in_sip_or_nothing_for_the_probe_is_warned_of(cloud: Cloud) -> None:
    cloud.do(
        "AuthorizeSecurityGroup",
        region_id="cn-hangzhou",
        security_group_id=GROUP,
        permissions=[{"IpProtocol": "UDP", "PortRange": "5060/5060", "SourceCidrIp": "0.0.0.0/0"}],
    )
    assert ("alg", "security_group.id") in rules(spec_of())
    found = rules(spec_of(probe={"protocol": "tcp", "port": 4711}))
    assert ("probe", "security_group.id") in found
    assert ("probe", "security_group.id") not in rules(spec_of())


def test_the_price_of_instances_is_the_apis_and_that_of_eips_is_not_known(cloud: Cloud) -> None:
    found = review(spec_of()).estimate
    assert found is not None
    instances, eips = found.items
    asked = cloud.do("DescribePrice", region_id="cn-hangzhou", instance_type="ecs.g7.large", price_unit="Hour")
    assert instances.hourly is not None
    assert 0 < instances.hourly < 3 * 2 * asked.price_info.price.trade_price
    assert (instances.count, instances.currency) == (3, "CNY")
    assert (eips.count, eips.hourly) == (15, None)
    assert not found.is_complete
    assert found.known == {"CNY": instances.hourly}


def test_quotas_are_told_with_what_a_launch_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIEIP_CLOCK", str(FAST))
    behaviour = Behaviour(windows=None, eips=300, vcpus=7, enis=50)
    with served(clock=Clock(FAST), behaviour=behaviour) as region:
        monkeypatch.setenv("MULTIEIP_ENDPOINT", region.server.url)
        region.launch()
        found = {use.what: (use.in_use, use.more, use.limit) for use in review(spec_of()).uses}
        assert found == {"vCPUs": (2, 6, 7), "ENIs": (1, 6, 50), "EIPs": (0, 15, None)}
        assert ("quota", "enis") in rules(spec_of())
        assert ("quota", "enis") not in rules(spec_of(count=2))


def test_eips_and_enis_that_the_file_names_must_be_there_and_free(cloud: Cloud) -> None:
    (instance,) = cloud.launch()
    (primary,) = cloud.enis(instance)
    taken, free = cloud.allocate(), cloud.allocate()
    cloud.bind(taken, primary.network_interface_id, primary.private_ip_address)
    named = {"count": 1, "eips": {"ids": [taken, free]}, "enis": [{}, {}]}
    assert ("eip", "eips.ids.0") in rules(spec_of(**named))
    assert ("eip", "eips.ids.1") not in rules(spec_of(**named))
    named["eips"] = {"ids": [free, "eip-nowhere1"]}
    assert rules(spec_of(**named)) == {("eip", "eips.ids.1")}
    far, near = (
        cloud.do(
            "CreateNetworkInterface", region_id=REGION, v_switch_id=vswitch, security_group_id=GROUP
        ).network_interface_id
        for vswitch in ("vsw-bp1sandboxi", VSWITCH)
    )
    for key, is_wrong in ((primary.network_interface_id, True), (far, True), (near, False)):
        found = rules(spec_of(count=1, enis=[{}, {"id": key, "private_ips": 1}]))
        assert (("eni", "enis.1.id") in found) == is_wrong
    assert rules(spec_of(count=1, enis=[{}, {"id": "eni-nowhere1"}])) == {("eni", "enis.1.id")}


def test_ecs_itself_is_asked_and_makes_nothing(cloud: Cloud, calls: Counter[str]) -> None:
    assert asked(spec_of()) == set()
    cloud.run(lambda: cloud.account.faults.add(Fault(Kind.ERROR, "RunInstances", code="Forbidden.RAM", status=403)))
    assert asked(spec_of()) == {("dry-run", "instance_types.0")}
    two = spec_of(instance_types=["ecs.g7.large", "ecs.g8y.large"])
    assert asked(two) == {("dry-run", "instance_types.1"), ("image-fit", "image")}
    own = spec_of(security_group=RULES)
    assert "dry run" in " ".join(one.what for one in review(own, dry_run=True).unknown)
    assert writes(calls) == {}


def asked(spec: FleetSpec) -> set[tuple[str, str]]:
    found = review(spec, dry_run=True)
    return {
        (problem.rule, ".".join(map(str, problem.loc))) for problem in found.problems if problem.rule != "eip-quota"
    }
