"""Sandboxes with instances of the golden image, and what of them is on the machine outside their folders."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from generator.image.outdir import write
from generator.run import run
from generator.sandbox import local
from generator.sandbox.fabric.netns import Namespace
from generator.sandbox.settings import Home, PublicImage, Settings
from tests.lab.candidates import Multieip, example_spec
from tests.lab.region import LOCAL, Region
from tests.sandbox.commands import Sandbox
from tests.sandbox.region import GROUP, REGION, VSWITCH, call

GOLDEN = "multieip-golden"
BASE = "debian_12_11_x64_20G_alibase_20250804.vhd"


def golden_layers(folder: Path, base: Path) -> tuple[str, str]:
    """Lay the files of the golden image over the base; building it with Packer takes a minute."""
    write(Multieip(example_spec()).tree(()), folder)
    return os.fspath(folder), os.fspath(base)


class GoldenSandbox(Sandbox):
    """A sandbox that has the golden image and its base as public images; with all packets, so as root."""

    def __init__(self, folder: Path, layers: tuple[str, str]) -> None:
        super().__init__(folder)
        self._layers = layers

    @property
    def home(self) -> Home:
        return Home(self.folder)

    def begin(self, **more: Any) -> Any:
        """Start it for the first time, with these settings."""
        base = PublicImage("acs:debian_12_11_x64", BASE, self._layers[1:])
        golden = PublicImage(GOLDEN, GOLDEN, self._layers)
        return local.up(self.home, Settings(images=(base, golden), eips=100, throttle=False, **more))

    def region(self) -> Machines:
        """Return its region; as a context manager, it takes away what was made."""
        return Machines(self.folder)


class Machines(Region):
    """A region whose instances are watched closely."""

    def boot(self, image: str = GOLDEN, amount: int = 1, *, more: int = 0, enis: int = 0, **asked: Any) -> list[str]:
        """Run instances with `more` private IPs on the primary ENI and `enis` further ENIs of two IPs each."""
        primary = {"InstanceType": "Primary", "VSwitchId": VSWITCH, "SecurityGroupId": GROUP}
        secondary = {"InstanceType": "Secondary", "SecondaryPrivateIpAddressCount": 1}
        if more:
            primary["SecondaryPrivateIpAddressCount"] = more  # type: ignore[assignment]
        return self.run(
            image_id=image,
            instance_type="ecs.g7.large",
            amount=amount,
            network_interface=[primary, *[secondary] * enis],
            **asked,
        )

    def boot_with_eips(self, *arguments: Any, **more: Any) -> tuple[str, dict[str, str]]:
        """Run an instance, and return it with the EIPs of its private IPs once all of them answer."""
        (instance,) = self.boot(*arguments, **more)
        eips = self.give_eips(instance)
        self.assert_answers(eips)
        return instance, eips

    def assert_answers(self, eips: dict[str, str]) -> None:
        """Wait until all EIPs answer."""
        assert self.wait_for_answers(eips, LOCAL) == {}

    def delete(self, instance: str) -> None:
        """Delete an instance, running or not."""
        self.do("DeleteInstances", instance_id=[instance], force=True)
        self.until_status(instance, "gone")
        self._instances.remove(instance)

    def status(self, instance: str) -> str:
        """Return an instance's status, or that it is gone."""
        found = self.do("DescribeInstances", instance_ids=json.dumps([instance])).instances.instance
        return str(found[0].status) if found else "gone"

    def until(self, holds: Callable[[], bool], limit: float = LOCAL) -> None:
        """Wait until something holds."""
        self._until(holds, limit)

    def until_status(self, instance: str, status: str) -> None:
        """Wait until an instance has a status."""
        self.until(lambda: self.status(instance) == status)

    def until_silent(self, eip: str) -> None:
        """Wait until an EIP does not answer any more."""
        self.until(lambda: not self.answers(eip))

    def said(self, instance: str, content: str) -> str:
        """Return what a command printed that did not fail."""
        code, output = self.command(instance, content)
        assert code == 0, output
        return output

    def give_eip(self, eni: str, private: str) -> str:
        """Give a private IP an EIP, and return it."""
        eip, public = self.allocate()
        self.bind(eip, eni, private)
        return public

    def take_eip(self, address: str) -> None:
        """Take an EIP from its private IP."""
        (found,) = self.eip("DescribeEipAddresses", eip_address=address).eip_addresses.eip_address
        asked = {"allocation_id": found.allocation_id, "instance_id": found.instance_id}
        self.eip("UnassociateEipAddress", **asked, instance_type="NetworkInterface")

        def free() -> bool:
            (now,) = self.eip("DescribeEipAddresses", eip_address=address).eip_addresses.eip_address
            return bool(now.status == "Available")

        self.until(free)

    def eip(self, name: str, /, **parameters: Any) -> Any:
        """Call VPC."""
        return call(self.vpc, name, {"region_id": REGION, **parameters})


def greeting(space: Namespace | None, address: str, port: int, limit: float = 1.0) -> str:
    """Return what a TCP server says first to a client in a namespace, the machine's own if None; nothing if nothing.

    That a connection is taken says little: whatever stands between a machine and the internet may take any.
    """

    def ask() -> str:
        try:
            with socket.create_connection((address, port), timeout=limit) as connection:
                return connection.recv(64).decode("ascii", "replace").strip()
        except OSError:
            return ""

    return ask() if space is None else space.call(ask)


def machine() -> dict[str, str]:
    """Return the state of the machine's own network."""
    commands = ("ip -4 route show table all", "ip -6 route show table all", "ip rule", "ip -6 rule", "ip -br address")
    found = {command: run(command.split()).stdout for command in (*commands, "nft list ruleset")}
    return {command: re.sub(r"expires \d+sec", "", said) for command, said in found.items()}


def left(home: Home) -> set[str]:
    """Return what a sandbox that has ended has on the machine; what is going away has a moment for it."""
    end = time.monotonic() + 3
    while (found := traces(home)) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def traces(home: Home) -> set[str]:
    """Return what a sandbox has on the machine outside its folder."""
    marks = (home.prefix, os.fspath(home.folder.resolve()))
    places = [Path("/run/netns"), Path("/run/multieip/fabrics"), Path("/var/tmp"), Path("/run/systemd/nspawn")]
    found = {os.fspath(path) for place in places for path in place.glob(f"*{home.prefix}*")}
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found |= {line for line in mounts if any(mark in line for mark in marks)}
    hierarchies = [line.split()[1] for line in mounts if line.split()[2] in ("cgroup", "cgroup2")]
    found |= {os.fspath(path) for root in hierarchies for path in Path(root).glob(f"{home.prefix}*")}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = process.joinpath("cmdline").read_text() + process.joinpath("cgroup").read_text()
        except OSError:
            continue
        if any(mark in told for mark in marks):
            found.add(f"{process.name}: {told}")
    return found


def own_addresses() -> list[IPv4Address]:
    """Return the machine's addresses."""
    shown = json.loads(run(["ip", "-4", "-j", "address"]).stdout)
    return [IPv4Address(info["local"]) for link in shown for info in link["addr_info"]]
