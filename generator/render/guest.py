"""The files that a multi-EIP image has beyond its base: `rootfs(spec)`.

Laid over a base system they are complete: NetworkManager owns every ENI at the next boot, and the policy-routing
script keeps each private address on its own ENI. `LEFTOVERS` is what has to go from a base that has booted.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import generator
from generator.render.escape import Escaped
from generator.render.files import File, Link
from generator.render.provenance import digest
from generator.render.templates import names, render, static
from generator.spec.distro import Distro

if TYPE_CHECKING:
    from generator.spec.image import ImageSpec

# Network configuration that a stock image, its installer or cloud-init's first boot wrote, as shell patterns.
# The files named cloud-init are those that `cloud-init clean --configs network` knows, which bookworm's lacks.
LEFTOVERS = (
    "/etc/NetworkManager/conf.d/30-cloud-init-ip6-addr-gen-mode.conf",
    "/etc/NetworkManager/conf.d/99-cloud-init.conf",
    "/etc/NetworkManager/system-connections/cloud-init-*.nmconnection",
    "/etc/NetworkManager/system-connections/e[nt]*.nmconnection",
    "/etc/netplan/*.yaml",
    "/etc/network/interfaces.d/50-cloud-init*",
    "/etc/sysconfig/network-scripts/ifcfg-e*",
    "/etc/systemd/network/10-cloud-init-*",
    "/etc/udev/rules.d/70-persistent-net.rules",
    "/etc/udev/rules.d/75-cloud-ifupdown.rules",
)

# Where the policy-routing script is.
POLICY_ROUTING = "usr/local/sbin/multieip-policy-routing"

# NetworkManager takes the profile of the highest priority. cloud-init's own use 120, so both of ours win over one
# that is left behind; between them is room for the profiles that the policy-routing script writes (200).
PRIMARY_PRIORITY = 300
ENI_PRIORITY = 130

_NAMESPACE = uuid.UUID("5b0e6c2a-7f43-4c53-9d5b-2f4a3f0f6f11")
_UNITS = "etc/systemd/system"
_NM = "etc/NetworkManager"
_TIMER = "multieip-policy-routing.timer"


def kernel_arguments(spec: ImageSpec) -> tuple[str, ...]:
    """Return what the kernel's command line needs: kernel names (eth0, eth1, …) when the spec counts on them.

    Debian and Ubuntu have it as a file of `rootfs` once `update-grub` ran; EL needs `grubby --update-kernel=ALL`.
    """
    return ("net.ifnames=0",) if spec.network.primary_interface.startswith("eth") else ()


def rootfs(spec: ImageSpec) -> dict[str, File | Link]:
    """Return every file and link that the image gets, by path relative to `/`."""
    return {**_network_manager(spec), **_policy_routing(spec), **_cloud_init(spec), **_system(spec)}


def _network_manager(spec: ImageSpec) -> dict[str, File | Link]:
    network = spec.network
    macs = [selector.upper() for selector in network.leave_alone if ":" in selector]
    names = [selector for selector in network.leave_alone if ":" not in selector and not selector.startswith("eni-")]
    left = {"left_names": names, "left_macs": macs, "primary_interface": network.primary_interface}
    primary = _text(
        "networkmanager/multieip-primary.nmconnection.j2",
        uuid=str(uuid.uuid5(_NAMESPACE, "multieip-primary")),
        interface=network.primary_interface,
        metric=network.primary_metric,
        priority=PRIMARY_PRIORITY,
    )
    eni = _text(
        "networkmanager/multieip-eni.nmconnection.j2",
        uuid=str(uuid.uuid5(_NAMESPACE, "multieip-eni")),
        metric=network.secondary_metric,
        priority=ENI_PRIORITY,
        **left,
    )
    tree: dict[str, File | Link] = {
        f"{_NM}/conf.d/50-multieip.conf": _text("networkmanager/50-multieip.conf.j2", **left),
        # NetworkManager ignores a keyfile that anyone but root can read.
        f"{_NM}/system-connections/multieip-primary.nmconnection": replace(primary, mode=0o600),
        f"{_NM}/system-connections/multieip-eni.nmconnection": replace(eni, mode=0o600),
        # The links of the package's [Install] sections: a base may have been made with services disabled.
        f"{_UNITS}/multi-user.target.wants/NetworkManager.service": _packaged("NetworkManager.service"),
        f"{_UNITS}/network-online.target.wants/NetworkManager-wait-online.service": _packaged(
            "NetworkManager-wait-online.service"
        ),
        f"{_UNITS}/dbus-org.freedesktop.nm-dispatcher.service": _packaged("NetworkManager-dispatcher.service"),
    }
    if spec.distro is Distro.UBUNTU_24_04:
        globally = "10-globally-managed-devices.conf"
        tree[f"{_NM}/conf.d/{globally}"] = File(static(f"networkmanager/{globally}"))
    return tree


def _policy_routing(spec: ImageSpec) -> dict[str, File | Link]:
    units = {unit: static(f"systemd/{unit}") for unit in names("systemd")}
    triggers = _triggers(units[_TIMER].decode(), spec.network.refresh_interval)
    tree: dict[str, File | Link] = {
        "etc/multieip/policy-routing.conf": policy_routing_conf(spec),
        POLICY_ROUTING: File(static("policy-routing/multieip-policy-routing"), 0o755),
        f"{_NM}/dispatcher.d/50-multieip-policy-routing": File(static("policy-routing/dispatcher"), 0o755),
        f"{_UNITS}/{_TIMER}.d/50-interval.conf": _text("guest/50-interval.conf.j2", triggers=triggers),
    }
    for unit, data in units.items():
        tree |= {f"{_UNITS}/{unit}": File(data), **_enabled(unit, data.decode())}
    return tree


def policy_routing_conf(spec: ImageSpec) -> File:
    """Return the configuration that the policy-routing script reads."""
    return _text("guest/policy-routing.conf.j2", network=spec.network)


def _cloud_init(spec: ImageSpec) -> dict[str, File | Link]:
    override = "99-disable-network-config.cfg"
    tree: dict[str, File | Link] = {f"etc/cloud/cloud.cfg.d/{override}": File(static(f"cloud-init/{override}"))}
    if spec.traits.package_manager == "apt":
        tree[f"{_UNITS}/cloud-init.service"] = File(static("cloud-init/cloud-init.service"))
    return tree


def _system(spec: ImageSpec) -> dict[str, File | Link]:
    release = _text(
        "guest/multieip-release.j2",
        name=spec.name,
        distro=spec.distro.value,
        version=generator.__version__,
        digest=digest(spec),
    )
    tree: dict[str, File | Link] = {
        "etc/multieip-release": release,
        "etc/sysctl.d/60-multieip.conf": File(static("sysctl/60-multieip.conf")),
        **{f"{_UNITS}/{rival}": Link("/dev/null") for rival in spec.traits.disable},
    }
    if spec.traits.package_manager == "apt" and kernel_arguments(spec):
        tree["etc/default/grub.d/50-multieip.cfg"] = File(static("guest/grub.cfg"))
    if spec.distro is Distro.DEBIAN_12:
        tree["etc/network/interfaces"] = File(static("guest/interfaces"))
    return tree


def _text(template: str, /, **values: object) -> File:
    return File(render(template, **values))


def _packaged(unit: str) -> Link:
    return Link(f"/usr/lib/systemd/system/{unit}")


def _enabled(unit: str, text: str) -> dict[str, File | Link]:
    """Return the links that `systemctl enable` would make from the unit's [Install] section."""
    return {
        f"{_UNITS}/{target}.{kind}/{unit}": Link(f"../{unit}")
        for key, kind in (("WantedBy", "wants"), ("RequiredBy", "requires"))
        for line in text.splitlines()
        if line.startswith(f"{key}=")
        for target in line.partition("=")[2].split()
    }


def _triggers(timer: str, interval: int) -> list[Escaped]:
    """Return the timer's On…= lines, with the time between two runs set to `interval` seconds."""
    kept = [
        line
        for line in timer.splitlines()
        if line.startswith("On") and not line.startswith(("OnUnitActiveSec=", "OnUnitInactiveSec="))
    ]
    again = [
        line.partition("=")[0]
        for line in timer.splitlines()
        if line.startswith(("OnUnitActiveSec=", "OnUnitInactiveSec="))
    ]
    return [Escaped(line) for line in kept] + [Escaped(f"{key}={interval}s") for key in again]
