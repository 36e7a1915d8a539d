"""What happens to an instance in its years, as data: how to do it, and how soon all must be well again.

A disturbance that somebody reports (NetworkManager, the kernel) has 5 s. One that nobody reports has an interval of
the timer, and what a run takes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from generator.sandbox.fabric import filters
from generator.sandbox.fabric.service import Fault
from tests.lab.candidates import INTERVAL
from tests.lab.lab import POLL, Lab

EVENT = 5.0
TIMER = INTERVAL + 3.0
# A run that asks a service in vain does so for 10 s, in which rules may be lost again; the lab's timer is shorter.
OUTAGE = TIMER + 10.0
# A boot with the metadata service out of reach is delayed by 30 s at most.
BOOT = 30.0

Problems = Callable[[], list[str]]


@dataclass(frozen=True)
class Disturbance:
    """`strike` does it, and may return what else must hold besides packets. `limit` is seconds to repair it.

    `group` is its heading in the docs; `restore` undoes what the strike set outside of the instance. A `fresh` one gets
    an instance of its own, not booted yet; `renew` is the T1 of its DHCP leases in seconds.
    """

    key: str
    says: str
    group: str
    limit: float
    strike: Callable[[Lab], Problems | None]
    restore: Callable[[Lab], None] = Lab.end_faults
    fresh: bool = False
    renew: int | None = None


# NetworkManager and links


def _restart_networkmanager(lab: Lab) -> None:
    lab.run("systemctl restart NetworkManager")


def _up(interface: str) -> Callable[[Lab], None]:
    def strike(lab: Lab) -> None:
        lab.run(f"nmcli --wait 10 connection up uuid {lab.connection(interface)} ifname {interface}", check=False)

    return strike


def _reapply(interface: str) -> Callable[[Lab], None]:
    def strike(lab: Lab) -> None:
        lab.run(f"nmcli device reapply {interface}")

    return strike


def _bounce(interface: str) -> Callable[[Lab], None]:
    def strike(lab: Lab) -> None:
        lab.run(f"ip link set {interface} down; sleep 0.2; ip link set {interface} up")

    return strike


def _lose_carrier(index: int, seconds: float) -> Callable[[Lab], None]:
    def strike(lab: Lab) -> None:
        lab.fabric.set_carrier(lab.eni_ids[index], up=False)
        time.sleep(seconds)
        lab.fabric.set_carrier(lab.eni_ids[index], up=True)

    return strike


def _lose_address(lab: Lab) -> None:
    eni = lab.enis()[1]
    lab.run(
        f"ip address del {eni.addresses[-1]}/{eni.vswitch.cidr.prefixlen} dev eth1 2>/dev/null ||"
        f" ip address del {eni.addresses[-1]}/32 dev eth1"
    )


def _lose_addresses(lab: Lab) -> None:
    lab.run("ip -4 address flush dev eth1")


# Rules and routes


def _flush_rules(lab: Lab) -> None:
    # The command takes the kernel's own rules for main and default along.
    lab.run("ip rule flush")


def _delete_rules(lab: Lab) -> None:
    lab.run("ip rule flush; ip rule add pref 32766 lookup main; ip rule add pref 32767 lookup default")


def _flush_tables(lab: Lab) -> None:
    for table in lab.private_tables():
        lab.run(f"ip route flush table {table}")


def _strict(lab: Lab) -> None:
    lab.run("for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 > $file; done")


def _foreign_default(lab: Lab) -> None:
    gateway = lab.enis()[1].vswitch.gateway
    lab.run(f"ip route add default via {gateway} dev eth1 onlink metric 5000")


def _forget_foreign_default(lab: Lab) -> None:
    lab.run("ip route del default dev eth1 metric 5000", check=False)


# The cloud


def _add_address(lab: Lab) -> None:
    lab.add_addresses(1, 2)


def _add_primary_address(lab: Lab) -> None:
    lab.add_addresses(0, 1)


def _remove_address(lab: Lab) -> Problems:
    gone = lab.enis()[1].addresses[-1]
    lab.remove_addresses(1, [gone])
    return lambda: traces(lab, str(gone))


def traces(lab: Lab, address: str) -> list[str]:
    """Return where the instance still has an address: interfaces, rules, and tables that name it."""
    found = []
    for what, command in (
        ("address", "ip -j address"),
        ("rule", "ip -j rule"),
        ("route", "ip -j route show table all"),
    ):
        entries: Any = json.loads(lab.run(command))
        if f'"{address}"' in json.dumps(entries) or f'"{address}/32"' in json.dumps(entries):
            found.append(f"{address} is gone in the cloud, and still in the instance's {what} list")
    return found


def _plug(lab: Lab) -> None:
    lab.plug(1, 2)


def _unplug(lab: Lab) -> Problems:
    eni = lab.unplug(len(lab.eni_ids) - 1)
    return lambda: [line for ip in eni.addresses for line in traces(lab, str(ip))]


# The metadata service. Each fault also meets a flush of the rules: what is known must be enough to mend.


def _fault(fault: Fault) -> Callable[[Lab], None]:
    def strike(lab: Lab) -> None:
        lab.set_fault(fault)
        _delete_rules(lab)

    return strike


def _unreachable(verdict: str) -> Callable[[Lab], None]:
    def strike(lab: Lab) -> None:
        lab.set_metadata(verdict)
        _delete_rules(lab)

    return strike


def _harden(lab: Lab) -> None:
    lab.harden(on=True)
    lab.add_addresses(1, 1)


def _expire_tokens(lab: Lab) -> None:
    lab.service.expire_tokens()
    lab.add_addresses(1, 1)


def _throttle(lab: Lab) -> None:
    lab.set_fault(Fault(status=429, times=2))
    lab.add_addresses(1, 1)


def _briefly_broken(lab: Lab) -> None:
    lab.set_fault(Fault(status=503, times=2))
    lab.add_addresses(1, 1)


def _lag(lab: Lab) -> None:
    lab.service.keep_stale(lab.fabric.view(lab.identity.id), polls=2)
    lab.add_addresses(1, 1)


def _recover(lab: Lab) -> None:
    """The service comes back after an outage in which an address was added."""
    lab.set_metadata(filters.REFUSED)
    lab.add_addresses(1, 1)
    lab.candidate.run_now(lab.container)
    lab.set_metadata(filters.REACHABLE)


# Boots


def _boot(lab: Lab) -> None:
    lab.boot()


def _boot_unreachable(lab: Lab) -> Problems:
    """The very first boot has no metadata service for 15 s: no answer of an earlier boot serves."""
    lab.set_metadata(filters.DROPPED)
    lab.boot()
    primary = lab.pairs()[0]
    cut = ["never asked"]
    while cut and time.monotonic() - lab.container.started_at < 15:
        cut = lab.prober.judge([primary], primary.eip)
    time.sleep(max(0.0, lab.container.started_at + 15 - time.monotonic()))
    lab.set_metadata(filters.REACHABLE)
    return lambda: [f"without metadata: {problem}" for problem in cut]


def _renew(lab: Lab) -> Problems:
    """Boot, and be there for two renewals."""
    lab.boot()
    lab.watch(BOOT)
    wanted = lab.leases() + 2
    deadline = time.monotonic() + 20
    while lab.leases() < wanted and time.monotonic() < deadline:
        time.sleep(POLL)
    missed = lab.leases() < wanted
    return lambda: ["the lease was not renewed twice"] if missed else []


def _reboot(lab: Lab) -> None:
    lab.reboot()


def _reboot_unreachable(lab: Lab) -> None:
    lab.set_metadata(filters.DROPPED)
    lab.reboot()


def _reboot_hardened(lab: Lab) -> None:
    lab.harden(on=True)
    lab.reboot()


# The instance's own troubles


def _kill_run(lab: Lab) -> None:
    """Kill the reconciler in the middle of a run, then lose the rules."""
    lab.set_fault(Fault(delay=0.5))
    lab.run("systemctl start --no-block multieip-policy-routing.service; sleep 0.3", check=False)
    lab.run("systemctl kill --signal=KILL multieip-policy-routing.service", check=False)
    lab.set_fault(Fault())
    _delete_rules(lab)


def _storm(lab: Lab) -> None:
    for _ in range(10):
        lab.run("nmcli device reapply eth1; nmcli device reapply eth0; nmcli device reapply eth2", check=False)


NM, LINK, KERNEL, CLOUD, METADATA, BOOTS = (
    "NetworkManager",
    "Links",
    "Rules, routes, addresses",
    "The cloud changes",
    "The metadata service fails",
    "Boots",
)

DISTURBANCES = (
    Disturbance("boot", "first boot", BOOTS, BOOT, _boot, fresh=True),
    Disturbance(
        "boot-unreachable",
        "first boot, 15 s without the metadata service: the primary EIP answers; then the service comes",
        BOOTS,
        TIMER,
        _boot_unreachable,
        fresh=True,
    ),
    Disturbance("renewals", "the DHCP lease renewed twice", NM, EVENT, _renew, fresh=True, renew=4),
    Disturbance("nm-restart", "`systemctl restart NetworkManager`", NM, EVENT, _restart_networkmanager),
    Disturbance("up-eth0", "`nmcli connection up` of the primary ENI's profile", NM, EVENT, _up("eth0")),
    Disturbance("up-eth1", "`nmcli connection up` of a secondary ENI's profile", NM, EVENT, _up("eth1")),
    Disturbance("up-eth2", "the same, in another vSwitch", NM, EVENT, _up("eth2")),
    Disturbance("reapply-eth0", "`nmcli device reapply eth0`", NM, EVENT, _reapply("eth0")),
    Disturbance("reapply-eth1", "`nmcli device reapply eth1`", NM, EVENT, _reapply("eth1")),
    Disturbance("storm", "30 reapplies in a row", NM, EVENT, _storm),
    Disturbance("bounce-eth0", "`ip link set eth0 down`, then up", LINK, EVENT, _bounce("eth0")),
    Disturbance("bounce-eth1", "`ip link set eth1 down`, then up", LINK, EVENT, _bounce("eth1")),
    Disturbance("carrier-eth1", "no carrier on eth1 for 8 s", LINK, EVENT, _lose_carrier(1, 8)),
    Disturbance("carrier-eth0", "no carrier on eth0 for 8 s", LINK, EVENT, _lose_carrier(0, 8)),
    Disturbance(
        "rule-flush", "`ip rule flush`, which takes the kernel's rules for main along", KERNEL, TIMER, _flush_rules
    ),
    Disturbance("rules-lost", "all rules gone but the kernel's", KERNEL, TIMER, _delete_rules),
    Disturbance("table-flush", "private tables emptied", KERNEL, TIMER, _flush_tables),
    Disturbance("address-lost", "an address deleted from eth1", KERNEL, TIMER, _lose_address),
    Disturbance("addresses-lost", "`ip address flush dev eth1`", KERNEL, TIMER, _lose_addresses),
    Disturbance("strict-rp-filter", "rp_filter set to 1 everywhere", KERNEL, TIMER, _strict),
    Disturbance(
        "foreign-default",
        "somebody adds a worse default by eth1",
        KERNEL,
        TIMER,
        _foreign_default,
        _forget_foreign_default,
    ),
    Disturbance("added", "2 private IPs assigned to a secondary ENI", CLOUD, TIMER, _add_address),
    Disturbance("added-primary", "a private IP assigned to the primary ENI", CLOUD, TIMER, _add_primary_address),
    Disturbance(
        "removed", "a private IP taken away; gone from addresses, rules, routes", CLOUD, TIMER, _remove_address
    ),
    Disturbance("plugged", "an ENI with 2 private IPs hot-plugged", CLOUD, EVENT, _plug),
    Disturbance("unplugged", "that ENI detached; gone from addresses, rules, routes", CLOUD, TIMER, _unplug),
    Disturbance("hardened", "tokens become mandatory, then an IP is assigned", METADATA, TIMER, _harden),
    Disturbance("token-expired", "tokens expire, then an IP is assigned", METADATA, TIMER, _expire_tokens),
    Disturbance("throttled", "two answers 429, an IP is assigned", METADATA, TIMER, _throttle),
    Disturbance("unavailable", "two answers 503, an IP is assigned", METADATA, TIMER, _briefly_broken),
    Disturbance("lagging", "an IP is assigned, two runs do not hear of it", METADATA, 3 * TIMER, _lag),
    Disturbance("recovered", "an IP is assigned during an outage", METADATA, TIMER, _recover),
    Disturbance("refused", "refused, and the rules are lost", METADATA, OUTAGE, _unreachable(filters.REFUSED)),
    Disturbance("dropped", "packets dropped, and the rules are lost", METADATA, OUTAGE, _unreachable(filters.DROPPED)),
    Disturbance("error-500", "500 to all, and the rules are lost", METADATA, OUTAGE, _fault(Fault(status=500))),
    Disturbance("slow", "3 s for each answer, and the rules are lost", METADATA, OUTAGE, _fault(Fault(delay=3.0))),
    Disturbance("empty", "empty answers, and the rules are lost", METADATA, OUTAGE, _fault(Fault(empty=True))),
    Disturbance("truncated", "answers cut off, and the rules are lost", METADATA, OUTAGE, _fault(Fault(truncate=True))),
    Disturbance(
        "partial",
        "the secondary IPs alone answered 404, and the rules are lost",
        METADATA,
        OUTAGE,
        _fault(Fault(match="private-ipv4s", status=404)),
    ),
    Disturbance(
        "hostile",
        "addresses that are shell code, and the rules are lost",
        METADATA,
        OUTAGE,
        _fault(Fault(match="/macs/.+/", body=b'["172.16.20.99;touch /pwned","$(touch /pwned)"]\n[ipv4]\n../../x')),
    ),
    Disturbance("killed", "the reconciler killed in a run, then the rules are lost", METADATA, OUTAGE, _kill_run),
    Disturbance("reboot", "reboot", BOOTS, BOOT, _reboot),
    Disturbance("reboot-hardened", "reboot with mandatory tokens", BOOTS, BOOT, _reboot_hardened),
    Disturbance(
        "reboot-unreachable", "reboot with the metadata service out of reach", BOOTS, BOOT, _reboot_unreachable
    ),
)
BY_KEY = {disturbance.key: disturbance for disturbance in DISTURBANCES}
