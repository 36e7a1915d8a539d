from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.sandbox.ecs import FakeEcs, serving

# The SDK reads its variables when it is imported. Without this one it looks for an instance's RAM role.
os.environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"


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
