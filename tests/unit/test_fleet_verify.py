"""What a verification concludes from what instances tell, and from what EIPs answer on real sockets."""

from __future__ import annotations

import ast
import base64
import importlib.util
import json
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

from generator import resources
from generator.cloud.assistant import MOST_SCRIPT, Result
from generator.errors import PrerequisiteError, UsageError
from generator.fleet import inside, outside
from generator.fleet.picture import Machine, picture
from generator.fleet.verdict import Verdict, failed, ok, skipped, write_junit
from generator.fleet.verify import of_cloud
from generator.spec.fleet import Probe
from tests.unit.fleets import desired, observed

SCRIPT = resources.folder("templates") / "verify" / "inside.py"


def machine() -> Machine:
    return picture(desired(count=1), observed(1)).machines[0]


def told(**more: Any) -> dict[str, Any]:
    """Return what a script tells of an instance that is well."""
    return {
        "check": {"code": 0, "said": ""},
        "enis": [
            {"id": "eni-1-0", "dev": "eth0", "ips": ["10.0.1.1"]},
            {"id": "eni-1-1", "dev": "eth1", "ips": ["10.0.1.2", "10.0.1.3"]},
        ],
        "asked": {"10.0.1.1": ["eth0"], "10.0.1.2": ["eth1"]},
        "answered": {"10.0.1.1": ["eth0"], "10.0.1.2": ["eth1"]},
        "seen": {"10.0.1.1": "198.18.1.1", "10.0.1.2": "198.18.1.2", "10.0.1.3": "!timed out"},
        "routes": {"10.0.1.1": "eth0", "10.0.1.2": "eth1", "10.0.1.3": "eth1"},
        "strays": [],
        **more,
    }


def result(content: Any, code: int | None = 0) -> Result:
    output = base64.b64encode(zlib.compress(json.dumps(content).encode())).decode()
    return Result("i-1", "Success" if code == 0 else "Failed", code, output, "")


def judged(content: Any, *, echo: bool = True, probed: bool = True) -> dict[str, tuple[str, str]]:
    """Return state and detail by subject; the instance's own are under the empty one, the last counts."""
    checks = inside.judge(machine(), result(content), echo=echo, probed=probed)
    return {check.subject: (check.state, check.detail) for check in checks}


def test_an_instance_that_is_well_passes_with_its_proof() -> None:
    found = judged(told())
    assert found[""][0] == "ok"
    assert found["198.18.1.2"] == (
        "ok",
        "the probe arrived by eth1; the answer left by eth1; seen as 198.18.1.2; the route leads out by eth1",
    )
    assert set(found) == {"", "198.18.1.1", "198.18.1.2"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"asked": {"10.0.1.1": ["eth0"]}}, "not seen that the probe arrived by eth1"),
        ({"answered": {"10.0.1.2": ["eth0"]}}, "the answer left by eth0, not eth1"),
        ({"answered": {"10.0.1.2": ["eth0", "eth1"]}}, "the answer left by eth0, eth1, not eth1"),
        ({"seen": {"10.0.1.2": "198.18.1.1"}}, "seen as 198.18.1.1"),
        ({"seen": {"10.0.1.2": "!timed out"}}, "no connection from 10.0.1.2: timed out"),
        ({"seen": {}}, "no connection from 10.0.1.2: no attempt"),
        ({"routes": {"10.0.1.2": "eth0"}}, "the route leads out by eth0, not eth1"),
        ({"enis": told()["enis"][:1]}, "the instance does not see eni-1-1"),
        ({"enis": [{"id": "eni-1-1", "dev": "eth1", "ips": ["10.0.1.3"]}]}, "10.0.1.2 is not on eth1 (eni-1-1)"),
    ],
    ids=[
        "not asked",
        "answered elsewhere",
        "both ways",
        "other EIP",
        "no way out",
        "silent",
        "route",
        "no ENI",
        "no IP",
    ],
)
def test_an_eip_that_takes_another_way_fails(more: dict[str, Any], said: str) -> None:
    state, detail = judged(told(**more))["198.18.1.2"]
    assert state == "failed"
    assert said in detail


def test_what_was_not_asked_for_is_no_failure() -> None:
    found = judged(told(asked={}, answered={}, seen={}), echo=False, probed=False)
    assert found["198.18.1.2"] == ("ok", "the route leads out by eth1")


def test_the_guests_own_check_and_strays_count() -> None:
    assert judged(told(check={"code": 1, "said": "rule is missing"}))[""] == (
        "failed",
        "multieip-policy-routing check: rule is missing",
    )
    assert judged(told(check={"code": None, "said": ""}))[""][0] == "skipped"
    assert judged(told(strays=["10.0.1.2 leaves by eth0"]))[""] == (
        "failed",
        "10.0.1.2 leaves by eth0, which is not its ENI",
    )


@pytest.mark.parametrize(
    "found",
    [
        None,
        Result("i-1", "Failed", 127, "sh: python3: not found", ""),
        Result("i-1", "Failed", None, "", "ClientNotRunning the agent does not run"),
        Result("i-1", "Success", 0, base64.b64encode(zlib.compress(b"{}")).decode()[:-6], ""),
        Result("i-1", "Success", 0, "\x1b[31m", ""),
        result([]),
        result({"check": 3}),
        result({**told(), "enis": "none"}),
    ],
    ids=["nothing", "no python", "no agent", "cut off", "hostile", "a list", "odd", "odd too"],
)
def test_whatever_an_instance_tells_is_a_finding_and_no_crash(found: Result | None) -> None:
    checks = inside.judge(machine(), found, echo=True, probed=True)
    assert [check.state for check in checks][-1] == "failed"


# The script


def test_the_script_fits_cloud_assistant_and_the_oldest_python_it_meets() -> None:
    text = inside.script(Probe(), "203.0.113.1:7")
    assert len(text.encode()) < MOST_SCRIPT
    many = [f"172.16.{number // 250}.{number % 250}" for number in range(2000)]
    assert len(text.encode()) < len(inside.script(Probe(), "", expected=many[:1000]).encode()) <= MOST_SCRIPT
    assert len(inside.script(Probe(), "", expected=many * 50).encode()) < MOST_SCRIPT
    ast.parse(SCRIPT.read_text(), feature_version=(3, 6))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("inside_script", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def packet(source: str, target: str, protocol: int, data: bytes, options: int = 0) -> bytes:
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45 + options, 0, 0, 0, 0, 64, protocol, 0, *map(socket.inet_aton, (source, target))
    )
    return head + b"\0" * 4 * options + data


def tcp(source: int, target: int, flags: int) -> bytes:
    return struct.pack("!HHIIBBHHH", source, target, 0, 0, 0x50, flags, 0, 0, 0)


SYN, SYN_ACK, ACK, PEER = 2, 18, 16, "203.0.113.9"


@pytest.fixture
def listener(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(script.socket, "AF_PACKET", socket.AF_UNIX)

    class Tap:
        def bind(self, place: object) -> None:
            pass

    monkeypatch.setattr(script.socket, "socket", lambda *_: Tap())
    return script.Listener([("eni-0", "eth0", ["10.0.0.1"]), ("eni-1", "eth1", ["10.0.0.2"])], "tcp", 22)


def test_probes_and_answers_are_told_from_other_packets(listener: Any) -> None:
    for source, target, flags in ((5555, 22, SYN), (5555, 22, ACK), (5555, 80, SYN), (22, 22, SYN_ACK)):
        listener.note(packet(PEER, "10.0.0.1", 6, tcp(source, target, flags)), "eth0", 0)
    assert listener.asked == {"10.0.0.1": {"eth0": 1}}
    listener.note(packet("10.0.0.1", PEER, 6, tcp(22, 5555, ACK)), "eth0", 4)
    assert listener.answered == {}
    assert not listener.has_all()
    listener.note(packet("10.0.0.1", PEER, 6, tcp(22, 5555, SYN_ACK), options=3), "eth0", 4)
    assert listener.answered == {"10.0.0.1": {"eth0": 1}}
    assert listener.strays == {}


def test_only_what_is_expected_is_waited_for(listener: Any) -> None:
    listener.note(packet(PEER, "10.0.0.2", 6, tcp(5555, 22, SYN)), "eth1", 0)
    listener.note(packet("10.0.0.2", PEER, 6, tcp(22, 5555, SYN_ACK)), "eth1", 4)
    assert not listener.has_all()
    listener.expected = {"10.0.0.2", "10.9.9.9"}
    assert listener.has_all()


def test_packets_on_another_eni_are_strays(listener: Any) -> None:
    listener.note(packet("10.0.0.2", PEER, 6, tcp(22, 5555, SYN_ACK)), "eth0", 4)
    listener.note(packet(PEER, "10.0.0.1", 6, tcp(5555, 22, SYN)), "eth1", 0)
    # What only passes by, and what is cut short, is none.
    listener.note(packet(PEER, "10.0.0.9", 6, tcp(5555, 22, SYN)), "eth1", 0)
    listener.note(packet(PEER, "10.0.0.2", 6, b"\0"), "eth1", 0)
    assert set(listener.strays) == {"10.0.0.2 leaves by eth0", "10.0.0.1 is reached by eth1"}


# From outside


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_connection_is_an_answer_and_a_refusal_is_named(listening: int) -> None:
    assert outside.ask(["127.0.0.1"], Probe(port=listening)) == {"127.0.0.1": ""}
    assert outside.ask(["127.0.0.2"], Probe(port=listening)) == {
        "127.0.0.2": f"nothing listens on TCP port {listening}"
    }


def test_silence_ends_with_the_probes_timeout() -> None:
    with socket.socket() as full:
        # A listener whose queue is full answers nobody.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            why = outside.ask(["127.0.0.1"], Probe(port=port, timeout=1))["127.0.0.1"]
    assert why == f"no answer on TCP port {port} in 1 s"


def test_many_are_asked_at_once(listening: int) -> None:
    eips = [f"127.0.{number // 250}.{number % 250 + 1}" for number in range(500)]
    found = outside.ask(eips, Probe(port=listening))
    assert [eip for eip, why in found.items() if not why] == ["127.0.0.1"]
    assert outside.ask([], Probe(protocol="icmp")) == {}


def test_a_ping_is_answered(script: ModuleType) -> None:
    try:
        assert outside.ask(["127.0.0.1"], Probe(protocol="icmp")) == {"127.0.0.1": ""}
    except PrerequisiteError:
        pytest.skip("this user may not ping: root, or sysctl net.ipv4.ping_group_range")


def test_the_echo_tells_each_caller_its_address_until_it_ends() -> None:
    seen = {}
    with outside.echo("127.0.0.1:0") as place:
        host, port = place.split(":")
        for source in ("127.0.0.5", "127.0.0.6"):
            with socket.create_connection((host, int(port)), 5, (source, 0)) as asked:
                seen[source] = asked.makefile().readline().strip()
        threads = threading.active_count()
    assert seen == {"127.0.0.5": "127.0.0.5", "127.0.0.6": "127.0.0.6"}
    assert threading.active_count() == threads - 1
    with pytest.raises(UsageError, match="cannot listen"), outside.echo("192.0.2.1:1"):
        pass


# Verdicts


def test_the_cloud_level_names_instances_that_are_missing_or_stopped() -> None:
    checks = list(of_cloud(picture(desired(), observed(1))))
    assert [(check.instance, check.state) for check in checks] == [
        ("web-001", "ok"),
        ("web-001", "ok"),
        ("web-002", "failed"),
    ]


def test_rows_and_junit_count_what_was_made(tmp_path: Path) -> None:
    hostile = 'x\x1b[31m"<&'
    verdict = Verdict(
        "web",
        "cn-hangzhou",
        (
            ok("web-001", "cloud", "198.18.1.1"),
            failed("web-001", "outside", "198.18.1.1", hostile),
            failed("web-001", "outside", "198.18.1.2", "no answer"),
            skipped("web-001", "inside", "", "not installed"),
        ),
        "nothing",
    )
    assert verdict.rows() == [("web-001", "1/1", "0/2", "-", '✗ 198.18.1.1: x?[31m"<& (and 1 more)')]
    assert not verdict.to_json()["ok"]
    write_junit(tmp_path / "junit.xml", verdict)
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "2", "1")
    assert suite.find("testcase/failure").get("message") == 'x?[31m"<&'  # type: ignore[union-attr]
