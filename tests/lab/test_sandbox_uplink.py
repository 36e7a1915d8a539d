"""The way out of a sandbox. The machine that it runs on is a namespace here, so that there is an outside to reach."""

from __future__ import annotations

import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from generator.run import find
from generator.sandbox.fabric import netns
from generator.sandbox.fabric.netns import Namespace
from tests.lab.sandboxes import GoldenSandbox, Machines, left, machine, traces

pytestmark = pytest.mark.skipif(find("slirp4netns") is None, reason="needs slirp4netns: apt-get install slirp4netns")

OUTSIDE = "192.168.77.1"
NAME = "outside.example"
PORT = 7100
# The gateway that slirp4netns shows, and behind which it would show the machine's own loopback.
GATEWAY = "198.51.100.2"
_GREET = """#!/usr/bin/env python3
import json, socket
from concurrent.futures import ThreadPoolExecutor
def ask(host):
    try:
        with socket.create_connection((host, {port}), 1.5) as connection:
            return connection.recv(64).decode().strip()
    except OSError as error:
        return type(error).__name__
print(json.dumps(list(ThreadPoolExecutor().map(ask, {hosts}))))
"""


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Namespace]:
    """A network with one host, which greets on a port, and answers for its name where this machine asks for names."""
    resolver = _resolver()
    space = Namespace(f"outside-{secrets.token_hex(3)}")
    space.create()
    space.set_sysctls({"ipv6/conf/default/disable_ipv6": "1"})
    try:
        own = [] if IPv4Address(resolver).is_loopback else [f"addr add {resolver}/32 dev outside"]
        space.ip("link add outside type bridge", f"addr add {OUTSIDE}/24 dev outside", *own, "link set outside up")
        options = ["--conf-file=/dev/null", "--keep-in-foreground", "--pid-file=", "--no-resolv", "--bind-interfaces"]
        space.start(
            ["dnsmasq", *options, f"--listen-address={resolver}", f"--address=/{NAME}/{OUTSIDE}"],
            log=tmp_path / "dnsmasq.log",
        )
        server = space.call(lambda: socket.create_server(("", PORT)))
        threading.Thread(target=_greet, args=[server], daemon=True).start()
        yield space
        server.shutdown(socket.SHUT_RDWR)
        server.close()
    finally:
        netns.destroy(space)


def _resolver() -> str:
    """Return the first resolver of this machine, which is whom slirp4netns asks."""
    lines = [line.split() for line in Path("/etc/resolv.conf").read_text().splitlines()]
    named = [line[1] for line in lines if line[:1] == ["nameserver"] and ":" not in line[1]]
    if not named:
        pytest.skip("this machine has no resolver")
    return named[0]


def _greet(server: socket.socket) -> None:
    while True:
        try:
            client, (address, _) = server.accept()
        except OSError:
            return
        with client:
            client.sendall(f"outside sees {address}\n".encode())


def greetings(region: Machines, instance: str) -> list[str]:
    """Return what an instance hears from the host outside, by address and by name, and from the machine's loopback."""
    return list(json.loads(region.said(instance, _GREET.format(port=PORT, hosts=[OUTSIDE, NAME, GATEWAY]))))


def test_instances_with_an_eip_get_out_by_the_uplink_and_it_ends_with_the_sandbox(
    outside: Namespace, new_sandbox: Callable[[str], GoldenSandbox]
) -> None:
    outside.call(lambda: _in_and_out(new_sandbox("sandbox")))


def _in_and_out(sandbox: GoldenSandbox) -> None:
    before = machine()
    sandbox.begin(uplink=True)
    region = sandbox.region()
    (hidden,) = region.boot()
    instance, eips = region.boot_with_eips(enis=1)
    by_address, by_name, loopback = greetings(region, instance)
    assert by_address == by_name == f"outside sees {OUTSIDE}"
    assert "outside" not in loopback
    assert region.seen_as(instance, eips) == eips
    # Without an EIP there is no way out, but names.
    assert region.said(hidden, f"getent ahostsv4 {NAME} | head -1").startswith(OUTSIDE)
    assert "outside" not in " ".join(greetings(region, hidden))
    # What is not an instance's does not go out: nobody's EIP is unreachable at once.
    done = sandbox.run("timeout", "5", "bash", "-c", "exec 3<>/dev/tcp/198.18.200.200/22")
    assert (done.returncode, "No route to host" in done.stderr) == (1, True)
    assert machine() == before

    assert any("slirp4netns" in trace for trace in traces(sandbox.home))
    sandbox.kill()
    region.until(lambda: not any("slirp4netns" in trace for trace in traces(sandbox.home)))
    sandbox.up("--no-uplink")
    region.assert_answers(eips)
    assert "outside" not in " ".join(greetings(region, instance))
    assert region.command(instance, f"getent ahostsv4 {NAME}")[0] == 2
    sandbox.down()
    assert left(sandbox.home) == set()
    assert machine() == before
