"""The verbs of fleets by their command line, on a region without instances: output, exit codes, who is asked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from generator.cli.app import APP
from generator.errors import ExitCode, MultieipError
from generator.fleet.policy import policy
from generator.sandbox.api import dispatch
from generator.sandbox.region.behaviour import Behaviour
from generator.sandbox.region.clock import Clock
from generator.sandbox.region.model import Eip, Instance
from tests.sandbox.commands import Done, multieip
from tests.sandbox.fleets import FAST, assert_nothing, region_of, spec_of
from tests.sandbox.region import REGION, Cloud, served


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setenv("MULTIEIP_CLOCK", str(FAST))
    with served(clock=Clock(FAST), behaviour=Behaviour(windows=None, eips=300)) as region:
        monkeypatch.setenv("MULTIEIP_ENDPOINT", region.server.url)
        yield region


class Command:
    """The command line with one fleet's file."""

    def __init__(self, folder: Path) -> None:
        self.file, self.state = folder / "web.yaml", folder / "state"
        self.write()

    def write(self, **more: Any) -> None:
        """Write the file: a small fleet, and what is given."""
        fields = spec_of(**more).model_dump(mode="json", exclude_unset=True)
        self.file.write_text(yaml.safe_dump(fields, sort_keys=False))

    def do(self, verb: str, *arguments: str) -> Done:
        """Run a verb, whatever its exit code: in a process of its own where it opens the engine."""
        if verb in ("launch", "destroy"):
            return multieip(verb, str(self.file), *arguments, "--state", str(self.state))
        done = CliRunner().invoke(APP, [verb, str(self.file), *arguments])
        code, said = done.exit_code, done.stderr
        if isinstance(done.exception, MultieipError):
            code, said = done.exception.exit_code, f"{said}{done.exception}"
        assert code != ExitCode.FAILED or isinstance(done.exception, MultieipError), done.exception
        return Done([verb], code, done.stdout, said)

    def must(self, verb: str, *arguments: str) -> str:
        """Run a verb that succeeds, and return its output."""
        done = self.do(verb, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def command(cloud: Cloud, tmp_path: Path) -> Command:
    return Command(tmp_path)


def test_a_fleet_is_planned_launched_shown_and_removed(cloud: Cloud, command: Command) -> None:
    assert command.do("plan", "--detailed-exitcode").returncode == ExitCode.CHANGES
    assert command.do("status", "--detailed-exitcode").returncode == ExitCode.CHANGES
    told = json.loads(command.must("launch", "--json"))
    assert (told["instances"], told["eips"], told["resumed"]) == (3, 15, False)
    again = json.loads(command.must("launch", "--json"))
    assert again["writes"] == 0
    planned = command.do("plan", "--detailed-exitcode")
    assert planned.returncode == 0
    assert "nothing to do" in planned.stderr
    state = json.loads(command.must("status", "--json", "--detailed-exitcode"))
    assert state["ok"]
    assert state["instances"] == {"wanted": 3, "running": 3}
    assert state["eips"] == {"wanted": 15, "mapped": 15}
    assert command.must("topology").count("↔") == 15
    assert command.must("inventory", "--format", "ssh").count("Host ") == 3
    gone = json.loads(command.must("destroy", "--yes", "--json"))
    assert (len(gone["instances"]), len(gone["eips_released"])) == (3, 15)
    assert_nothing(cloud)
    assert "nothing was there" in command.do("destroy").stderr


def test_a_fleet_is_shown_whose_image_is_gone(cloud: Cloud, command: Command) -> None:
    command.must("launch")
    command.write(image={"family": "gone"})
    assert command.must("topology").count("↔") == 15
    assert len(json.loads(command.must("inventory", "--format", "json"))["instances"]) == 3
    assert command.do("plan").returncode != 0
    shown = command.do("status", "--detailed-exitcode")
    assert shown.returncode == ExitCode.CHANGES
    assert "family gone" in shown.stdout
    assert "3 of 3 instances run, 15 of 15 EIPs" in shown.stderr
    told = json.loads(command.must("status", "--json"))
    assert (told["ok"], told["eips"]["mapped"]) == (False, 15)
    # Said once, and not of each instance.
    assert [(one["resource"], one["what"], one["wanted"], one["found"]) for one in told["drift"]] == [
        ("web", "image", "family gone", "not found")
    ]
    command.write(image={"family": "gone"}, vswitches=["vsw-nowhere1"])
    assert command.do("status").returncode == ExitCode.CLOUD


def test_nothing_is_removed_without_a_yes(cloud: Cloud, command: Command) -> None:
    command.must("launch")
    refused = command.do("destroy")
    assert refused.returncode == ExitCode.USAGE
    assert "3 instances, 3 secondary ENIs, 15 EIPs" in refused.stderr
    command.write(count=1)
    assert command.do("launch").returncode == ExitCode.FAILED
    assert command.do("launch", "--remove").returncode == ExitCode.USAGE
    assert json.loads(command.must("inventory", "--format", "json"))["instances"][2]["name"] == "web-003"
    command.must("launch", "--remove", "--yes")
    assert json.loads(command.must("status", "--json"))["ok"]
    assert len(json.loads(command.must("inventory", "--format", "json"))["instances"]) == 1


def test_a_launch_stops_at_what_a_plan_finds_and_shows_its_warnings(cloud: Cloud, command: Command) -> None:
    command.write(enis=[{"private_ips": 1}] * 5)
    planned, refused = command.do("plan"), command.do("launch")
    assert (planned.returncode, refused.returncode) == (ExitCode.FINDINGS, ExitCode.FINDINGS)
    (error,) = [line for line in planned.stdout.splitlines() if "error[" in line]
    assert error in refused.stderr
    assert "--no-checks" in refused.stderr
    assert refused.stdout == ""
    assert_nothing(cloud)
    # ECS itself refuses what is not checked.
    assert command.do("launch", "--no-checks").returncode == ExitCode.CLOUD
    command.must("destroy", "--yes")
    command.write(count=5)
    done = command.do("launch", "--json")
    assert done.returncode == 0
    assert "warning[eip-quota]" in done.stderr
    assert json.loads(done.stdout)["eips"] == 25
    command.write(image={"name": "nothing"})
    assert command.do("launch").returncode == ExitCode.FINDINGS
    assert command.do("launch", "--remove").returncode == ExitCode.FINDINGS
    assert command.do("launch", "--no-checks").returncode == ExitCode.CLOUD


def test_protected_instances_are_named_before_anybody_is_asked(cloud: Cloud, command: Command) -> None:
    command.write(deletion_protection=True)
    command.must("launch")
    refused = command.do("destroy")
    assert refused.returncode == ExitCode.FAILED
    names = [f"web-{number:03} (i-" for number in (1, 2, 3)]
    assert all(name in refused.stderr for name in ("3 instances are protected", "--unprotect", *names))
    command.write(deletion_protection=True, count=2)
    assert "ModifyInstanceAttribute" in command.must("plan")
    assert "1 instance is protected" in command.do("launch", "--remove").stderr
    assert command.do("launch", "--unprotect").returncode == ExitCode.USAGE
    assert region_of(cloud).all(Instance)[2].status == "Running"
    command.must("launch", "--remove", "--unprotect", "--yes")
    command.must("destroy", "--unprotect", "--yes")
    assert_nothing(cloud)
    assert "ecs:ModifyInstanceAttribute" in command.must("policy")


def test_kept_eips_are_those_of_the_next_launch(cloud: Cloud, command: Command) -> None:
    command.must("launch")
    before = eips(command)
    command.must("destroy", "--yes", "--keep-eips")
    assert [eip.status for eip in region_of(cloud).all(Eip)] == ["Available"] * 15
    assert region_of(cloud).all(Instance) == []
    command.must("launch")
    assert eips(command) == before


def eips(command: Command) -> list[str]:
    found = json.loads(command.must("inventory", "--format", "json"))["instances"]
    return sorted(one["eip"] for instance in found for one in instance["eips"])


def test_findings_stand_at_their_keys_and_end_with_their_exit_code(command: Command) -> None:
    command.write(image={"name": "nothing"}, vswitches=["vsw-nowhere1"])
    done = command.do("plan")
    assert done.returncode == ExitCode.FINDINGS
    lines = command.file.read_text().splitlines()
    place = lines.index("image:") + 1
    assert f"{command.file}:{place}:1: error[image]:" in done.stdout
    found = json.loads(command.do("plan", "--json").stdout)
    assert {finding["rule"] for finding in found["findings"]} == {"image", "vswitch"}
    assert (found["ok"], found["plan"]) == (False, None)


def test_sweep_shows_what_no_fleet_owns_and_leaves_the_rest(cloud: Cloud, command: Command, tmp_path: Path) -> None:
    command.must("launch")
    look = multieip("sweep", command.file, "--region", REGION, "--dry-run")
    assert "nothing in cn-hangzhou that belongs to no fleet" in look.stderr
    found = multieip("sweep", "--region", REGION, "--dry-run", "--detailed-exitcode", "--json")
    assert found.returncode == ExitCode.CHANGES
    orphans = json.loads(found.stdout)["orphans"]
    kinds = [one["kind"] for one in orphans]
    assert (kinds.count("instance"), kinds.count("EIP"), kinds.count("ENI")) == (3, 15, 3)
    assert {one["fleet"] for one in orphans} == {"web"}
    assert {one["hourly"] for one in orphans if one["kind"] == "instance"} != {"not known"}
    refused = multieip("sweep", "--region", REGION)
    assert refused.returncode == ExitCode.USAGE
    swept = multieip("sweep", "--region", REGION, "--yes", "--state", tmp_path / "state")
    assert swept.returncode == 0, swept.stderr
    assert_nothing(cloud)


def test_verify_without_packets_judges_what_the_api_shows(cloud: Cloud, command: Command) -> None:
    command.must("launch")
    quick = ("--skip", "outside", "--skip", "inside", "--json")
    told = json.loads(command.must("verify", *quick))
    assert [check["state"] for check in told["checks"]] == ["ok"] * 15
    one = json.loads(command.must("inventory", "--format", "json"))["instances"][0]["eips"][0]
    cloud.eip("UnassociateEipAddress", region_id=REGION, allocation_id=one["id"], instance_id=one["eni"])
    cloud.until(lambda: cloud.eip_status(one["id"]) == "Available")
    done = command.do("verify", *quick)
    assert done.returncode == ExitCode.FAILED
    assert [check["detail"] for check in json.loads(done.stdout)["checks"] if check["state"] != "ok"] == [
        f"{one['private_ip']} on {one['eni']} has no EIP"
    ]


def test_without_credentials_it_is_said_at_once(cloud: Cloud, command: Command, tmp_path: Path) -> None:
    begun = time.monotonic()
    none = {"MULTIEIP_ENDPOINT": "", "HOME": str(tmp_path), "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"}
    done = multieip("plan", command.file, env=none)
    assert done.returncode == ExitCode.PREREQUISITE
    assert "no credentials of Alibaba Cloud" in done.stderr
    assert time.monotonic() - begun < 60


def test_an_echo_is_host_and_port(command: Command) -> None:
    for option, wrong in (("--echo", "nowhere"), ("--echo", "host:"), ("--listen", ":7"), ("--listen", "host:99999")):
        assert command.do("verify", option, wrong).returncode == ExitCode.USAGE


@pytest.mark.parametrize(
    "more",
    [
        {},
        {
            "security_group": {"rules": [{"protocol": "tcp", "ports": "22", "cidr": "0.0.0.0/0"}]},
            "eips": {"segment": 28},
            "count": 2,
        },
        {"count": 1, "enis": [{"addresses": ["172.16.9.1", "172.16.9.2"]}, {"addresses": ["172.16.9.8"]}]},
    ],
    ids=["usual", "own group and segment", "addresses"],
)
def test_the_policy_grants_what_the_region_sees(
    cloud: Cloud, command: Command, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    seen: set[str] = set()
    find = dispatch.find

    def noting(product: str, name: str) -> Any:
        seen.add(f"{product}:{name}")
        return find(product, name)

    monkeypatch.setattr(dispatch, "find", noting)
    command.write(**more)
    command.must("plan")
    command.must("launch")
    # Nothing answers here, but the calls are made.
    command.do("verify", "--skip", "outside", "--wait", "0")
    command.must("status")
    command.must("destroy", "--yes")
    granted = {action for one in policy(spec_of(**more))["Statement"] for action in one["Action"]}
    assert seen - granted == set()
    # What is granted and was not needed here is for what did not happen: mending, growing, shrinking.
    assert granted - seen <= {
        "ecs:AssignPrivateIpAddresses",
        "ecs:AttachNetworkInterface",
        "ecs:CreateNetworkInterface",
        "ecs:DeleteNetworkInterface",
        "ecs:DescribeInstanceHistoryEvents",
        "ecs:DescribeSecurityGroupAttribute",
        "ecs:RevokeSecurityGroup",
        "ecs:TagResources",
        "ecs:UnassignPrivateIpAddresses",
        "vpc:DescribeRouteEntryList",
        "vpc:DescribeVSwitchAttributes",
    }
    assert json.loads(command.must("policy")) == policy(spec_of(**more))
