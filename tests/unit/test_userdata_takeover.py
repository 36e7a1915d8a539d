"""The takeover of a stock image, run for real over a copy of this system.

The copy is an overlay in a mount namespace of its own: nothing of this machine changes, and what changed in the
copy is all that there is in the overlay's upper layer.
"""

from __future__ import annotations

import base64
import gzip
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from generator.render import guest, userdata
from generator.render.files import File
from generator.run import find, run
from generator.spec.image import load

# Arguments: a folder for the overlay, the files of the stock image, the PATH of the command, the command (NUL between
# its words), where to put the upper layer.
COPY = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount --rbind /dev "$1/root/dev"
cp -rp "$2/." "$1/root/"
if xargs -0 -a "$4" chroot "$1/root" env "PATH=$3"; then echo done; else echo refused; fi
tar --create --file "$5" --directory "$1/upper" .
"""
NETPLAN = "etc/netplan/50-cloud-init.yaml"
LEFT = "etc/NetworkManager/system-connections/cloud-init-eth0.nmconnection"
PROGRAMS = ("NetworkManager", "nmcli", "ip", "curl", "update-grub")


class Stock:
    """A stock image that cloud-init has given the standalone user-data of `debian-12`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seed = folder / "seed"
        config: dict[str, Any] = yaml.safe_load(userdata.standalone(load("debian-12")))
        for item in config["write_files"]:
            packed = item.get("encoding") == "gz+b64"
            text = item["content"]
            self.put(item["path"][1:], gzip.decompress(base64.b64decode(text)) if packed else text.encode())
        self.put(NETPLAN, b"left\n")
        self.put(LEFT, b"left\n")
        for name in PROGRAMS:
            self.put(f"opt/stock/{name}", f"#!/bin/sh\necho {name} >>/called\n".encode(), 0o755)
        self.argv = config["runcmd"][0]

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        target = self.seed / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        target.chmod(mode)

    def take_over(self) -> tuple[str, str, dict[str, tarfile.TarInfo], dict[str, bytes]]:
        """Return how it ended, what it said, and what the copy then held beyond this system."""
        overlay, argv, layer = self.folder / "overlay", self.folder / "argv", self.folder / "layer.tar"
        overlay.mkdir()
        argv.write_text("\0".join(self.argv))
        # Only what a shell script needs, so that a program of this machine is not taken for one of the image's.
        tools = self.seed / "opt/tools"
        tools.mkdir(parents=True)
        for name in ("cp", "env", "mv", "rm", "sh", "tar", "xargs"):
            (tools / name).symlink_to(str(find(name)))
        words = [str(overlay), str(self.seed), "/opt/stock:/opt/tools", str(argv), str(layer)]
        ended = run(["unshare", "--mount", "sh", "-c", COPY, "sh", *words])
        with tarfile.open(layer) as archive:
            members = {member.name.removeprefix("./"): member for member in archive if not member.isdir()}
            data = {
                name: opened.read()
                for name, member in members.items()
                if member.isfile() and (opened := archive.extractfile(member))
            }
        return ended.stdout.splitlines()[-1], ended.stderr, members, data


@pytest.fixture
def stock(tmp_path: Path) -> Stock:
    if os.geteuid() != 0 or find("unshare") is None:
        pytest.skip("needs root and unshare, for a mount namespace")
    probe = (
        "mount --make-rprivate / && mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w /mnt/r && "
        "mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r"
    )
    if run(["unshare", "--mount", "sh", "-c", probe], check=False).returncode != 0:
        pytest.skip("this machine takes no overlay over its root")
    return Stock(tmp_path)


def test_every_file_and_link_is_in_place_and_what_was_left_is_gone(stock: Stock) -> None:
    ended, said, members, data = stock.take_over()
    assert (ended, said) == ("done", "")
    for path, entry in guest.rootfs(load("debian-12")).items():
        member = members[path]
        if isinstance(entry, File):
            assert member.mode == entry.mode, path
            assert path == guest.POLICY_ROUTING or data[path] == entry.data
        else:
            assert member.linkname == entry.target
        assert (member.uid, member.gid) == (0, 0)
    assert not {NETPLAN, LEFT, "var/lib/multieip/rootfs.tar"} & set(members)
    assert "run/multieip-takeover" in members
    assert data["called"] == b"update-grub\n"


def test_a_second_run_does_no_harm(stock: Stock) -> None:
    again = 'cp /var/lib/multieip/rootfs.tar /kept && "$@" && mv /kept /var/lib/multieip/rootfs.tar && "$@"'
    stock.argv = ["sh", "-c", again, "sh", *stock.argv]
    ended, said, members, _ = stock.take_over()
    assert (ended, said) == ("done", "")
    assert "run/multieip-takeover" in members


@pytest.mark.parametrize("missing", ["NetworkManager", "curl"])
def test_without_a_package_the_instance_keeps_its_network_and_is_not_rebooted(stock: Stock, missing: str) -> None:
    (stock.seed / "opt/stock" / missing).unlink()
    ended, said, members, _ = stock.take_over()
    assert ended == "refused"
    assert f"{missing} is not installed" in said
    assert {NETPLAN, LEFT} <= set(members)
    assert not [path for path in members if path.startswith(("run/", "etc/systemd", "etc/multieip", "etc/cloud"))]


def test_the_modes_of_folders_stay_as_they_are(stock: Stock) -> None:
    stock.put("etc/NetworkManager/system-connections/other", b"")
    (stock.seed / "etc/NetworkManager/system-connections").chmod(0o700)
    stock.argv = ["sh", "-c", '"$@" && tar --create --file /modes etc/NetworkManager', "sh", *stock.argv]
    ended, _, _, data = stock.take_over()
    assert ended == "done"
    with tarfile.open(fileobj=io.BytesIO(data["modes"])) as modes:
        assert modes.getmember("etc/NetworkManager/system-connections").mode == 0o700
