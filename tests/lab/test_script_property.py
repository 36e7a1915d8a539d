"""What is not the reconciler's stays: rules, routes, addresses, profiles, ENIs that it is told to leave alone."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.lab.disturbances import EVENT, TIMER
from tests.lab.lab import Lab

SCRIPT = "/usr/local/sbin/multieip-policy-routing"
CONF = "/etc/multieip/policy-routing.conf.d/50-test.conf"


@pytest.fixture
def quiet(lab: Lab) -> Iterator[Lab]:
    """An instance on which only the test starts runs."""
    lab.run("systemctl stop multieip-policy-routing.timer")
    yield lab
    lab.run(f"rm -f {CONF}; systemctl start multieip-policy-routing.timer; {SCRIPT} apply", check=False)


def configure(lab: Lab, *lines: str) -> None:
    text = "\\n".join(lines)
    lab.run(f"mkdir -p $(dirname {CONF}); printf '{text}\\n' > {CONF}")


FOREIGN_RULES = (
    # Terway's priorities, to and from a pod.
    "pref 512 from all to 10.9.0.2 lookup main",
    "pref 2048 from 10.9.0.2 iif docker0 lookup 2003",
    # Our priority with another table, our table with another priority, and ours with something more.
    "pref 10001 from 10.5.0.0/24 lookup 500",
    "pref 20000 from 10.6.0.0/24 lookup 1001",
    "pref 30000 from all fwmark 0x7 lookup 500",
)
FOREIGN_ROUTES = (
    "10.9.0.2 dev docker0 scope link",
    "default via 172.16.20.253 dev eth0 table 500",
    "default dev docker0 table 2003",
    "10.77.0.0/16 dev docker0 table 1001",
)


def test_foreign_rules_routes_and_addresses_stay_when_ours_change(quiet: Lab) -> None:
    lab = quiet
    lab.run("ip link add docker0 type bridge && ip address add 172.17.0.1/16 dev docker0 && ip link set docker0 up")
    lab.run("ip address add 10.99.0.1/32 dev eth1")
    for rule in FOREIGN_RULES:
        lab.run(f"ip rule add {rule}")
    for route in FOREIGN_ROUTES:
        lab.run(f"ip route add {route}")
    try:
        lab.add_addresses(1, 1)
        lab.run("ip rule del pref 10002; ip route flush table 1002")
        lab.run(f"{SCRIPT} apply")
        assert lab.watch(EVENT).after is not None
        rules, routes = lab.run("ip -N rule show"), lab.run("ip -N route show table all")
        for wanted in ("512:", "2048:", "10001:\tfrom 10.5.0.0/24", "20000:", "30000:"):
            assert f"\n{wanted}" in rules
        assert "default dev docker0 table 2003" in routes
        assert "10.77.0.0/16 dev docker0 table 1001" in routes
        assert "table 500" in routes
        # NetworkManager reapplied eth1's profile, with the flag that keeps what it has not made itself.
        assert "10.99.0.1/32" in lab.run("ip -br address show dev eth1")
        assert lab.run(f"{SCRIPT} check", check=False).count("\n") <= 1
    finally:
        for rule in FOREIGN_RULES:
            lab.run(f"ip rule del {rule}", check=False)
        lab.run("ip route flush table 500; ip route flush table 2003; ip link del docker0", check=False)
        lab.run("ip address del 10.99.0.1/32 dev eth1", check=False)


def test_containers_reach_the_addresses_of_the_primary_eni(quiet: Lab) -> None:
    """Rules for the primary ENI's addresses would send replies to a container out of eth0 (nm-cloud-setup did)."""
    lab = quiet
    primary = lab.enis()[0]
    lab.run("ip link add docker0 type bridge && ip address add 172.17.0.1/16 dev docker0 && ip link set docker0 up")
    lab.run("ip link add vpod type veth peer name cpod && ip link set vpod master docker0 up")
    lab.run("unshare --net sleep 33 > /dev/null 2>&1 & sleep 0.3; pgrep -f '^sleep 33' > /run/pod")
    lab.run("ip link set cpod netns $(cat /run/pod)")
    pod = "nsenter --net=/proc/$(cat /run/pod)/ns/net"
    lab.run(f"{pod} ip address add 172.17.0.2/16 dev cpod && {pod} ip link set cpod up")
    lab.run(f"{pod} ip route add default via 172.17.0.1")
    try:
        for address in primary.addresses:
            ask = f"{pod} timeout 3 bash -c 'cat < /dev/tcp/{address}/7001'"
            assert lab.run(ask).strip() == str(address)
        assert not [line for line in lab.run("ip rule show").splitlines() if str(primary.addresses[1]) in line]
    finally:
        lab.run("kill $(cat /run/pod); ip link del docker0", check=False)


@pytest.mark.parametrize("by", ["id", "mac", "name", "pattern"])
def test_an_eni_that_is_left_alone_loses_all_that_was_ours_and_gets_it_back(quiet: Lab, by: str) -> None:
    lab = quiet
    eni = lab.enis()[2]
    selector = {"id": eni.id, "mac": eni.mac, "name": "eth2", "pattern": "et?2"}[by]
    configure(lab, f"LEAVE_ALONE={selector} eni-0000000000")
    lab.run(f"{SCRIPT} apply")
    assert "10002:" not in lab.run("ip rule show")
    assert "table 1002" not in lab.run("ip route show table all")
    assert eni.mac.replace(":", "") not in lab.run("ls /run/NetworkManager/system-connections")
    # The generic profile has it now, with DHCP's address; a DHCP client may take a second try or two.
    deadline = time.monotonic() + 4 * EVENT
    while f"{eni.addresses[0]}/24" not in lab.run("ip -br address show dev eth2"):
        assert time.monotonic() < deadline, lab.report("left alone", ["no address by DHCP"])
        time.sleep(0.1)
    assert str(eni.addresses[1]) not in lab.run("ip -br address show dev eth2")
    lab.run(f"{SCRIPT} apply; {SCRIPT} status", check=False)
    assert "10002:" not in lab.run("ip rule show")
    lab.run(f"rm {CONF}; {SCRIPT} apply")
    assert lab.watch(EVENT).after is not None


def test_an_administrators_profile_stays_active_and_its_eips_answer(quiet: Lab) -> None:
    lab = quiet
    eni = lab.enis()[2]
    lab.run(
        f"nmcli connection add type ethernet ifname eth2 con-name mine ipv4.method manual ipv6.method disabled"
        f" ipv4.addresses {eni.addresses[0]}/24 connection.autoconnect no; nmcli connection up mine"
    )
    try:
        assert lab.watch(EVENT).after is not None
        lab.run(f"{SCRIPT} apply")
        assert "mine" in lab.run("nmcli -g GENERAL.CONNECTION device show eth2")
        assert lab.problems() == []
    finally:
        lab.run("nmcli connection delete mine")
    assert lab.watch(EVENT).after is not None


def test_another_table_base_leaves_nothing_in_the_old_tables(quiet: Lab) -> None:
    lab = quiet
    configure(lab, "TABLE_BASE=5001", "RULE_PRIORITY=7001")
    lab.run(f"{SCRIPT} apply")
    assert lab.problems() == []
    assert "lookup 100" not in lab.run("ip rule show")
    assert "table 100" not in lab.run("ip route show table all")
    assert "7001:" in lab.run("ip rule show")
    lab.run(f"rm {CONF}; {SCRIPT} apply")
    assert lab.problems() == []
    assert "500" not in lab.run("ip -N rule show")


def test_configuration_that_is_wrong_is_named_and_the_rest_holds(quiet: Lab) -> None:
    lab = quiet
    configure(lab, "TABLE_BASE=$(reboot)", "# a comment", "NO_SUCH=1", "not a line", "RULE_PRIORITY=99999")
    lab.run(f"{SCRIPT} apply", check=False)
    verdict = lab.run(f"{SCRIPT} check", check=False)
    assert verdict.count(CONF) == 4
    assert lab.problems() == []


def test_the_generic_profile_brought_up_by_hand_is_replaced(quiet: Lab) -> None:
    lab = quiet
    lab.run("nmcli connection up multieip-eni ifname eth1")
    repair = lab.watch(EVENT)
    assert repair.after is not None
    assert "multieip-eni1" in lab.run("nmcli -g GENERAL.CONNECTION device show eth1")


def test_an_eni_taken_down_by_hand_comes_back(quiet: Lab) -> None:
    lab = quiet
    lab.run("nmcli device disconnect eth1")
    assert lab.watch(EVENT).after is not None


def test_the_source_of_unbound_traffic_stays_dhcps_address(lab: Lab) -> None:
    primary = lab.enis()[0]
    lab.run("nmcli connection up multieip-primary")
    assert lab.watch(TIMER).after is not None
    assert f"src {primary.addresses[0]} " in lab.run("ip route get 8.8.8.8")
    assert f"src {primary.addresses[0]} " in lab.run(f"ip route get {primary.vswitch.gateway}")
