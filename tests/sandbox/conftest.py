from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from generator.sandbox.region.behaviour import Behaviour
from generator.sandbox.region.clock import Clock
from tests.sandbox.ecs import FakeEcs, serving
from tests.sandbox.fleets import FAST
from tests.sandbox.region import Cloud, served


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("ALICLOUD_", "SECURITY_TOKEN")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)


@pytest.fixture
def ecs(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEcs]:
    """An ECS on loopback that multieip talks to."""
    with serving(FakeEcs()) as fake:
        monkeypatch.setenv("MULTIEIP_ECS_ENDPOINT", fake.url)
        yield fake


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A region on loopback whose clock runs fast, with room for 60 EIPs; multieip talks to it."""
    with served(clock=Clock(FAST), behaviour=Behaviour(eips=60)) as cloud:
        monkeypatch.setenv("MULTIEIP_ENDPOINT", cloud.server.url)
        monkeypatch.setenv("MULTIEIP_CLOCK", str(FAST))
        yield cloud
