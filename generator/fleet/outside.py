"""Asks EIPs from this machine: many at once, each with a TCP connection or a ping."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from generator.errors import PrerequisiteError, UsageError
from generator.spec.fleet import Probe

# EIPs that are asked at once.
WORKERS = 64


def ask(eips: Iterable[str], probe: Probe) -> dict[str, str]:
    """Return for each EIP why it did not answer, empty when it did; `PrerequisiteError` when nobody may ping here."""
    addresses = list(dict.fromkeys(eips))
    if probe.protocol == "icmp" and addresses:
        _pinger().close()
    work = _ping if probe.protocol == "icmp" else _connect
    with ThreadPoolExecutor(max(1, min(WORKERS, len(addresses)))) as pool:
        return dict(zip(addresses, pool.map(lambda eip: work(eip, probe), addresses), strict=True))


def _connect(eip: str, probe: Probe) -> str:
    try:
        with socket.create_connection((eip, probe.tcp_port), probe.timeout):
            return ""
    except ConnectionRefusedError:
        # The refusal has come back from the EIP: way there and back are right, and no program listens.
        return f"nothing listens on TCP port {probe.tcp_port}"
    except TimeoutError:
        return f"no answer on TCP port {probe.tcp_port} in {probe.timeout:g} s"
    except OSError as error:
        return f"TCP port {probe.tcp_port}: {error.strerror or error}"


def _pinger() -> socket.socket:
    """Return a socket for pings: what any user may open where the kernel allows it, else root's."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            return socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
        except PermissionError:
            continue
    raise PrerequisiteError(
        "this user may not ping", hint="run it as root, or allow it: sysctl net.ipv4.ping_group_range"
    )


def _ping(eip: str, probe: Probe) -> str:
    """Ping until something answers: one packet a second, for as long as the probe's timeout."""
    end, number = time.monotonic() + probe.timeout, 0
    with _pinger() as pinger:
        pinger.settimeout(min(1.0, probe.timeout))
        while time.monotonic() < end:
            number += 1
            try:
                pinger.sendto(_echo_request(number), (eip, 0))
                while True:
                    packet, (source, _) = pinger.recvfrom(2048)
                    if source == eip and _is_reply(packet):
                        return ""
            except TimeoutError:
                continue
            except OSError as error:
                return f"ping: {error.strerror or error}"
    return f"no answer to ping in {probe.timeout:g} s"


def _echo_request(number: int) -> bytes:
    body = struct.pack("!HH", os.getpid() & 0xFFFF, number) + b"multieip"
    words = struct.unpack(f"!{(len(body) + 4) // 2}H", struct.pack("!BBH", 8, 0, 0) + body)
    total = sum(words)
    total = (total >> 16) + (total & 0xFFFF)
    return struct.pack("!BBH", 8, 0, ~(total + (total >> 16)) & 0xFFFF) + body


def _is_reply(packet: bytes) -> bool:
    """Say whether a packet is an echo reply; a raw socket has the IP header before it."""
    offset = (packet[0] & 15) * 4 if packet[:1] and packet[0] >> 4 == 4 else 0
    return packet[offset : offset + 1] == b"\x00" and packet.endswith(b"multieip")


@contextmanager
def echo(place: str) -> Iterator[str]:
    """Answer connections at HOST:PORT with the address that they come from, and yield HOST:PORT to be named to others.

    The instances must reach it: a public address of this machine, or one of the VPC's network.
    """
    host, _, port = place.rpartition(":")
    try:
        server = socket.create_server((host, int(port)), backlog=512)
    except (OSError, ValueError, OverflowError) as error:
        raise UsageError(
            f"cannot listen at {place}: {error}", hint="give an address of this machine, as HOST:PORT"
        ) from error
    thread = threading.Thread(target=_answer, args=(server,), daemon=True)
    thread.start()
    try:
        yield f"{host}:{server.getsockname()[1]}"
    finally:
        # Closing alone does not wake a thread that accepts.
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


def _answer(server: socket.socket) -> None:
    while True:
        try:
            connection, (source, _) = server.accept()
        except OSError:
            return
        try:
            with connection:
                connection.settimeout(2)
                connection.sendall(f"{source}\n".encode())
        except OSError:
            continue
