"""Disks of virtual machines: qcow2 layers over each other, and the root file system out of one. Needs qemu-img."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from generator.errors import MultieipError
from generator.run import run

# What a container has already, or has no use for: a kernel with its modules, and devices.
_NOT_IN_CONTAINERS = ("boot/*", "dev/*", "lib/modules/*", "usr/lib/modules/*", "lost+found")
# Mounted where only this shell sees it, so that mount and loop device go with it, however it ends. A disk that was
# not shut down in order may have a journal to play back, which a mount that must not write cannot.
_EXTRACT = """
set -eu
mount -o "ro,loop,offset=$2,sizelimit=$3" "$1" "$4" 2>/dev/null ||
  mount -o "ro,loop,noload,offset=$2,sizelimit=$3" "$1" "$4"
{ tar --create --directory="$4" --one-file-system $6 . && echo well >"$1.read"; } |
  tar --extract --directory="$5" $6
test -s "$1.read"
"""


def layer(target: Path, below: Path, size: int = 0) -> None:
    """Make an empty disk that shows `below` until it is written to, of `size` bytes if that is not as large.

    `below` must not change any more.
    """
    aside = target.with_suffix(".new")
    whole = str(max(size, int(_info(below)["virtual-size"])))
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", below.resolve(), aside, whole])
    aside.rename(target)


def sibling(disk: Path, target: Path) -> None:
    """Make an empty disk over the same one as `disk`, and as large."""
    known = _info(disk)
    below = known.get("full-backing-filename")
    over = ["-F", "qcow2", "-b", below] if below else []
    run(["qemu-img", "create", "-q", "-f", "qcow2", *over, target, str(known["virtual-size"])])


def copy(disk: Path, target: Path) -> None:
    """Copy a disk that nobody writes to; what is below it stays where it is."""
    run(["cp", "--reflink=auto", "--sparse=auto", disk, target], hint=f"make room in {target.parent}")


def check(disk: Path) -> int:
    """Return the size of a disk in bytes, as a machine sees it; `MultieipError` for what is no qcow2 of its own."""
    known = _info(disk)
    if known.get("format") != "qcow2":
        hint = "qemu-img convert -O qcow2 makes one of it"
        raise MultieipError(f"{disk} is a disk of format {known.get('format')}, not qcow2", hint=hint)
    if below := known.get("backing-filename"):
        hint = "qemu-img convert makes a whole one of it"
        raise MultieipError(f"{disk} is only what differs from {below}", hint=hint)
    return int(known["virtual-size"])


def _info(disk: Path) -> dict[str, str]:
    # --force-share: a machine that runs may be writing to it.
    told = run(["qemu-img", "info", "--force-share", "--output=json", disk], hint="is it a disk image?")
    known: dict[str, str] = json.loads(told.stdout)
    return known


def extract_root(disk: Path, target: Path) -> None:
    """Write the root file system of a qcow2 disk to a new folder, for containers: owners, links, attributes kept.

    The root is the largest partition, as on every cloud image. Needs root and loop devices, and room for the disk
    beside `target` meanwhile.
    """
    scratch, aside = target.with_suffix(".disk"), target.with_suffix(".part")
    raw, mounted = scratch / "raw", scratch / "root"
    mounted.mkdir(parents=True)
    try:
        run(["qemu-img", "convert", "-O", "raw", disk, raw], hint=f"make room in {target.parent}")
        start, size = root_partition(raw)
        aside.mkdir(mode=0o755)
        left_out = [f"--exclude=./{path}" for path in _NOT_IN_CONTAINERS]
        flags = " ".join(["--numeric-owner", "--acls", "--xattrs", "--xattrs-include=*", "--sparse", *left_out])
        alone = ["unshare", "--mount", "--propagation=private", "--", "sh", "-f", "-c", _EXTRACT, "sh"]
        run([*alone, raw, str(start), str(size), mounted, aside, flags], hint="does this kernel have loop devices?")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if not os.path.lexists(aside / "etc" / "os-release"):
        raise MultieipError(f"{disk} has no system on its largest partition", hint="import the disk of a whole system")
    aside.rename(target)


def root_partition(raw: Path) -> tuple[int, int]:
    """Return where the largest partition of a raw disk begins and its size, in bytes; all of it without a table."""
    found = run(["sfdisk", "--json", raw], check=False)
    if found.returncode != 0:
        return 0, os.stat(raw).st_size  # noqa: PTH116 - one number
    table = json.loads(found.stdout)["partitiontable"]
    largest = max(table["partitions"], key=lambda partition: int(partition["size"]))
    sector = int(table.get("sectorsize", 512))
    return int(largest["start"]) * sector, int(largest["size"]) * sector
