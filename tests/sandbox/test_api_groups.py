"""Security groups through the official SDK: rules come and go, ENIs join and leave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.sandbox.region import GROUP, REGION, VSWITCH, Cloud, refusal, served

VPC = "vpc-bp1sandbox"
WEB = {"ip_protocol": "TCP", "port_range": "443/443"}


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as one:
        yield one


def new(cloud: Cloud, vpc: str = VPC) -> str:
    return str(cloud.do("CreateSecurityGroup", region_id=REGION, vpc_id=vpc).security_group_id)


def rules(cloud: Cloud, group: str, direction: str = "all") -> list[Any]:
    body = cloud.do("DescribeSecurityGroupAttribute", region_id=REGION, security_group_id=group, direction=direction)
    return list(body.permissions.permission)


def test_rules_of_both_directions_come_and_go(cloud: Cloud) -> None:
    group = {"region_id": REGION, "security_group_id": new(cloud)}
    key = group["security_group_id"]
    cloud.do("AuthorizeSecurityGroup", **group, **WEB, source_cidr_ip="10.0.0.0/8")
    cloud.do("AuthorizeSecurityGroupEgress", **group, **WEB, dest_cidr_ip="10.0.0.0/8")
    (inward,), (outward,) = rules(cloud, key, "ingress"), rules(cloud, key, "egress")
    assert (inward.source_cidr_ip, outward.dest_cidr_ip) == ("10.0.0.0/8", "10.0.0.0/8")
    # Another rule is not this one, and one that is not there is no error.
    cloud.do("RevokeSecurityGroup", **group, **WEB, source_cidr_ip="10.1.0.0/16")
    assert len(rules(cloud, key)) == 2
    cloud.do("RevokeSecurityGroup", **group, **WEB, source_cidr_ip="10.0.0.0/8")
    assert rules(cloud, key, "ingress") == []
    cloud.do("RevokeSecurityGroupEgress", **group, security_group_rule_id=[outward.security_group_rule_id])
    assert rules(cloud, key) == []
    code, _ = refusal(lambda: cloud.do("RevokeSecurityGroup", **group, security_group_rule_id=["sgr-nothing"]))
    assert code == "InvalidParam.SecurityGroupRuleId"
    both = {"security_group_rule_id": ["sgr-nothing"], "permissions": [{"PortRange": "80/80"}]}
    assert refusal(lambda: cloud.do("RevokeSecurityGroup", **group, **both))[0] == "InvalidParameter.Conflict"
    assert refusal(lambda: cloud.do("RevokeSecurityGroup", **group))[0] == "MissingParameter"


def test_an_instance_joins_and_leaves_groups_but_not_its_last_one(cloud: Cloud) -> None:
    (instance,) = cloud.launch()
    other = new(cloud)
    named = {"region_id": REGION, "security_group_id": other, "instance_id": instance}
    cloud.do("JoinSecurityGroup", **named)
    (shown,) = cloud.do("DescribeInstances", region_id=REGION).instances.instance
    assert shown.security_group_ids.security_group_id == [GROUP, other]
    assert cloud.enis(instance)[0].security_group_ids.security_group_id == [GROUP, other]
    assert refusal(lambda: cloud.do("JoinSecurityGroup", **named))[0] == "InvalidInstanceId.AlreadyExists"
    cloud.do("LeaveSecurityGroup", **{**named, "security_group_id": GROUP})
    assert refusal(lambda: cloud.do("LeaveSecurityGroup", **named)) == ("InstanceLastSecurityGroup", 403)
    code, _ = refusal(lambda: cloud.do("LeaveSecurityGroup", **{**named, "security_group_id": GROUP}))
    assert code == "InstanceNotInSecurityGroup"


def test_an_eni_joins_groups_of_its_vpc_only_and_five_at_most(cloud: Cloud) -> None:
    (instance,) = cloud.launch(network_interface=[{"VSwitchId": VSWITCH}])
    eni = cloud.enis(instance)[1].network_interface_id

    def join(group: str, **more: Any) -> Any:
        return cloud.do(
            "JoinSecurityGroup", region_id=REGION, security_group_id=group, network_interface_id=eni, **more
        )

    elsewhere = cloud.eip("CreateVpc", region_id=REGION, cidr_block="10.0.0.0/16").vpc_id
    foreign = new(cloud, elsewhere)
    assert refusal(lambda: join(foreign)) == ("InvalidOperation.VpcMismatch", 403)
    assert refusal(lambda: join(GROUP, instance_id=instance))[0] == "InvalidParameter.Conflict"
    for _ in range(4):
        join(new(cloud))
    one_more = new(cloud)
    assert refusal(lambda: join(one_more)) == ("JoinedGroupLimitExceed", 403)
    assert len(cloud.enis(instance)[1].security_group_ids.security_group_id) == 5
    assert cloud.enis(instance)[0].security_group_ids.security_group_id == [GROUP]
