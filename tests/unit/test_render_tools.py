"""What is rendered, read by the programs that it is for."""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path

import pytest

from generator.image import outdir
from generator.render import guest
from generator.run import find, run
from generator.spec.distro import Distro
from generator.spec.image import ImageSpec

LEFT_ALONE = ["eth2", "00:16:3e:aa:bb:cc", "eni-bp1abcdefgh"]


def spec(distro: Distro) -> ImageSpec:
    network = {"leave_alone": LEFT_ALONE, "primary_metric": 90, "secondary_metric": 900}
    document = {"version": 1, "name": "x1", "distro": distro, "base": {"ecs": {"id": "m-x"}}, "network": network}
    return ImageSpec.model_validate(document)


def need(*programs: str, root: bool = False) -> None:
    missing = [program for program in programs if find(program) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    if root and os.geteuid() != 0:
        pytest.skip("needs root, for namespaces")


@pytest.fixture(params=Distro)
def rootfs(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    outdir.write(guest.rootfs(spec(request.param)), tmp_path / "rootfs")
    return tmp_path / "rootfs"


def test_shellcheck_has_nothing_to_say_about_the_scripts(rootfs: Path) -> None:
    need("shellcheck")
    scripts = [path for path in rootfs.rglob("*") if path.is_file() and path.read_bytes().startswith(b"#!")]
    assert scripts
    run(["shellcheck", "--severity=warning", *scripts])


def test_systemd_takes_the_units_and_their_links(rootfs: Path) -> None:
    need("systemd-analyze", "systemctl")
    # What the units run is in the base system; systemd-analyze wants to see it.
    for program in ("bin/sh", "usr/bin/cloud-init"):
        (rootfs / program).parent.mkdir(parents=True, exist_ok=True)
        (rootfs / program).touch(0o755)
    units = [
        path.name for path in (rootfs / "etc/systemd/system").iterdir() if path.is_file() and not path.is_symlink()
    ]
    verified = run(["systemd-analyze", "verify", f"--root={rootfs}", "--man=no", "--recursive-errors=no", *units])
    assert verified.stderr == ""
    for path in (rootfs / "etc/systemd/system").iterdir():
        if path.is_symlink() and path.readlink() == Path("/dev/null"):
            state = run(["systemctl", f"--root={rootfs}", "is-enabled", path.name], check=False)
            assert state.stdout == "masked\n", path.name
    for path in (rootfs / "etc/systemd/system").glob("*.wants/multieip-*"):
        state = run(["systemctl", f"--root={rootfs}", "is-enabled", path.name], check=False)
        assert state.stdout == "enabled\n", path.name


def test_the_kernel_takes_the_sysctls(rootfs: Path) -> None:
    need("sysctl", "unshare", root=True)
    file = rootfs / "etc/sysctl.d/60-multieip.conf"
    said = run(["unshare", "--net", "sysctl", "--load", file])
    assert said.stderr == ""
    settings = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    assert said.stdout.splitlines() == settings


# NetworkManager with nothing of this machine's: its own network, mounts, bus and state. eth0 to eth2 are there, p0 to
# p2 at their other ends stand for what is no ENI, docker0 for somebody else's bridge; no DHCP server answers.
NETWORKMANAGER = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /var/lib/NetworkManager /etc/NetworkManager /run/dbus
mount -t tmpfs tmpfs /var/lib/NetworkManager
mount -t tmpfs tmpfs /etc/NetworkManager
# Read-only, so that NetworkManager does not wait for udev.
mount -t sysfs -o ro sysfs /sys
cp -r --preserve=mode "$1/etc/NetworkManager/." /etc/NetworkManager/
rm -r /etc/NetworkManager/dispatcher.d
ip link set lo up
for n in 0 1 2 3; do
    ip link add "eth$n" type veth peer name "p$n"
    ip link set "p$n" up
done
ip link set eth3 address 00:16:3e:aa:bb:cc
ip link add docker0 type bridge
dbus-daemon --system --fork --nopidfile
NetworkManager --no-daemon --log-level=INFO >/run/log 2>&1 &
tries=0
until nmcli -t -f GENERAL.STATE device show eth1 2>/dev/null | grep -q ':100 '; do
    tries=$((tries + 1))
    [ "$tries" -lt 150 ] || break
    sleep 0.1
done
nmcli -g connection.interface-name,connection.autoconnect-priority,ipv4.route-metric,ipv4.may-fail,ipv4.dhcp-timeout \
    connection show multieip-primary
nmcli -g connection.multi-connect,match.interface-name,802-3-ethernet.mac-address-blacklist,ipv4.never-default,\
ipv4.ignore-auto-dns,ipv4.ignore-auto-routes,ipv4.route-metric,ipv6.method connection show multieip-eni
nmcli -t -f DEVICE,STATE,CONNECTION device
NetworkManager --print-config
grep -e '<warn>' -e '<error>' /run/log || true
"""


def test_networkmanager_takes_profiles_and_configuration_and_brings_enis_up_without_dhcp(rootfs: Path) -> None:
    need("NetworkManager", "nmcli", "dbus-daemon", "unshare", "ip", root=True)
    isolated = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c"]
    said = run([*isolated, textwrap.dedent(NETWORKMANAGER), "sh", rootfs], timeout=60).stdout
    assert "<warn>" not in said
    assert "<error>" not in said
    lines = said.splitlines()
    assert lines[:5] == ["eth0", "300", "90", "no", "2147483647"]
    assert lines[5:13] == [
        "3",
        "eth*,en*,!eth0,!eth2",
        r"00\:16\:3E\:AA\:BB\:CC",
        "yes",
        "yes",
        "yes",
        "900",
        "link-local",
    ]
    devices = dict(line.split(":", 1) for line in lines if re.match(r"(eth|p|docker)\d:", line))
    assert devices["eth0"] == "connecting (getting IP configuration):multieip-primary"
    assert devices["eth1"] == "connected:multieip-eni"
    assert {name for name, state in devices.items() if "multieip" in state} == {"eth0", "eth1"}
    for setting in ("plugins=keyfile", "no-auto-default=*", "managed=1", "ignore-carrier=1"):
        assert setting in lines
