"""The look into a disk before its first boot, on real disks that are small."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from generator.image import hygiene
from generator.run import find, run

TOOLS = ("sfdisk", "mke2fs", "debugfs", "qemu-img")
pytestmark = pytest.mark.skipif(not all(map(find, TOOLS)), reason=f"one of {', '.join(TOOLS)} is not installed")

START = 2048
SIZE_KIB = 8192
EXT4 = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"

# What may stand in an image.
CLEAN = {
    "etc/machine-id": "uninitialized\n",
    "etc/ssh/sshd_config": "",
    "home/admin/.ssh/config": "",
    "home/with a space/.profile": "",
    "root/.bashrc": "",
    "tmp/": "",
    "var/lib/NetworkManager/NetworkManager.state": "",
    "var/lib/cloud/scripts/": "",
    "var/lib/dhcp/": "",
    "var/lib/systemd/timers/": "",
    "var/log/journal/": "",
    "var/log/dpkg.log": "",
}
# What must not, by the check that finds it, with what the check says.
DIRTY = {
    "machine-id is empty": (
        {"etc/machine-id": "0123456789abcdef0123456789abcdef\n"},
        "/etc/machine-id is 0123456789abcdef0123456789abcdef",
    ),
    "no SSH host keys": ({"etc/ssh/ssh_host_ed25519_key": ""}, "/etc/ssh/ssh_host_ed25519_key"),
    "no authorized keys": (
        dict.fromkeys((f"{home}/.ssh/authorized_keys" for home in ("root", "home/admin", "home/with a space")), ""),
        "/root/.ssh/authorized_keys /home/admin/.ssh/authorized_keys /home/with a space/.ssh/authorized_keys",
    ),
    "no instance-id": (
        {"var/lib/cloud/data/instance-id": "", "var/lib/cloud/instances/i-1/x": ""},
        "/var/lib/cloud/data /var/lib/cloud/instances",
    ),
    "no leases of NetworkManager": (
        {"var/lib/NetworkManager/internal-eth0.lease": "", "var/lib/NetworkManager/secret_key": ""},
        "/var/lib/NetworkManager/internal-eth0.lease /var/lib/NetworkManager/secret_key",
    ),
    "no leases of dhclient": ({"var/lib/dhcp/dhclient.leases": ""}, "/var/lib/dhcp/dhclient.leases"),
    "no journal": ({"var/log/journal/0123abcd/system.journal": ""}, "/var/log/journal/0123abcd"),
    "no logs of cloud-init": (
        {"var/log/cloud-init.log": "", "var/log/cloud-init-output.log": ""},
        "/var/log/cloud-init.log /var/log/cloud-init-output.log",
    ),
    "no shell history": ({"root/.bash_history": ""}, "/root/.bash_history"),
    "no random seed": ({"var/lib/systemd/random-seed": ""}, "/var/lib/systemd/random-seed"),
    "nothing in /tmp": ({"tmp/left": ""}, "/tmp/left"),
}


def disk(folder: Path, files: dict[str, str]) -> Path:
    """Make a disk as a build does: qcow2, GPT, a small partition before the ext4 root."""
    tree, raw, made = folder / "tree", folder / "disk.raw", folder / "disk.qcow2"
    for name, text in files.items():
        path = tree / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    with raw.open("wb") as stream:
        stream.truncate((START * 2 * 512) + (SIZE_KIB << 10) + (1 << 20))
    layout = f"label: gpt\nstart={START}, size={START}\nstart={START * 2}, type={EXT4}\n"
    run(["sfdisk", "--quiet", raw], stdin=layout.encode())
    run(["mke2fs", "-q", "-F", "-t", "ext4", "-E", f"offset={START * 2 * 512}", "-d", tree, raw, f"{SIZE_KIB}k"])
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, made])
    return made


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disk(tmp_path_factory.mktemp("clean"), CLEAN)


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bool | None, str]]:
    leftovers = {name: text for files, _ in DIRTY.values() for name, text in files.items()}
    made = disk(tmp_path_factory.mktemp("dirty"), {**CLEAN, **leftovers})
    return {name: (holds, seen) for name, holds, seen in hygiene.look(made)}


def test_a_clean_disk_passes_every_check_with_nothing_seen(clean: Path) -> None:
    looked = list(hygiene.look(clean))
    assert [name for name, _, _ in looked] == list(DIRTY)
    assert {(holds, seen) for _, holds, seen in looked} == {(True, "")}


@pytest.mark.parametrize("check", DIRTY)
def test_each_kind_of_leftover_is_found_and_named(check: str, dirty: dict[str, tuple[bool | None, str]]) -> None:
    holds, seen = dirty[check]
    assert holds is False
    # The order is that of the folder on the disk.
    assert sorted(re.split(r"(?:^| )/", seen)) == sorted(re.split(r"(?:^| )/", DIRTY[check][1]))


def test_the_disk_is_only_read(clean: Path) -> None:
    before = clean.read_bytes()
    list(hygiene.look(clean))
    assert clean.read_bytes() == before


def overwritten(disk: Path, folder: Path, offset: int, data: bytes) -> Path:
    raw = folder / "other.raw"
    run(["qemu-img", "convert", "-O", "raw", disk, raw])
    with raw.open("r+b") as stream:
        stream.seek(START * 2 * 512 + offset)
        stream.write(data)
    return raw


@pytest.mark.parametrize(("offset", "data"), [(0x438, b"\0\0"), (0x460, b"\xff" * 4), (0x404, b"\0" * 16)])
def test_a_root_that_cannot_be_read_is_skipped_aloud(offset: int, data: bytes, clean: Path, tmp_path: Path) -> None:
    """Another file system, ext4 with a feature nobody knows, and a broken one: none of them is taken for clean."""
    (looked,) = hygiene.look(overwritten(clean, tmp_path, offset, data))
    name, holds, seen = looked
    assert (name, holds) == ("the disk is clean before its first boot", None)
    assert seen


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have every temporary file of a look in a folder, to see that none stays."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    yield
    assert list(scratch.iterdir()) == []
    shutil.rmtree(scratch)
