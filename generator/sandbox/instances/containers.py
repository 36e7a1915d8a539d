"""Instances as containers: the system of the image boots within a second, on the machine's kernel.

cloud-init looks for no metadata service in a container, so its user-data, keys and names are seeded (NoCloud), with
what the metadata service says of the instance when it boots.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from generator.run import run
from generator.sandbox.fabric.container import Container, Power
from generator.sandbox.fabric.model import Identity
from generator.sandbox.instances import commands, disks
from generator.sandbox.instances.guest import Guest, Place
from generator.sandbox.instances.images import Layers
from generator.sandbox.region.model import CommandResult, Invocation

LOG = logging.getLogger("multieip.sandbox")

_SEED = "var/lib/cloud/seed/nocloud"
# The image's own list of datasources begins with others, and each is waited for.
_DATASOURCE = b"datasource_list: [NoCloud]\n"
# Seconds that a command waits for its instance to boot, as it does until ECS's agent is up.
_BOOT = 90.0
# What the public images of ECS have, and a base of the distribution's packages has not: root may log in.
_PUBLIC = {"etc/cloud/cloud.cfg.d/06-multieip-sandbox.cfg": b"disable_root: false\nusers: [{name: root}]\n"}
# A container has no boot loader, and what would write to one fails.
_NOT_PUBLIC = ("usr/sbin/update-grub",)


# Each systemd has half a dozen inotify instances, and the kernel lets root have 128 of them on the whole machine:
# with the 18th instance, systems would come up without their services.
_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
_ENOUGH = 8192


class Containers:
    """The backend. Making it raises the machine's limit of inotify instances, which stays so until it boots."""

    name = "container"

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            if int(_INOTIFY.read_text()) < _ENOUGH:
                _INOTIFY.write_text(f"{_ENOUGH}\n")
                LOG.info("raised fs.inotify.max_user_instances to %d", _ENOUGH)

    def public(self, layers: Layers, folder: Path) -> Layers:
        """Return what a public image is made of: a layer in `folder`, which is made, over the system's own."""
        layer = folder / "public"
        if not layer.exists():
            aside = layer.with_suffix(".new")
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(mode=0o755)
            for name, data in _PUBLIC.items():
                (aside / name).parent.mkdir(parents=True, exist_ok=True)
                (aside / name).write_bytes(data)
            for name in _NOT_PUBLIC:
                (aside / name).parent.mkdir(parents=True, exist_ok=True)
                # How overlayfs says that a file of the layers below is gone.
                os.mknod(aside / name, stat.S_IFCHR, os.makedev(0, 0))
            aside.rename(layer)
        return (layer, *layers)

    def adopt(self, disk: Path, target: Path) -> None:
        """Take the root file system out of a disk."""
        disks.extract_root(disk, target)

    def guest(self, place: Place) -> Guest:
        """Return an instance's container."""
        container = Container(place.space.name, place.layers, place.folder, place.space)
        return ContainerGuest(container)


@dataclass
class ContainerGuest:
    """An instance in a container."""

    container: Container

    @property
    def console(self) -> Path:
        """What its init and its services wrote to the console."""
        return self.container.log

    @property
    def enter(self) -> Sequence[str]:
        """The words of nsenter, while it runs."""
        return self.container.enter if self.container.running else ()

    @property
    def ended(self) -> Power | None:
        """What its init did."""
        return self.container.ended

    def start(self, identity: Identity) -> None:
        """Seed cloud-init, and boot."""
        self.container.extra = seed(identity)
        self.container.start()

    def stop(self) -> None:
        """Have its init shut down."""
        self.container.poweroff()

    def kill(self) -> None:
        """Kill its init, and all that runs in it."""
        self.container.kill()

    def plugged(self, interface: str) -> None:
        """Nothing: the interface is there at once."""

    def unplugged(self, interface: str) -> None:
        """Nothing: the interface went by itself."""

    def execute(self, invocation: Invocation) -> CommandResult:
        """Run a command once the system is up."""
        if not self.container.ready(_BOOT):
            return commands.NOT_UP
        done = self.container.run(
            commands.words(invocation),
            check=False,
            stdin=invocation.content.encode(),
            timeout=commands.patience(invocation),
        )
        return commands.result(done, invocation)

    def capture(self, target: Path) -> None:
        """Copy what differs from the layers below."""
        aside = target.with_suffix(".part")
        run(["cp", "--archive", "--reflink=auto", self.container.upper, aside])
        aside.rename(target)


def seed(identity: Identity) -> Mapping[str, bytes]:
    """Return the files that tell cloud-init in a container what the metadata service would."""
    told = {
        "instance-id": identity.id,
        "local-hostname": identity.hostname,
        "public-keys": list(identity.public_keys.values()),
    }
    return {
        "etc/cloud/cloud.cfg.d/zz-multieip-sandbox.cfg": _DATASOURCE,
        # JSON is YAML, and what goes in needs no quoting of ours.
        f"{_SEED}/meta-data": json.dumps(told).encode(),
        f"{_SEED}/user-data": identity.user_data or b"",
    }
