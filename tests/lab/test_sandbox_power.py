"""Instances are stopped, started, rebooted and deleted, by the API and by themselves."""

from __future__ import annotations

import os
from pathlib import Path

from tests.lab.sandboxes import GoldenSandbox, Machines

# Whatever boots has nothing here.
_RUNS = "test -e /run/since-boot && echo still || { touch /run/since-boot; echo anew; }"


def test_the_api_stops_starts_and_reboots(region: Machines) -> None:
    instance, eips = region.boot_with_eips(more=1, enis=1)
    first = next(iter(eips.values()))
    assert region.said(instance, f"{_RUNS}; echo kept > /root/written") == "anew\n"
    region.do("StopInstances", instance_id=[instance])
    region.until_status(instance, "Stopped")
    region.until_silent(first)
    region.do("StartInstances", instance_id=[instance])
    region.until_status(instance, "Running")
    region.assert_answers(eips)
    assert region.said(instance, f"cat /root/written; {_RUNS}; {_RUNS}") == "kept\nanew\nstill\n"
    region.do("RebootInstances", instance_id=[instance])
    region.until(lambda: region.command(instance, f"cat /root/written; {_RUNS}") == (0, "kept\nanew\n"))
    region.assert_answers(eips)
    assert region.seen_as(instance, eips) == eips


def test_an_instance_reboots_and_powers_itself_off(region: Machines) -> None:
    instance, eips = region.boot_with_eips(more=1, enis=1)
    assert region.said(instance, f"{_RUNS}; systemd-run -q --on-active=0.1 systemctl reboot") == "anew\n"
    region.until(lambda: region.command(instance, _RUNS) == (0, "anew\n"))
    assert region.status(instance) == "Running"
    region.assert_answers(eips)
    region.said(instance, "systemd-run -q --on-active=0.1 systemctl poweroff")
    region.until_status(instance, "Stopped")
    assert not region.answers(next(iter(eips.values())))
    region.do("StartInstances", instance_id=[instance])
    region.assert_answers(eips)
    assert region.status(instance) == "Running"
    assert region.seen_as(instance, eips) == eips


def test_nothing_is_left_of_an_instance_that_was_deleted(running: GoldenSandbox, region: Machines) -> None:
    (stays, goes) = region.boot(amount=2)
    eips = region.give_eips(goes)
    region.assert_answers(eips)
    assert _traces(running, goes)
    region.delete(goes)
    region.until(lambda: not _traces(running, goes))
    assert not region.answers(next(iter(eips.values())))
    assert _traces(running, stays)
    assert region.said(stays, "echo there") == "there\n"


def _traces(sandbox: GoldenSandbox, instance: str) -> list[str]:
    """Return what there is of an instance: its namespace, its folder, its control groups, its processes."""
    name = f"{sandbox.home.prefix}-{instance}"
    found = [path for path in (Path("/run/netns", name), sandbox.folder / "instances" / instance) if path.exists()]
    found += [path for pattern in (name, f"*/{name}") for path in Path("/sys/fs/cgroup").glob(pattern)]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            told = process.read_bytes()
        except OSError:
            continue
        if name.encode() in told:
            found.append(process)
    return [os.fspath(path) for path in found]
