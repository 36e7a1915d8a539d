"""What Packer 1.6.6 sends in a full build, replayed by requests signed by hand, and Packer itself."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from generator.image import packer
from generator.render.packer import PLUGINS
from generator.sandbox.api.signature import rpc_signature
from generator.sandbox.region.behaviour import Behaviour, Delays
from generator.sandbox.region.model import Eip, Eni, Image, Instance, KeyPair, SecurityGroup
from generator.sandbox.settings import KEYS
from tests.sandbox.region import GROUP, IMAGE, REGION, VSWITCH, Cloud, served

# Packer looks every five seconds: what is done at its first look costs it nothing.
AT_ONCE = Behaviour(
    windows=None,
    delays=Delays(**dict.fromkeys(("pending", "starting", "stopping", "associating", "unassociating", "visible"), 0)),
)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served(behaviour=AT_ONCE) as one:
        yield one


class Old:
    """The SDK of 2019 in Packer 1.6.6: a form to a proxy, signed by HMAC-SHA1."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._count = 0

    def __call__(self, action: str, /, region: str = REGION, **parameters: str) -> Any:
        key, secret = next(iter(KEYS.items()))
        self._count += 1
        form = {
            **{name.replace("__", "."): value for name, value in parameters.items()},
            "Action": action,
            "RegionId": region,
            "Format": "JSON",
            "Version": "2014-05-26",
            "AccessKeyId": key,
            "SecurityToken": "",
            "SignatureMethod": "HMAC-SHA1",
            "SignatureType": "",
            "SignatureVersion": "1.0",
            "SignatureNonce": f"nonce-{self._count}",
            "Timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        form["Signature"] = rpc_signature("POST", form, secret)[1]
        connection = http.client.HTTPConnection(self._cloud.server.host, self._cloud.server.port, timeout=10)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Host": "ecs-cn-hangzhou.aliyuncs.com"}
        connection.request("POST", "http://ecs-cn-hangzhou.aliyuncs.com/", urlencode(form), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 200, answer
        return answer

    def until(self, action: str, holds: Any, **parameters: str) -> None:
        """Ask again until an answer is what is waited for."""
        end = time.monotonic() + 10
        while not holds(self(action, **parameters)):
            assert time.monotonic() < end
            time.sleep(0.01)


def left(cloud: Cloud) -> dict[str, int]:
    region = cloud.account.regions[REGION]
    return {kind.__name__: region.count(kind) for kind in (Instance, Eni, Eip, KeyPair, SecurityGroup)}


NOTHING = {"Instance": 0, "Eni": 0, "Eip": 0, "KeyPair": 0, "SecurityGroup": 1}


def test_the_calls_of_a_full_build_are_answered_as_the_cloud_does(cloud: Cloud) -> None:
    old = Old(cloud)
    assert {"RegionId", "LocalName"} <= set(old("DescribeRegions")["Regions"]["Region"][0])
    waiting = "Waiting,Creating,CreateFailed,Available"
    assert old("DescribeImages", ImageName="golden", Status=waiting)["Images"]["Image"] == []
    assert old("DescribeImages", ImageId=IMAGE)["Images"]["Image"][0]["ImageId"] == IMAGE
    assert old("DescribeImages", ImageId=IMAGE, ImageOwnerAlias="marketplace")["Images"]["Image"] == []
    assert old("CreateKeyPair", KeyPairName="packer_1")["PrivateKeyBody"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    vpc = old("DescribeVpcs", VpcId="vpc-bp1sandbox")["Vpcs"]["Vpc"][0]["VpcId"]
    assert old("DescribeVSwitches", VpcId=vpc, VSwitchId=VSWITCH)["VSwitches"]["VSwitch"][0]["Status"] == "Available"
    groups = old("DescribeSecurityGroups", VpcId=vpc, SecurityGroupId=GROUP)["SecurityGroups"]["SecurityGroup"]
    assert [one["SecurityGroupId"] for one in groups] == [GROUP]

    network = {"InternetChargeType": "PayByTraffic", "InternetMaxBandwidthOut": "10", "IoOptimized": "optimized"}
    where = {"ImageId": IMAGE, "InstanceType": "ecs.g7.large", "VSwitchId": VSWITCH, "SecurityGroupId": GROUP}
    named = {"ClientToken": "t-1", "InstanceName": "packer-x", "UserData": "I2Nsb3VkLWNvbmZpZwo="}
    instance = old("CreateInstance", **where, **network, **named)["InstanceId"]
    ids = json.dumps([instance])

    def status(wanted: str) -> Any:
        return lambda answer: [one["Status"] for one in answer["Instances"]["Instance"]] == [wanted]

    old.until("DescribeInstances", status("Stopped"), InstanceIds=ids)
    bandwidth = {"Bandwidth": "10", "InternetChargeType": "PayByTraffic", "ClientToken": "t-2"}
    eip = old("AllocateEipAddress", **bandwidth)["AllocationId"]

    def bound(wanted: str) -> Any:
        return lambda answer: [one["Status"] for one in answer["EipAddresses"]["EipAddress"]] == [wanted]

    old.until("DescribeEipAddresses", bound("Available"), AllocationId=eip)
    old("AssociateEipAddress", AllocationId=eip, InstanceId=instance)
    old.until("DescribeEipAddresses", bound("InUse"), AllocationId=eip)
    assert old("AttachKeyPair", KeyPairName="packer_1", InstanceIds=ids)["FailCount"] == "0"
    old("StartInstance", InstanceId=instance)
    old.until("DescribeInstances", status("Running"), InstanceIds=ids)
    old("StopInstance", InstanceId=instance, ForceStop="false")
    old.until("DescribeInstances", status("Stopped"), InstanceIds=ids)
    image = old("CreateImage", InstanceId=instance, ImageName="golden", ClientToken="t-3")["ImageId"]

    def available(answer: Any) -> bool:
        return [one["Status"] for one in answer["Images"]["Image"]] == ["Available"]

    old.until("DescribeImages", available, ImageId=image, Status=waiting)
    shown = old("DescribeImages", ImageId=image)["Images"]["Image"][0]
    snapshot = shown["DiskDeviceMappings"]["DiskDeviceMapping"][0]["SnapshotId"]
    for kind, key in (("image", image), ("snapshot", snapshot)):
        old("AddTags", ResourceType=kind, ResourceId=key, Tag__1__Key="a", Tag__1__Value="b")
    copying = {"DestinationRegionId": "cn-beijing", "DestinationImageName": "golden-copy"}
    copy = old("CopyImage", ImageId=image, **copying)["ImageId"]
    old("ModifyImageSharePermission", ImageId=image, AddAccount__1="1234567890")
    old("ModifyImageSharePermission", region="cn-beijing", ImageId=copy, AddAccount__1="1234567890")

    old("DetachKeyPair", KeyPairName="packer_1", InstanceIds=ids)
    old("UnassociateEipAddress", AllocationId=eip, InstanceId=instance)
    old.until("DescribeEipAddresses", bound("Available"), AllocationId=eip)
    old("ReleaseEipAddress", AllocationId=eip)
    old("DeleteInstance", InstanceId=instance, Force="true")
    old("DeleteKeyPairs", KeyPairNames='["packer_1"]')
    old.until("DescribeInstances", lambda answer: answer["TotalCount"] == 0, InstanceIds=ids)
    assert left(cloud) == NOTHING


def test_what_multieip_itself_calls_finds_images_here(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    from generator.cloud import images
    from generator.cloud.client import Ecs

    monkeypatch.setenv("MULTIEIP_ECS_ENDPOINT", cloud.server.url)
    ecs = Ecs(REGION)
    assert images.newest_of_family(ecs, "acs:debian_12_11_x64") == IMAGE
    (instance,) = cloud.launch()
    made = cloud.do("CreateImage", region_id=REGION, instance_id=instance, image_name="golden").image_id
    cloud.until(lambda: getattr(images.find(ecs, made), "status", "") == "Available")
    found = images.find(ecs, made)
    assert found is not None
    images.tag(ecs, found, {"a": "b"})
    images.set_imds_v2(ecs, made)
    images.set_family(ecs, made, "web")
    assert images.newest_of_family(ecs, "web") == made
    cloud.do("DeleteInstance", instance_id=instance, force=True)
    images.unshare(ecs, made)
    images.delete_image(ecs, made)
    images.delete_snapshot(ecs, found.snapshots[0])
    assert images.find(ecs, made) is None


@pytest.mark.skipif(
    shutil.which("packer") is None or (packer.installed_version() or PLUGINS) >= PLUGINS,
    reason="needs a Packer that has alicloud-ecs built in (1.6)",
)
def test_packer_itself_builds_an_image_and_leaves_nothing(cloud: Cloud, tmp_path: Path) -> None:
    builder = {
        "type": "alicloud-ecs",
        "region": REGION,
        "image_name": "golden",
        "source_image": IMAGE,
        "instance_type": "ecs.g7.large",
        "vpc_id": "vpc-bp1sandbox",
        "vswitch_id": VSWITCH,
        "security_group_id": GROUP,
        "internet_max_bandwidth_out": 10,
        "user_data": "#cloud-config\n",
        "communicator": "none",
        "image_copy_regions": ["cn-beijing"],
        "image_copy_names": ["golden-copy"],
        "tags": {"a": "b"},
    }
    (tmp_path / "golden.json").write_text(json.dumps({"builders": [builder]}))
    key, secret = next(iter(KEYS.items()))
    done = subprocess.run(
        ["packer", "build", "-color=false", "golden.json"],
        env={
            **os.environ,
            "HTTP_PROXY": cloud.server.url,
            "HTTPS_PROXY": cloud.server.url,
            "CHECKPOINT_DISABLE": "1",
            "ALICLOUD_ACCESS_KEY": key,
            "ALICLOUD_SECRET_KEY": secret,
            "PACKER_CONFIG_DIR": str(tmp_path),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = [one for one in cloud.account.regions[REGION].all(Image) if one.owner == "self"]
    assert [(one.name, one.status, one.tags) for one in made] == [("golden", "Available", (("a", "b"),))]
    copies = [one.name for one in cloud.account.regions["cn-beijing"].all(Image) if one.owner == "self"]
    assert copies == ["golden-copy"]
    Cloud.until(lambda: left(cloud) == NOTHING)
