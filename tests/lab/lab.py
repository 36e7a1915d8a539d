"""A lab: one fabric, one instance of a candidate in it, and the judgement of its packets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Self

from generator.image.outdir import write
from generator.sandbox.fabric import filters
from generator.sandbox.fabric.container import Container
from generator.sandbox.fabric.fabric import Fabric
from generator.sandbox.fabric.model import Eni, Identity
from generator.sandbox.fabric.service import Fault, Service
from tests.lab.candidates import Candidate
from tests.lab.layout import INSTANCE, USUAL, VPC, Layout, Pair, eip_of, eni
from tests.lab.probes import Prober

POLL = 0.05
# What has been good for so long is taken for good.
SETTLED = 1.0


@dataclass(frozen=True)
class Repair:
    """How a disturbance ended. `after` is seconds until the last bad round, None if it was not good in time.

    `broken` says whether any round was bad at all; `problems` are those of the last round when it was not repaired.
    """

    after: float | None
    broken: bool
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.after is None:
            return "not repaired"
        return f"{self.after:.1f} s" if self.broken else "not broken"


class Lab:
    """One instance in one VPC; a context manager that boots it and removes everything."""

    def __init__(
        self,
        candidate: Candidate,
        base: Path,
        layout: Layout = USUAL,
        *,
        hardened: bool = False,
        renew: int | None = None,
    ) -> None:
        self.candidate = candidate
        self.fabric = Fabric(renew=renew)
        try:
            self._build(base, layout, hardened=hardened)
        except BaseException:
            self.fabric.close()
            raise

    def _build(self, base: Path, layout: Layout, *, hardened: bool) -> None:
        fabric = self.fabric
        fabric.add_vpc(VPC)
        for switch in layout.vswitches:
            fabric.add_vswitch(VPC.id, switch)
        enis = layout.build()
        self.eni_ids = [made.id for made in enis]
        self.identity = Identity(INSTANCE, "lab", tokens_required=hardened)
        space = fabric.add_guest(self.identity)
        for made in enis:
            fabric.add_eni(made)
            fabric.plug(made.id, INSTANCE)
        fabric.associate({eip_of(ip): (made.id, ip) for made in enis for ip in made.addresses})
        laid = fabric.folder / "rootfs"
        write(self.candidate.tree(enis), laid)
        folder = fabric.folder / INSTANCE
        self.container = Container(f"{fabric.prefix}-lab", [laid, base], folder, space)
        self.prober = Prober(fabric.loop, fabric.internet.space, fabric.internet.address, space)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.container.kill()
        self.fabric.close()

    # The instance

    def boot(self) -> None:
        """Begin to boot, with something on the instance that answers on every address."""
        self.prober.answer()
        self.container.start()

    def reboot(self) -> None:
        """Shut down, and boot again with a kernel that knows nothing."""
        self.container.poweroff()
        self.fabric.power_cycle(INSTANCE)
        self.boot()

    def run(self, command: str, *, check: bool = True) -> str:
        """Run a shell command in the instance, and return what it printed."""
        return self.container.run(["sh", "-c", command], check=check).stdout

    def connection(self, interface: str) -> str:
        """Return the UUID of the profile that is active on an interface of the instance."""
        return self.run(f"nmcli -g GENERAL.CON-UUID device show {interface}").strip()

    # What it has

    @property
    def service(self) -> Service:
        return self.fabric.service(VPC.id)

    def enis(self) -> list[Eni]:
        return [self.fabric.eni(eni_id) for eni_id in self.eni_ids]

    def pairs(self) -> list[Pair]:
        return [Pair(eip_of(ip), ip, made.id) for made in self.enis() for ip in made.addresses]

    def add_addresses(self, index: int, count: int) -> list[IPv4Address]:
        """Give an ENI more private IPs, each with its EIP."""
        made = self.fabric.eni(self.eni_ids[index])
        others = [self.fabric.eni(other) for other in self.eni_ids]
        last = max(ip for other in others if other.vswitch == made.vswitch for ip in other.addresses)
        added = [last + 1 + offset for offset in range(count)]
        self.fabric.assign(made.id, added)
        self.fabric.associate({eip_of(ip): (made.id, ip) for ip in added})
        return added

    def remove_addresses(self, index: int, addresses: list[IPv4Address]) -> None:
        self.fabric.unassign(self.eni_ids[index], addresses)

    def plug(self, switch_number: int, count: int) -> Eni:
        """Hot-plug one more ENI."""
        made = eni(len(self.eni_ids), switch_number, count, self.enis())
        self.fabric.add_eni(made)
        self.fabric.associate({eip_of(ip): (made.id, ip) for ip in made.addresses})
        self.fabric.plug(made.id, INSTANCE)
        self.eni_ids.append(made.id)
        return made

    def unplug(self, index: int) -> Eni:
        """Detach an ENI."""
        made = self.fabric.eni(self.eni_ids.pop(index))
        self.fabric.unassociate([eip_of(ip) for ip in made.addresses])
        self.fabric.unplug(made.id)
        return made

    def set_fault(self, fault: Fault) -> None:
        self.service.fault = fault

    def set_metadata(self, verdict: str) -> None:
        self.fabric.set_metadata(VPC.id, verdict)

    def harden(self, *, on: bool) -> None:
        self.identity = replace(self.identity, tokens_required=on)
        self.fabric.update_guest(self.identity)

    def end_faults(self) -> None:
        """Make the metadata service whole again."""
        self.set_fault(Fault())
        self.set_metadata(filters.REACHABLE)
        self.service.rate = None
        self.service.keep_stale(self.fabric.view(INSTANCE), polls=0)
        self.harden(on=False)

    # Judgement

    def problems(self) -> list[str]:
        """Return what is wrong now, by packets."""
        pairs = self.pairs()
        return self.prober.judge(pairs, pairs[0].eip)

    def watch(self, limit: float, *, since: float | None = None, also: Callable[[], list[str]] = list) -> Repair:
        """Judge until all has been good for a while, or `limit` seconds are over; `also` adds problems to packets'."""
        start = time.monotonic() if since is None else since
        last_bad, good_since = start, None
        broken = False
        while True:
            began = time.monotonic()
            problems = [*self.problems(), *also()]
            now = time.monotonic()
            if problems:
                broken, last_bad, good_since = True, now, None
            elif good_since is None:
                good_since = began
            if good_since is not None and now - good_since >= SETTLED:
                return Repair(last_bad - start if broken else 0.0, broken)
            if problems and now - start > limit:
                return Repair(None, broken, tuple(problems))
            time.sleep(max(0.0, POLL - (now - began)))

    def strays(self) -> dict[str, int]:
        """Return how many packets and ARPs were dropped because the ENI may not send them, by ENI and source."""
        return {
            f"{eni_id} from {source}": packets
            for eni_id, sources in self.fabric.spoofed().items()
            for source, packets in sources.items()
        }

    def leases(self) -> int:
        """Return how many times the primary ENI got or renewed its lease."""
        primary = self.enis()[0]
        log = self.fabric.dhcp(VPC.id, primary.vswitch.id).log.read_text()
        return sum("DHCPACK" in line and primary.mac in line for line in log.splitlines())

    # Evidence

    def report(self, what: str, problems: Sequence[str]) -> str:
        """Return what a failed judgement says: each address and direction, then the evidence."""
        lines = "\n".join(problems)
        return f"after {what}, {len(problems)} things are wrong:\n{lines}\n\n{self.evidence()}"

    def private_tables(self) -> list[int]:
        """Return the tables that rules of the instance look up, besides the kernel's own."""
        rules = json.loads(self.run("ip -j -N rule"))
        found = {int(rule["table"]) for rule in rules if str(rule.get("table", "")).isdigit()}
        return sorted(found - {253, 254, 255})

    def evidence(self) -> str:
        """Return what a person needs to see why it is not good."""
        journal = "journalctl --no-pager -o short-monotonic"
        commands = (
            "ip rule",
            "ip -6 rule",
            "ip route show table all",
            "ip -br address",
            "nmcli -f NAME,UUID,DEVICE,STATE,FILENAME connection",
            "grep -r . /run/NetworkManager/system-connections",
            f"{journal} -n 80 -u multieip-policy-routing.service -u rc-local.service",
            f"{journal} -n 40 -u NetworkManager.service -u NetworkManager-dispatcher.service",
            "systemctl --failed --no-pager",
            "systemctl list-timers --no-pager",
            "ps -eo pid,etimes,args",
        )
        parts = [f"$ {command}\n{self.run('timeout 10 ' + command + ' 2>&1', check=False)}" for command in commands]
        parts.append(f"strays: {self.strays()}")
        asked = [f"{request.method} {request.path} {request.status}" for request in list(self.service.log)[-20:]]
        parts.append("last metadata requests:\n" + "\n".join(asked))
        return "\n".join(parts)
