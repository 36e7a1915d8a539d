"""Launches and removals that the cloud disturbs: every kind of fault, with every call that they make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from generator.errors import ExitCode, MultieipError
from generator.fleet.destroy import destroy
from generator.fleet.launch import Report, default_settings, launch
from generator.fleet.quotas import QUOTAS
from generator.sandbox.region.behaviour import Behaviour
from generator.sandbox.region.clock import Clock
from generator.sandbox.region.faults import Fault, Kind
from generator.sandbox.region.model import Eip, Eni, Instance
from generator.spec.fleet import FleetSpec
from tests.sandbox.fleets import FAST, assert_exact, assert_nothing, region_of, spec_of
from tests.sandbox.region import VSWITCH, ZONE, Cloud, served

SMALL = spec_of(count=2, enis=[{"private_ips": 1}, {"private_ips": 2}])
LAUNCHING = ("RunInstances", "TagResources", "AllocateEipAddress", "AssociateEipAddress")
REMOVING = ("UnassociateEipAddress", "ReleaseEipAddress", "DeleteInstances", "DeleteNetworkInterface")
READS = ("DescribeInstances", "DescribeNetworkInterfaces", "DescribeEipAddresses")
DISTURBING = [kind for kind in Kind if kind not in (Kind.NO_STOCK, Kind.VANISH)]


def started(monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour) -> Iterator[Cloud]:
    with served(clock=Clock(FAST), behaviour=behaviour) as cloud:
        monkeypatch.setenv("MULTIEIP_ENDPOINT", cloud.server.url)
        monkeypatch.setenv("MULTIEIP_CLOCK", str(FAST))
        yield cloud


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    # No more EIPs than the fleet has: one that is allocated twice is over quota.
    yield from started(monkeypatch, Behaviour(eips=SMALL.total_eips))


def go(spec: FleetSpec, folder: Path) -> Report:
    return launch(spec, folder=folder, quiet=True)


def inject(cloud: Cloud, *faults: Fault) -> None:
    for fault in faults:
        cloud.run(lambda fault=fault: cloud.account.faults.add(fault))  # type: ignore[misc]


@pytest.mark.parametrize("kind", DISTURBING)
def test_a_launch_gets_over_what_disturbs_its_calls(cloud: Cloud, tmp_path: Path, kind: Kind) -> None:
    inject(cloud, *(Fault(kind, action, seconds=0.05) for action in (*LAUNCHING, *READS)))
    go(SMALL, tmp_path)
    assert_exact(cloud, SMALL)
    assert cloud.account.faults.waiting() == ()


@pytest.mark.parametrize("kind", DISTURBING)
def test_a_removal_gets_over_what_disturbs_its_calls(cloud: Cloud, tmp_path: Path, kind: Kind) -> None:
    go(SMALL, tmp_path)
    inject(cloud, *(Fault(kind, action, seconds=0.05) for action in (*REMOVING, *READS)))
    destroy(SMALL.name, SMALL.region, folder=tmp_path, quiet=True)
    assert_nothing(cloud)
    assert cloud.account.faults.waiting() == ()


@pytest.mark.parametrize("code", ["IncorrectEipStatus", "InvalidStatus.EcsStatusNotSupport", "TaskConflict"])
def test_an_eip_that_is_busy_is_waited_for(cloud: Cloud, tmp_path: Path, code: str) -> None:
    inject(cloud, Fault(Kind.ERROR, "AssociateEipAddress", count=3, code=code, status=400))
    go(SMALL, tmp_path)
    assert_exact(cloud, SMALL)


def test_an_instance_that_vanishes_is_replaced_and_leaves_nothing(cloud: Cloud, tmp_path: Path) -> None:
    inject(cloud, Fault(Kind.VANISH, "RunInstances", amount=1))
    report = go(SMALL, tmp_path)
    assert_exact(cloud, SMALL)
    assert report.rounds == 2


def test_what_one_type_and_vswitch_lack_comes_from_the_next(cloud: Cloud, tmp_path: Path) -> None:
    inject(cloud, Fault(Kind.NO_STOCK, "RunInstances", amount=1), Fault(Kind.NO_STOCK, "RunInstances", amount=0))
    spec = SMALL.model_copy(
        update={"instance_types": ("ecs.g7.large", "ecs.c7.large"), "vswitches": (VSWITCH, "vsw-bp1sandboxi")}
    )
    go(spec, tmp_path)
    assert_exact(cloud, spec)
    kinds = {(one.type, one.zone[-1]) for one in region_of(cloud).all(Instance)}
    assert kinds == {("ecs.g7.large", "h"), ("ecs.c7.large", "h")}


def test_no_stock_at_all_is_said_and_the_rest_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for cloud in started(monkeypatch, Behaviour(eips=6, stock={(ZONE, "ecs.g7.large"): 1})):
        with pytest.raises(MultieipError, match="no room for web-002") as failure:
            go(SMALL, tmp_path)
        assert failure.value.exit_code == ExitCode.CLOUD
        assert sum(eip.status == "InUse" for eip in region_of(cloud).all(Eip)) == 3
        cloud.account.behaviour = Behaviour(eips=6)
        go(SMALL, tmp_path)
        assert_exact(cloud, SMALL)


def test_a_quota_ends_it_with_a_hint_and_the_next_launch_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for cloud in started(monkeypatch, Behaviour(eips=4)):
        with pytest.raises(MultieipError, match=r"QuotaExceeded\.Eip") as failure:
            go(SMALL, tmp_path)
        assert failure.value.exit_code == ExitCode.CLOUD
        assert "multieip sweep" in failure.value.hint
        assert len(region_of(cloud).all(Eip)) == 4
        cloud.account.behaviour = Behaviour(eips=6)
        go(SMALL, tmp_path)
        assert_exact(cloud, SMALL)


@pytest.mark.parametrize("code", ["Forbidden.RAM", "InvalidParameter", "Account.Arrearage"])
@pytest.mark.parametrize("action", LAUNCHING)
def test_what_is_refused_for_good_ends_it_and_can_be_gone_on_with(
    cloud: Cloud, tmp_path: Path, code: str, action: str
) -> None:
    inject(cloud, Fault(Kind.ERROR, action, code=code, status=403))
    with pytest.raises(MultieipError, match=code):
        go(SMALL, tmp_path)
    go(SMALL, tmp_path)
    assert_exact(cloud, SMALL)


def test_a_launch_at_the_limit_of_its_quotas_is_hardly_throttled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = spec_of(count=10, enis=[{"private_ips": 5}, {"private_ips": 6}, {"private_ips": 6}])
    for cloud in started(monkeypatch, Behaviour(eips=200)):
        go(spec, tmp_path)
        assert_exact(cloud, spec)
        log = (tmp_path / "web" / "calls.jsonl").read_text()
        # 170 EIPs are 50 more than a minute has room for.
        assert log.count('"code": "Throttling') <= 10


def test_quotas_are_settings(cloud: Cloud, tmp_path: Path) -> None:
    settings = default_settings(quotas={**QUOTAS, "AllocateEipAddress": QUOTAS["RunInstances"]})
    assert settings.quotas["AllocateEipAddress"].batch == 1
    launch(SMALL, folder=tmp_path, settings=settings, quiet=True)
    assert_exact(cloud, SMALL)
    assert len(region_of(cloud).all(Eni)) == 4
