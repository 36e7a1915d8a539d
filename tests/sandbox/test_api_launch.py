"""RunInstances as launchers of fleets send it: names in sequence, disks, spot, resource groups; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.sandbox.region import LAUNCH, REGION, Cloud, refusal, served


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as one:
        yield one


def shown(cloud: Cloud, ids: list[str]) -> list[Any]:
    body = cloud.do("DescribeInstances", region_id=REGION, instance_ids=json.dumps(ids))
    return list(body.instances.instance)


# Names


@pytest.mark.parametrize(
    ("given", "unique", "names"),
    [
        ("web-[7,3]", False, ["web-007", "web-008"]),
        # A number at the end is suffix enough; one within is not.
        ("web-[7,3]", True, ["web-007", "web-008"]),
        ("web-[7,3]-a", False, ["web-007-a", "web-008-a"]),
        ("web-[7,3]-a", True, ["web-007-a001", "web-008-a002"]),
        ("web-[]", False, ["web-000000", "web-000001"]),
        ("web-[,]", False, ["web-000000", "web-000001"]),
        ("web-[99,]", False, ["web-000099", "web-000100"]),
        ("web-[,2]", False, ["web-00", "web-01"]),
        # More digits than asked for are six.
        ("web-[999,1]", False, ["web-000999", "web-001000"]),
        ("web-[9,1]", False, ["web-9", "web-10"]),
        ("web", True, ["web001", "web002"]),
        ("web", False, ["web", "web"]),
    ],
)
def test_names_count_as_the_brackets_say(cloud: Cloud, given: str, unique: bool, names: list[str]) -> None:
    ids = cloud.launch(2, instance_name=given, host_name=given, unique_suffix=unique)
    assert [one.instance_name for one in shown(cloud, ids)] == names
    assert [one.host_name for one in shown(cloud, ids)] == names


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"instance_name": "web-[7, 3]"}, "InvalidInstanceName.CustomMalformed"),
        ({"instance_name": "web-[7]"}, "InvalidInstanceName.CustomMalformed"),
        ({"instance_name": "web-[1,7]"}, "InvalidInstanceName.CustomMalformed"),
        ({"instance_name": "[7,3]"}, "InvalidInstanceName.Malformed"),
        ({"instance_name": "web [7,3]"}, "InvalidInstanceName.Malformed"),
        ({"instance_name": "7web"}, "InvalidInstanceName.Malformed"),
        ({"instance_name": "w" * 126, "unique_suffix": True, "amount": 2}, "InvalidParams.InstanceNameExceed"),
        ({"host_name": "h" * 62, "unique_suffix": True, "amount": 2}, "InvalidParams.HostnameExceed"),
        ({"host_name": "a..b"}, "InvalidHostName.Malformed"),
        ({"host_name": "a"}, "InvalidHostName.Malformed"),
        ({"host_name": "web", "host_names": ["a1"]}, "InvalidHostname.SingleAndMultiConflict"),
        ({"host_names": ["a1", "b1"]}, "InvalidHostname.SizeInvalid"),
    ],
)
def test_names_that_cannot_be_are_refused(cloud: Cloud, changes: dict[str, Any], code: str) -> None:
    assert refusal(lambda: cloud.do("RunInstances", **{**LAUNCH, **changes}))[0] == code


def test_host_names_may_be_given_one_by_one(cloud: Cloud) -> None:
    ids = cloud.launch(2, host_names=["alpha", "${instance_id}"])
    assert [one.host_name for one in shown(cloud, ids)] == ["alpha", ids[1]]
