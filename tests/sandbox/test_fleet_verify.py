"""A verification asks every instance once, by the hundred, and believes none that did not tell."""

from __future__ import annotations

import base64
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from generator.fleet import opening
from generator.fleet.launch import launch
from generator.fleet.opening import Opened
from generator.fleet.verdict import Verdict
from generator.fleet.verify import Asked, verify
from generator.sandbox.region.behaviour import Behaviour
from generator.sandbox.region.clock import Clock
from generator.sandbox.region.model import CommandResult, Instance, Invocation
from generator.sandbox.region.plane import NullPlane
from generator.sandbox.region.region import Region
from generator.spec.fleet import FleetSpec
from tests.sandbox.fleets import FAST, region_of, settings, spec_of
from tests.sandbox.region import Cloud, served


class Guests(NullPlane):
    """Instances that tell what the script would, of the ENIs that they have; `says` overrides it by instance."""

    def __init__(self) -> None:
        self.region: Region | None = None
        self.asked: Counter[str] = Counter()
        self.says: dict[str, CommandResult] = {}

    def execute(self, region: str, invocation: Invocation) -> CommandResult | None:
        self.asked[invocation.instance] += 1
        return self.says.get(invocation.instance) or CommandResult(output=self._told(invocation.instance))

    def _told(self, instance: str) -> str:
        assert self.region is not None
        held = list(enumerate(self.region.enis_of(instance)))
        told = {
            "check": {"code": 0, "said": ""},
            "enis": [{"id": eni.id, "dev": f"eth{number}", "ips": list(eni.addresses)} for number, eni in held],
            "asked": {},
            "answered": {},
            "seen": {},
            "routes": {ip: f"eth{number}" for number, eni in held for ip in eni.addresses},
            "strays": [],
        }
        return base64.b64encode(zlib.compress(json.dumps(told).encode())).decode()


@pytest.fixture
def guests() -> Guests:
    return Guests()


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, guests: Guests) -> Iterator[Cloud]:
    monkeypatch.setenv("MULTIEIP_CLOCK", str(FAST))
    behaviour = Behaviour(windows=None, eips=300, vcpus=1000, enis=1000)
    with served(clock=Clock(FAST), behaviour=behaviour, plane=guests) as region:
        monkeypatch.setenv("MULTIEIP_ENDPOINT", region.server.url)
        guests.region = region_of(region)
        yield region


def verified(spec: FleetSpec) -> Verdict:
    asked = Asked(skip=("outside",))
    return verify(opening.connect(spec), Opened("fleet.yaml", spec, b"", ()), asked)


def instances(cloud: Cloud) -> list[Instance]:
    return sorted(region_of(cloud).all(Instance), key=lambda one: one.name)


def test_every_instance_is_asked_once_whatever_the_pages(cloud: Cloud, guests: Guests, tmp_path: Path) -> None:
    spec = spec_of(count=120, enis=[{"eips": 0}, {"private_ips": 2, "eips": 1}])
    launch(spec, folder=tmp_path, settings=settings(), quiet=True)
    found = verified(spec)
    assert found.failures == ()
    assert len(guests.asked) == 120
    assert set(guests.asked.values()) == {1}
    by_level = Counter(check.level for check in found.checks if check.subject)
    assert by_level == {"cloud": 120, "inside": 120}
    assert [row[0] for row in found.rows()] == [spec.name_of(number) for number in range(1, 121)]


def test_an_instance_that_does_not_tell_fails_and_the_others_do_not(
    cloud: Cloud, guests: Guests, tmp_path: Path
) -> None:
    spec = spec_of()
    launch(spec, folder=tmp_path, settings=settings(), quiet=True)
    silent, failing, well = instances(cloud)
    guests.says = {
        silent.id: CommandResult(),
        failing.id: CommandResult(exit_code=127, output="python3: not found"),
    }
    assert {check.instance: check.detail for check in verified(spec).failures} == {
        silent.name: "the script's output was cut off",
        failing.name: "the script ended as Failed: python3: not found",
    }
    assert guests.asked[well.id] == 1


def test_an_instance_that_is_stopped_is_not_asked(cloud: Cloud, guests: Guests, tmp_path: Path) -> None:
    spec = spec_of()
    launch(spec, folder=tmp_path, settings=settings(), quiet=True)
    first = instances(cloud)[0]
    cloud.do("StopInstances", region_id="cn-hangzhou", instance_id=[first.id])
    cloud.until(lambda: cloud.status(first.id) == "Stopped")
    assert [(check.instance, check.detail) for check in verified(spec).failures] == [
        (first.name, "the instance is Stopped")
    ]
    assert first.id not in guests.asked
