"""The policy grants what the operations of a fleet's verbs call, by their source, and no more."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from generator.cloud import eips, enis, instances, networks
from generator.fleet.policy import actions_of, policy
from generator.spec.fleet import FleetSpec
from tests.sandbox.fleets import spec_of


def granted(spec: FleetSpec) -> set[str]:
    return {action for statement in policy(spec)["Statement"] for action in statement["Action"]}


def test_actions_are_read_off_the_source_through_the_functions_below() -> None:
    assert actions_of(instances.run) == {"ecs:RunInstances"}
    assert actions_of(enis.attach) == {"ecs:AttachNetworkInterface", "ecs:DescribeNetworkInterfaces"}
    assert actions_of(eips.tag) == {"vpc:TagResources"}
    assert actions_of(networks.gateway) == {"vpc:ListIpv4Gateways"}


@pytest.mark.parametrize("module", [eips, enis, instances, networks], ids=lambda module: module.__name__)
def test_every_operation_of_the_cloud_names_an_action(module: Any) -> None:
    found = [one for name, one in inspect.getmembers(module, inspect.isfunction) if one.__module__ == module.__name__]
    public = [one for one in found if not one.__name__.startswith("_") and "cloud" in inspect.signature(one).parameters]
    assert public
    assert [one.__name__ for one in public if not actions_of(one)] == []


@pytest.mark.parametrize(
    ("more", "grants"),
    [
        ({"security_group": {"rules": [{"protocol": "icmp", "cidr": "0.0.0.0/0"}]}}, "ecs:CreateSecurityGroup"),
        ({"eips": {"segment": 28}}, "vpc:AllocateEipSegmentAddress"),
        ({"eips": {"bandwidth_package": "cbwp-12345678"}}, "vpc:AddCommonBandwidthPackageIps"),
        ({"key_pair": "operations"}, "ecs:DescribeKeyPairs"),
        ({"ram_role": "Web"}, "ram:PassRole"),
    ],
    ids=["group", "segment", "package", "key pair", "role"],
)
def test_what_only_some_fleets_need_only_they_are_granted(more: dict[str, Any], grants: str) -> None:
    assert grants not in granted(spec_of())
    assert grants in granted(spec_of(**more))


def test_changes_are_for_one_region_and_a_role_for_itself() -> None:
    reads, writes, role = policy(spec_of(ram_role="Web"))["Statement"]
    assert reads["Resource"] == "*"
    assert not [one for one in reads["Action"] if not one.partition(":")[2].startswith(("Describe", "List", "Get"))]
    assert writes["Resource"] == ["acs:ecs:cn-hangzhou:*:*", "acs:vpc:cn-hangzhou:*:*"]
    assert role["Resource"] == "acs:ram:*:*:role/web"
