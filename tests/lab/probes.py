"""Packets that judge: TCP from the internet to each EIP, and from each private IP to the internet.

Every socket is made in the namespace where its program would be, so it is that namespace's kernel that routes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from generator.sandbox.fabric.loop import Loop
from generator.sandbox.fabric.netns import Namespace
from generator.sandbox.fabric.network import ECHO_PORT, listen
from tests.lab.layout import Pair

PORT = 7001
# Seconds that a round waits for its answers, and for each pair more: a round that is bad says so soon, and one of
# 400 pairs on a busy machine is not taken for bad.
TIMEOUT = 0.2
TIMEOUT_PER_PAIR = 0.002
# Closing with RST leaves no TIME_WAIT behind to run out of ports with.
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Prober:
    """Judges one guest, seen from one host on the internet."""

    loop: Loop
    internet: Namespace
    host: IPv4Address
    guest: Namespace

    def answer(self) -> None:
        """Have the guest answer TCP on every address: with the address that was asked."""

        async def serve() -> None:
            async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(f"{writer.get_extra_info('sockname')[0]}\n".encode())
                writer.close()

            await asyncio.start_server(tell, sock=listening)

        listening = self.guest.call(lambda: listen(IPv4Address(0), PORT))
        self.loop.call(serve())

    def judge(self, pairs: Sequence[Pair], way_out: IPv4Address) -> list[str]:
        """Return what is wrong, a line each; `way_out` is the EIP that an unbound connection must be seen as."""
        inward = [(str(pair.eip), PORT) for pair in pairs]
        sources = [str(pair.private) for pair in pairs]
        in_sockets = self.internet.call(lambda: [_bound("") for _ in inward])
        out_sockets = self.guest.call(lambda: [_bound(source) for source in sources] + [_bound("")])
        outward = [(str(self.host), ECHO_PORT)] * len(out_sockets)
        timeout = TIMEOUT + TIMEOUT_PER_PAIR * len(pairs)
        answers = self.loop.call(_ask_all([*in_sockets, *out_sockets], [*inward, *outward], timeout))
        return list(_verdicts(pairs, answers, way_out))


def _verdicts(pairs: Sequence[Pair], answers: list[str], way_out: IPv4Address) -> Iterable[str]:
    for pair, answer in zip(pairs, answers[: len(pairs)], strict=True):
        if answer != str(pair.private):
            yield f"in: internet → {pair.eip} ({pair.private} of {pair.eni_id}): {answer}"
    for pair, answer in zip(pairs, answers[len(pairs) : -1], strict=True):
        if answer != str(pair.eip):
            yield f"out: {pair.private} of {pair.eni_id} → internet, to be seen as {pair.eip}: {answer}"
    if answers[-1] != str(way_out):
        yield f"out: unbound → internet, to be seen as the primary {way_out}: {answers[-1]}"


def _bound(source: str) -> socket.socket | str:
    """Return a socket bound to `source`, or why there is none."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    try:
        if source:
            # The port is chosen when connecting: 400 ports are not searched one by one.
            made.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            made.bind((source, 0))
    except OSError as error:
        made.close()
        return f"cannot bind: {error.strerror}"
    return made


async def _ask_all(
    sockets: Sequence[socket.socket | str], peers: Sequence[tuple[str, int]], timeout: float
) -> list[str]:
    return await asyncio.gather(*(_ask(made, peer, timeout) for made, peer in zip(sockets, peers, strict=True)))


async def _ask(made: socket.socket | str, peer: tuple[str, int], timeout: float) -> str:
    if isinstance(made, str):
        return made
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            await loop.sock_connect(made, peer)
            return (await loop.sock_recv(made, 64)).decode("ascii", "replace").strip() or "closed without an answer"
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return error.strerror or str(error)
    finally:
        made.close()
