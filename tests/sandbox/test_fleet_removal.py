"""Destroying fleets, keeping their EIPs, and sweeping up what no fleet owns."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.cloud.client import Cloud as Clients
from generator.errors import ExitCode, MultieipError
from generator.fleet import sweep
from generator.fleet.destroy import Report, destroy, preview
from generator.fleet.launch import default_settings, launch
from generator.sandbox.region.model import Eip, Eni, Instance, SecurityGroup
from tests.sandbox.fleets import assert_exact, assert_nothing, region_of, spec_of
from tests.sandbox.region import GROUP, REGION, VSWITCH, Cloud

RULES = {"rules": [{"protocol": "tcp", "ports": "22", "cidr": "0.0.0.0/0"}]}


def gone(folder: Path, *, keep_eips: bool = False) -> Report:
    return destroy("web", REGION, keep_eips=keep_eips, folder=folder, quiet=True)


def test_all_of_a_fleet_goes_and_what_is_not_its_stays(cloud: Cloud, tmp_path: Path) -> None:
    other = cloud.allocate()
    (machine,) = cloud.launch()
    launch(spec_of(security_group=RULES), folder=tmp_path, quiet=True)
    report = gone(tmp_path)
    region = region_of(cloud)
    assert [eip.id for eip in region.all(Eip)] == [other]
    assert [one.id for one in region.all(Instance)] == [machine]
    assert len(region.all(Eni)) == 1
    assert [group.id for group in region.all(SecurityGroup)] == [GROUP]
    assert len(report.removed.instances) == 3
    # Each EIP by two calls, each secondary ENI by one; the instances and the group.
    assert report.writes == 15 * 2 + 3 + 1 + 1


def test_destroying_twice_or_nothing_is_no_error(cloud: Cloud, tmp_path: Path) -> None:
    assert not gone(tmp_path).removed
    launch(spec_of(count=1), folder=tmp_path, quiet=True)
    gone(tmp_path)
    assert gone(tmp_path).writes == 0
    assert_nothing(cloud)


def test_a_preview_removes_nothing(cloud: Cloud, tmp_path: Path) -> None:
    launch(spec_of(count=1), folder=tmp_path, quiet=True)
    removal = preview("web", REGION)
    assert len(removal.release) == 5
    assert_exact(cloud, spec_of(count=1))


def test_eips_that_are_kept_are_taken_by_the_next_launch(cloud: Cloud, tmp_path: Path) -> None:
    launch(spec_of(), folder=tmp_path, quiet=True)
    before = {eip.id: eip.address for eip in region_of(cloud).all(Eip)}
    gone(tmp_path, keep_eips=True)
    region = region_of(cloud)
    assert (region.all(Instance), region.all(Eni)) == ([], [])
    assert {eip.status for eip in region.all(Eip)} == {"Available"}
    assert gone(tmp_path, keep_eips=True).writes == 0
    launch(spec_of(), folder=tmp_path, quiet=True)
    assert_exact(cloud, spec_of())
    assert {eip.id: eip.address for eip in region_of(cloud).all(Eip)} == before


def test_eips_and_enis_that_the_file_named_are_left_bound_to_nothing(cloud: Cloud, tmp_path: Path) -> None:
    ids = [cloud.allocate() for _ in range(3)]
    body = cloud.do(
        "CreateNetworkInterface",
        region_id=REGION,
        v_switch_id=VSWITCH,
        security_group_id=GROUP,
        secondary_private_ip_address_count=2,
        delete_on_release=False,
    )
    eni = body.network_interface_id
    enis = [{"private_ips": 1, "eips": 0}, {"id": eni, "private_ips": 3}]
    launch(spec_of(count=1, enis=enis, eips={"ids": ids}), folder=tmp_path, quiet=True)
    gone(tmp_path)
    region = region_of(cloud)
    assert {(eip.id, eip.status) for eip in region.all(Eip)} == {(one, "Available") for one in ids}
    assert [one.id for one in region.all(Eni)] == [eni]


def test_contiguous_eips_are_released_as_a_whole(cloud: Cloud, tmp_path: Path) -> None:
    launch(spec_of(eips={"segment": 28}), folder=tmp_path, quiet=True)
    report = gone(tmp_path)
    assert_nothing(cloud)
    assert len(report.removed.segments) == 1


def protect(cloud: Cloud, name: str) -> str:
    """Protect an instance against deletion, as a person does, and return its id."""
    key = next(one.id for one in region_of(cloud).all(Instance) if one.name == name)
    cloud.do("ModifyInstanceAttribute", instance_id=key, deletion_protection=True)
    return key


def test_nothing_goes_while_an_instance_is_protected(cloud: Cloud, tmp_path: Path) -> None:
    launch(spec_of(security_group=RULES), folder=tmp_path, quiet=True)
    key = protect(cloud, "web-002")
    with pytest.raises(
        MultieipError, match=rf"^1 instance is protected against deletion: web-002 \({key}\);"
    ) as refused:
        gone(tmp_path)
    assert (refused.value.exit_code, "--unprotect" in refused.value.hint) == (ExitCode.FAILED, True)
    assert_exact(cloud, spec_of())
    report = destroy("web", REGION, unprotect=True, folder=tmp_path, quiet=True)
    assert_nothing(cloud)
    # Beside the calls for what is there, one for the instance that was protected.
    assert report.writes == 15 * 2 + 3 + 1 + 1 + 1


def test_a_launch_removes_no_protected_instance_unasked(cloud: Cloud, tmp_path: Path) -> None:
    launch(spec_of(deletion_protection=True), folder=tmp_path, quiet=True)
    # One more private IP for each that stays: not even that is done before it is clear what goes.
    less = spec_of(deletion_protection=True, count=2, enis=[{"private_ips": 3, "eips": 2}, {"private_ips": 3}])
    with pytest.raises(MultieipError, match=r"^1 instance is protected against deletion: web-003"):
        launch(less, folder=tmp_path, removal=True, quiet=True)
    assert_exact(cloud, spec_of())
    launch(less, folder=tmp_path, removal=True, unprotect=True, quiet=True)
    assert_exact(cloud, less)
    # Those that stay are as protected as they were.
    assert {one.deletion_protection for one in region_of(cloud).all(Instance)} == {True}


def test_a_sweep_leaves_protected_instances_and_all_else_until_told(cloud: Cloud, tmp_path: Path) -> None:
    launch(spec_of(count=1), folder=tmp_path, quiet=True)
    protect(cloud, "web-001")
    clients = Clients(REGION, default_settings().pace)
    with pytest.raises(MultieipError, match="protected against deletion: web-001"):
        sweep.remove(sweep.find(clients, []), REGION, folder=tmp_path, quiet=True)
    assert_exact(cloud, spec_of(count=1))
    sweep.remove(sweep.find(clients, []), REGION, unprotect=True, folder=tmp_path, quiet=True)
    assert_nothing(cloud)


def test_an_instance_that_went_meanwhile_need_not_be_unprotected(cloud: Cloud, tmp_path: Path) -> None:
    launch(spec_of(count=1), folder=tmp_path, quiet=True)
    key = protect(cloud, "web-001")
    orphans = sweep.find(Clients(REGION, default_settings().pace), [])
    cloud.do("ModifyInstanceAttribute", instance_id=key, deletion_protection=False)
    cloud.do("DeleteInstances", region_id=REGION, instance_id=[key], force=True)
    cloud.until(lambda: cloud.status(key) is None)
    sweep.remove(orphans, REGION, unprotect=True, folder=tmp_path, quiet=True)
    assert_nothing(cloud)


def test_a_sweep_finds_what_no_known_fleet_owns(cloud: Cloud, tmp_path: Path) -> None:
    launch(spec_of(count=1, security_group=RULES), folder=tmp_path, quiet=True)
    launch(spec_of(name="old", count=1, security_group=RULES), folder=tmp_path, quiet=True)
    cloud.allocate()
    clients = Clients(REGION, default_settings().pace)
    assert sweep.find(clients, ["web", "old"]) == sweep.Orphans()
    orphans = sweep.find(clients, ["web"])
    counts = (len(orphans.instances), len(orphans.enis), len(orphans.eips), len(orphans.groups))
    assert counts == (1, 2, 5, 1)
    assert "" not in {eip.created for eip in orphans.eips} | {eni.created for eni in orphans.enis}
    sweep.remove(orphans, REGION, folder=tmp_path, quiet=True)
    assert sweep.find(clients, ["web"]) == sweep.Orphans()
    region = region_of(cloud)
    assert [one.name for one in region.all(Instance)] == ["web-001"]
    assert len(region.all(Eip)) == 5 + 1


def test_a_sweep_finds_secondary_enis_that_were_never_tagged(cloud: Cloud, tmp_path: Path) -> None:
    launch(spec_of(count=2), folder=tmp_path, quiet=True)
    secondary = [eni for eni in region_of(cloud).all(Eni) if eni.type == "Secondary"]
    cloud.do(
        "UntagResources", region_id=REGION, resource_type="eni", resource_id=[one.id for one in secondary], all=True
    )
    # One hangs on an instance, the other is loose.
    cloud.do("DeleteInstances", region_id=REGION, instance_id=[secondary[0].instance], force=True)
    cloud.until(lambda: cloud.status(secondary[0].instance) is None)
    clients = Clients(REGION, default_settings().pace)
    orphans = sweep.find(clients, [])
    assert {one.id for one in secondary} <= {eni.id for eni in orphans.enis}
    sweep.remove(orphans, REGION, folder=tmp_path, quiet=True)
    assert_nothing(cloud)
