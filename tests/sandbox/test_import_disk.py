"""Import of a golden disk for containers: its root file system as a layer, and nothing half-made. Needs root."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from generator.errors import MultieipError
from generator.run import find, run
from generator.sandbox.instances.containers import Containers
from generator.sandbox.instances.images import ImageStore

TOOLS = ("mke2fs", "qemu-img", "sfdisk", "tar", "unshare")
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a disk needs root: sudo make test"),
    pytest.mark.skipif(not Path("/dev/loop-control").exists(), reason="this machine has no loop devices"),
    pytest.mark.skipif(not all(map(find, TOOLS)), reason=f"one of {', '.join(TOOLS)} is not installed"),
]
# cap_net_raw=ep, as setcap(8) writes it.
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


def fill(root: Path) -> None:
    """Make a system with all that is lost when it is copied without care."""
    for folder in ("etc", "usr/bin", "usr/lib/modules/6.1", "boot/grub", "dev", "home/user", "proc"):
        (root / folder).mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    (root / "etc/os-release").write_text("ID=debian\n")
    ping = root / "usr/bin/ping"
    ping.write_bytes(b"\x7fELF" * 1000)
    ping.chmod(0o4755)
    os.setxattr(ping, "security.capability", CAPABILITY)
    (root / "usr/bin/ping4").hardlink_to(ping)
    mine = root / "home/user/mine"
    mine.write_text("mine")
    mine.chmod(0o640)
    os.chown(mine, 1000, 1001)
    os.utime(mine, ns=(10**18, 10**18))
    (root / "usr/lib/modules/6.1/module.ko").write_bytes(b"module")
    (root / "boot/vmlinuz").write_bytes(b"kernel")
    (root / "boot/grub/grub.cfg").write_text("menuentry")
    os.mknod(root / "dev/null", 0o020666, os.makedev(1, 3))


def disk_of(folder: Path, path: Path) -> Path:
    """Write a folder to the second partition of a qcow2 disk."""
    raw = path.with_suffix(".raw")
    with raw.open("wb") as stream:
        stream.truncate(64 << 20)
    run(["sfdisk", "--quiet", raw], stdin=b"label: gpt\nstart=2048, size=2048\nstart=4096, size=120000\n")
    run(["mke2fs", "-q", "-F", "-t", "ext4", "-E", f"offset={4096 * 512}", "-d", folder, raw, "60000k"])
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path])
    return path


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "sandbox", tmp_path / "sandbox" / "instances")


def adopt(store: ImageStore, disk: Path) -> None:
    with store.capture("m-golden", ()) as target:
        Containers().adopt(disk, target)


def test_a_root_keeps_what_it_has_and_loses_what_a_container_has_not(tmp_path: Path, store: ImageStore) -> None:
    (tmp_path / "root").mkdir()
    fill(tmp_path / "root")
    adopt(store, disk_of(tmp_path / "root", tmp_path / "disk.qcow2"))
    layers = store.find("m-golden")
    assert layers == (store.layers_folder / "m-golden",)
    layer = layers[0]
    assert layer.stat().st_mode & 0o7777 == 0o755
    ping, mine = layer / "usr/bin/ping", layer / "home/user/mine"
    assert os.getxattr(ping, "security.capability") == CAPABILITY
    assert ping.stat().st_mode & 0o7777 == 0o4755
    assert ping.stat().st_ino == (layer / "usr/bin/ping4").stat().st_ino
    facts = mine.stat()
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o7777, facts.st_mtime) == (1000, 1001, 0o640, 10**9)
    assert (layer / "lib").readlink() == Path("usr/lib")
    for emptied in ("boot", "dev", "usr/lib/modules"):
        assert list((layer / emptied).iterdir()) == []
    assert [path.name for path in store.layers_folder.iterdir()] == ["m-golden"]


def test_nothing_stays_mounted_or_attached(tmp_path: Path, store: ImageStore) -> None:
    (tmp_path / "root").mkdir()
    fill(tmp_path / "root")
    adopt(store, disk_of(tmp_path / "root", tmp_path / "disk.qcow2"))
    assert os.fspath(tmp_path) not in Path("/proc/self/mounts").read_text()
    attached = Path("/sys/block").glob("loop*/loop/backing_file")
    assert not [path for path in attached if os.fspath(tmp_path) in path.read_text()]


@pytest.mark.parametrize("broken", ["no system", "no file system", "no disk"])
def test_what_has_no_system_becomes_no_image(tmp_path: Path, store: ImageStore, broken: str) -> None:
    disk = tmp_path / "disk.qcow2"
    if broken == "no system":
        (tmp_path / "root").mkdir()
        (tmp_path / "root/file").write_text("data")
        disk_of(tmp_path / "root", disk)
    elif broken == "no file system":
        run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "8M"])
    else:
        disk.write_bytes(b"nothing")
    expected = re.escape("no system on its largest partition") if broken == "no system" else "failed"
    with pytest.raises(MultieipError, match=expected):
        adopt(store, disk)
    assert store.find("m-golden") is None
    assert list(store.layers_folder.iterdir()) == []


def test_what_a_killed_process_left_is_swept_and_never_taken(tmp_path: Path, store: ImageStore) -> None:
    for name in ("m-golden.part", "m-golden.disk"):
        (store.layers_folder / name).mkdir()
    (tmp_path / "root").mkdir()
    fill(tmp_path / "root")
    store.sweep()
    assert list(store.layers_folder.iterdir()) == []
    adopt(store, disk_of(tmp_path / "root", tmp_path / "disk.qcow2"))
    assert store.find("m-golden") == (store.layers_folder / "m-golden",)
