"""A look into a disk before its first boot: what must not be in an image that many instances start from.

The root file system is read with debugfs, without mounting it and without any right on this machine.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from generator.errors import MultieipError
from generator.run import run

# What debugfs says of a path that is not there, or that leads through a file.
_ABSENT = ("File not found by ext2_lookup", "Ext2 inode is not a directory")
_EXT4_MAGIC = (0x438, b"\x53\xef")


@dataclass(frozen=True)
class Root:
    """The ext4 root of a raw disk."""

    device: str

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder; none when it is not there."""
        entries = [line.split("/") for line in self._ask("ls -p", folder).splitlines() if line.startswith("/")]
        return [entry[5] for entry in entries if entry[5] not in (".", "..")]

    def read(self, path: str) -> str:
        """Return the text of a file; empty when it is not there."""
        return self._ask("cat", path)

    def _ask(self, request: str, path: str) -> str:
        """Return debugfs's answer. It ends with 0 whatever happens, so what it complains of is looked at."""
        quoted = path.replace('"', '""')
        answer = run(["debugfs", "-R", f'{request} "{quoted}"', self.device])
        lines = [line.strip() for line in answer.stderr.splitlines() if not line.startswith("debugfs ")]
        if complaints := [line for line in lines if line and not line.endswith(_ABSENT)]:
            raise MultieipError(
                f"debugfs cannot read {path} of the disk: {complaints[0]}", hint="build the image again"
            )
        return answer.stdout


def look(disk: Path) -> Iterator[tuple[str, bool | None, str]]:
    """Yield (check, whether it holds, what was seen); None for a disk whose root debugfs cannot read."""
    with tempfile.TemporaryDirectory(prefix="multieip-") as scratch:
        raw = Path(scratch) / "disk.raw"
        run(["qemu-img", "convert", "-O", "raw", disk, raw], hint=f"is there room for it in {scratch}? set TMPDIR")
        root = _root(raw)
        if root is None:
            yield (
                "the disk is clean before its first boot",
                None,
                "its root is not ext4, or none that debugfs can read: checked only while it was built",
            )
            return
        for name, seen in _CHECKS.items():
            found = seen(root)
            yield name, not found, " ".join(found)


def _root(raw: Path) -> Root | None:
    """Find the largest partition, which is the root of every cloud image, if it is ext4 that can be read."""
    table = json.loads(run(["sfdisk", "--json", raw]).stdout)["partitiontable"]
    largest = max(table["partitions"], key=lambda partition: int(partition["size"]))
    offset = int(largest["start"]) * int(table.get("sectorsize", 512))
    where, magic = _EXT4_MAGIC
    with raw.open("rb") as stream:
        stream.seek(offset + where)
        if stream.read(2) != magic:
            return None
    root = Root(f"{raw}?offset={offset}")
    try:
        root.names("/")
    except MultieipError:
        return None
    return root


def _in(folder: str, wanted: Callable[[str], bool] = lambda _: True) -> Callable[[Root], list[str]]:
    return lambda root: [f"{folder}/{name}" for name in root.names(folder) if wanted(name)]


def _machine_id(root: Root) -> list[str]:
    text = root.read("/etc/machine-id").strip()
    return [f"/etc/machine-id is {text}"] if text not in ("", "uninitialized") else []


def _authorized_keys(root: Root) -> list[str]:
    homes = ["/root", *(f"/home/{name}" for name in root.names("/home"))]
    return [f"{home}/.ssh/authorized_keys" for home in homes if "authorized_keys" in root.names(f"{home}/.ssh")]


# Each returns what should not be there.
_CHECKS: dict[str, Callable[[Root], list[str]]] = {
    "machine-id is empty": _machine_id,
    "no SSH host keys": _in("/etc/ssh", lambda name: name.startswith("ssh_host_")),
    "no authorized keys": _authorized_keys,
    "no instance-id": _in("/var/lib/cloud", lambda name: name in ("data", "instance", "instances")),
    "no leases of NetworkManager": _in("/var/lib/NetworkManager", lambda name: name.endswith((".lease", "secret_key"))),
    "no leases of dhclient": _in("/var/lib/dhcp"),
    "no journal": _in("/var/log/journal"),
    "no logs of cloud-init": _in("/var/log", lambda name: name.startswith("cloud-init")),
    "no shell history": _in("/root", lambda name: name.endswith("_history")),
    "no random seed": _in("/var/lib/systemd", lambda name: name == "random-seed"),
    "nothing in /tmp": _in("/tmp"),  # noqa: S108 - a folder of the disk's
}
