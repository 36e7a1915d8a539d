"""Instances and the machine have no way to each other, nor has an instance to another one's secrets."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.lab.sandboxes import GoldenSandbox, Machines, greeting, own_addresses

# What a server on the machine says to whoever reaches it.
_SAID = "the machine"
# What each server, of (address, port) pairs, says first; nothing where nothing answers.
_GREET = """#!/usr/bin/env python3
import json, socket
from concurrent.futures import ThreadPoolExecutor
def ask(server):
    try:
        with socket.create_connection(server, 2) as connection:
            return connection.recv(64).decode().strip()
    except OSError:
        return ""
servers = {}
print(json.dumps(list(ThreadPoolExecutor(len(servers)).map(ask, servers))))
"""
_SECRET = base64.b64encode(b"#!/bin/sh\n# the other's secret\n").decode()
_META = "curl -s -m 2 http://100.100.100.200/latest"


@contextmanager
def listening() -> Iterator[int]:
    """Have the machine greet every client on all of its addresses; gives the port."""
    with socket.create_server(("", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.sendall(f"{_SAID}\n".encode())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@dataclass(frozen=True)
class Pair:
    """Two instances; the second one's user-data is its secret."""

    region: Machines
    one: str
    other: str
    eips: dict[str, str]


@pytest.fixture(scope="module")
def pair(running: GoldenSandbox) -> Iterator[Pair]:
    with running.region() as region:
        (other,) = region.boot(user_data=_SECRET)
        one, eips = region.boot_with_eips()
        yield Pair(region, one, other, eips)


def test_the_machine_has_no_way_to_an_instance(pair: Pair) -> None:
    region, eips = pair.region, pair.eips
    for private, eip in eips.items():
        assert greeting(region.internet, eip, 22).startswith("SSH-")
        assert not greeting(None, eip, 22).startswith("SSH-")
        assert not greeting(None, private, 22).startswith("SSH-")


def test_an_instance_has_no_way_to_the_machine(running: GoldenSandbox, pair: Pair) -> None:
    api = int(running.status()["url"].rpartition(":")[2])
    with listening() as port:
        own = [str(address) for address in own_addresses()]
        assert [greeting(None, address, port) for address in own] == [_SAID] * len(own)
        servers = [(address, number) for address in own for number in (port, api)]
        servers += [(gateway, port) for gateway in ("172.16.15.253", "203.0.113.1", "203.0.113.2")]
        echo = ("203.0.113.1", 7)
        said = json.loads(pair.region.said(pair.one, _GREET.format([*servers, echo])))
    assert dict(zip([*servers, echo], said, strict=True)) == dict.fromkeys(servers, "") | {
        echo: next(iter(pair.eips.values()))
    }


def test_an_instance_sees_its_own_metadata_only(pair: Pair) -> None:
    region, one, other = pair.region, pair.one, pair.other
    assert region.said(one, f"{_META}/meta-data/instance-id") == one
    assert region.said(other, f"{_META}/meta-data/instance-id") == other
    assert "the other's secret" in region.said(other, f"{_META}/user-data")
    assert "secret" not in region.said(one, f"{_META}/user-data")
    # As the other, by its address: what an ENI may not send, nobody gets.
    address = region.enis(other)[0].private_ip_address
    code, output = region.command(one, f"ip addr add {address}/32 dev eth0; {_META}/user-data --interface {address}")
    assert (code, output) == (28, "")
