"""The policy grants what the operations of a fleet's verbs call, by their source, and no more."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest

from generator.cloud import assistant, eips, enis, images, instances, networks, offers, prices, traits
from generator.fleet.policy import actions_of, of_rollout, operations, policy
from generator.spec.fleet import FleetSpec
from tests.sandbox.fleets import spec_of

ROOT = Path(__file__).parents[2]
MODULES = {
    module.__name__.rpartition(".")[2]: module
    for module in (assistant, eips, enis, images, instances, networks, offers, prices, traits)
}


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


def used() -> dict[Any, str]:
    """Return the operations of the cloud that the source of fleets names, each with a file that does."""
    found: dict[Any, str] = {}
    for path in (ROOT / "generator" / "fleet").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                operation = getattr(MODULES.get(node.value.id), node.attr, None)
                if inspect.isfunction(operation) and actions_of(operation):
                    found[operation] = f"{path.name}:{node.lineno}"
    return found


def test_every_operation_that_fleets_use_is_granted_to_some_fleet() -> None:
    rules = {"rules": [{"protocol": "icmp", "cidr": "0.0.0.0/0"}]}
    group = {"security_group": rules, "deletion_protection": True, "key_pair": "operations"}
    fleets = [
        spec_of(**group, eips={"bandwidth_package": "cbwp-12345678"}),
        spec_of(**group, eips={"segment": 28}, image={"id": "m-12345678"}),
        spec_of(**group, image={"name": "debian-12"}),
    ]
    known = {one for spec in fleets for one in (*operations(spec), *of_rollout(spec))}
    missing = {operation.__qualname__: place for operation, place in used().items() if operation not in known}
    assert missing == {}
    assert len(used()) > 30


def test_a_rollout_is_granted_what_it_calls_beside() -> None:
    without, with_it = (
        {action for statement in policy(spec_of(), rollout=rollout)["Statement"] for action in statement["Action"]}
        for rollout in (False, True)
    )
    assert with_it - without == {"ecs:DetachNetworkInterface", "ecs:StartInstance", "ecs:StopInstance"}


def test_changes_are_for_one_region_and_a_role_for_itself() -> None:
    reads, writes, role = policy(spec_of(ram_role="Web"))["Statement"]
    assert reads["Resource"] == "*"
    assert not [one for one in reads["Action"] if not one.partition(":")[2].startswith(("Describe", "List", "Get"))]
    assert writes["Resource"] == ["acs:ecs:cn-hangzhou:*:*", "acs:vpc:cn-hangzhou:*:*"]
    assert role["Resource"] == "acs:ram:*:*:role/web"
