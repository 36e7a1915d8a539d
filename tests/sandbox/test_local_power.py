"""What a data plane reports of an instance that powered itself off, and what the region makes of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox.region import REGION, Cloud, served


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """A region without a data plane: the test is it."""
    with served() as cloud:
        yield cloud


def lose_power(cloud: Cloud, instance: str) -> None:
    cloud.run(lambda: cloud.account.power_lost(REGION, instance))


def test_an_instance_that_powered_itself_off_is_stopped_and_can_be_started(cloud: Cloud) -> None:
    one, other = cloud.launch(2)
    lose_power(cloud, one)
    assert (cloud.status(one), cloud.status(other)) == ("Stopped", "Running")
    cloud.do("StartInstance", instance_id=one)
    cloud.until(lambda: cloud.status(one) == "Running")


def test_one_that_is_deleted_or_gone_stays_so(cloud: Cloud) -> None:
    (instance,) = cloud.launch()
    cloud.do("DeleteInstance", instance_id=instance, force=True)
    lose_power(cloud, instance)
    cloud.until(lambda: cloud.status(instance) is None)
    lose_power(cloud, instance)
    assert cloud.status(instance) is None


def test_one_that_stops_already_is_stopped_once(cloud: Cloud) -> None:
    (instance,) = cloud.launch()
    cloud.do("StopInstance", instance_id=instance)
    lose_power(cloud, instance)
    cloud.until(lambda: cloud.status(instance) == "Stopped")
    cloud.do("StartInstance", instance_id=instance)
    cloud.until(lambda: cloud.status(instance) == "Running")
