"""A fleet on real packets: launched, proved, broken and found out, removed. All by the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.lab.sandboxes import GOLDEN, GoldenSandbox, Machines
from tests.sandbox.commands import Done

ECHO = "203.0.113.1:7"
FLEET = f"""\
version: 1
name: proved
region: cn-hangzhou
image: {{family: {GOLDEN}}}
user_data: {{form: none}}
metadata: {{tokens: optional}}
instance_types: [ecs.g7.large]
vswitches: [vsw-bp1sandboxh]
security_group: {{id: sg-bp1sandbox}}
count: 2
enis:
  - private_ips: 5
  - private_ips: 5
"""


class Fleet:
    """A fleet of a sandbox, by its command line."""

    def __init__(self, sandbox: GoldenSandbox, folder: Path) -> None:
        self.sandbox, self.folder, self.file = sandbox, folder, folder / "proved.yaml"
        self.file.write_text(FLEET)

    def do(self, verb: str, *arguments: str) -> Done:
        """Run a verb on the sandbox's internet, whatever its exit code."""
        return self.sandbox.run(sys.executable, "-m", "generator", verb, str(self.file), *arguments, timeout=400)

    def must(self, verb: str, *arguments: str) -> str:
        """Run a verb that succeeds, and return its output."""
        done = self.do(verb, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def verify(self, *arguments: str) -> tuple[int, list[Any]]:
        """Verify, and return exit code and checks that failed."""
        done = self.do("verify", "--json", *arguments)
        found = json.loads(done.stdout)
        return done.returncode, [check for check in found["checks"] if check["state"] == "failed"]


@pytest.fixture(scope="module")
def fleet(running: GoldenSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet that is launched and answers."""
    made = Fleet(running, tmp_path_factory.mktemp("fleet"))
    state = ("--state", str(made.folder / "state"))
    made.must("launch", *state)
    try:
        made.must("verify", "--skip", "inside")
        yield made
    finally:
        made.do("destroy", "--yes", *state)


def ids(fleet: Fleet) -> list[str]:
    return [one["id"] for one in json.loads(fleet.must("inventory", "--format", "json"))["instances"]]


def test_every_eip_is_proved_in_both_directions(fleet: Fleet, tmp_path: Path) -> None:
    junit = tmp_path / "verify.xml"
    told = json.loads(fleet.must("verify", "--echo", ECHO, "--json", "--junit", str(junit)))
    assert told["ok"]
    inside = [check for check in told["checks"] if check["level"] == "inside" and check["subject"]]
    assert len(inside) == 20
    for check in inside:
        for what in ("the probe arrived by eth", "the answer left by eth", f"seen as {check['subject']}"):
            assert what in check["detail"]
    by_level = {level: sum(check["level"] == level for check in told["checks"]) for level in ("cloud", "outside")}
    assert by_level == {"cloud": 20, "outside": 20}
    suite = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == (str(len(told["checks"])), "0")


def test_the_machine_that_verifies_can_be_the_echo_itself(fleet: Fleet) -> None:
    assert fleet.verify("--listen", "203.0.113.1:4711") == (0, [])
    # Where instances find it may be another address than it has itself.
    assert fleet.verify("--listen", "0.0.0.0:4712", "--echo", "203.0.113.1:4712") == (0, [])


def test_eips_can_be_asked_by_ping(fleet: Fleet) -> None:
    plain = fleet.file.read_text()
    fleet.file.write_text(f"{plain}probe: {{protocol: icmp}}\n")
    try:
        assert fleet.verify() == (0, [])
    finally:
        fleet.file.write_text(plain)


def test_a_private_ip_that_leaves_by_another_eni_is_found_out(fleet: Fleet, running: GoldenSandbox) -> None:
    instance, region = ids(fleet)[0], running.region()
    # A run that is under way would mend what is broken here.
    timers = "multieip-policy-routing.timer multieip-policy-routing.path multieip-policy-routing.service"
    lose = "ip rule | sed -n 's/^\\(100[0-9]*\\):.*/\\1/p' | while read p; do ip rule del prio $p; done"
    region.said(instance, f"systemctl stop {timers}; {lose}")
    try:
        code, failed = fleet.verify("--echo", ECHO, "--wait", "0")
        assert code == 1
        assert {check["instance"] for check in failed} == {"proved-001"}
        # Nothing is wrong with what the cloud shows: only packets tell.
        assert {check["level"] for check in failed} == {"outside", "inside"}
        assert any("leaves by eth0, which is not its ENI" in check["detail"] for check in failed)
        assert len([check for check in failed if check["level"] == "inside" and check["subject"]]) == 5
    finally:
        region.said(instance, f"multieip-policy-routing apply; systemctl start {timers}")
    assert fleet.verify("--echo", ECHO) == (0, [])


def test_an_eip_that_was_moved_by_hand_is_found_by_status_and_verify(fleet: Fleet, running: GoldenSandbox) -> None:
    region = running.region()
    one = json.loads(fleet.must("inventory", "--format", "json"))["instances"][0]["eips"][0]
    region.take_eip(one["eip"])
    try:
        done = fleet.do("status", "--json", "--detailed-exitcode")
        assert done.returncode == 4
        machines = json.loads(done.stdout)["machines"]
        assert [len(machine["problems"]) for machine in machines] == [1, 0]
        code, failed = fleet.verify("--wait", "0")
        assert code == 1
        assert [(check["level"], check["detail"]) for check in failed] == [
            ("cloud", f"{one['private_ip']} on {one['eni']} has no EIP")
        ]
    finally:
        fleet.must("launch", "--state", str(fleet.folder / "state"))
    assert fleet.do("status", "--detailed-exitcode").returncode == 0


def test_nothing_is_left_after_destroy(running: GoldenSandbox, fleet: Fleet) -> None:
    state = ("--state", str(fleet.folder / "state"))
    assert len(fleet.must("topology").splitlines()) == 2 + 2 * 13
    fleet.must("destroy", "--yes", *state)
    with running.region() as region:
        assert left(region) == {"instances": 0, "enis": 0, "eips": 0}


def left(region: Machines) -> dict[str, int]:
    return {
        "instances": len(region.do("DescribeInstances").instances.instance),
        "enis": len(region.do("DescribeNetworkInterfaces").network_interface_sets.network_interface_set),
        "eips": region.eip("DescribeEipAddresses").total_count,
    }


@pytest.mark.slow
def test_the_demo_goes_from_nothing_to_proof_and_back_to_nothing(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        ["make", "demo", f"OUT={tmp_path}"], cwd=root, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^demo-00\d .*", done.stdout, re.MULTILINE) == [
        f"demo-00{number}  10/10  10/10    10/10   ✓" for number in (1, 2)
    ]
    for said in (
        "✓ 62 checks passed on demo",
        "removed 2 instances, 2 secondary ENIs, 20 EIPs",
        "✓ nothing in cn-hangzhou",
    ):
        assert said in done.stderr
    assert not (tmp_path / "demo" / "sandbox" / "control").exists()
