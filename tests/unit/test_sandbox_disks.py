"""Layers of disks, made and read back with the real qemu-img and sfdisk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from generator.errors import MultieipError
from generator.run import find, run
from generator.sandbox.instances import disks

TOOLS = ("qemu-img", "qemu-io", "sfdisk")
pytestmark = pytest.mark.skipif(not all(map(find, TOOLS)), reason=f"one of {', '.join(TOOLS)} is not installed")


def new_disk(path: Path, mib: int = 8) -> Path:
    run(["qemu-img", "create", "-q", "-f", "qcow2", path, f"{mib}M"])
    return path


def write(disk: Path, byte: int, where: str = "0 64k") -> None:
    run(["qemu-io", "-c", f"write -q -P {byte} {where}", disk])


def reads(disk: Path, byte: int, where: str = "0 64k") -> bool:
    return "Pattern verification failed" not in run(["qemu-io", "-r", "-c", f"read -P {byte} {where}", disk]).stdout


def test_a_layer_shows_what_is_below_and_keeps_what_is_written_to_itself(tmp_path: Path) -> None:
    below = new_disk(tmp_path / "below.qcow2")
    write(below, 1)
    upper = tmp_path / "upper.qcow2"
    disks.layer(upper, below)
    assert reads(upper, 1)
    write(upper, 2)
    assert reads(upper, 2)
    assert reads(below, 1)
    assert not (tmp_path / "upper.new").exists()


@pytest.mark.parametrize(("asked", "made"), [(0, 8 << 20), (1 << 20, 8 << 20), (24 << 20, 24 << 20)])
def test_a_layer_is_as_large_as_asked_for_but_never_smaller_than_what_is_below(
    tmp_path: Path, asked: int, made: int
) -> None:
    upper = tmp_path / "upper.qcow2"
    disks.layer(upper, new_disk(tmp_path / "below.qcow2"), asked)
    assert json.loads(run(["qemu-img", "info", "--output=json", upper]).stdout)["virtual-size"] == made


def test_a_copy_of_a_layer_stands_on_the_same_disk(tmp_path: Path) -> None:
    below = new_disk(tmp_path / "below.qcow2")
    write(below, 1, "64k 64k")
    upper, copy = tmp_path / "upper.qcow2", tmp_path / "elsewhere" / "copy.qcow2"
    disks.layer(upper, below)
    write(upper, 2)
    copy.parent.mkdir()
    disks.copy(upper, copy)
    write(upper, 3)
    assert reads(copy, 2)
    assert reads(copy, 1, "64k 64k")


@pytest.mark.parametrize("layered", [True, False])
def test_a_sibling_is_empty_and_as_large(tmp_path: Path, layered: bool) -> None:
    disk = new_disk(tmp_path / "below.qcow2", 24)
    write(disk, 1)
    if layered:
        disks.layer(tmp_path / "upper.qcow2", disk)
        disk = tmp_path / "upper.qcow2"
        write(disk, 2)
    disks.sibling(disk, tmp_path / "sibling")
    told = json.loads(run(["qemu-img", "info", "--output=json", tmp_path / "sibling"]).stdout)
    assert told["virtual-size"] == 24 << 20
    assert reads(tmp_path / "sibling", 1 if layered else 0)


def test_a_disk_that_can_be_imported_tells_its_size(tmp_path: Path) -> None:
    assert disks.check(new_disk(tmp_path / "disk.qcow2", 40)) == 40 << 20


def test_what_cannot_be_imported_is_refused_with_a_remedy(tmp_path: Path) -> None:
    raw, layer = tmp_path / "disk.raw", tmp_path / "layer.qcow2"
    raw.write_bytes(b"\0" * 4096)
    disks.layer(layer, new_disk(tmp_path / "below.qcow2"))
    with pytest.raises(MultieipError, match="format raw, not qcow2") as of_raw:
        disks.check(raw)
    with pytest.raises(MultieipError, match="only what differs from") as of_layer:
        disks.check(layer)
    with pytest.raises(MultieipError, match="qemu-img failed"):
        disks.check(tmp_path / "absent.qcow2")
    assert "qemu-img convert" in of_raw.value.hint
    assert "qemu-img convert" in of_layer.value.hint


def test_the_root_is_the_largest_partition(tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    with raw.open("wb") as stream:
        stream.truncate(64 << 20)
    assert disks.root_partition(raw) == (0, 64 << 20)
    layout = "label: gpt\nstart=2048, size=2048\nstart=4096, size=65536\nstart=69632, size=4096\n"
    run(["sfdisk", "--quiet", raw], stdin=layout.encode())
    assert disks.root_partition(raw) == (4096 * 512, 65536 * 512)
