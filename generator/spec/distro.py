"""The distributions that multieip can bake, and what differs between them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Distro(StrEnum):
    """The value of `distro` in an image spec."""

    DEBIAN_12 = "debian-12"
    UBUNTU_24_04 = "ubuntu-24.04"
    ALINUX_3 = "alinux-3"
    EL_9 = "el-9"


@dataclass(frozen=True)
class Traits:
    """Facts of one distribution that rendering and building need.

    `packages` are what the baked files need to work; `disable` are units that would fight NetworkManager for
    the ENIs; `suite` is the name that mmdebstrap knows, empty where Debian's tools cannot make a base;
    `cloud_init` is the version of its cloud-init where that is older than the schema that specs are held to,
    and a schema of that version is here (`schemas/`).
    """

    package_manager: str
    packages: tuple[str, ...]
    disable: tuple[str, ...] = ()
    suite: str = ""
    cloud_init: str = ""


_DEBIAN_PACKAGES = (
    "ca-certificates",
    "cloud-guest-utils",
    "cloud-init",
    "curl",
    "iproute2",
    "network-manager",
    "openssh-server",
)
_EL_PACKAGES = (
    "ca-certificates",
    "cloud-init",
    "cloud-utils-growpart",
    "curl",
    "iproute",
    "NetworkManager",
    "openssh-server",
)
_DEBIAN_RIVALS = (
    "networking.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-networkd-wait-online.service",
)
_EL_RIVALS = ("nm-cloud-setup.service", "nm-cloud-setup.timer", "eni.service")

TRAITS: dict[Distro, Traits] = {
    Distro.DEBIAN_12: Traits("apt", _DEBIAN_PACKAGES, _DEBIAN_RIVALS, suite="bookworm", cloud_init="22.4.2"),
    Distro.UBUNTU_24_04: Traits("apt", _DEBIAN_PACKAGES, _DEBIAN_RIVALS, suite="noble"),
    Distro.ALINUX_3: Traits("dnf", _EL_PACKAGES, _EL_RIVALS),
    Distro.EL_9: Traits("dnf", _EL_PACKAGES, _EL_RIVALS),
}
