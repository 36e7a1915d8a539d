"""The wire between an ENI's end and a virtual machine's tap, with real frames. Needs root."""

from __future__ import annotations

import fcntl
import os
import secrets
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from generator.run import find
from generator.sandbox.fabric import netns
from generator.sandbox.fabric.netns import Namespace
from generator.sandbox.instances import taps

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root: sudo make test"),
    pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="this machine has no /dev/net/tun"),
    pytest.mark.skipif(find("tc") is None or find("nsenter") is None, reason="tc or nsenter is not installed"),
]
MAC, GATEWAY = "00:16:3e:00:00:01", "ee:ff:ff:ff:ff:ff"
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


@dataclass(frozen=True)
class Wires:
    """A guest's namespace, and the vSwitch's end of an ENI in another one."""

    guest: Namespace
    vswitch: Namespace


@pytest.fixture
def wires() -> Iterator[Wires]:
    prefix = f"mip-{secrets.token_hex(3)}"
    found = Wires(Namespace(f"{prefix}-guest"), Namespace(f"{prefix}-vswitch"))
    try:
        found.guest.create()
        found.vswitch.create()
        found.vswitch.set_sysctls({"ipv6/conf/all/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1"})
        found.vswitch.ip(
            f"link add port type veth peer name eth1 address {MAC} netns {found.guest.name}", "link set port up"
        )
        yield found
    finally:
        netns.sweep(f"{prefix}-")


def frame(to: str, of: str, kind: int, payload: bytes = b"payload") -> bytes:
    addresses = bytes.fromhex((to + of).replace(":", ""))
    return addresses + struct.pack("!H", kind) + payload.ljust(46, b"\0")


def open_tap(space: Namespace) -> int:
    """Open an ENI's tap as QEMU does, and return its descriptor."""

    def open_it() -> int:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", taps.tap(MAC).encode(), _IFF_TAP | _IFF_NO_PI))
        return descriptor

    return space.call(open_it)


def listen(space: Namespace, interface: str) -> socket.socket:
    """Return a socket for all frames of an interface."""

    def open_it() -> socket.socket:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        raw.bind((interface, 0))
        raw.settimeout(2)
        return raw

    return space.call(open_it)


@pytest.mark.parametrize("kind", [0x0800, 0x0806, 0x86DD])
def test_frames_pass_as_they_are_both_ways(wires: Wires, kind: int) -> None:
    taps.wire(wires.guest, "eth1", MAC)
    tap = open_tap(wires.guest)
    try:
        with closing(listen(wires.vswitch, "port")) as port:
            for to in (MAC, "ff:ff:ff:ff:ff:ff"):
                arriving = frame(to, GATEWAY, kind)
                port.send(arriving)
                assert select.select([tap], [], [], 2)[0]
                assert os.read(tap, 2000) == arriving
                leaving = frame(GATEWAY, MAC, kind, b"answer")
                os.write(tap, leaving)
                while (seen := port.recv(2000)) == arriving:
                    pass
                assert seen == leaving
    finally:
        os.close(tap)


def test_the_kernel_here_says_nothing_on_the_wire(wires: Wires) -> None:
    """An ENI's end that came up with IPv6 would announce itself, and be dropped as spoofing."""
    with closing(listen(wires.vswitch, "port")) as port:
        taps.wire(wires.guest, "eth1", MAC)
        with pytest.raises(TimeoutError):
            port.recv(2000)


def test_interfaces_come_in_the_order_of_their_numbers(wires: Wires) -> None:
    wires.guest.ip(*(f"link add eth{number} type veth peer name other{number}" for number in (10, 2)))
    assert list(taps.interfaces(wires.guest)) == ["eth1", "eth2", "eth10"]
    assert taps.interfaces(wires.guest)["eth1"] == MAC


def test_a_wire_can_be_taken_away_and_made_again(wires: Wires) -> None:
    taps.wire(wires.guest, "eth1", MAC)
    # As when an ENI is detached: its end goes first.
    wires.vswitch.ip("link del port")
    taps.unwire(wires.guest, MAC)
    assert taps.interfaces(wires.guest) == {}
    wires.vswitch.ip(f"link add port type veth peer name eth1 address {MAC} netns {wires.guest.name}")
    taps.wire(wires.guest, "eth1", MAC)
    os.close(open_tap(wires.guest))
