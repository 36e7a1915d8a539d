"""Fleets for tests: their specs, a region for them, and what is in the region in the end."""

from __future__ import annotations

from collections import Counter
from typing import Any

from generator.fleet import names
from generator.fleet.engine import Settings
from generator.fleet.launch import default_settings
from generator.sandbox.region.model import Eip, Eni, Instance
from generator.sandbox.region.region import Region
from generator.spec.fleet import FleetSpec
from tests.sandbox.region import GROUP, REGION, VSWITCH, Cloud

# As many seconds a second as leave windows of a minute long enough for a busy machine.
FAST = 50.0


def spec_of(**more: Any) -> FleetSpec:
    """Return the spec of a small fleet: 3 instances, 2 EIPs on the primary ENI and 3 on a secondary one each."""
    fields: dict[str, Any] = {
        "version": 1,
        "name": "web",
        "region": REGION,
        "image": {"family": "acs:debian_12_11_x64"},
        "instance_types": ["ecs.g7.large"],
        "vswitches": [VSWITCH],
        "security_group": {"id": GROUP},
        "user_data": {"form": "none"},
        "count": 3,
        "enis": [{"private_ips": 2}, {"private_ips": 3}],
    }
    return FleetSpec.model_validate({**fields, **more})


def settings() -> Settings:
    """Return settings for the clock that the environment names."""
    return default_settings()


def region_of(cloud: Cloud) -> Region:
    """Return the state of the region; read it in the server's thread, or when nobody calls any more."""
    return cloud.account.regions[REGION]


def assert_exact(cloud: Cloud, spec: FleetSpec) -> None:
    """Check that the region has exactly what a spec asks for: nothing missing, twice, loose or untagged."""
    region = region_of(cloud)
    instances, enis, eips = region.all(Instance), region.all(Eni), region.all(Eip)
    numbers = sorted(one.name for one in instances)
    assert numbers == [spec.name_of(number) for number in range(1, spec.count + 1)]
    assert {one.status for one in instances} == {"Running"}
    assert len(enis) == spec.count * len(spec.enis)
    assert {eni.status for eni in enis} == {"InUse"}
    assert len(eips) == spec.total_eips
    assert {eip.status for eip in eips} <= {"InUse"}
    for tags in ({one.tags for one in instances}, {one.tags for one in enis}, {one.tags for one in eips}):
        assert {dict(one)[names.FLEET] for one in tags} == {spec.name}
    assert not any(eni.delete_on_release for eni in enis if eni.type == "Secondary")
    for instance in instances:
        held = region.enis_of(instance.id)
        assert len(held) == len(spec.enis)
        for eni, wanted in zip(held, spec.enis, strict=True):
            assert len(eni.addresses) == wanted.ip_count
            bound = {eip.private_ip for eip in region.eips_of(eni.id)}
            assert bound == set(eni.addresses[: wanted.eip_count])
    twice = [place for place, count in Counter(names.place_of(eip.tags) for eip in eips).items() if count > 1]
    assert not twice or twice == [None]


def assert_nothing(cloud: Cloud) -> None:
    """Check that nothing that a fleet makes is left."""
    region = region_of(cloud)
    assert [region.all(kind) for kind in (Instance, Eni, Eip)] == [[], [], []]
