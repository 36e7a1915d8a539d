"""Images, snapshots, key pairs, security groups, networks, tags and commands through the official SDK."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from generator.sandbox.api.catalogue import ACTIONS
from generator.sandbox.region.behaviour import Behaviour, Delays
from generator.sandbox.region.clock import SteppedClock
from generator.sandbox.region.model import CommandResult, Image, Instance, Invocation
from generator.sandbox.region.plane import NullPlane
from tests.sandbox.region import GROUP, IMAGE, REGION, VSWITCH, ZONE, Cloud, refusal, served


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as one:
        yield one


# Images


def image(cloud: Cloud, key: str, region: str = REGION) -> Any:
    body = cloud.do("DescribeImages", region_id=region, image_id=key, status="ALL")
    return next(iter(body.images.image), None)


def capture(cloud: Cloud, name: str, **more: Any) -> str:
    (instance,) = cloud.launch()
    key = cloud.do("CreateImage", region_id=REGION, instance_id=instance, image_name=name, **more).image_id
    cloud.until(lambda: image(cloud, key).status == "Available")
    return str(key)


def test_an_image_of_an_instance_is_creating_then_available_and_of_its_family(cloud: Cloud) -> None:
    first = capture(cloud, "web-1", image_family="web", tag=[{"Key": "a", "Value": "b"}])
    second = capture(cloud, "web-2", image_family="web")
    assert image(cloud, first).tags.tag[0].tag_key == "a"
    newest = cloud.do("DescribeImageFromFamily", region_id=REGION, image_family="web").image
    assert (newest.image_id, newest.image_family) == (second, "web")
    cloud.do("ModifyImageAttribute", region_id=REGION, image_id=second, status="Deprecated")
    assert cloud.do("DescribeImageFromFamily", region_id=REGION, image_family="web").image.image_id == first
    (instance,) = cloud.launch(image_id=None, image_family="web")
    (shown,) = cloud.do("DescribeInstances", region_id=REGION, instance_ids=json.dumps([instance])).instances.instance
    assert shown.image_id == first
    assert cloud.launch(image_id=second), "a deprecated image still launches"
    assert cloud.do("DescribeImageFromFamily", region_id=REGION, image_family="nobody").image is None


def test_an_image_that_is_creating_is_neither_listed_nor_launched() -> None:
    clock = SteppedClock()
    with served(clock=clock, behaviour=Behaviour(delays=Delays(visible=0))) as cloud:
        from tests.sandbox.region import LAUNCH

        instance = cloud.do("RunInstances", **LAUNCH).instance_id_sets.instance_id_set[0]
        clock.advance(60)
        key = cloud.do("CreateImage", region_id=REGION, instance_id=instance, image_name="web").image_id
        assert cloud.do("DescribeImages", region_id=REGION, image_id=key).images.image == []
        assert image(cloud, key).status == "Creating"
        code, _ = refusal(lambda: cloud.do("RunInstances", **{**LAUNCH, "image_id": key}))
        assert code == "IncorrectImageStatus"
        code, _ = refusal(lambda: cloud.do("DeleteImage", region_id=REGION, image_id=key))
        assert code == "ImageIsCreating"


def test_a_copy_takes_its_time_and_has_neither_family_nor_tags() -> None:
    clock, delays = SteppedClock(), Delays(pending=0, starting=0, visible=0, imaging=0, copying=5)
    with served(clock=clock, behaviour=Behaviour(delays=delays)) as cloud:
        key = capture(cloud, "web-1", image_family="web", tag=[{"Key": "a", "Value": "b"}])
        body = cloud.do("CopyImage", region_id=REGION, image_id=key, destination_region_id="cn-beijing")
        assert image(cloud, body.image_id, "cn-beijing").status == "Creating"
        clock.advance(6)
        copy = image(cloud, body.image_id, "cn-beijing")
        assert (copy.status, copy.image_family, copy.tags.tag, copy.is_copied) == ("Available", "", [], True)
        assert image(cloud, body.image_id) is None
        for changes, code in (
            ({"destination_region_id": "cn-atlantis"}, "InvalidDestinationRegionId.NotFound"),
            ({"image_id": IMAGE}, "InvalidImageType.NotSupported"),
            ({"destination_region_id": REGION}, "InvalidParameter"),
        ):
            parameters = {"region_id": REGION, "image_id": key, "destination_region_id": "cn-beijing", **changes}
            assert refusal(lambda p=parameters: cloud.do("CopyImage", **p))[0] == code  # type: ignore[misc]


def test_a_shared_image_is_not_deleted_and_ten_accounts_a_call_count(cloud: Cloud) -> None:
    key = capture(cloud, "web-1")
    accounts = [f"10{number}" for number in range(12)]
    cloud.do("ModifyImageSharePermission", region_id=REGION, image_id=key, add_account=accounts)
    body = cloud.do("DescribeImageSharePermission", region_id=REGION, image_id=key, page_size=50)
    assert [one.aliyun_id for one in body.accounts.account] == accounts[:10]
    assert refusal(lambda: cloud.do("DeleteImage", region_id=REGION, image_id=key))[0] == "ImageUseShared"
    code, _ = refusal(lambda: cloud.do("ModifyImageAttribute", region_id=REGION, image_id=key, status="Deprecated"))
    assert code == "InvalidOperation.ImageShared"
    cloud.do("ModifyImageSharePermission", region_id=REGION, image_id=key, remove_account=accounts[:10])
    cloud.do("DeleteImage", region_id=REGION, image_id=key)
    assert image(cloud, key) is None


def test_an_image_in_use_and_a_snapshot_of_an_image_stay(cloud: Cloud) -> None:
    key = capture(cloud, "web-1")
    snapshot = image(cloud, key).disk_device_mappings.disk_device_mapping[0].snapshot_id
    (shown,) = cloud.do("DescribeSnapshots", region_id=REGION, snapshot_ids=json.dumps([snapshot])).snapshots.snapshot
    assert (shown.status, shown.usage) == ("accomplished", "image")
    assert refusal(lambda: cloud.do("DeleteSnapshot", snapshot_id=snapshot))[0] == "SnapshotCreatedImage"
    cloud.launch(image_id=key)
    assert refusal(lambda: cloud.do("DeleteImage", region_id=REGION, image_id=key))[0] == "ImageUsingByInstance"
    cloud.do("DeleteImage", region_id=REGION, image_id=key, force=True)
    again = cloud.do("CreateImage", region_id=REGION, snapshot_id=snapshot, image_name="again").image_id
    cloud.do("DeleteImage", region_id=REGION, image_id=again, force=True)
    cloud.do("DeleteSnapshot", snapshot_id=snapshot)
    code = refusal(lambda: cloud.do("DeleteSnapshot", snapshot_id=snapshot))
    assert code == ("InvalidSnapshotId.NotFound", 404)


def test_image_names_are_unique_and_of_one_s_own(cloud: Cloud) -> None:
    key = capture(cloud, "web-1")
    (instance,) = cloud.launch()
    create = {"region_id": REGION, "instance_id": instance}
    assert refusal(lambda: cloud.do("CreateImage", **create, image_name="web-1"))[0] == "InvalidImageName.Duplicated"
    assert refusal(lambda: cloud.do("CreateImage", **create, image_name="acs:x"))[0] == "InvalidImageName.Malformed"
    assert refusal(lambda: cloud.do("CreateImage", region_id=REGION, image_name="x1"))[0] == "MissingParameter"
    code, _ = refusal(lambda: cloud.do("ModifyImageAttribute", region_id=REGION, image_id=key, image_family="acs:x"))
    assert code == "InvalidImageFamily.Malformed"
    code, _ = refusal(lambda: cloud.do("ModifyImageAttribute", region_id=REGION, image_id=IMAGE, image_family="x"))
    assert code == "InvalidImageType.NotSupported"


def test_metadata_can_be_hardened_by_images_that_say_so_and_there_is_no_way_back(cloud: Cloud) -> None:
    key = capture(cloud, "web-1")
    code, _ = refusal(lambda: cloud.launch(image_id=key, http_tokens="required"))
    assert code == "InvalidParameter.HttpTokens"
    features = {"region_id": REGION, "image_id": key}
    cloud.do("ModifyImageAttribute", **features, features={"ImdsSupport": "v2"})
    cloud.launch(image_id=key, http_tokens="required")
    code, _ = refusal(lambda: cloud.do("ModifyImageAttribute", **features, features={"ImdsSupport": "v1"}))
    assert code == "InvalidParameter"


def test_a_plane_may_say_itself_when_an_image_is_ready() -> None:
    class Slow(NullPlane):
        def capture(self, region: str, image: Image, instance: Instance) -> bool:
            return True

    with served(plane=Slow()) as cloud:
        (instance,) = cloud.launch()
        keys = [
            cloud.do("CreateImage", region_id=REGION, instance_id=instance, image_name=name).image_id
            for name in ("good", "bad")
        ]
        assert {image(cloud, key).status for key in keys} == {"Creating"}
        cloud.run(lambda: cloud.account.finish_image(REGION, keys[0]))
        cloud.run(lambda: cloud.account.finish_image(REGION, keys[1], failed=True))
        assert [image(cloud, key).status for key in keys] == ["Available", "CreateFailed"]


def test_an_image_of_the_machine_is_public_and_its_family_s_newest(cloud: Cloud) -> None:
    def add() -> None:
        region = cloud.account.regions[REGION]
        like = region.get(Image, IMAGE)
        cloud.account.add_public_image(replace(like, id="local-debian-12", name="local-debian-12", owner="self"))

    cloud.run(add)
    cloud.run(add)
    family = image(cloud, "local-debian-12").image_family
    newest = cloud.do("DescribeImageFromFamily", region_id=REGION, image_family=family).image
    assert (newest.image_id, newest.image_owner_alias) == ("local-debian-12", "system")
    cloud.launch(image_id=None, image_family=family)


# Key pairs


def test_a_key_pair_gives_its_private_key_once(cloud: Cloud) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    body = cloud.do("CreateKeyPair", region_id=REGION, key_pair_name="mine")
    private = load_pem_private_key(body.private_key_body.encode(), None)
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    (shown,) = cloud.do("DescribeKeyPairs", region_id=REGION, include_public_key=True).key_pairs.key_pair
    assert (shown.key_pair_name, shown.public_key) == ("mine", public)
    assert shown.key_pair_finger_print == body.key_pair_finger_print
    code, _ = refusal(lambda: cloud.do("CreateKeyPair", region_id=REGION, key_pair_name="mine"))
    assert code == "KeyPair.AlreadyExist"


def test_a_public_key_is_imported_if_it_is_one(cloud: Cloud) -> None:
    blob = base64.b64encode(b"\0\0\0\x0bssh-ed25519" + b"\0\0\0\x20" + bytes(32)).decode()
    cloud.do("ImportKeyPair", region_id=REGION, key_pair_name="theirs", public_key_body=f"ssh-ed25519 {blob} me@here")
    for wrong in ("ssh-rsa AAAA", "hello", f"ssh-rsa {blob}", "ssh-ed25519 ###"):
        code, _ = refusal(
            lambda w=wrong: cloud.do("ImportKeyPair", region_id=REGION, key_pair_name="x1", public_key_body=w)  # type: ignore[misc]
        )
        assert code == "InvalidPublicKeyBody.Malformed"


def test_key_pairs_are_attached_detached_and_deleted(cloud: Cloud) -> None:
    cloud.do("CreateKeyPair", region_id=REGION, key_pair_name="mine")
    (instance,) = cloud.launch()
    ids = json.dumps([instance, "i-nothing"])
    body = cloud.do("AttachKeyPair", region_id=REGION, key_pair_name="mine", instance_ids=ids)
    assert (body.total_count, body.fail_count) == ("2", "1")
    names = {"region_id": REGION, "key_pair_names": '["mine"]'}
    assert refusal(lambda: cloud.do("DeleteKeyPairs", **names))[0] == "InvalidOperation.KeyPairInUse"
    cloud.do("DetachKeyPair", region_id=REGION, key_pair_name="mine", instance_ids=json.dumps([instance]))
    cloud.do("DeleteKeyPairs", **names)
    assert refusal(lambda: cloud.do("DeleteKeyPairs", **names)) == ("InvalidKeyPair.NotFound", 404)


# Security groups, VPCs, routes


def test_security_groups_keep_their_rules_and_go_when_nothing_is_in_them(cloud: Cloud) -> None:
    group = cloud.do(
        "CreateSecurityGroup", region_id=REGION, vpc_id="vpc-bp1sandbox", security_group_name="web"
    ).security_group_id
    named = {"region_id": REGION, "security_group_id": group}
    rule = {"ip_protocol": "TCP", "port_range": "443/443", "source_cidr_ip": "0.0.0.0/0"}
    cloud.do("AuthorizeSecurityGroup", **named, **rule)
    cloud.do("AuthorizeSecurityGroup", **named, **rule)
    more = [{"IpProtocol": "ICMP", "PortRange": "-1/-1", "SourceCidrIp": "10.0.0.0/8"}]
    cloud.do("AuthorizeSecurityGroup", **named, permissions=more)
    shown = cloud.do("DescribeSecurityGroupAttribute", **named).permissions.permission
    assert [(one.ip_protocol, one.port_range) for one in shown] == [("TCP", "443/443"), ("ICMP", "-1/-1")]
    wrong = {**rule, "port_range": "-1/-1"}
    code, _ = refusal(lambda: cloud.do("AuthorizeSecurityGroup", **named, **wrong))
    assert code == "InvalidIpProtocol.ValueNotSupported"
    (instance,) = cloud.launch(security_group_id=group)
    assert refusal(lambda: cloud.do("DeleteSecurityGroup", **named)) == ("DependencyViolation", 403)
    cloud.do("DeleteInstance", instance_id=instance, force=True)
    cloud.until(lambda: cloud.status(instance) is None)
    cloud.do("DeleteSecurityGroup", **named)
    assert refusal(lambda: cloud.do("DeleteSecurityGroup", **named))[0] == "InvalidSecurityGroupId.NotFound"


def test_a_group_of_another_vpc_is_refused(cloud: Cloud) -> None:
    vpc = cloud.eip("CreateVpc", region_id=REGION, cidr_block="192.168.0.0/16").vpc_id
    group = cloud.do("CreateSecurityGroup", region_id=REGION, vpc_id=vpc).security_group_id
    code, _ = refusal(lambda: cloud.launch(security_group_id=group))
    assert code == "InvalidParameter.Mismatch"


@pytest.mark.parametrize("product", ["do", "eip"])
def test_vpcs_and_vswitches_are_shown_by_both_products(cloud: Cloud, product: str) -> None:
    call = getattr(cloud, product)
    (vpc,) = call("DescribeVpcs", region_id=REGION, vpc_id="vpc-bp1sandbox").vpcs.vpc
    assert vpc.cidr_block == "172.16.0.0/12"
    assert VSWITCH in vpc.v_switch_ids.v_switch_id
    (one,) = call("DescribeVSwitches", vpc_id=vpc.vpc_id, zone_id=ZONE).v_switches.v_switch
    assert (one.v_switch_id, one.available_ip_address_count) == (VSWITCH, 65536 - 4)
    made = call("CreateVpc", region_id=REGION, cidr_block="10.0.0.0/8")
    inside = {"vpc_id": made.vpc_id, "zone_id": ZONE, "region_id": REGION}
    switch = call("CreateVSwitch", **inside, cidr_block="10.1.0.0/16").v_switch_id
    for cidr, code in (
        ("10.1.2.0/24", "InvalidCidrBlock.Overlapped"),
        ("192.168.0.0/24", "InvalidCidrBlock.Malformed"),
        ("10.2.0.0/30", "InvalidCidrBlock.Malformed"),
        ("nonsense", "InvalidCidrBlock.Malformed"),
    ):
        assert refusal(lambda c=cidr: call("CreateVSwitch", **inside, cidr_block=c))[0] == code  # type: ignore[misc]
    assert refusal(lambda: call("DeleteVpc", vpc_id=made.vpc_id))[0] == "DependencyViolation"
    call("DeleteVSwitch", v_switch_id=switch)
    call("DeleteVpc", vpc_id=made.vpc_id)
    assert call("DescribeVpcs", vpc_id=made.vpc_id).vpcs.vpc == []


def test_a_vswitch_with_enis_is_not_deleted(cloud: Cloud) -> None:
    cloud.launch()
    assert refusal(lambda: cloud.eip("DeleteVSwitch", v_switch_id=VSWITCH))[0] == "DependencyViolation"


def test_gateways_and_routes_are_shown(cloud: Cloud) -> None:
    made = cloud.eip("CreateIpv4Gateway", region_id=REGION, vpc_id="vpc-bp1sandbox").ipv_4gateway_id
    second = {"region_id": REGION, "vpc_id": "vpc-bp1sandbox"}
    assert refusal(lambda: cloud.eip("CreateIpv4Gateway", **second))[0] == "ResourceAlreadyExist.Vpc"
    (table,) = cloud.eip("DescribeRouteTableList", vpc_id="vpc-bp1sandbox").router_table_list.router_table_list_type
    tables = [table.route_table_id]
    cloud.eip("EnableVpcIpv4Gateway", region_id=REGION, ipv_4gateway_id=made, route_table_list=tables)
    (listed,) = cloud.eip("ListIpv4Gateways", region_id=REGION, vpc_id="vpc-bp1sandbox").ipv_4gateway_models
    assert (listed.ipv_4gateway_id, listed.enabled) == (made, True)
    assert cloud.eip("GetIpv4GatewayAttribute", region_id=REGION, ipv_4gateway_id=made).enabled
    assert cloud.eip("DescribeVpcAttribute", vpc_id="vpc-bp1sandbox").ipv_4gateway_id == made
    body = cloud.eip("DescribeRouteEntryList", region_id=REGION, route_table_id=tables[0])
    (default,) = [one for one in body.route_entrys.route_entry if one.type == "Custom"]
    assert (default.destination_cidr_block, default.next_hops.next_hop[0].next_hop_id) == ("0.0.0.0/0", made)
    code, _ = refusal(lambda: cloud.eip("DescribeRouteEntryList", region_id=REGION, route_table_id="vtb-x"))
    assert code == "InvalidRouteTableId.NotFound"


# Tags


def test_tags_of_everything_come_and_go(cloud: Cloud) -> None:
    (instance,) = cloud.launch(network_interface=[{"SecondaryPrivateIpAddressCount": 1}])
    second = cloud.enis(instance)[1].network_interface_id
    tags = [{"Key": "fleet", "Value": "web"}, {"Key": "run", "Value": "1"}]
    for kind, key in (("instance", instance), ("eni", second), ("securitygroup", GROUP)):
        what = {"region_id": REGION, "resource_type": kind, "resource_id": [key]}
        cloud.do("TagResources", **what, tag=tags)
        cloud.do("TagResources", **what, tag=[{"Key": "run", "Value": "2"}])
        shown = cloud.do("ListTagResources", **what).tag_resources.tag_resource
        assert [(one.tag_key, one.tag_value) for one in shown] == [("fleet", "web"), ("run", "2")]
        cloud.do("UntagResources", **what, tag_key=["run"])
        found = cloud.do("ListTagResources", region_id=REGION, resource_type=kind, tag=tags[:1])
        assert [one.resource_id for one in found.tag_resources.tag_resource] == [key]
        cloud.do("RemoveTags", region_id=REGION, resource_type=kind, resource_id=key)
        cloud.do("AddTags", region_id=REGION, resource_type=kind, resource_id=key, tag=tags)
        cloud.do("UntagResources", **what, all=True)
        assert cloud.do("ListTagResources", **what).tag_resources.tag_resource == []
    eip = cloud.allocate()
    what = {"region_id": REGION, "resource_type": "EIP", "resource_id": [eip]}
    cloud.eip("TagResources", **what, tag=tags)
    assert len(cloud.eip("ListTagResources", **what).tag_resources.tag_resource) == 2
    cloud.eip("UnTagResources", **what, tag_key=["fleet", "run"])
    assert cloud.eip("ListTagResources", **what).tag_resources.tag_resource == []


def test_tagging_has_its_limits(cloud: Cloud) -> None:
    (instance,) = cloud.launch()
    tags = [{"Key": f"k{number}", "Value": ""} for number in range(20)]

    def code(product: str = "do", **changes: Any) -> str:
        parameters = {"region_id": REGION, "resource_type": "instance", "resource_id": [instance], "tag": tags}
        return refusal(lambda: getattr(cloud, product)("TagResources", **{**parameters, **changes}))[0]

    assert code(resource_id=["i-nothing"]) == "InvalidResourceId.NotFound"
    assert code(resource_id=[f"i-{n}" for n in range(51)]) == "InvalidParameter"
    assert code("eip", resource_type="EIP", resource_id=[f"eip-{n}" for n in range(21)]) == "InvalidParameter"
    assert code(resource_type="planet") == "InvalidResourceType.NotFound"
    assert code(tag=[*tags, {"Key": "one-more", "Value": ""}]) == "NumberExceed.Tags"
    assert code(tag=[{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]) == "Duplicate.TagKey"
    cloud.do("TagResources", region_id=REGION, resource_type="instance", resource_id=[instance], tag=tags)
    assert code(tag=[{"Key": "one-more", "Value": ""}]) == "QuotaExceed.TagsPerResource"


# Commands


def test_a_command_runs_in_instances_and_its_results_come_later() -> None:
    class Answers(NullPlane):
        def execute(self, region: str, invocation: Invocation) -> CommandResult | None:
            return CommandResult(f"ran {invocation.content}", 0 if "true" in invocation.content else 3)

    with served(plane=Answers()) as cloud:
        ids = cloud.launch(2)
        run = {"region_id": REGION, "type": "RunShellScript", "instance_id": ids}
        encoded = base64.b64encode(b"true").decode()
        good = cloud.do("RunCommand", **run, command_content=encoded, content_encoding="Base64").invoke_id
        bad = cloud.do("RunCommand", **run, command_content="false").invoke_id

        def results(invoke: str) -> list[Any]:
            body = cloud.do("DescribeInvocationResults", region_id=REGION, invoke_id=invoke)
            return list(body.invocation.invocation_results.invocation_result)

        cloud.until(
            lambda: {one.invoke_record_status for one in results(good) + results(bad)} == {"Finished", "Failed"}
        )
        first = results(good)[0]
        assert base64.b64decode(first.output).decode() == "ran true"
        assert [one.exit_code for one in (*results(good), *results(bad))] == [0, 0, 3, 3]
        (shown,) = cloud.do(
            "DescribeInvocations", region_id=REGION, invoke_id=bad, include_output=True, content_encoding="PlainText"
        ).invocations.invocation
        assert (shown.invoke_status, shown.command_content) == ("Failed", "false")
        assert [one.output for one in shown.invoke_instances.invoke_instance] == ["ran false"] * 2


def test_a_plane_may_take_its_time_for_a_command() -> None:
    class Slow(NullPlane):
        def execute(self, region: str, invocation: Invocation) -> CommandResult | None:
            self.seen = invocation.id
            return None

    slow = Slow()
    with served(plane=slow) as cloud:
        (instance,) = cloud.launch()
        run = {"region_id": REGION, "type": "RunShellScript", "instance_id": [instance]}
        invoke = cloud.do("RunCommand", **run, command_content="x", client_token="t").invoke_id
        (shown,) = cloud.do("DescribeInvocations", region_id=REGION, invoke_id=invoke).invocations.invocation
        assert shown.invoke_status == "Running"
        cloud.run(lambda: cloud.account.finish_command(REGION, slow.seen, CommandResult("x" * 30_000, 1)))
        (result,) = cloud.do(
            "DescribeInvocationResults", region_id=REGION, invoke_id=invoke, content_encoding="PlainText"
        ).invocation.invocation_results.invocation_result
        assert (result.exit_code, len(result.output), result.dropped) == (1, 24 * 1024, 30_000 - 24 * 1024)


def test_commands_that_cannot_run_are_refused(cloud: Cloud) -> None:
    (instance,) = cloud.launch()
    run = {"region_id": REGION, "type": "RunShellScript", "instance_id": [instance], "command_content": "true"}
    for changes, code in (
        ({"instance_id": ["i-nothing"]}, "InvalidInstanceId.NotFound"),
        ({"type": "RunPowerShellScript"}, "InvalidParameter"),
        ({"command_content": "###", "content_encoding": "Base64"}, "InvalidParameter.CommandContent"),
        ({"command_content": "x" * 18_433}, "CmdContent.ExceedLimit"),
        ({"timeout": 5}, "InvalidParameter"),
    ):
        assert refusal(lambda c=changes: cloud.do("RunCommand", **{**run, **c}))[0] == code  # type: ignore[misc]
    cloud.do("StopInstance", instance_id=instance)
    cloud.until(lambda: cloud.status(instance) == "Stopped")
    assert refusal(lambda: cloud.do("RunCommand", **run))[0] == "InvalidInstance.NotRunning"


# All of them


def test_every_action_is_driven_by_the_sdk_in_these_tests() -> None:
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    # ECS's copies of VPC's calls are for Packer of old, and are driven by it and by test_api_packer.py.
    unseen = sorted({name for _, name in ACTIONS if f'"{name}"' not in sources})
    assert unseen == []
