"""The monitor of a machine, with the real QEMU; the machine is stopped before its first instruction."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from generator.errors import MultieipError
from generator.run import find, run
from generator.sandbox.fabric.loop import Loop
from generator.sandbox.instances import disks
from generator.sandbox.instances.qmp import Monitor

TOOLS = ("qemu-system-x86_64", "qemu-img", "qemu-io")
pytestmark = pytest.mark.skipif(not all(map(find, TOOLS)), reason=f"one of {', '.join(TOOLS)} is not installed")


@dataclass
class Halted:
    """A machine that does not run, its disk and its monitor."""

    process: subprocess.Popen[bytes]
    disk: Path
    monitor: Monitor


@pytest.fixture
def halted(tmp_path: Path) -> Iterator[Halted]:
    below, disk = tmp_path / "below.qcow2", tmp_path / "disk.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", below, "8M"])
    run(["qemu-io", "-c", "write -q -P 1 0 64k", below])
    disks.layer(disk, below)
    run(["qemu-io", "-c", "write -q -P 2 64k 64k", "-c", "write -q -P 3 4M 64k", disk])
    loop = Loop()
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [
                "qemu-system-x86_64", "-machine", "pc", "-accel", "tcg", "-m", "16", "-S", "-display", "none",
                "-nodefaults", "-chardev", f"socket,id=m,fd={theirs.fileno()}", "-mon", "chardev=m,mode=control",
                "-blockdev", f"driver=qcow2,node-name=disk,file.driver=file,file.filename={disk}",
                "-device", "virtio-blk-pci,drive=disk",
                "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,id=nic,romfile=",
            ],
            pass_fds=[theirs.fileno()],
        )  # fmt: skip
    monitor = Monitor(loop, "a machine")
    try:
        monitor.connect(ours)
        yield Halted(process, disk, monitor)
    finally:
        process.kill()
        process.wait()
        monitor.close()
        loop.stop()


def test_it_answers_and_says_what_is_refused(halted: Halted) -> None:
    assert halted.monitor.execute("query-status")["running"] is False
    with pytest.raises(MultieipError, match=r"QEMU of a machine refused: .*nothing-like-that"):
        halted.monitor.execute("nothing-like-that")
    assert halted.monitor.execute("query-name") == {}


def test_a_guest_that_does_not_listen_keeps_its_device(halted: Halted) -> None:
    begun = time.monotonic()
    assert halted.monitor.unplug("nic", 1.0) is False
    assert time.monotonic() - begun < 5
    halted.monitor.execute("set_link", name="nic", up=False)


def test_a_copy_has_what_the_upper_layer_held_at_that_moment(halted: Halted, tmp_path: Path) -> None:
    copy = tmp_path / "copy.part"
    disks.sibling(halted.disk, copy)
    halted.monitor.execute(
        "blockdev-add", driver="qcow2", node_name="copy", file={"driver": "file", "filename": str(copy)}
    )
    halted.monitor.backup("disk", "copy", 30)
    halted.monitor.execute("blockdev-del", node_name="copy")
    said = run(["qemu-io", "-r", "-c", "read -P 1 0 64k", "-c", "read -P 2 64k 64k", copy]).stdout
    assert "failed" not in said
    mapped = run(["qemu-img", "map", "-f", "qcow2", copy]).stdout.splitlines()[1:]
    assert [line.split()[-1] for line in mapped] == [str(tmp_path / "below.qcow2"), str(copy), str(copy)]


def test_a_copy_without_a_target_is_an_error(halted: Halted) -> None:
    with pytest.raises(MultieipError, match="refused"):
        halted.monitor.backup("disk", "nowhere", 10)


def test_a_disk_that_cannot_be_written_to_is_an_error(halted: Halted, tmp_path: Path) -> None:
    with (tmp_path / "copy").open("wb") as stream:
        stream.truncate(8 << 20)
    broken = {"event": "none", "iotype": "write"}
    file = {"driver": "file", "filename": str(tmp_path / "copy")}
    halted.monitor.execute("blockdev-add", driver="blkdebug", node_name="copy", image=file, inject_error=[broken])
    with pytest.raises(MultieipError, match="could not be copied: Input/output error"):
        halted.monitor.backup("disk", "copy", 10)
    halted.monitor.execute("blockdev-del", node_name="copy")


def test_a_copy_that_takes_too_long_is_given_up(halted: Halted, tmp_path: Path) -> None:
    with (tmp_path / "copy").open("wb") as stream:
        stream.truncate(8 << 20)
    slow = {"driver": "throttle", "throttle-group": "slow", "file": {"driver": "file", "filename": f"{tmp_path}/copy"}}
    halted.monitor.execute("object-add", qom_type="throttle-group", id="slow", limits={"bps-total": 1024})
    halted.monitor.execute("blockdev-add", node_name="copy", **slow)
    with pytest.raises(MultieipError, match="did not answer within 1 s"):
        halted.monitor.backup("disk", "copy", 1.0)
    assert halted.monitor.execute("query-status")["running"] is False


def test_a_machine_that_is_killed_is_gone_for_whoever_asks(halted: Halted) -> None:
    halted.process.kill()
    halted.process.wait()
    with pytest.raises(MultieipError, match="QEMU of a machine is gone"):
        halted.monitor.execute("query-status")
    halted.monitor.close()


def test_an_end_that_nobody_has_is_an_error() -> None:
    loop = Loop()
    ours, theirs = socket.socketpair()
    theirs.close()
    try:
        with pytest.raises(MultieipError, match="QEMU of nobody is gone"):
            Monitor(loop, "nobody").connect(ours)
    finally:
        loop.stop()
