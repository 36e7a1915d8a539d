"""What the reconciler asks the metadata service, and what it makes of the answers."""

from __future__ import annotations

import json
import time
from ipaddress import IPv6Address

import pytest

from generator.run import run
from generator.sandbox.fabric import filters
from generator.sandbox.fabric.service import Fault
from tests.lab.candidates import Multieip, example_spec
from tests.lab.conftest import NewLab
from tests.lab.disturbances import BOOT, TIMER, traces
from tests.lab.lab import Lab
from tests.lab.layout import FIFTY, LARGEST, USUAL

SCRIPT = "/usr/local/sbin/multieip-policy-routing"


def booted(lab: Lab) -> Lab:
    lab.boot()
    repair = lab.watch(BOOT)
    assert repair.after is not None, lab.report("boot", repair.problems)
    return lab


def state(lab: Lab) -> str:
    """Return what the instance has of addresses, rules and routes."""
    return lab.run("ip -4 -br address; ip rule; ip route show table all; ls /run/NetworkManager/system-connections")


def test_a_run_asks_at_most_two_requests_and_five_for_each_eni(new_lab: NewLab) -> None:
    lab = booted(new_lab())
    lab.run("systemctl stop multieip-policy-routing.timer multieip-policy-routing.path; rm /run/multieip/*")
    enis = len(USUAL.enis)
    counts = []
    for _ in range(3):
        before = len(lab.service.log)
        lab.run(f"{SCRIPT} apply")
        counts.append(len(lab.service.log) - before)
    assert counts[0] <= 2 + 5 * enis
    # The token, the vSwitch's facts and the ENI's id are known from then on.
    assert counts[2] == 1 + 3 * enis


def test_all_requests_of_a_run_use_one_connection(new_lab: NewLab) -> None:
    lab = booted(new_lab())
    lab.run("systemctl stop multieip-policy-routing.timer multieip-policy-routing.path")
    inside = ["ip", "netns", "exec", lab.container.space.name, "nft"]
    table = """table ip asked {
        chain out {
            type filter hook output priority 0; policy accept;
            ip daddr 100.100.100.200 tcp flags & (syn | ack) == syn counter
        }
    }"""
    run([*inside, "-f", "-"], stdin=table.encode())
    lab.run(f"{SCRIPT} apply")
    assert "counter packets 1 " in run([*inside, "list", "table", "ip", "asked"]).stdout


def test_eight_enis_of_fifty_addresses_each_answer(new_lab: NewLab) -> None:
    lab = new_lab(LARGEST)
    lab.boot()
    deadline = time.monotonic() + BOOT
    while not lab.run(f"{SCRIPT} check", check=False).startswith("ok: "):
        assert time.monotonic() < deadline, lab.report("boot", [lab.run(f"{SCRIPT} check", check=False)])
        time.sleep(0.2)
    assert lab.run("ip -4 rule show").count("lookup 10") == 7 * 50
    pairs = lab.pairs()
    # One ENI at a time: 800 connections at once are more than the judge can look after in its time.
    for first in range(0, len(pairs), 50):
        assert lab.prober.judge(pairs[first : first + 50], pairs[0].eip) == []


def test_a_run_with_nothing_to_do_says_nothing_and_leaves_no_trace(new_lab: NewLab) -> None:
    """What it costs is measured by `make bench`."""
    lab = booted(new_lab(FIFTY))
    lab.run("systemctl stop multieip-policy-routing.timer multieip-policy-routing.path")
    lab.run(f"{SCRIPT} apply; {SCRIPT} apply; touch /tmp/mark; sleep 0.1")
    said = lab.run("journalctl -b --output=cat | wc -l; nmcli -t -f DEVICE,CON-UUID device")
    assert lab.run(f"cd /; {SCRIPT} apply 2>&1") == ""
    assert lab.run("journalctl -b --output=cat | wc -l; nmcli -t -f DEVICE,CON-UUID device") == said
    written = lab.run(
        "find /etc /var/lib/multieip /run/multieip /run/NetworkManager /var/lib/NetworkManager -newer /tmp/mark"
    )
    assert written == ""


def test_ipv6_addresses_that_the_service_lists_get_rules_and_a_table(new_lab: NewLab) -> None:
    lab = new_lab()
    one, two = IPv6Address("2408:4005:3c1:7a00::a:1"), IPv6Address("2408:4005:3c1:7a00::a:2")
    lab.fabric.assign(lab.eni_ids[1], addresses6=[one, two])
    booted(lab)
    lab.run(f"{SCRIPT} apply")
    rules = lab.run("ip -6 rule show")
    assert f"10001:\tfrom {one} lookup 1001" in rules
    assert f"10001:\tfrom {two} lookup 1001" in rules
    routes = lab.run("ip -6 route show table 1001")
    assert "default via 2408:4005:3c1:7a00::fff7 dev eth1" in routes
    assert "2408:4005:3c1:7a00::/64 dev eth1" in routes
    assert "dev eth1 table 1001" in lab.run(f"ip -6 route get 2400:3200::1 from {two}")
    lab.run("ip -6 rule flush; ip -6 rule add pref 32766 lookup main; ip -6 route flush table 1001")
    lab.run(f"{SCRIPT} apply")
    assert lab.run("ip -6 rule show") == rules
    assert len(lab.run("ip -6 route show table 1001").splitlines()) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"x" * 3_000_000,
        b"\0" * 1000,
        b'["172.16.20.12\0","172.16.20.13"]',
        b'["172.16.20.12","172.16.20.13","0.0.0.0"]',
        b'["172.16.20.12","172.16.20.13","172.16.20.300"]',
        b'["172.16.20.12","172.16.99.1"]',
        b'["172.16.20.12","172.16.20.253"]',
        b'["172.16.20.13"]',
        b'["172.16.20.12","$(touch /pwned)"]',
        b'["172.16.20.12","172.16.20.13"]\n\n@x exit 0\n',
        b"172.16.20.12\nrouting-rule9=priority 1 from 0.0.0.0/0 table 1",
        b"<html><body>172.16.20.12</body></html>",
    ],
    ids=range(14),
)
def test_an_answer_that_cannot_be_true_changes_nothing(lab: Lab, body: bytes) -> None:
    before = state(lab)
    lab.set_fault(Fault(match=f"{lab.enis()[1].mac}/private-ipv4s$", body=body))
    lab.run(f"{SCRIPT} apply", check=False)
    lab.run(f"{SCRIPT} apply", check=False)
    assert state(lab) == before
    assert lab.run("ls /pwned", check=False) == ""
    verdict = lab.run(f"{SCRIPT} check", check=False)
    assert "eth1" in verdict
    assert "(since 20" in verdict
    lab.end_faults()
    lab.run(f"{SCRIPT} apply")
    assert lab.run(f"{SCRIPT} check").startswith("ok: ")


@pytest.mark.parametrize(
    ("key", "body"),
    [("gateway", b"172.16.20.253\n[ipv4]"), ("netmask", b"255.0.255.0"), ("primary-ip-address", b"`id`")],
)
def test_hostile_facts_of_a_new_eni_leave_it_on_dhcp(new_lab: NewLab, key: str, body: bytes) -> None:
    lab = new_lab()
    lab.set_fault(Fault(match=f"{lab.enis()[1].mac}/{key}$", body=body))
    lab.boot()
    deadline = time.monotonic() + BOOT
    dhcp = f"{lab.enis()[1].addresses[0]}/24"
    while "lookup 1002" not in lab.run("ip rule") or dhcp not in lab.run(
        "ip -4 -br address show dev eth1", check=False
    ):
        assert time.monotonic() < deadline, "the ENI with good answers works, and the other one has DHCP's address"
        time.sleep(0.2)
    assert "lookup 1001" not in lab.run("ip rule")
    lab.end_faults()
    assert lab.watch(TIMER).after is not None


def test_an_address_is_taken_away_only_when_two_answers_agree(lab: Lab) -> None:
    eni = lab.enis()[1]
    lab.run("systemctl stop multieip-policy-routing.timer")
    short = json.dumps([str(ip) for ip in eni.addresses[:-1]]).encode()
    before = state(lab)
    lab.set_fault(Fault(match=f"{eni.mac}/private-ipv4s$", body=short, times=1))
    lab.run(f"{SCRIPT} apply")
    assert state(lab) == before
    lab.set_fault(Fault(match=f"{eni.mac}/private-ipv4s$", body=short))
    lab.run(f"{SCRIPT} apply")
    assert traces(lab, str(eni.addresses[-1])) == []
    lab.end_faults()
    lab.run(f"{SCRIPT} apply; systemctl start multieip-policy-routing.timer")
    assert state(lab).split() == before.split()


def test_an_address_that_two_enis_claim_stays_where_it_is(lab: Lab) -> None:
    primary, one = lab.enis()[:2]
    before = state(lab)
    both = json.dumps([*map(str, primary.addresses), str(one.addresses[-1])]).encode()
    lab.set_fault(Fault(match=f"{primary.mac}/private-ipv4s$", body=both))
    lab.run(f"{SCRIPT} apply", check=False)
    assert state(lab) == before
    assert "for another ENI too" in lab.run(f"{SCRIPT} check", check=False)


@pytest.mark.slow
def test_a_first_boot_without_metadata_keeps_the_primary_and_is_delayed_by_thirty_seconds_at_most(
    new_lab: NewLab,
) -> None:
    lab = new_lab(of=Multieip(example_spec(), interval=20))
    lab.set_metadata(filters.DROPPED)
    lab.boot()
    lab.container.wait_booted(60)
    took = time.monotonic() - lab.container.started_at
    assert 15 < took < 30
    assert str(lab.enis()[0].addresses[0]) in lab.run("ip -4 -br address show dev eth0")
    assert "does not answer" in lab.run(f"{SCRIPT} check", check=False)
    lab.end_faults()
    assert lab.watch(25).after is not None
