"""Instances as virtual machines: QEMU boots the image's own kernel, and cloud-init finds ECS by SMBIOS.

Each NIC is a tap that stands for the ENI's end in the instance's namespace, so the image does all the rest itself:
DHCP, the metadata service, its own policy routing.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import shlex
import socket
import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from generator.errors import MultieipError
from generator.run import base_env, need, run
from generator.sandbox.fabric.container import Power
from generator.sandbox.fabric.loop import Loop
from generator.sandbox.fabric.model import Identity
from generator.sandbox.instances import commands, disks, taps
from generator.sandbox.instances.guest import Guest, Place
from generator.sandbox.instances.images import Layers
from generator.sandbox.instances.qmp import Monitor
from generator.sandbox.region.model import CommandResult, Invocation

LOG = logging.getLogger("multieip.sandbox")

# Seconds until somebody can log in: emulated on a busy machine, a system needs minutes.
_BOOT = {"kvm": 90.0, "tcg": 600.0}
# Seconds for an orderly shutdown, and between two pushes of the button, which a guest that boots does not notice.
_SHUTDOWN, _PUSH = 120.0, 5.0
# Seconds in which a guest lets go of an ENI.
_UNPLUG = 15.0
# Seconds in which a disk is copied while its instance runs.
_COPY = 600.0
_MEMORY_MIB, _CPUS = 1024, 2

# What systemd (252 and later) takes from SMBIOS, as lines of tmpfiles.d(5). The sandbox gets in with a key that is
# gone with /run: of it, an image that is captured has a link that leads nowhere.
_LET_IN = """\
d /run/multieip-sandbox 0755 root root -
f+ /run/multieip-sandbox/authorized_keys 0600 root root - {key}
L+ /root/.ssh/authorized_keys2 - - - - /run/multieip-sandbox/authorized_keys
"""
# What the public images of ECS have, and a base of the distribution's packages has not: root may log in.
_PUBLIC = (
    "f /etc/cloud/cloud.cfg.d/06-multieip-sandbox.cfg 0644 root root - disable_root: false\\nusers: [{name: root}]\\n\n"
)
_PUBLIC_LAYER = "public-"


class Machines:
    """The backend. `folder` is for the key with which the sandbox gets in; `accelerator` is kvm or tcg."""

    name = "qemu"

    def __init__(self, folder: Path, accelerator: str) -> None:
        self._key = folder / "command-key"
        self._accelerator = accelerator
        self._loop = Loop()
        if not self._key.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "multieip-sandbox", "-f", self._key])

    def public(self, layers: Layers, folder: Path) -> Layers:
        """Return what a public image is made of: an empty layer in `folder` that says so, over the system's disk."""
        layer = folder / f"{_PUBLIC_LAYER}{layers[0].stem}.qcow2"
        if not layer.exists():
            disks.layer(layer, layers[0])
        return (layer, *layers)

    def adopt(self, disk: Path, target: Path) -> None:
        """Copy a disk."""
        aside = target.with_suffix(".part")
        disks.copy(disk, aside)
        aside.rename(target.with_suffix(".qcow2"))

    def guest(self, place: Place) -> Guest:
        """Return an instance's machine."""
        return MachineGuest(place, self._accelerator, self._key, self._loop)


@dataclass
class MachineGuest:
    """An instance in QEMU."""

    place: Place
    accelerator: str
    key: Path
    loop: Loop
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _monitor: Monitor | None = field(default=None, init=False)
    # The MAC of each interface that the machine has.
    _nics: dict[str, str] = field(default_factory=dict, init=False)

    @property
    def console(self) -> Path:
        """What it wrote to its serial port."""
        return self.place.folder / "console.log"

    @property
    def enter(self) -> Sequence[str]:
        """The way by SSH, while it runs; what is put after it is quoted for the shell at the other end."""
        if not self._running or not self.place.front:
            return ()
        return ("bash", "-c", f'exec {shlex.join([*self._ssh, "-t"])} "${{*@Q}}"', "ssh")

    @property
    def ended(self) -> Power | None:
        """Whether it powered itself off; QEMU boots it again by itself."""
        process = self._process
        return Power.OFF if process is not None and process.poll() is not None else None

    @property
    def _running(self) -> bool:
        process = self._process
        return process is not None and process.poll() is None

    @property
    def _disk(self) -> Path:
        return self.place.folder / "disk.qcow2"

    @property
    def _log(self) -> Path:
        return self.place.folder / "qemu.log"

    def start(self, identity: Identity) -> None:
        """Make its disk at the first time, and turn it on."""
        self.place.folder.mkdir(parents=True, exist_ok=True)
        if not self._disk.exists():
            disks.layer(self._disk, self.place.layers[0], self.place.disk)
        ours, theirs = socket.socketpair()
        with theirs, self._log.open("wb") as log:
            nics = dict(taps.interfaces(self.place.space))
            for interface, mac in nics.items():
                taps.wire(self.place.space, interface, mac)
            command = [*self.place.space.enter, *self._command(identity, nics, theirs.fileno())]
            self._process = subprocess.Popen(
                [need(command[0]), *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=base_env(),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
            self._nics = nics
        self._monitor = Monitor(self.loop, identity.id)
        try:
            self._monitor.connect(ours)
        except MultieipError as error:
            self.kill()
            said = self._log.read_text("utf-8", "replace").strip().splitlines() or [error.message]
            raise MultieipError(f"{identity.id} does not start: {said[-1]}", hint=f"see {self._log}") from error

    def _command(self, identity: Identity, nics: dict[str, str], monitor: int) -> list[str]:
        node: dict[str, Any] = {
            "driver": "qcow2", "node-name": "disk", "discard": "unmap",
            # What a crash of this machine would lose is the sandbox's.
            "cache": {"no-flush": True},
            "file": {"driver": "file", "filename": os.fspath(self._disk)},
        }  # fmt: skip
        smbios = f"manufacturer=Alibaba Cloud,product=Alibaba Cloud ECS,serial={identity.id}"
        told = _LET_IN.format(key=self.key.with_suffix(".pub").read_text().strip().replace("%", "%%"))
        if any(layer.name.startswith(_PUBLIC_LAYER) for layer in self.place.layers):
            told += _PUBLIC
        credential = f"io.systemd.credential.binary:tmpfiles.extra={base64.b64encode(told.encode()).decode()}"
        console = os.fspath(self.console).replace(",", ",,")
        words = [
            need("qemu-system-x86_64"), "-name", identity.id, "-machine", "pc", "-accel", self.accelerator,
            "-smp", str(_CPUS), "-m", str(_MEMORY_MIB), "-display", "none", "-no-user-config",
            "-uuid", str(uuid.uuid5(uuid.NAMESPACE_OID, identity.id)),
            "-smbios", f"type=1,{smbios}", "-smbios", f"type=11,value={credential}",
            "-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control",
            "-chardev", f"file,id=console,path={console},append=on", "-serial", "chardev:console",
            "-blockdev", json.dumps(node), "-device", "virtio-blk-pci,drive=disk,bootindex=0",
            "-device", "virtio-rng-pci",
        ]  # fmt: skip
        for mac in nics.values():
            netdev, device = _network(mac)
            words += ["-netdev", _words(netdev), "-device", _words(device)]
        return words

    def stop(self) -> None:
        """Push the power button, until it is off."""
        process, monitor = self._process, self._monitor
        end = time.monotonic() + _SHUTDOWN
        while self._running and process is not None and monitor is not None and time.monotonic() < end:
            with contextlib.suppress(MultieipError):
                monitor.execute("system_powerdown")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PUSH)
        self.kill()

    def kill(self) -> None:
        """Pull the plug."""
        process, monitor = self._process, self._monitor
        if process is not None:
            process.kill()
            process.wait()
        if monitor is not None:
            monitor.close()
        self._process, self._monitor, self._nics = None, None, {}

    def plugged(self, interface: str) -> None:
        """Plug a NIC into the machine, unless it booted with it."""
        # The namespace may have lost it again by now.
        mac = taps.interfaces(self.place.space).get(interface)
        if not mac or not self._running or self._monitor is None or interface in self._nics:
            return
        taps.wire(self.place.space, interface, mac)
        netdev, device = _network(mac)
        self._monitor.execute("netdev_add", **netdev)
        self._monitor.execute("device_add", **device)
        self._nics[interface] = mac

    def unplugged(self, interface: str) -> None:
        """Have the guest let go of a NIC, which leads nowhere by now; one that does not sees it lose its carrier."""
        mac, monitor = self._nics.pop(interface, None), self._monitor
        if mac is None or monitor is None or not self._running:
            return
        try:
            if monitor.unplug(_device(mac), _UNPLUG):
                monitor.execute("netdev_del", id=taps.tap(mac))
                taps.unwire(self.place.space, mac)
                return
            monitor.execute("set_link", name=_device(mac), up=False)
        except MultieipError as failure:
            LOG.warning("unplugging %s of %s: %s", mac, self.place.identity.id, failure.message)
        else:
            LOG.warning("%s did not let go of %s, which has no carrier now", self.place.identity.id, mac)

    def execute(self, invocation: Invocation) -> CommandResult:
        """Run a command over SSH, once the system lets the sandbox in."""
        if not self._ready():
            return commands.NOT_UP
        done = run(
            [*self._ssh, shlex.join(commands.words(invocation))],
            check=False,
            stdin=invocation.content.encode(),
            timeout=commands.patience(invocation),
        )
        return commands.result(done, invocation)

    def _ready(self) -> bool:
        end = time.monotonic() + _BOOT[self.accelerator]
        while self.place.front and self._running and time.monotonic() < end:
            if run([*self._ssh, "true"], check=False, timeout=60).returncode == 0:
                return True
            time.sleep(0.5)
        return False

    @property
    def _ssh(self) -> list[str]:
        """The words of ssh(1), from the router of its VPC to its primary private IP as root."""
        router, address = self.place.front or (self.place.space, "")
        options = [
            "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "GlobalKnownHostsFile=/dev/null",
            "LogLevel=ERROR", "BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none",
            "ConnectTimeout=10", "ServerAliveInterval=15",
        ]  # fmt: skip
        flags = [part for option in options for part in ("-o", option)]
        return [*router.enter, "ssh", "-F", "none", *flags, "-i", os.fspath(self.key), f"root@{address}"]

    def capture(self, target: Path) -> None:
        """Copy what it has written, as it is at this moment."""
        aside = target.with_suffix(".part")
        monitor = self._monitor
        if not self._running or monitor is None:
            disks.copy(self._disk, aside)
        else:
            disks.sibling(self._disk, aside)
            file = {"driver": "file", "filename": os.fspath(aside)}
            monitor.execute("blockdev-add", driver="qcow2", node_name="copy", file=file)
            try:
                monitor.backup("disk", "copy", _COPY)
            finally:
                # A copy that was given up may be writing still; it must not hide why.
                with contextlib.suppress(MultieipError):
                    monitor.execute("blockdev-del", node_name="copy")
        aside.rename(target.with_suffix(".qcow2"))


def _device(mac: str) -> str:
    return f"nic-{mac.replace(':', '')}"


def _words(options: dict[str, Any]) -> str:
    """Return options as the command line wants them."""
    first, *more = options.items()
    said = {True: "on", False: "off"}
    return ",".join([first[1], *(f"{name}={said.get(value, value)}" for name, value in more)])


def _network(mac: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a NIC as QMP wants it: the host's end and the device."""
    name = taps.tap(mac)
    netdev = {"type": "tap", "id": name, "ifname": name, "script": "no", "downscript": "no", "vhost": False}
    # No ROM: nothing boots from the network.
    return netdev, {"driver": "virtio-net-pci", "id": _device(mac), "netdev": name, "mac": mac, "romfile": ""}
