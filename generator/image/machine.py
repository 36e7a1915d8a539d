"""A virtual machine for a boot test: a disk that stays as it is, two ENIs, and the metadata service of ECS.

QEMU's user networking needs no rights on this machine. The primary ENI lies in the network of the metadata
service, so that 100.100.100.200 is a neighbour which QEMU hands to a program; SMBIOS says "Alibaba Cloud ECS",
which is how cloud-init knows where it is.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from generator.errors import MultieipError
from generator.image.accelerator import Accelerator
from generator.run import Result, base_env, need, run
from generator.sandbox.fabric.loop import Loop
from generator.sandbox.fabric.metadata import document
from generator.sandbox.fabric.model import Eni, Identity, Vpc, VSwitch
from generator.sandbox.fabric.service import Service, View

VPC = Vpc("vpc-boottest", IPv4Network("100.100.100.0/24"))
PRIMARY = Eni(
    "eni-boottest0",
    "00:16:3e:00:00:10",
    VPC.id,
    VSwitch("vsw-boottest0", IPv4Network("100.100.100.0/24")),
    (IPv4Address("100.100.100.15"),),
)
SECOND = Eni(
    "eni-boottest1",
    "00:16:3e:00:00:11",
    VPC.id,
    VSwitch("vsw-boottest1", IPv4Network("172.16.20.0/24")),
    tuple(IPv4Address("172.16.20.15") + n for n in range(5)),
)
_METADATA = IPv4Address("100.100.100.200")


@dataclass(frozen=True)
class Machine:
    """A machine that runs. `ports` maps each private IP to the port of 127.0.0.1 that leads to its port 22."""

    ports: dict[IPv4Address, int]
    key: Path
    process: subprocess.Popen[bytes]
    console: Path

    def ssh(self, command: Sequence[str], *, stdin: bytes | None = None, timeout: float = 300) -> Result:
        """Run a command as root in the machine, whatever its exit code."""
        port = self.ports[PRIMARY.addresses[0]]
        options = [
            "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes",
            "ConnectTimeout=10", "ServerAliveInterval=15",
        ]  # fmt: skip
        flags = [part for option in options for part in ("-o", option)]
        return run(
            ["ssh", *flags, "-i", self.key, "-p", str(port), "root@127.0.0.1", "--", *command],
            check=False,
            stdin=stdin,
            timeout=timeout,
        )

    def wait_until_up(self, *, not_boot: str = "", limit: float) -> str:
        """Wait until root can log in to another boot than `not_boot`; return that boot's id."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise MultieipError("QEMU ended while the image booted", hint=f"see {self.console}")
            answer = self.ssh(["cat", "/proc/sys/kernel/random/boot_id"], timeout=60)
            boot = answer.stdout.strip()
            if answer.returncode == 0 and boot and boot != not_boot:
                return boot
            time.sleep(2)
        raise MultieipError(f"nobody could log in within {limit:.0f} s", hint=f"see {self.console}")

    def answers(self, address: IPv4Address) -> bool:
        """Tell whether an SSH server answers on a private IP, from outside the machine."""
        try:
            with socket.create_connection(("127.0.0.1", self.ports[address]), timeout=20) as connection:
                connection.settimeout(20)
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


def let_root_in(public_key: str) -> dict[str, Any]:
    """Return the cloud-config that lets root log in with a key."""
    return {"disable_root": False, "users": [{"name": "root", "ssh_authorized_keys": [public_key]}]}


def _let_root_in(public_key: str) -> bytes:
    return f"#cloud-config\n{json.dumps(let_root_in(public_key))}\n".encode()


@contextmanager
def boot(
    disk: Path,
    *,
    scratch: Path,
    console: Path,
    accelerator: Accelerator,
    user_data: Callable[[str], bytes] = _let_root_in,
) -> Iterator[Machine]:
    """Boot a copy-on-write layer over `disk`; the machine and its metadata service end with the block.

    `user_data` makes the instance's user-data from the public key that must be let in.
    """
    key = scratch / "key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "multieip-boot-test", "-f", key])
    layer = scratch / "layer.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", disk.resolve(), layer])
    ports = dict(zip((*PRIMARY.addresses, *SECOND.addresses), _free_ports(1 + len(SECOND.addresses)), strict=True))
    public_key = key.with_suffix(".pub").read_text().strip()
    with _metadata(user_data(public_key)) as metadata_port:
        command = _command(layer, ports, metadata_port, console, accelerator)
        process = subprocess.Popen(
            [need(command[0]), *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=base_env(),
            start_new_session=True,
        )
        try:
            yield Machine(ports, key, process, console)
        finally:
            process.kill()
            process.communicate()


def _command(
    layer: Path, ports: dict[IPv4Address, int], metadata_port: int, console: Path, accelerator: Accelerator
) -> list[str]:
    def network(name: str, eni: Eni, extra: str = "") -> list[str]:
        switch = eni.vswitch
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{ports[ip]}-{ip}:22" for ip in eni.addresses)
        # Not "restrict=on": QEMU's DHCP would then tell of no gateway.
        user = f"user,id={name},net={switch.cidr},host={switch.gateway},dns={switch.gateway - 1}"
        return [
            "-netdev", f"{user},dhcpstart={eni.addresses[0]},ipv6=off{forwards}{extra}",
            "-device", f"virtio-net-pci,netdev={name},mac={eni.mac}",
        ]  # fmt: skip

    relay = f",guestfwd=tcp:{_METADATA}:80-cmd:{need('socat')} STDIO TCP4:127.0.0.1:{metadata_port}"
    return [
        "qemu-system-x86_64", "-accel", accelerator, "-smp", "2", "-m", "1024", "-display", "none", "-no-user-config",
        "-smbios", "type=1,manufacturer=Alibaba Cloud,product=Alibaba Cloud ECS",
        "-drive", f"file={os.fspath(layer).replace(',', ',,')},if=virtio,format=qcow2",
        *network("eth0", PRIMARY, relay),
        *network("eth1", SECOND),
        "-serial", f"file:{os.fspath(console).replace(',', ',,')}",
        "-device", "virtio-rng-pci",
    ]  # fmt: skip


@contextmanager
def _metadata(user_data: bytes) -> Iterator[int]:
    """Serve the metadata of the machine on a port of 127.0.0.1."""
    identity = Identity(id="i-boottest", hostname="boottest", user_data=user_data)
    view = View(identity, document(identity, [(PRIMARY, VPC), (SECOND, VPC)], {}))
    loop = Loop()
    service = Service(find=lambda _: view)
    listening = socket.create_server(("127.0.0.1", 0))
    try:
        loop.call(service.serve(listening))
        yield listening.getsockname()[1]
    finally:
        loop.call(service.close())
        loop.stop()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
