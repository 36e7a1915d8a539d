"""Running instances get and lose ENIs and private IPs, run commands, and become images."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.sandboxes import GOLDEN, GoldenSandbox, Machines

_ADDRESSES = "ip -4 -o address show dev eth0 | awk '{print $4}' | sort"


@dataclass(frozen=True)
class Pair:
    """Two instances whose EIPs answer; the first has a secondary ENI."""

    region: Machines
    one: str
    other: str
    eips: dict[str, str]
    others: dict[str, str]


@pytest.fixture(scope="module")
def pair(running: GoldenSandbox) -> Iterator[Pair]:
    with running.region() as region:
        (other,) = region.boot()
        one, eips = region.boot_with_eips(enis=1)
        others = region.give_eips(other)
        region.assert_answers(others)
        yield Pair(region, one, other, eips, others)


def test_an_eni_moves_to_another_instance_with_its_eips(pair: Pair) -> None:
    region = pair.region
    eni = next(eni for eni in region.enis(pair.one) if eni.type == "Secondary")
    name = eni.network_interface_id
    addresses = [private.private_ip_address for private in eni.private_ip_sets.private_ip_set]
    moved = {private: pair.eips[private] for private in addresses}
    assert len(moved) == 2
    assert region.seen_as(pair.one, pair.eips) == pair.eips
    region.do("DetachNetworkInterface", network_interface_id=name, instance_id=pair.one)
    region.until(lambda: _status(region, name) == "Available")
    region.until_silent(next(iter(moved.values())))
    region.do("AttachNetworkInterface", network_interface_id=name, instance_id=pair.other)
    region.assert_answers(moved)
    assert region.seen_as(pair.other, pair.others | moved) == pair.others | moved
    left = {private: eip for private, eip in pair.eips.items() if private not in moved}
    assert region.seen_as(pair.one, left) == left


def _status(region: Machines, eni: str) -> str:
    found = region.do("DescribeNetworkInterfaces", network_interface_id=[eni])
    return str(found.network_interface_sets.network_interface_set[0].status)


def test_a_new_private_ip_answers_and_a_removed_one_does_not(pair: Pair) -> None:
    region = pair.region
    eni = region.enis(pair.one)[0].network_interface_id
    before = region.said(pair.one, _ADDRESSES)
    region.do("AssignPrivateIpAddresses", network_interface_id=eni, secondary_private_ip_address_count=2)
    sets = region.enis(pair.one)[0].private_ip_sets.private_ip_set
    added = [private.private_ip_address for private in sets if not private.primary]
    given = {private: region.give_eip(eni, private) for private in added}
    region.assert_answers(given)
    assert region.seen_as(pair.one, given) == given
    for private in added:
        region.take_eip(given[private])
    region.do("UnassignPrivateIpAddresses", network_interface_id=eni, private_ip_address=added)
    region.until(lambda: region.said(pair.one, _ADDRESSES) == before)


# Commands


@dataclass(frozen=True)
class Ran:
    """What came of a command."""

    status: str
    code: int | None
    output: str
    error: str
    kind: str


def run(region: Machines, instance: str, content: str, **more: Any) -> str:
    asked = {"type": "RunShellScript", "command_content": content, "instance_id": [instance], **more}
    return str(region.do("RunCommand", **asked).invoke_id)


def ran(region: Machines, invoke: str) -> Ran:
    """Wait for the end of a command."""

    def found() -> Any:
        asked = region.do("DescribeInvocationResults", invoke_id=invoke)
        return asked.invocation.invocation_results.invocation_result[0]

    region.until(lambda: found().invoke_record_status != "Running")
    done = found()
    output = base64.b64decode(done.output or "").decode()
    return Ran(
        done.invoke_record_status,
        done.exit_code,
        output,
        done.error_info,
        f"{done.invocation_status} {done.error_code}",
    )


def test_commands_say_how_they_ended(pair: Pair) -> None:
    region, one = pair.region, pair.one
    endless = run(region, one, "echo before; sleep 600", timeout=10)
    fails = run(region, one, "echo out; echo err >&2; exit 3")
    somebody = run(region, one, "id -un; pwd", username="nobody")
    script = run(region, one, "#!/usr/bin/env python3\nprint('ünicode', 6 * 7)\n")
    encoded = run(region, one, base64.b64encode(b"echo $0 | cut -c1-5").decode(), content_encoding="Base64")
    assert ran(region, fails) == Ran("Failed", 3, "out\nerr\n", "", "Failed ExitCodeNonzero")
    assert ran(region, somebody) == Ran("Finished", 0, "nobody\n/\n", "", "Success ")
    assert ran(region, script) == Ran("Finished", 0, "ünicode 42\n", "", "Success ")
    assert ran(region, encoded).code == 0
    timed_out = ran(region, endless)
    assert (timed_out.status, timed_out.kind) == ("Failed", "Timeout ExecutionTimeout")
    assert timed_out.output.startswith("before\n")
    assert "10 s" in timed_out.error
    assert region.command(one, "pgrep -f 'sleep 600'")[0] == 1


# Images


def test_an_image_has_what_its_instance_had_written(region: Machines) -> None:
    (instance,) = region.boot()
    region.said(instance, "echo running > /root/written; rm /etc/debian_version; sync")
    of_running = image_of(region, instance)
    region.said(instance, "echo stopped > /root/written; sync")
    region.do("StopInstances", instance_id=[instance])
    region.until_status(instance, "Stopped")
    of_stopped = image_of(region, instance)
    (first,) = region.boot(of_running)
    (second,) = region.boot(of_stopped)
    told = "cat /root/written; test -e /etc/debian_version || echo removed"
    assert region.said(first, told) == "running\nremoved\n"
    assert region.said(second, told) == "stopped\nremoved\n"
    # An image that is gone is still what its instances run on, and boot again from.
    region.do("DeleteImage", image_id=of_running, force=True)
    region.delete(instance)
    region.do("RebootInstances", instance_id=[first])
    region.assert_answers(region.give_eips(first))
    assert region.said(first, told) == "running\nremoved\n"


def image_of(region: Machines, instance: str) -> str:
    """Make an image of an instance, and return it once it is there."""
    image = str(
        region.do("CreateImage", instance_id=instance, image_name=f"of-{instance}-{region.status(instance)}").image_id
    )

    def status() -> str:
        return str(region.do("DescribeImages", image_id=image, status="Creating,Available").images.image[0].status)

    region.until(lambda: status() == "Available")
    return image


# First boot


def test_user_data_key_pair_and_hardened_metadata(running: GoldenSandbox, region: Machines, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(region.do("CreateKeyPair", key_pair_name="for-the-test").private_key_body)
    key.chmod(0o600)
    script = base64.b64encode(b"#!/bin/sh\necho from user-data > /root/told\n").decode()
    instance, eips = region.boot_with_eips(
        GOLDEN, enis=1, user_data=script, key_pair_name="for-the-test", http_tokens="required"
    )
    shell = ["ssh", "-i", str(key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]

    def said() -> subprocess.CompletedProcess[str]:
        return running.run(
            *shell,
            f"root@{next(iter(eips.values()))}",
            "cat /root/told; curl -s -w '%{http_code}' -o /dev/null http://100.100.100.200/latest/meta-data/",
        )

    region.until(lambda: said().stdout == "from user-data\n403")
    assert region.seen_as(instance, eips) == eips
