"""Whatever clients send, the answer is the API's: no call fails inside, and none that is refused changes anything."""

from __future__ import annotations

import base64
import json
import random
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic_core import to_json

from generator.sandbox.api import dispatch
from generator.sandbox.api.call import Action
from generator.sandbox.api.catalogue import ACTIONS
from generator.sandbox.api.errors import ApiError
from generator.sandbox.api.schema import Node
from generator.sandbox.region import model
from generator.sandbox.region.account import Account
from generator.sandbox.region.behaviour import Behaviour
from generator.sandbox.region.clock import SteppedClock
from generator.sandbox.region.seeding import TYPES
from tests.sandbox.region import GROUP, IMAGE, REGION, VSWITCH, ZONE, Cloud, served

CALLS = 1500
# What a call needs besides what it cannot do without in any form.
ALSO = {
    "RunInstances": "ImageId VSwitchId SecurityGroupId",
    "CreateInstance": "ImageId VSwitchId SecurityGroupId",
    "CreateNetworkInterface": "SecurityGroupId",
    "CreateSecurityGroup": "VpcId",
    "CreateImage": "InstanceId",
    "CreateVSwitch": "CidrBlock",
    "CreateRouteEntry": "NextHopId NextHopType",
    "AssociateEipAddress": "InstanceId",
    "AssignPrivateIpAddresses": "SecondaryPrivateIpAddressCount",
    "AuthorizeSecurityGroup": "IpProtocol PortRange SourceCidrIp",
    "AuthorizeSecurityGroupEgress": "IpProtocol PortRange DestCidrIp",
    "RevokeSecurityGroup": "IpProtocol PortRange SourceCidrIp",
    "RevokeSecurityGroupEgress": "IpProtocol PortRange DestCidrIp",
    "JoinSecurityGroup": "InstanceId",
    "LeaveSecurityGroup": "InstanceId",
    "DescribePrice": "InstanceType",
    "UntagResources": "All",
    "UnTagResources": "All",
    "ListTagResources": "ResourceId",
}
KINDS = {
    "AllocationId": model.Eip,
    "BandwidthPackageId": model.BandwidthPackage,
    "CommandId": model.Invocation,
    "DiskId": model.Disk,
    "IpInstanceId": model.Eip,
    "IpInstanceIds": model.Eip,
    "Ipv4GatewayId": model.Ipv4Gateway,
    "ImageId": model.Image,
    "InstanceId": model.Instance,
    "KeyPairName": model.KeyPair,
    "NetworkInterfaceId": model.Eni,
    "NextHopId": model.Instance,
    "ResourceId": model.Instance,
    "RouteEntryId": model.Route,
    "RouteTableId": model.RouteTable,
    "RouteTableList": model.RouteTable,
    "SecurityGroupId": model.SecurityGroup,
    "SecurityGroupIds": model.SecurityGroup,
    "SegmentInstanceId": model.Segment,
    "SnapshotId": model.Snapshot,
    "VSwitchId": model.VSwitch,
    "VpcId": model.Vpc,
}
GOOD = {
    "Bandwidth": "5",
    "CidrBlock": "172.31.1.0/24",
    "CommandContent": "ZWNobyBoaQ==",
    "DestCidrIp": "10.0.0.0/8",
    "DestinationCidrBlock": "10.9.0.0/16",
    "DestinationRegionId": "cn-beijing",
    "DestinationResource": "InstanceType",
    "EipMask": "28",
    "HttpEndpoint": "enabled",
    "ImageFamily": "acs:debian_12_11_x64",
    "InstanceType": "ecs.g7.large",
    "IpProtocol": "TCP",
    "KeyPairName": "pair",
    "NextHopType": "Instance",
    "PortRange": "22/22",
    "RegionId": REGION,
    "PublicKeyBody": f"ssh-rsa {base64.b64encode(bytes((0, 0, 0, 7)) + b'ssh-rsa').decode()}",
    "SourceCidrIp": "0.0.0.0/0",
    "Type": "RunShellScript",
    "ZoneId": ZONE,
}
ODD = [
    *("", "0", "1", "-1", "2", "10", "500", "1.5", "true", "false", "null", "x", "a b", "ä", "漢字", "\x00", "a" * 300),
    *("[]", "[1]", '["i-1"]', "{}", "[[]]", "web-[1,3]", "web-[", "${instance_id}", "%s", "../..", "'; DROP TABLE eip"),
    *("10.0.0.0/24", "10.0.0.0/33", "172.16.0.5", "255.255.255.255", "256.1.1.1", "::1", "22/22", "-1/-1", "1,2,,3"),
    *(
        "Primary",
        "EcsInstance",
        "NetworkInterface",
        "eni",
        "disk",
        "Available",
        "ingress",
        "cloud_essd",
        "PL3",
        "9" * 30,
    ),
]


@dataclass
class Fuzz:
    """Calls with parameters that are mostly right, on a region in which everything is there to be named."""

    seed: int
    succeeded: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.clock = SteppedClock()
        self.account = Account(clock=self.clock, behaviour=Behaviour(eips=300, windows=None))
        self.region = self.account.regions[REGION]
        nic = {"NetworkInterface.1.SecondaryPrivateIpAddressCount": "3", "NetworkInterface.1.DeleteOnRelease": "false"}
        nic |= {"DataDisk.1.Size": "20", "DataDisk.1.DeleteWithInstance": "false"}
        where = {"ImageId": IMAGE, "VSwitchId": VSWITCH, "SecurityGroupId": GROUP, "InstanceType": "ecs.g7.2xlarge"}
        self.call("ecs", "RunInstances", {"Amount": "3", **where, **nic})
        self.call("ecs", "CreateNetworkInterface", {"VSwitchId": VSWITCH, "SecurityGroupId": GROUP})
        for _ in range(4):
            self.call("vpc", "AllocateEipAddress", {})
        self.call("vpc", "CreateCommonBandwidthPackage", {"Bandwidth": "5"})
        self.call("ecs", "CreateKeyPair", {"KeyPairName": "pair"})
        self.clock.advance(5)

    def call(self, product: str, name: str, flat: dict[str, str]) -> None:
        self.account.settle()
        action = dispatch.find(product, name)
        body = dispatch.carry_out(dispatch.prepare(self.account, action, {"RegionId": REGION, **flat}))
        # What the server does with it.
        to_json(body)

    def state(self) -> tuple[Any, ...]:
        return tuple(tuple(region.all(kind)) for region in self.account.regions.values() for kind in model.KINDS)

    def run(self, calls: int) -> None:
        # Making RSA keys would be most of the time.
        actions = [action for action in ACTIONS.values() if action.name != "CreateKeyPair"]
        for _ in range(calls):
            action = self.random.choice(actions)
            parameters = self.parameters(action)
            self.clock.advance(self.random.choice((0, 0.05, 0.5, 2)))
            self.account.settle()
            before = self.state()
            try:
                self.call(action.product, action.name, parameters)
                self.succeeded.add(action.name)
            except ApiError:
                assert self.state() == before, f"{action.name} {parameters} was refused and changed something"
            except Exception as error:
                raise AssertionError(f"{action.name} {parameters} failed inside") from error

    def parameters(self, action: Action) -> dict[str, str]:
        needed = {*action.required, *ALSO.get(action.name, "").split()}
        # Some calls have all that they need and no more, others are full of what they can have.
        chance, odd = self.random.choice((0.0, 0.03, 0.3)), self.random.choice((0.0, 0.1, 0.5))
        found = {}
        for path, kind in _leaves(action.schema):
            plain = re.sub(r"\.\d+", "", path)
            if not _taken(action, plain):
                continue
            if plain.split(".")[0] in needed or self.random.random() < chance:
                index = ".1" if kind.startswith("List") else ""
                found[path + index] = self.value(plain, kind, odd)
        return found

    def value(self, path: str, kind: str, odd: float) -> str:
        name = path.rpartition(".")[2]
        if self.random.random() < odd:
            return self.random.choice(ODD)
        if name in ("InstanceIds", "KeyPairNames", "DiskIds", "SnapshotIds", "SecurityGroupIds") and kind == "str":
            return json.dumps([self.some(KINDS[name.removesuffix("s")])])
        if name in KINDS:
            return self.some(self.random.choice((KINDS[name], KINDS[name], model.Eni, model.Eip)))
        if name == "ResourceType":
            return self.random.choice(("instance", "eni", "disk", "EIP"))
        if name == "InstanceType" and self.random.random() < 0.3:
            return self.random.choice(("NetworkInterface", "EcsInstance", "Secondary", *TYPES))
        if name in ("PrivateIpAddress", "PrimaryIpAddress"):
            return self.random.choice([eni.addresses[-1] for eni in self.region.all(model.Eni)] or [""])
        if kind == "bool":
            return self.random.choice(("true", "False"))
        return GOOD.get(name) or str(self.random.choice((1, 1, 2, 5, 20, 100)))

    def some(self, kind: type[Any]) -> str:
        records = self.region.all(kind)
        return str(self.random.choice(records).id) if records else "nothing"


def _leaves(node: Node, above: str = "") -> Iterator[tuple[str, str]]:
    for name, child in node.children.items():
        if child.children:
            yield from _leaves(child, f"{above}{name}{'.1' if child.kind == 'list' else ''}.")
        else:
            yield above + name, child.kind


def _taken(action: Action, path: str) -> bool:
    parts = path.split(".")
    return any(".".join(parts[:count]) in action.takes for count in range(1, len(parts) + 1))


def test_no_parameters_make_a_call_fail_inside_and_a_refused_one_changes_nothing() -> None:
    succeeded = set()
    for seed in range(10):
        fuzz = Fuzz(seed)
        fuzz.run(CALLS)
        fuzz.account.close()
        succeeded |= fuzz.succeeded
    # Else it would try nothing but the checks of parameters.
    never = sorted({action.name for action in ACTIONS.values()} - succeeded - {"CreateKeyPair"})
    assert len(never) < 8, never


# The wire

SIGNED = (
    b"Authorization: ACS3-HMAC-SHA256 Credential=multieip-no-account,SignedHeaders=host;x-acs-action;"
    b"x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,Signature=" + b"0" * 64
)
FORM = b"Content-Type: application/x-www-form-urlencoded"


def post(target: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    lines = (b"POST " + target + b" HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *headers)
    return b"\r\n".join((*lines, b"", body))


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as one:
        yield one


@pytest.mark.parametrize(
    "request_",
    [
        post(b"/?Action=DescribeRegions&Name=\xff\xfe"),
        post(b"/\xff"),
        post(b"/?A=%ff%fe&%ff=1"),
        post(b"/", b"x-acs-action: \xff\xfe", SIGNED),
        post(b"/", b"Authorization: \xff"),
        post(b"/", b"Authorization: Basic eDp5"),
        post(b"/", FORM, body=b"A=%ff&B=\xff\xfe&&"),
        post(b"/", body=b"x" * 2_000_000),
        post(b"/?" + b"&".join(b"a%d=1" % number for number in range(5000))),
        post(b"/?a=" + b"x" * 300_000),
        b"GET / HTTP/1.0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\r\n\r\n\r\n",
    ],
    ids=lambda request_: repr(request_[:60]),
)
def test_no_bytes_make_the_server_fail(cloud: Cloud, request_: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_connection((cloud.server.host, cloud.server.port), timeout=5) as connection:
        try:
            connection.sendall(request_)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536)
        except ConnectionError:
            # Closed before all of it was read: it is no answer's turn.
            answer = b""
    assert not answer or answer.split()[1].startswith(b"4"), answer
    assert not caplog.records
    assert cloud.launch(), "the server still serves"
