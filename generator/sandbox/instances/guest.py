"""What the data plane wants of whatever runs an instance: containers and virtual machines are two kinds of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Protocol

from generator.sandbox.fabric.container import Power
from generator.sandbox.fabric.model import Identity
from generator.sandbox.fabric.netns import Namespace
from generator.sandbox.instances.images import Layers
from generator.sandbox.region.model import CommandResult, Invocation


@dataclass(frozen=True)
class Place:
    """Where an instance is: its network namespace, the folder for what it changes, the layers below that.

    `front` is its VPC's router and its primary private IP, for what can be reached over the network only; `disk` is
    the size of its disk in bytes.
    """

    identity: Identity
    space: Namespace
    folder: Path
    layers: Layers
    front: tuple[Namespace, IPv4Address] | None = None
    disk: int = 0


class Guest(Protocol):
    """One instance that runs, or does not. One thread at a time calls it; `enter` and `console` are for any."""

    @property
    def console(self) -> Path:
        """What it wrote to its console."""
        ...

    @property
    def enter(self) -> Sequence[str]:
        """What to put before a program to run it inside as root; empty where there is no such way."""
        ...

    @property
    def ended(self) -> Power | None:
        """What it did by itself since it was started, its own poweroff or reboot; for any thread too."""
        ...

    def start(self, identity: Identity) -> None:
        """Begin to boot with what the metadata service says of it now."""
        ...

    def stop(self) -> None:
        """Shut down in order, or kill it when that takes too long."""
        ...

    def kill(self) -> None:
        """Pull the plug."""
        ...

    def plugged(self, interface: str) -> None:
        """Say that its namespace has one more interface (`eth1`)."""
        ...

    def unplugged(self, interface: str) -> None:
        """Say that its namespace has lost an interface."""
        ...

    def execute(self, invocation: Invocation) -> CommandResult:
        """Run a command of Cloud Assistant, and wait for its end."""
        ...

    def capture(self, target: Path) -> None:
        """Make a layer of what it has written, at `target` or at that name with a suffix."""
        ...


class Backend(Protocol):
    """Makes guests of one kind."""

    # How names of programs and images tell kinds apart: `container` or `qemu`.
    name: str

    def public(self, layers: Layers, folder: Path) -> Layers:
        """Return the layers of a public image from those of a system of this machine; `folder` is for more of them."""
        ...

    def adopt(self, disk: Path, target: Path) -> None:
        """Make a layer, at `target` or at that name with a suffix, of a qcow2 disk that boots by itself."""
        ...

    def guest(self, place: Place) -> Guest:
        """Return the guest of an instance, which does not run yet."""
        ...
