"""What any call has in common: signatures, parameters, limits of the protocol, errors as clients see them."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from generator.sandbox.api.catalogue import ACTIONS
from generator.sandbox.api.schema import Node, request_of, response_of
from generator.sandbox.api.signature import rpc_signature
from generator.sandbox.server import Server
from generator.sandbox.settings import KEYS
from tests.sandbox.region import GROUP, IMAGE, LAUNCH, REGION, VSWITCH, Cloud, call, clients, refusal, served


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as one:
        yield one


def signed(parameters: Mapping[str, str], **common: str) -> dict[str, str]:
    """Return parameters with what clients of old add, signed by HMAC-SHA1."""
    key, secret = next(iter(KEYS.items()))
    every = {
        **parameters,
        "Version": "2014-05-26",
        "Format": "JSON",
        "AccessKeyId": key,
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "SignatureNonce": str(time.time_ns()),
        "Timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **common,
    }
    return {**every, "Signature": rpc_signature("POST", every, secret)[1]}


def post(cloud: Cloud, parameters: Mapping[str, str], target: str = "/") -> tuple[int, Any]:
    """Send a form as it is, and return status and body."""
    connection = http.client.HTTPConnection(cloud.server.host, cloud.server.port, timeout=10)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", target, urlencode(parameters), headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


# Signatures


def test_a_request_signed_with_another_secret_is_refused(cloud: Cloud) -> None:
    ecs, _ = clients(cloud.server.url, secret="another")
    assert refusal(lambda: call(ecs, "DescribeRegions", {})) == ("SignatureDoesNotMatch", 400)


def test_an_access_key_that_is_not_the_sandbox_s_is_refused(cloud: Cloud) -> None:
    ecs, _ = clients(cloud.server.url, key="LTAIsomebody")
    assert refusal(lambda: call(ecs, "DescribeRegions", {})) == ("InvalidAccessKeyId.NotFound", 404)


@pytest.mark.parametrize("value", ["a b", "a+b", "ä/ö?&=", "漢字", "~*'()", "%41", "."])
def test_any_value_survives_both_signatures(cloud: Cloud, value: str) -> None:
    group = cloud.do("CreateSecurityGroup", region_id=REGION, vpc_id="vpc-bp1sandbox", description=value)
    body = cloud.do("DescribeSecurityGroups", region_id=REGION, security_group_id=group.security_group_id)
    assert body.security_groups.security_group[0].description == value
    made = {"Action": "CreateSecurityGroup", "RegionId": REGION, "VpcId": "vpc-bp1sandbox", "Description": value}
    status, answer = post(cloud, signed(made))
    assert status == 200
    body = cloud.do("DescribeSecurityGroups", region_id=REGION, security_group_id=answer["SecurityGroupId"])
    assert body.security_groups.security_group[0].description == value


def test_a_nonce_counts_once(cloud: Cloud) -> None:
    request = signed({"Action": "DescribeRegions"})
    assert post(cloud, request)[0] == 200
    status, answer = post(cloud, request)
    assert (status, answer["Code"]) == (400, "SignatureNonceUsed")


def test_a_nonce_may_come_again_after_its_validity(cloud: Cloud) -> None:
    request = signed({"Action": "DescribeRegions"})
    assert post(cloud, request)[0] == 200
    later = time.time() + 901
    cloud.server.gate.now = lambda: later
    status, answer = post(cloud, request)
    assert (status, answer["Code"]) == (400, "InvalidTimeStamp.Expired")
    fresh = datetime.fromtimestamp(later, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    again = signed({"Action": "DescribeRegions"}, SignatureNonce=request["SignatureNonce"], Timestamp=fresh)
    assert post(cloud, again)[0] == 200


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Timestamp": "2020-01-01T00:00:00Z"}, "InvalidTimeStamp.Expired"),
        ({"Timestamp": "yesterday"}, "InvalidTimeStamp.Format"),
        ({"Version": "2099-01-01"}, "InvalidVersion"),
        ({"Format": "XML"}, "Sandbox.NotEmulated"),
        ({"SignatureMethod": "HMAC-SHA256"}, "InvalidParameter"),
        ({"SignatureNonce": ""}, "MissingParameter"),
        ({"AccessKeyId": ""}, "MissingParameter"),
    ],
)
def test_what_is_wrong_with_a_request_of_old_is_said(cloud: Cloud, change: dict[str, str], code: str) -> None:
    assert post(cloud, signed({"Action": "DescribeRegions"}, **change))[1]["Code"] == code


def test_an_unsigned_request_is_refused(cloud: Cloud) -> None:
    status, answer = post(cloud, {"Action": "DescribeRegions", "Version": "2014-05-26"})
    assert (status, answer["Code"]) == (400, "MissingParameter")
    assert set(answer) == {"RequestId", "HostId", "Code", "Message", "Recommend"}


def test_a_body_that_was_changed_on_the_way_is_refused(cloud: Cloud) -> None:
    request = signed({"Action": "StopInstance", "InstanceId": "i-1"})
    assert post(cloud, {**request, "InstanceId": "i-2"})[1]["Code"] == "SignatureDoesNotMatch"


def test_it_serves_as_a_proxy_for_plain_http_and_refuses_tunnels(cloud: Cloud) -> None:
    status, _ = post(cloud, signed({"Action": "DescribeRegions"}), "http://ecs-cn-hangzhou.aliyuncs.com/")
    assert status == 200
    connection = http.client.HTTPConnection(cloud.server.host, cloud.server.port, timeout=10)
    connection.request("CONNECT", "location-readonly.aliyuncs.com:443")
    assert connection.getresponse().status == 502


def test_it_serves_on_a_socket_that_was_made_elsewhere_too_until_it_stops() -> None:
    ours = socket.create_server(("127.0.0.1", 0))
    port = ours.getsockname()[1]

    async def listen(server: Server) -> None:
        await server.listen(ours)

    with served() as cloud:
        cloud.run_async(listen(cloud.server))
        ecs, _ = clients(f"http://127.0.0.1:{port}")
        assert call(ecs, "DescribeRegions", {}).regions.region
        assert cloud.do("DescribeRegions").regions.region
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


# Parameters


def test_an_action_that_nobody_knows_is_refused(cloud: Cloud) -> None:
    status, answer = post(cloud, signed({"Action": "DescribeNothing"}))
    assert (status, answer["Code"]) == (404, "InvalidAction.NotFound")


def test_an_action_that_only_the_cloud_knows_is_refused_as_not_emulated(cloud: Cloud) -> None:
    assert refusal(lambda: cloud.do("DescribeLaunchTemplates", region_id=REGION)) == ("Sandbox.NotEmulated", 400)


def test_a_parameter_that_nobody_knows_is_refused(cloud: Cloud) -> None:
    for bogus in ("Bogus", "NetworkInterface.1.Bogus", "NetworkInterface.0.VSwitchId", "ImageId.1"):
        request = signed({"Action": "RunInstances", "RegionId": REGION, "InstanceType": "x", bogus: "1"})
        status, answer = post(cloud, request)
        assert (status, answer["Code"]) == (400, "InvalidParameter")
        assert bogus in answer["Message"]


def test_a_parameter_that_would_have_no_effect_here_is_refused_aloud(cloud: Cloud) -> None:
    code, _ = refusal(lambda: cloud.do("RunInstances", **LAUNCH, launch_template_id="lt-1"))
    assert code == "Sandbox.NotEmulated"


def test_a_value_of_the_wrong_type_is_refused(cloud: Cloud) -> None:
    for change in ({"Amount": "two"}, {"DryRun": "maybe"}, {"Amount": "1.5"}):
        request = {"Action": "RunInstances", "RegionId": REGION, "InstanceType": "ecs.g7.large", **change}
        assert post(cloud, signed(request))[1]["Code"] == "InvalidParameter"


@pytest.mark.parametrize("value", ["true", "True", "TRUE", "false", "False"])
def test_booleans_are_read_as_every_sdk_writes_them(cloud: Cloud, value: str) -> None:
    request = {
        "Action": "RunInstances",
        "RegionId": REGION,
        "InstanceType": "ecs.g7.large",
        "ImageId": IMAGE,
        "VSwitchId": VSWITCH,
        "SecurityGroupId": GROUP,
        "DryRun": value,
    }
    status, answer = post(cloud, signed(request))
    if value.lower() == "true":
        assert (status, answer["Code"]) == (400, "DryRunOperation")
    else:
        assert status == 200


def test_a_region_that_does_not_exist_is_refused(cloud: Cloud) -> None:
    assert refusal(lambda: cloud.do("DescribeInstances", region_id="cn-atlantis")) == ("InvalidRegionId.NotFound", 404)


def test_every_call_says_which_parameter_it_misses(cloud: Cloud) -> None:
    asked = 0
    for (product, name), action in ACTIONS.items():
        if product != "ecs":
            continue
        given: dict[str, str] = {}
        for missing in action.required:
            status, answer = post(cloud, signed({"Action": name, **given}))
            assert (status, answer["Code"]) == (400, "MissingParameter"), (name, missing, answer)
            assert missing in answer["Message"]
            asked += 1
            if not _is_text(action.schema, missing):
                break
            given[missing] = REGION
    assert asked > 80


def _is_text(schema: Node, name: str) -> bool:
    child = schema.children.get(name)
    return child is not None and child.kind == "str"


def test_the_tables_name_only_parameters_that_the_sdk_knows() -> None:
    for (product, name), action in ACTIONS.items():
        schema = request_of(product, name)
        assert schema is not None
        assert response_of(product, name).kind == "object"
        for path in (action.takes | action.ignores) - {"RegionId"}:
            node: Node | None = schema
            for part in path.split("."):
                node = node.children.get(part) if node else None
            assert node is not None, (product, name, path)
        assert not action.takes & action.ignores, (product, name)


def test_the_documentation_names_every_action() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text().replace("(s)", "")
    words = set(re.findall(r"[A-Za-z0-9]+", page))
    # Start-, stop-, reboot- and deleteInstance are named once for one and for many.
    missing = sorted(name for _, name in ACTIONS if name not in words and name.removesuffix("s") not in words)
    assert missing == []


# Sizes


def test_user_data_of_32_kb_travels_in_the_request_line(cloud: Cloud) -> None:
    raw = bytes(range(256)) * 128
    text = base64.b64encode(raw).decode()
    (key,) = cloud.do("RunInstances", **LAUNCH, user_data=text).instance_id_sets.instance_id_set
    assert cloud.do("DescribeUserData", region_id=REGION, instance_id=key).user_data == text


def test_user_data_beyond_32_kb_or_not_base64_is_refused(cloud: Cloud) -> None:
    large = base64.b64encode(bytes(32 * 1024 + 1)).decode()
    for text, code in ((large, "InvalidUserData.SizeExceeded"), ("###", "InvalidUserData.Base64FormatInvalid")):
        assert refusal(lambda text=text: cloud.do("RunInstances", **LAUNCH, user_data=text))[0] == code  # type: ignore[misc]
