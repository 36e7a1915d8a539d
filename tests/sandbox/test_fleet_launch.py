"""Launching fleets against the sandbox region: what is made, what is not made twice, what a changed file changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from generator.cloud import networks
from generator.cloud.client import Cloud as Clients
from generator.errors import CloudRefusedError, ExitCode, MultieipError
from generator.fleet import names, planning
from generator.fleet.launch import Check, Compared, Report, compare, default_settings, launch
from generator.fleet.opening import Opened
from generator.fleet.picture import picture
from generator.fleet.status import status
from generator.sandbox.region.behaviour import Behaviour
from generator.sandbox.region.clock import Clock
from generator.sandbox.region.model import Eip, Eni, Instance, SecurityGroup
from generator.spec.findings import FindingsError
from generator.spec.fleet import FleetSpec
from tests.sandbox.chaos import Job, Process
from tests.sandbox.fleets import assert_exact, region_of, spec_of
from tests.sandbox.region import GROUP, REGION, VSWITCH, Cloud, served

SSH = [{"protocol": "tcp", "ports": "22", "cidr": "0.0.0.0/0"}]


def go(spec: FleetSpec, folder: Path, **more: Any) -> Report:
    return launch(spec, folder=folder, quiet=True, **more)


def mapping(cloud: Cloud) -> dict[str, tuple[str, str]]:
    """Return which ENI and private IP each EIP is on."""
    return {eip.address: (eip.eni, eip.private_ip) for eip in region_of(cloud).all(Eip)}


def test_a_fleet_is_launched_by_two_writes_for_each_eip_and_few_more(cloud: Cloud, tmp_path: Path) -> None:
    spec = spec_of()
    report = go(spec, tmp_path)
    assert_exact(cloud, spec)
    # RunInstances and the tags of the secondary ENIs.
    assert report.writes == 2 * spec.total_eips + 2
    assert report.actions.is_empty
    assert not report.actions.drift


def test_every_request_is_kept_with_its_request_id_and_no_parameter(cloud: Cloud, tmp_path: Path) -> None:
    go(spec_of(), tmp_path)
    lines = (tmp_path / "web" / "calls.jsonl").read_text().splitlines()
    assert sum('"action": "AssociateEipAddress"' in line for line in lines) == 15
    assert all('"request_id": ""' not in line for line in lines)
    assert not any("multieip-no-account" in line for line in lines)


def test_a_second_launch_makes_no_change_and_few_reads(cloud: Cloud, tmp_path: Path) -> None:
    go(spec_of(), tmp_path)
    before = mapping(cloud)
    report = go(spec_of(), tmp_path)
    assert (report.writes, report.rounds) == (0, 0)
    assert report.reads <= 8
    assert mapping(cloud) == before


def check_of(spec: FleetSpec, folder: Path, seen: list[list[str]]) -> Check:
    """Return what `multieip launch` checks a launch by; it notes the rules of the warnings each time."""
    file = folder / "web.yaml"
    file.write_text(yaml.safe_dump(spec.model_dump(mode="json", exclude_unset=True)))
    opened = Opened(str(file), spec, b"", ())

    def check(clients: Clients, compared: Compared | None) -> None:
        seen.append([finding.rule for finding in planning.cleared(clients, opened, compared)])

    return check


def test_a_launch_is_checked_before_anything_is_made(cloud: Cloud, tmp_path: Path) -> None:
    spec = spec_of(instance_types=["ecs.g7.large", "ecs.unheard"], security_group={"rules": SSH})
    with pytest.raises(FindingsError) as refused:
        go(spec, tmp_path, check=check_of(spec, tmp_path, []))
    assert {finding.rule for finding in refused.value.findings if finding.severity == "error"} == {"instance-type"}
    assert refused.value.exit_code == ExitCode.FINDINGS
    assert "--no-checks" in refused.value.hint
    region = region_of(cloud)
    assert (region.all(Instance), region.all(Eip), len(region.all(SecurityGroup))) == ([], [], 1)
    # Who knows better launches all the same: the type that there is does for all.
    go(spec, tmp_path)
    assert len(region.all(Instance)) == 3


def test_checks_are_for_what_is_made_and_cost_no_reads_when_nothing_is(cloud: Cloud, tmp_path: Path) -> None:
    spec, seen = spec_of(), list[list[str]]()
    check = check_of(spec, tmp_path, seen)
    first = go(spec, tmp_path, check=check)
    assert first.reads <= 40
    assert seen == [[]]
    report = go(spec, tmp_path, check=check)
    assert (report.writes, report.rounds) == (0, 0)
    assert report.reads <= 8
    assert report.actions.is_empty
    # An EIP that is bound again costs nothing, so nothing is checked.
    eip = region_of(cloud).all(Eip)[4]
    cloud.eip("UnassociateEipAddress", region_id=REGION, allocation_id=eip.id)
    assert go(spec, tmp_path, check=check).writes == 1
    assert seen == [[]]
    more = spec_of(count=5)
    go(more, tmp_path, check=check_of(more, tmp_path, seen))
    assert seen == [[], ["eip-quota"]]
    assert_exact(cloud, more)


def test_a_launch_that_goes_on_is_not_checked_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = spec_of(count=10, enis=[{"private_ips": 5}, {"private_ips": 6}, {"private_ips": 6}])
    with served(clock=Clock(10.0), behaviour=Behaviour(eips=spec.total_eips)) as slow:
        monkeypatch.setenv("MULTIEIP_ENDPOINT", slow.server.url)
        monkeypatch.setenv("MULTIEIP_CLOCK", "10.0")
        process = Process(Job.of("launch", spec, slow.server.url, tmp_path, 10.0))
        slow.until(lambda: slow.run(lambda: len(region_of(slow).all(Eip))) >= 20, 30)
        process.kill()

        def refuse(clients: Clients, compared: Compared | None) -> None:
            raise AssertionError("it was checked when it began")

        assert go(spec, tmp_path, check=refuse).resumed
        assert_exact(slow, spec)


def test_a_launch_finds_by_tags_what_there_is_when_its_state_is_lost(cloud: Cloud, tmp_path: Path) -> None:
    go(spec_of(), tmp_path / "one")
    report = go(spec_of(), tmp_path / "other")
    assert report.writes == 0


def test_compare_says_what_a_launch_would_do_and_does_nothing(cloud: Cloud, tmp_path: Path) -> None:
    _, _, actions = compare(spec_of())
    assert actions.create == (1, 2, 3)
    assert len(actions.allocate) == 15
    assert not region_of(cloud).all(Instance)
    go(spec_of(), tmp_path)
    assert compare(spec_of())[2].is_empty


def test_more_instances_are_added_and_nothing_else(cloud: Cloud, tmp_path: Path) -> None:
    go(spec_of(count=2), tmp_path)
    before = mapping(cloud)
    report = go(spec_of(count=4), tmp_path)
    assert_exact(cloud, spec_of(count=4))
    assert before.items() <= mapping(cloud).items()
    assert report.writes == 2 * 10 + 2


def test_fewer_instances_need_a_word(cloud: Cloud, tmp_path: Path) -> None:
    go(spec_of(), tmp_path)
    before = mapping(cloud)
    with pytest.raises(MultieipError, match="1 instances, 1 ENIs, 5 EIPs would go"):
        go(spec_of(count=2), tmp_path)
    assert mapping(cloud) == before
    go(spec_of(count=2), tmp_path, removal=True)
    assert_exact(cloud, spec_of(count=2))
    assert mapping(cloud).items() <= before.items()


def test_private_ips_and_eips_are_added_in_place(cloud: Cloud, tmp_path: Path) -> None:
    go(spec_of(), tmp_path)
    before = mapping(cloud)
    more = spec_of(enis=[{"private_ips": 2}, {"private_ips": 5}])
    report = go(more, tmp_path)
    assert_exact(cloud, more)
    assert before.items() <= mapping(cloud).items()
    assert report.writes == 3 + 2 * 6


def test_fewer_eips_are_taken_away_in_place(cloud: Cloud, tmp_path: Path) -> None:
    go(spec_of(), tmp_path)
    less = spec_of(enis=[{"private_ips": 1}, {"private_ips": 3, "eips": 1}])
    go(less, tmp_path, removal=True)
    assert_exact(cloud, less)


def test_an_eni_is_added_to_instances_that_run(cloud: Cloud, tmp_path: Path) -> None:
    go(spec_of(count=2), tmp_path)
    before = mapping(cloud)
    more = spec_of(count=2, enis=[{"private_ips": 2}, {"private_ips": 3}, {"private_ips": 2}])
    go(more, tmp_path)
    assert_exact(cloud, more)
    assert before.items() <= mapping(cloud).items()


def test_an_instance_that_was_deleted_comes_back_with_its_enis_and_eips(cloud: Cloud, tmp_path: Path) -> None:
    spec = spec_of(enis=[{"private_ips": 1, "eips": 0}, {"private_ips": 3}])
    go(spec, tmp_path)
    before = mapping(cloud)
    gone = next(one for one in region_of(cloud).all(Instance) if one.name == "web-002")
    cloud.do("DeleteInstances", region_id=REGION, instance_id=[gone.id], force=True)
    cloud.until(lambda: cloud.status(gone.id) is None)
    report = go(spec, tmp_path)
    assert_exact(cloud, spec)
    assert mapping(cloud) == before
    assert report.writes == 1


def test_eips_of_a_primary_eni_are_bound_again_to_the_new_one(cloud: Cloud, tmp_path: Path) -> None:
    go(spec_of(), tmp_path)
    before = set(mapping(cloud))
    gone = next(one for one in region_of(cloud).all(Instance) if one.name == "web-003")
    cloud.do("DeleteInstances", region_id=REGION, instance_id=[gone.id], force=True)
    cloud.until(lambda: cloud.status(gone.id) is None)
    report = go(spec_of(), tmp_path)
    assert_exact(cloud, spec_of())
    assert set(mapping(cloud)) == before
    assert report.writes == 1 + 2


def test_an_eip_that_somebody_unbound_is_bound_again(cloud: Cloud, tmp_path: Path) -> None:
    go(spec_of(), tmp_path)
    before = mapping(cloud)
    eip = region_of(cloud).all(Eip)[4]
    cloud.eip("UnassociateEipAddress", region_id=REGION, allocation_id=eip.id)
    report = go(spec_of(), tmp_path)
    assert mapping(cloud) == before
    assert report.writes == 1


def test_what_cannot_be_changed_in_place_is_said(cloud: Cloud, tmp_path: Path) -> None:
    go(spec_of(count=1), tmp_path)
    other = spec_of(
        count=1, image={"family": "acs:ubuntu_24_04_x64"}, instance_types=["ecs.g6.large"], eips={"bandwidth_mbps": 50}
    )
    report = go(other, tmp_path)
    assert report.writes == 0
    assert {drift.what for drift in report.actions.drift} == {"image", "instance type", "bandwidth"}


def test_instances_that_are_given_an_address_get_it(cloud: Cloud, tmp_path: Path) -> None:
    spec = spec_of(
        count=1,
        enis=[
            {"addresses": ["172.16.9.1", "172.16.9.2"]},
            {"addresses": ["172.16.9.11", "172.16.9.12", "172.16.9.13"], "eips": 2},
        ],
    )
    go(spec, tmp_path)
    assert_exact(cloud, spec)
    assert {ip for _, ip in mapping(cloud).values()} == {"172.16.9.1", "172.16.9.2", "172.16.9.11", "172.16.9.12"}


def test_an_eni_that_is_there_is_used_and_left(cloud: Cloud, tmp_path: Path) -> None:
    body = cloud.do(
        "CreateNetworkInterface",
        region_id=REGION,
        v_switch_id=VSWITCH,
        security_group_id=GROUP,
        secondary_private_ip_address_count=2,
        delete_on_release=False,
    )
    eni = body.network_interface_id
    spec = spec_of(count=1, enis=[{"private_ips": 1, "eips": 0}, {"id": eni, "private_ips": 3}])
    go(spec, tmp_path)
    assert {where for where, _ in mapping(cloud).values()} == {eni}
    assert len(mapping(cloud)) == 3
    assert go(spec, tmp_path).writes == 0


def test_eips_that_are_there_are_used_in_order(cloud: Cloud, tmp_path: Path) -> None:
    ids = [cloud.allocate() for _ in range(5)]
    spec = spec_of(count=1, eips={"ids": ids})
    report = go(spec, tmp_path)
    held = [eip for eip in region_of(cloud).all(Eip) if eip.eni]
    assert {eip.id for eip in held} == set(ids)
    assert not any(eip.tags for eip in held)
    assert report.writes == 5 + 2
    assert go(spec, tmp_path).writes == 0


def test_contiguous_eips_are_one_allocation(cloud: Cloud, tmp_path: Path) -> None:
    spec = spec_of(eips={"segment": 28})
    go(spec, tmp_path)
    bound = [eip for eip in region_of(cloud).all(Eip) if eip.eni]
    assert len(bound) == spec.total_eips
    assert len({eip.segment for eip in bound}) == 1
    assert go(spec, tmp_path).writes == 0


def test_eips_share_the_bandwidth_of_a_package(cloud: Cloud, tmp_path: Path) -> None:
    made = cloud.eip("CreateCommonBandwidthPackage", region_id=REGION, bandwidth=100)
    package = made.bandwidth_package_id
    go(spec_of(), tmp_path)
    packed = spec_of(count=4, eips={"bandwidth_package": package})
    report = go(packed, tmp_path)
    assert_exact(cloud, packed)
    assert {eip.package for eip in region_of(cloud).all(Eip)} == {package}
    # 5 more EIPs by two calls each; RunInstances, tags; 15 EIPs in two calls, then the 5 in one.
    assert report.writes == 5 * 2 + 2 + 2 + 1
    assert go(packed, tmp_path).writes == 0


def test_a_security_group_is_made_with_the_rules_of_the_file_alone(cloud: Cloud, tmp_path: Path) -> None:
    rules = [{"protocol": "tcp", "ports": "22", "cidr": "203.0.113.0/24"}, {"protocol": "icmp", "cidr": "0.0.0.0/0"}]
    go(spec_of(security_group={"rules": rules}, count=1), tmp_path)
    made = next(one for one in region_of(cloud).all(SecurityGroup) if one.id != GROUP)
    shown = {(rule.protocol, rule.ports, rule.cidr) for rule in made.rules}
    assert shown == {("TCP", "22/22", "203.0.113.0/24"), ("ICMP", "-1/-1", "0.0.0.0/0")}
    assert all(eni.groups == (made.id,) for eni in region_of(cloud).all(Eni))
    rules.append({"protocol": "tcp", "ports": "8000-8010", "cidr": "0.0.0.0/0"})
    report = go(spec_of(security_group={"rules": rules}, count=1), tmp_path)
    assert report.writes == 1


def opened_ports(cloud: Cloud) -> dict[str, str]:
    """Return what the fleet's own group lets in: where from, and the rule's description, by ports."""
    made = next(one for one in region_of(cloud).all(SecurityGroup) if one.id != GROUP)
    return {f"{rule.protocol} {rule.ports} {rule.cidr}": rule.description for rule in made.rules}


def test_rules_that_the_file_drops_are_revoked_and_those_of_a_person_stay(cloud: Cloud, tmp_path: Path) -> None:
    ssh = {"protocol": "tcp", "ports": "22", "cidr": "203.0.113.0/24", "description": "from the office"}
    web = {"protocol": "tcp", "ports": "443", "cidr": "0.0.0.0/0"}
    go(spec_of(security_group={"rules": [ssh, web]}, count=1), tmp_path)
    group = next(one for one in region_of(cloud).all(SecurityGroup) if one.id != GROUP)
    by_hand = {"IpProtocol": "TCP", "PortRange": "9100/9100", "SourceCidrIp": "10.0.0.0/8", "Description": "metrics"}
    cloud.do("AuthorizeSecurityGroup", region_id=REGION, security_group_id=group.id, permissions=[by_hand])
    narrower = spec_of(security_group={"rules": [{**web, "cidr": "198.51.100.0/24"}]}, count=1)
    actions = compare(narrower)[2]
    assert [(rule.ports, rule.description) for rule in actions.revoke_rules] == [
        ("22/22", "multieip: from the office"),
        ("443/443", "multieip"),
    ]
    assert not actions.is_empty
    report = go(narrower, tmp_path)
    assert report.writes == 2
    assert opened_ports(cloud) == {"TCP 9100/9100 10.0.0.0/8": "metrics", "TCP 443/443 198.51.100.0/24": "multieip"}
    goal, seen, actions = compare(narrower)
    assert actions.is_empty
    drift = status(goal, seen, actions, picture(goal, seen)).drift
    assert [(one.resource, one.what, one.found) for one in drift] == [
        (group.id, "rule", "TCP 9100/9100 from 10.0.0.0/8")
    ]
    assert go(narrower, tmp_path).writes == 0


def test_an_address_is_the_same_rule_with_and_without_its_32(cloud: Cloud, tmp_path: Path) -> None:
    office = {"protocol": "tcp", "ports": "22", "cidr": "203.0.113.7"}
    spec = spec_of(security_group={"rules": [*SSH, office]}, count=1)
    go(spec_of(security_group={"rules": SSH}, count=1), tmp_path)
    group = next(one for one in region_of(cloud).all(SecurityGroup) if one.id != GROUP)
    # As somebody adds it by hand; with our mark it must not be revoked as one that the file has no more either.
    bare = {"IpProtocol": "TCP", "PortRange": "22/22", "SourceCidrIp": "203.0.113.7", "Description": "multieip"}
    cloud.do("AuthorizeSecurityGroup", region_id=REGION, security_group_id=group.id, permissions=[bare])
    goal, seen, actions = compare(spec)
    assert [rule.cidr for rule in goal.rules] == ["0.0.0.0/0", "203.0.113.7/32"]
    assert actions.is_empty
    assert status(goal, seen, actions, picture(goal, seen)).drift == ()
    assert go(spec, tmp_path).writes == 0


def test_a_rule_that_somebody_revoked_meanwhile_holds_nothing_up(cloud: Cloud, tmp_path: Path) -> None:
    rules = [{"protocol": "tcp", "ports": port, "cidr": "0.0.0.0/0"} for port in ("22", "80", "443")]
    go(spec_of(security_group={"rules": rules}, count=1), tmp_path)
    group = next(one for one in region_of(cloud).all(SecurityGroup) if one.id != GROUP)
    clients = Clients(REGION, default_settings().pace)
    held = networks.rules_of(clients, group.id)
    networks.revoke(clients, group.id, held[:1])
    networks.revoke(clients, group.id, held[:2])
    # All or none: the second rule is still there, and the next launch sees it.
    assert networks.rules_of(clients, group.id) == held[1:]
    go(spec_of(security_group={"rules": rules[:1]}, count=1), tmp_path)
    assert opened_ports(cloud) == {"TCP 22/22 0.0.0.0/0": "multieip"}


def test_instances_are_spread_over_vswitches(cloud: Cloud, tmp_path: Path) -> None:
    spec = spec_of(count=4, vswitches=[VSWITCH, "vsw-bp1sandboxi"], spread=True)
    go(spec, tmp_path)
    assert_exact(cloud, spec)
    assert sorted(one.zone[-1] for one in region_of(cloud).all(Instance)) == ["h", "h", "i", "i"]


def test_instances_have_what_the_file_says(cloud: Cloud, tmp_path: Path) -> None:
    cloud.do("CreateKeyPair", region_id=REGION, key_pair_name="ops")
    spec = spec_of(
        count=1,
        key_pair="ops",
        ram_role="reader",
        instance_name="edge",
        tags={"team": "net"},
        spot={"interruption": "Stop"},
        data_disks=[{"size_gib": 100}],
    )
    go(spec, tmp_path, user_data=b"#cloud-config\n{}\n")
    (one,) = region_of(cloud).all(Instance)
    assert (one.name, one.hostname, one.key_pair, one.ram_role) == ("edge-001", "edge-001", "ops", "reader")
    assert (one.http_tokens, one.spot_strategy) == ("required", "SpotAsPriceGo")
    assert one.user_data
    assert dict(one.tags)["team"] == "net"
    assert dict(one.tags)[names.RUN].startswith("web.")


def test_a_vswitch_or_an_image_that_is_not_there_ends_it_before_anything_is_made(cloud: Cloud, tmp_path: Path) -> None:
    with pytest.raises(CloudRefusedError, match="no vSwitch vsw-bp1nowhere"):
        go(spec_of(vswitches=["vsw-bp1nowhere"]), tmp_path)
    with pytest.raises(CloudRefusedError, match="no image in cn-hangzhou was built from the image spec debian-12"):
        go(spec_of(image={"name": "debian-12"}), tmp_path)
    wrong = spec_of(image={"name": "debian-12"}, vswitches=["vsw-bp1nowhere"])
    with pytest.raises(FindingsError) as refused:
        go(wrong, tmp_path, check=check_of(wrong, tmp_path, []))
    assert {finding.rule for finding in refused.value.findings} == {"image", "vswitch"}
    assert not region_of(cloud).all(Instance)
