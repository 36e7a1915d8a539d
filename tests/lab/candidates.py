"""What is compared: the files that `multieip render` writes, and the vendor's recipe of NetworkManager and rc.local."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from generator.render.files import File, Link, Tree
from generator.render.guest import rootfs
from generator.sandbox.fabric.container import Container
from generator.sandbox.fabric.model import Eni
from generator.spec.image import ImageSpec, load

# Seconds between two runs of the timer in the lab; 60 in an image. What nobody reports is found within this.
INTERVAL = 5


class Candidate(Protocol):
    """A way to make a system answer on all of its EIPs."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    def tree(self, enis: Sequence[Eni]) -> Tree:
        """Return the files laid over the base; `enis` are the ENIs that whoever writes them by hand would look up."""

    def run_now(self, container: Container) -> None:
        """Have it do now what its timer would have it do, whatever comes of it."""


@dataclass(frozen=True)
class Multieip:
    """The rendered files of an image spec, with a shorter timer."""

    spec: ImageSpec
    interval: int = INTERVAL
    name: str = "multieip"

    def tree(self, enis: Sequence[Eni]) -> Tree:
        network = self.spec.network.model_copy(update={"refresh_interval": self.interval})
        return rootfs(self.spec.model_copy(update={"network": network}))

    def run_now(self, container: Container) -> None:
        container.run(["/usr/local/sbin/multieip-policy-routing", "apply"], check=False)


@dataclass(frozen=True)
class RcLocal:
    """Alibaba's page "Configure policy-based routes for ENIs": static addresses, then rules and routes at boot.

    The addresses are added with NetworkManager (`nmcli connection modify`, of which these are the files), and the
    page's `ip route add … table 100N` and `ip rule add from … lookup 100N` go into /etc/rc.local. `ordered` makes
    the boot wait for the network before it runs rc.local, which the page does not, and without which it fails.
    """

    ordered: bool = True
    name: str = "rc.local"

    def tree(self, enis: Sequence[Eni]) -> Tree:
        files: dict[str, File | Link] = {
            "etc/NetworkManager/conf.d/10-plugins.conf": File(b"[main]\nplugins=keyfile\n"),
            "etc/network/interfaces": File(b"auto lo\niface lo inet loopback\n"),
            "etc/rc.local": File(_rc_local(enis[1:]).encode(), 0o755),
        }
        for number, eni in enumerate(enis):
            path = f"etc/NetworkManager/system-connections/eth{number}.nmconnection"
            files[path] = File(_profile(number, eni).encode(), 0o600)
        if self.ordered:
            units = "/usr/lib/systemd/system"
            for wants, unit in (
                ("multi-user.target", "network-online.target"),
                ("network-online.target", "NetworkManager-wait-online.service"),
            ):
                files[f"etc/systemd/system/{wants}.wants/{unit}"] = Link(f"{units}/{unit}")
        return files

    def run_now(self, container: Container) -> None:
        """It has no timer, and runs at boot alone."""


def _profile(number: int, eni: Eni) -> str:
    length = eni.vswitch.cidr.prefixlen
    own = eni.addresses if number else eni.addresses[1:]
    addresses = "".join(f"address{at}={address}/{length}\n" for at, address in enumerate(own, 1))
    method = "manual\nnever-default=true" if number else "auto"
    return (
        f"[connection]\nid=eth{number}\nuuid={uuid.UUID(int=number + 1)}\ntype=ethernet\ninterface-name=eth{number}\n\n"
        f"[ipv4]\nmethod={method}\n{addresses}\n[ipv6]\nmethod=link-local\n"
    )


def _rc_local(secondary: Sequence[Eni]) -> str:
    lines = ["#!/bin/sh"]
    for number, eni in enumerate(secondary, 1):
        table = 1000 + number
        lines.append(f"ip -4 route add default via {eni.vswitch.gateway} dev eth{number} table {table}")
        lines += [f"ip -4 rule add from {address} lookup {table}" for address in eni.addresses]
    return "\n".join(lines) + "\nexit 0\n"


def example_spec() -> ImageSpec:
    """Return the example image that the lab boots."""
    return load("debian-12")
