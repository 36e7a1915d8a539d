"""A sandbox of the API alone, as a person without root has it: started, killed, ended and begun anew."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.sandbox.commands import WITHOUT_ROOT, Done, Sandbox, multieip
from tests.sandbox.region import LAUNCH, REGION, Cloud, call, clients

MODULE = "generator.sandbox.daemon"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox that is not started, and ended after the test."""
    made = Sandbox(tmp_path / "sandbox", "--api-only")
    yield made
    made.down()


def refused(done: Done, code: int) -> str:
    """Return what a command said that failed as it should: one line, and a remedy."""
    said = [line for line in done.stderr.splitlines() if not line.startswith(("‣", "✗"))]
    assert done.returncode == code, done.stderr
    assert len(said) == 2, done.stderr
    assert said[0].startswith("multieip: "), done.stderr
    assert said[1].startswith("  → "), done.stderr
    return done.stderr


def servers(folder: Path) -> list[int]:
    """Return the processes that serve a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            argv = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if MODULE.encode() in argv and os.fsencode(folder.resolve()) in argv:
            found.append(int(path.parent.name))
    return found


def launched(url: str) -> dict[str, str]:
    """Run an instance with an EIP; return what has an identity of its own."""
    ecs, vpc = clients(url)
    (instance,) = call(ecs, "RunInstances", LAUNCH).instance_id_sets.instance_id_set
    Cloud.until(lambda: "eni" in seen(url) and seen(url).get("status") == "Running")
    eip = call(vpc, "AllocateEipAddress", {"region_id": REGION})
    bound = {"region_id": REGION, "allocation_id": eip.allocation_id, "instance_id": seen(url)["eni"]}
    to = {"instance_type": "NetworkInterface", "private_ip_address": seen(url)["private"]}
    call(vpc, "AssociateEipAddress", {**bound, **to})
    Cloud.until(lambda: seen(url).get("bound to") == seen(url)["eni"])
    assert seen(url)["instance"] == instance
    return seen(url)


def seen(url: str) -> dict[str, str]:
    """Return what the region shows of its one instance, its ENI and its EIP."""
    ecs, vpc = clients(url)
    shown: dict[str, str] = {}
    for one in call(ecs, "DescribeInstances", {"region_id": REGION}).instances.instance:
        shown |= {"instance": one.instance_id, "status": one.status, "created": one.creation_time}
    for eni in call(
        ecs, "DescribeNetworkInterfaces", {"region_id": REGION}
    ).network_interface_sets.network_interface_set:
        shown |= {"eni": eni.network_interface_id, "mac": eni.mac_address, "private": eni.private_ip_address}
    for eip in call(vpc, "DescribeEipAddresses", {"region_id": REGION}).eip_addresses.eip_address:
        shown |= {"eip": eip.allocation_id, "address": eip.ip_address, "bound to": eip.instance_id}
    return shown


def test_what_was_made_survives_down_and_a_kill(sandbox: Sandbox) -> None:
    first = sandbox.up()
    made = launched(first["url"])
    sandbox.down()
    assert seen(sandbox.up()["url"]) == made
    sandbox.kill()
    again = sandbox.up()
    assert again["url"] == first["url"]
    assert seen(again["url"]) == made


def test_a_second_up_changes_nothing(sandbox: Sandbox) -> None:
    first = sandbox.up("--eips", "7")
    assert sandbox.up("--eips", "7")["pid"] == first["pid"]
    assert servers(sandbox.folder) == [first["pid"]]


def test_a_sandbox_that_runs_is_not_silently_another_one(sandbox: Sandbox) -> None:
    first = sandbox.up("--eips", "7")
    assert "was asked to be another one" in refused(sandbox.do("up", "--eips", "9"), 2)
    assert sandbox.status()["pid"] == first["pid"]


def test_what_was_asked_once_is_kept_and_can_be_changed(sandbox: Sandbox) -> None:
    sandbox.up("--eips", "1", "--speed", "50")
    sandbox.down()
    assert sandbox.up("--eips", "2")["speed"] == 50
    assert json.loads((sandbox.folder / "settings.json").read_text())["eips"] == 2


def test_a_reset_gives_other_ids(sandbox: Sandbox) -> None:
    before = launched(sandbox.up()["url"])
    assert sandbox.do("reset", "--yes").returncode == 0
    url = sandbox.status()["url"]
    assert seen(url) == {}
    after = launched(url)
    assert all(before[kind] != after[kind] for kind in ("instance", "eni", "eip"))


def test_two_at_a_time_are_one(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: sandbox.up(), range(2))
    assert first["pid"] == second["pid"]
    assert servers(sandbox.folder) == [first["pid"]]


@pytest.mark.parametrize("killed", [False, True])
def test_down_leaves_no_process_and_can_be_said_twice(sandbox: Sandbox, killed: bool) -> None:
    sandbox.up()
    if killed:
        sandbox.kill()
    sandbox.down()
    sandbox.down()
    assert servers(sandbox.folder) == []
    assert not (sandbox.folder / "control").exists()


def test_two_sandboxes_have_nothing_in_common(sandbox: Sandbox, tmp_path: Path) -> None:
    other = Sandbox(tmp_path / "other", "--api-only")
    url, second = sandbox.up()["url"], other.up()["url"]
    made = launched(url)
    assert seen(second) == {}
    other.down()
    assert seen(url) == made


@pytest.mark.parametrize("name", ["a b:c,'é\n$(exit 1)\\", "/".join(["d" * 60] * 5)])
def test_any_folder_will_do(tmp_path: Path, name: str) -> None:
    sandbox = Sandbox(tmp_path / name, "--api-only")
    url = sandbox.up()["url"]
    try:
        assert sandbox.status()["url"] == url
        assert sandbox.run("sh", "-c", "echo $MULTIEIP_ECS_ENDPOINT").stdout == f"{url}\n"
    finally:
        sandbox.down()
    assert servers(sandbox.folder) == []


def test_a_port_that_is_in_use_is_named_and_not_kept(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(sandbox.do("up", "--api-only", "--port", str(port)), 1)
        assert f"port {port} is in use" in said
        assert servers(sandbox.folder) == []
        assert sandbox.up()["url"] != f"http://127.0.0.1:{port}"


def test_a_port_may_be_chosen(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert sandbox.up("--port", str(port))["url"] == f"http://127.0.0.1:{port}"


def test_without_root_the_api_is_named_as_the_way_and_is_one(sandbox: Sandbox) -> None:
    if WITHOUT_ROOT and subprocess.run([*WITHOUT_ROOT, "true"], check=False).returncode:
        pytest.skip("no user namespaces here")
    said = refused(sandbox.do("up", through=WITHOUT_ROOT), 5)
    assert "--api-only" in said
    assert not sandbox.folder.exists()
    assert sandbox.do("up", "--api-only", through=WITHOUT_ROOT).returncode == 0
    assert launched(sandbox.status()["url"])
    assert sandbox.do("down", through=WITHOUT_ROOT).returncode == 0
    assert servers(sandbox.folder) == []


def test_instances_cannot_be_had_of_a_sandbox_that_was_made_without(sandbox: Sandbox) -> None:
    sandbox.up()
    sandbox.down()
    assert "made without instances" in refused(sandbox.do("up", "--backend", "container"), 2)


@pytest.mark.parametrize("verb", [["status"], ["env"], ["exec", "--", "true"], ["inject", "slow"], ["shell", "i-1"]])
def test_without_a_sandbox_the_way_to_one_is_said(tmp_path: Path, verb: list[str]) -> None:
    name, *rest = verb
    assert "multieip sandbox up" in refused(multieip("sandbox", name, "--dir", tmp_path / "none", *rest), 1)
    assert not (tmp_path / "none").exists()


def test_reset_begins_anew_on_the_same_port(sandbox: Sandbox) -> None:
    url = sandbox.up("--eips", "1")["url"]
    made = launched(url)
    assert refused(sandbox.do("reset"), 2)
    assert seen(url) == made
    assert sandbox.do("reset", "--yes").returncode == 0
    assert sandbox.status()["url"] == url
    assert seen(url) == {}
    # What it was asked to be it is still: one EIP, and no second.
    assert launched(url)["eip"]
    _, vpc = clients(url)
    with pytest.raises(Exception, match="QuotaExceeded"):
        call(vpc, "AllocateEipAddress", {"region_id": REGION})


def test_the_log_of_the_server_is_shown(sandbox: Sandbox) -> None:
    url = sandbox.up()["url"]
    assert url in sandbox.do("logs").stdout
