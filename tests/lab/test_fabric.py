"""The fabric behaves as a VPC does, and leaves nothing behind. Guests here are bare namespaces, configured by hand."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from generator.errors import MultieipError
from generator.run import run
from generator.sandbox.fabric import filters, netns, owner
from generator.sandbox.fabric.fabric import Fabric
from generator.sandbox.fabric.model import Eni, Identity
from generator.sandbox.fabric.network import ECHO_PORT, listen
from generator.sandbox.fabric.service import Fault
from tests.lab.layout import INSTANCE, USUAL, VPC, eip_of, vswitch

META = "http://100.100.100.200/latest"
TTL = "X-aliyun-ecs-metadata-token-ttl-seconds"
TOKEN = "X-aliyun-ecs-metadata-token"
OTHER = Eni("eni-other", "00:16:3e:1a:b1:00", VPC.id, vswitch(0), (IPv4Address("172.16.20.99"),))


class Wired:
    """A fabric with a guest that is configured as it should be."""

    def __init__(self, prefix: str = "") -> None:
        self.fabric = Fabric(prefix)
        self.enis = USUAL.build()
        self.fabric.add_vpc(VPC)
        for switch in USUAL.vswitches:
            self.fabric.add_vswitch(VPC.id, switch)
        self.space = self.fabric.add_guest(Identity(INSTANCE, "lab", user_data=b"\x1f\x8b raw"))
        for number, eni in enumerate(self.enis):
            self.fabric.add_eni(eni)
            self.fabric.plug(eni.id, INSTANCE)
            table = 1000 + number
            self.space.ip(
                *(f"addr add {ip}/24 dev eth{number}" for ip in eni.addresses),
                f"link set eth{number} up",
                f"route add default via {eni.vswitch.gateway} dev eth{number} table {table}",
                *(f"rule add from {ip} lookup {table} pref 100" for ip in eni.addresses),
            )
        self.space.ip(f"route add default via {self.enis[0].vswitch.gateway} dev eth0")
        self.fabric.associate({eip_of(ip): (eni.id, ip) for eni in self.enis for ip in eni.addresses})

    def get(self, path: str, *options: str) -> tuple[str, str]:
        """Return status and body of a request to the metadata service, from the primary private IP."""
        done = self.space.run(["curl", "-sS", "-m", "2", "-w", "\n%{http_code}", *options, META + path], check=False)
        body, _, status = done.stdout.rpartition("\n")
        return status, body

    def token(self) -> str:
        return self.get("/api/token", "-X", "PUT", "-H", f"{TTL}: 60")[1]

    def seen_as(self, source: IPv4Address | IPv6Address, peer: IPv4Address | IPv6Address | None = None) -> str:
        """Return what the internet's echo, or `peer`, sees a connection from `source` as."""
        return ask(self.space, peer or self.fabric.internet.address, source)


def ask(
    space: netns.Namespace, peer: IPv4Address | IPv6Address, source: IPv4Address | IPv6Address | None = None
) -> str:
    def inside() -> str:
        bound = (str(source), 0) if source else None
        try:
            with socket.create_connection((str(peer), ECHO_PORT), timeout=1, source_address=bound) as made:
                return made.recv(64).decode().strip()
        except OSError as error:
            return error.strerror or "no answer"

    return space.call(inside)


def serve_name(wired: Wired, space: netns.Namespace) -> None:
    """Have a namespace answer TCP with the address that it sees."""

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(writer.get_extra_info("peername")[0].encode())
        writer.close()

    listening = space.call(lambda: listen(IPv4Address(0), ECHO_PORT))
    wired.fabric.loop.call(asyncio.start_server(tell, sock=listening))


@pytest.fixture
def wired() -> Iterator[Wired]:
    made = Wired()
    try:
        yield made
    finally:
        made.fabric.close()


# EIPs


def test_each_private_ip_is_seen_as_its_eip(wired: Wired) -> None:
    seen = {ip: wired.seen_as(ip) for eni in wired.enis for ip in eni.addresses}
    assert seen == {ip: str(eip_of(ip)) for ip in seen}


def test_an_association_counts_for_the_next_connection(wired: Wired) -> None:
    first, second = wired.enis[1].addresses[:2]
    eips = eip_of(first), eip_of(second)
    wired.fabric.associate({eips[0]: (wired.enis[1].id, second), eips[1]: (wired.enis[1].id, first)})
    assert (wired.seen_as(first), wired.seen_as(second)) == (str(eips[1]), str(eips[0]))


def test_a_private_ip_without_an_eip_has_no_way_out_nor_in(wired: Wired) -> None:
    ip = wired.enis[1].addresses[0]
    serve_name(wired, wired.space)
    assert ask(wired.fabric.internet.space, eip_of(ip)) == str(wired.fabric.internet.address)
    wired.fabric.unassociate([eip_of(ip)])
    assert wired.seen_as(ip) == "no answer"
    assert ask(wired.fabric.internet.space, eip_of(ip)) != str(wired.fabric.internet.address)
    assert wired.seen_as(wired.enis[1].addresses[1]) == str(eip_of(wired.enis[1].addresses[1]))


def test_the_private_range_is_not_reachable_from_the_internet(wired: Wired) -> None:
    serve_name(wired, wired.space)
    router = wired.fabric.router(VPC.id).address
    wired.fabric.internet.space.ip(f"route add {VPC.cidr} via {router}", f"route add 100.64.0.0/10 via {router}")
    assert ask(wired.fabric.internet.space, wired.enis[0].addresses[0]) == "no answer"
    done = wired.fabric.internet.space.run(["curl", "-sS", "-m", "1", META + "/"], check=False)
    assert done.returncode == 28


def test_another_instance_of_the_vpc_is_seen_as_its_eip_when_it_asks_an_eip(wired: Wired) -> None:
    other = wired.fabric.add_guest(Identity("i-other", "other"))
    wired.fabric.add_eni(OTHER)
    wired.fabric.plug(OTHER.id, "i-other")
    other.ip("addr add 172.16.20.99/24 dev eth0", "link set eth0 up", "route add default via 172.16.20.253")
    wired.fabric.associate({eip_of(OTHER.addresses[0]): (OTHER.id, OTHER.addresses[0])})
    serve_name(wired, other)
    source = wired.enis[1].addresses[0]
    assert wired.seen_as(source, eip_of(OTHER.addresses[0])) == str(eip_of(source))


def test_ipv6_is_routed_end_to_end_from_what_the_eni_has(wired: Wired) -> None:
    eni = wired.enis[1]
    assert eni.vswitch.cidr6 is not None
    mine, lie = eni.vswitch.cidr6[0x10], eni.vswitch.cidr6[0x11]
    wired.fabric.assign(eni.id, addresses6=[mine])
    wired.space.ip(
        f"addr add {mine}/64 dev eth1 nodad",
        f"addr add {lie}/64 dev eth1 nodad",
        f"route add ::/0 via {eni.vswitch.gateway6} dev eth1",
    )
    # A bridge that was just made has its link-local address, which neighbour discovery needs, within a second.
    seen = {wired.seen_as(mine, wired.fabric.internet.address6) for _ in range(3)}
    assert str(mine) in seen
    assert seen <= {str(mine), "no answer"}
    assert wired.seen_as(lie, wired.fabric.internet.address6) == "no answer"
    assert str(lie) in wired.fabric.spoofed()[eni.id]


# Anti-spoofing


def test_what_leaves_by_the_wrong_eni_is_dropped_and_counted(wired: Wired) -> None:
    ip = wired.enis[1].addresses[0]
    assert wired.fabric.spoofed() == {}
    wired.space.ip(f"rule del from {ip}")
    assert wired.seen_as(ip) == "no answer"
    counted = wired.fabric.spoofed()
    assert list(counted) == [wired.enis[0].id]
    assert counted[wired.enis[0].id][str(ip)] >= 1


def test_an_arp_that_lies_is_dropped_and_counted(wired: Wired) -> None:
    eni, lie = wired.enis[1], IPv4Address("172.16.20.10")

    def send(mac: str, sender: IPv4Address) -> None:
        own = bytes.fromhex(mac.replace(":", ""))
        arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + own + sender.packed + bytes(6) + eni.vswitch.gateway.packed
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("eth1", 0))
            raw.send(b"\xff" * 6 + bytes.fromhex(eni.mac.replace(":", "")) + b"\x08\x06" + arp)

    wired.space.call(lambda: send(eni.mac, eni.addresses[0]))
    assert wired.fabric.spoofed() == {}
    wired.space.call(lambda: send(eni.mac, lie))
    assert wired.fabric.spoofed() == {eni.id: {str(lie): 1}}


def test_an_assignment_changes_at_once_what_an_eni_may_send(wired: Wired) -> None:
    eni, new = wired.enis[1], IPv4Address("172.16.20.50")
    wired.space.ip(f"addr add {new}/24 dev eth1", f"rule add from {new} lookup 1001 pref 100")
    wired.fabric.assign(eni.id, [new])
    wired.fabric.associate({eip_of(new): (eni.id, new)})
    assert wired.seen_as(new) == str(eip_of(new))
    wired.fabric.unassign(eni.id, [new])
    assert wired.seen_as(new) == "no answer"
    assert str(new) in wired.fabric.spoofed()[eni.id]
    assert eip_of(new) not in wired.fabric.eips(VPC.id)


def test_a_vswitch_answers_arp_itself_and_floods_it_to_nobody(wired: Wired) -> None:
    peer = wired.enis[1].addresses[0]
    wired.space.ip("neigh flush dev eth0", "link set eth1 arp off")
    wired.space.run(["ip", "neigh", "get", str(peer), "dev", "eth0"], check=False)
    gateway = wired.enis[0].vswitch.gateway
    assert wired.seen_as(wired.enis[0].addresses[0]) == str(eip_of(wired.enis[0].addresses[0]))
    neighbours = wired.space.run(["ip", "neigh", "show", str(gateway)]).stdout
    assert "ee:ff:ff:ff:ff:ff" in neighbours


# ENIs


def test_an_unplugged_eni_frees_its_number_and_its_addresses(wired: Wired) -> None:
    wired.fabric.unplug(wired.enis[1].id)
    links = wired.space.run(["ip", "-br", "link"]).stdout
    assert "eth1" not in links
    assert "eth2" in links
    wired.fabric.add_eni(OTHER)
    assert wired.fabric.plug(OTHER.id, INSTANCE) == "eth1"
    assert OTHER.mac in wired.space.run(["ip", "-br", "link"]).stdout


def test_a_carrier_can_be_taken_and_given_back(wired: Wired) -> None:
    wired.fabric.set_carrier(wired.enis[1].id, up=False)
    assert "NO-CARRIER" in wired.space.run(["ip", "link", "show", "eth1"]).stdout
    wired.fabric.set_carrier(wired.enis[1].id, up=True)
    assert "NO-CARRIER" not in wired.space.run(["ip", "link", "show", "eth1"]).stdout


def test_a_power_cycle_gives_a_fresh_network_with_the_same_enis(wired: Wired) -> None:
    wired.fabric.power_cycle(INSTANCE)
    assert "172.16" not in wired.space.run(["ip", "address"]).stdout
    assert "lookup 1001" not in wired.space.run(["ip", "rule"]).stdout
    links = json.loads(wired.space.run(["ip", "-j", "link"]).stdout)
    assert {link["ifname"]: link["address"] for link in links if link["ifname"] != "lo"} == {
        f"eth{number}": eni.mac for number, eni in enumerate(wired.enis)
    }


def test_what_is_removed_frees_its_place(wired: Wired) -> None:
    fabric = wired.fabric
    fabric.remove_guest(INSTANCE)
    for eni in wired.enis:
        fabric.remove_eni(eni.id)
    assert fabric.eips(VPC.id) == {}
    for switch in USUAL.vswitches:
        fabric.remove_vswitch(VPC.id, switch.id)
    first = fabric.router(VPC.id).address
    fabric.remove_vpc(VPC.id)
    assert netns.names(fabric.prefix) == [fabric.internet.space.name]
    fabric.add_vpc(VPC)
    assert fabric.router(VPC.id).address == first
    fabric.add_vswitch(VPC.id, vswitch(0))


def test_a_guest_whose_name_begins_another_ones_goes_alone(wired: Wired) -> None:
    longer = wired.fabric.add_guest(Identity(f"{INSTANCE}0", "longer"))
    wired.fabric.remove_guest(INSTANCE)
    assert longer.path.exists()
    assert not wired.space.path.exists()


@pytest.mark.parametrize("identifier", ["../x", "a b", "", "a,b", "a\nb", "A"])
def test_an_identifier_that_is_no_name_is_refused(identifier: str) -> None:
    with pytest.raises(ValueError, match="not an identifier"):
        Identity(identifier, "lab")


# Metadata


def test_metadata_has_the_shapes_of_the_cloud(wired: Wired) -> None:
    mac = wired.enis[1].mac
    interface = f"/meta-data/network/interfaces/macs/{mac}"
    assert wired.get("/meta-data/network/interfaces/macs/") == ("200", "\n".join(f"{e.mac}/" for e in wired.enis))
    assert wired.get("/meta-data/mac") == ("200", wired.enis[0].mac)
    assert wired.get(f"{interface}/private-ipv4s") == ("200", '["172.16.20.12","172.16.20.13","172.16.20.14"]')
    assert wired.get(f"{interface}/gateway") == ("200", "172.16.20.253")
    assert wired.get(f"{interface}/vswitch-cidr-block") == ("200", "172.16.20.0/24")
    assert wired.get(f"{interface}/ipv6s")[0] == "404"
    assert wired.get("/meta-data/eipv4") == ("200", "198.18.20.10")
    assert wired.get("/meta-data/sub-private-ipv4-list") == ("200", "172.16.20.11")
    assert wired.get("/user-data") == ("200", "\x1f\ufffd raw")
    status, everything = wired.get("/meta-data/all")
    assert status == "200"
    assert json.loads(everything)["network"]["interfaces"]["macs"][mac]["netmask"] == "255.255.255.0"
    assert wired.get("/meta-data/nothing")[0] == "404"
    wired.fabric.assign(wired.enis[1].id, addresses6=[IPv6Address("2408:4005:3c1:7a00::5")])
    assert wired.get(f"{interface}/ipv6s") == ("200", "[2408:4005:3c1:7a00::5]")


def test_metadata_tokens_are_checked_as_the_cloud_does(wired: Wired) -> None:
    put = ("-X", "PUT")
    assert wired.get("/api/token", *put)[0] == "400"
    assert wired.get("/api/token", *put, "-H", f"{TTL}: 0")[0] == "400"
    assert wired.get("/api/token", *put, "-H", f"{TTL}: 21601")[0] == "400"
    assert wired.get("/api/token", *put, "-H", f"{TTL}: 60", "-H", "X-Forwarded-For: 1.2.3.4")[0] == "403"
    assert wired.get("/api/token", "-H", f"{TTL}: 60")[0] == "405"
    token = wired.token()
    assert wired.get("/meta-data/mac", "-H", f"{TOKEN}: {token}")[0] == "200"
    assert wired.get("/meta-data/mac", "-H", f"{TOKEN}: {token}x")[0] == "401"
    wired.fabric.service(VPC.id).expire_tokens()
    assert wired.get("/meta-data/mac", "-H", f"{TOKEN}: {token}")[0] == "401"
    assert wired.get("/meta-data/mac")[0] == "200"


def test_hardened_metadata_refuses_who_has_no_token(wired: Wired) -> None:
    wired.fabric.update_guest(Identity(INSTANCE, "lab", tokens_required=True))
    assert wired.get("/meta-data/mac")[0] == "403"
    assert wired.get("/meta-data/mac", "-H", f"{TOKEN}: {wired.token()}")[0] == "200"


def test_a_token_is_good_for_its_instance_alone(wired: Wired) -> None:
    wired.fabric.add_eni(OTHER)
    other = wired.fabric.add_guest(Identity("i-other", "other"))
    wired.fabric.plug(OTHER.id, "i-other")
    other.ip("addr add 172.16.20.99/24 dev eth0", "link set eth0 up", "route add default via 172.16.20.253")
    head = f"{TOKEN}: {wired.token()}"
    done = other.run(
        ["curl", "-s", "-m", "2", "-H", head, "-w", "%{http_code}", "-o", "/dev/null", f"{META}/meta-data/mac"]
    )
    assert done.stdout == "401"


def test_metadata_fails_as_it_is_told(wired: Wired) -> None:
    service = wired.fabric.service(VPC.id)
    service.fault = Fault(status=429, times=2)
    assert [wired.get("/meta-data/mac")[0] for _ in range(3)] == ["429", "429", "200"]
    service.fault = Fault(empty=True)
    assert wired.get("/meta-data/mac") == ("200", "")
    service.fault = Fault(truncate=True)
    done = wired.space.run(["curl", "-s", "-m", "2", f"{META}/meta-data/mac"], check=False)
    assert (done.returncode, done.stdout) == (18, wired.enis[0].mac[:8])
    service.fault = Fault(match="hostname", body=b"$(reboot)")
    assert wired.get("/meta-data/hostname")[1] == "$(reboot)"
    assert wired.get("/meta-data/mac")[1] == wired.enis[0].mac
    service.fault = Fault(delay=0.3)
    before = time.monotonic()
    wired.get("/meta-data/mac")
    assert 0.3 <= time.monotonic() - before < 1.5
    service.fault = Fault()
    service.rate = 2
    assert [wired.get("/meta-data/mac")[0] for _ in range(3)] == ["200", "200", "429"]
    service.rate = None
    wired.fabric.set_metadata(VPC.id, filters.REFUSED)
    assert wired.space.run(["curl", "-s", "-m", "1", f"{META}/"], check=False).returncode == 7
    wired.fabric.set_metadata(VPC.id, filters.DROPPED)
    assert wired.space.run(["curl", "-s", "-m", "1", f"{META}/"], check=False).returncode == 28
    wired.fabric.set_metadata(VPC.id, filters.REACHABLE)
    assert wired.get("/meta-data/mac")[0] == "200"


def test_metadata_that_lags_tells_of_a_change_after_some_reads(wired: Wired) -> None:
    path = f"/meta-data/network/interfaces/macs/{wired.enis[2].mac}/private-ipv4s"
    wired.fabric.service(VPC.id).keep_stale(wired.fabric.view(INSTANCE), polls=2)
    wired.fabric.assign(wired.enis[2].id, [IPv4Address("172.16.21.77")])
    assert ["77" in wired.get(path)[1] for _ in range(3)] == [False, False, True]


def test_requests_are_counted_by_instance(wired: Wired) -> None:
    wired.get("/meta-data/mac")
    last = wired.fabric.service(VPC.id).log[-1]
    assert (last.instance_id, last.method, last.path, last.status) == (INSTANCE, "GET", "/latest/meta-data/mac", 200)


# The machine


def machine() -> dict[str, str]:
    """Return what the machine's own namespace, and its mounts, look like."""
    commands = (
        "ip -br link",
        "ip -br address",
        "ip rule",
        "ip route show table all",
        "nft list ruleset",
    )
    found = {command: run(command.split()).stdout for command in commands}
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found["mounts"] = "\n".join(line for line in mounts if "/run/netns" not in line)
    return found


def test_the_machines_own_namespace_is_left_alone() -> None:
    before = machine()
    wired = Wired()
    try:
        assert machine() == before
    finally:
        wired.fabric.close()
    assert machine() == before
    assert netns.names(wired.fabric.prefix) == []
    assert not wired.fabric.folder.exists()
    assert wired.fabric.prefix not in run(["ps", "-eo", "args"]).stdout


def test_two_fabrics_with_the_same_addresses_run_side_by_side(wired: Wired) -> None:
    other = Wired()
    try:
        ip = wired.enis[1].addresses[0]
        wired.fabric.unassociate([eip_of(ip)])
        assert wired.seen_as(ip) == "no answer"
        assert other.seen_as(ip) == str(eip_of(ip))
    finally:
        other.fabric.close()
    assert wired.seen_as(wired.enis[1].addresses[1]) == str(eip_of(wired.enis[1].addresses[1]))


def test_a_prefix_has_one_owner(wired: Wired) -> None:
    with pytest.raises(MultieipError, match="is running"):
        Fabric(wired.fabric.prefix)


def test_an_interrupt_while_building_leaves_nothing() -> None:
    fabric = Fabric()

    def build() -> None:
        with fabric:
            fabric.add_vpc(VPC)
            fabric.add_vswitch(VPC.id, vswitch(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build()
    assert netns.names(fabric.prefix) == []
    assert not fabric.folder.exists()


def test_what_a_killed_process_left_is_cleaned_up_by_the_next_fabric(base: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.lab.candidates import RcLocal\n"
        "from tests.lab.lab import Lab\n"
        "lab = Lab(RcLocal(), Path(sys.argv[1]))\n"
        "lab.boot()\n"
        "lab.container.wait_booted()\n"
        "print(lab.fabric.prefix, lab.fabric.folder, flush=True)\n"
        "time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, base], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    prefix, folder = child.stdout.readline().split()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert len(netns.names(prefix)) == 3
    with Fabric():
        assert netns.names(prefix) == []
    assert not Path(folder).exists()
    assert f"{prefix}-" not in run(["ps", "-eo", "args"]).stdout
    assert list(Path("/sys/fs/cgroup").rglob(f"{prefix}-*")) == []
    assert owner.sweep_dead() == []
