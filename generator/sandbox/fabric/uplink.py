"""The way out of a sandbox that has one: NAT by slirp4netns, and names for its instances.

slirp4netns gives the internet's namespace an interface, and carries what leaves by it through sockets of its own, as
any program of this machine would: the machine gets no interface, address, route, rule or filter for it.
"""

from __future__ import annotations

import os
import select
import subprocess
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

from generator.errors import MultieipError
from generator.run import base_env, need
from generator.sandbox.fabric.dhcp import RESOLVERS
from generator.sandbox.fabric.netns import Namespace
from generator.sandbox.settings import EIPS

_INTERFACE = "uplink"
# TEST-NET-2 (RFC 5737): nobody's, so nothing that a guest may know is hidden behind it.
_NETWORK = IPv4Network("198.51.100.0/24")
# The address at which slirp4netns answers DNS, by asking the machine's resolver.
_NAMES = _NETWORK[3]
# Seconds until slirp4netns has made its interface.
_READY = 10.0

# What only a sandbox knows does not leave it: routers have names to ask, and EIPs whatever else is outside.
_NAT = f"""
table ip uplink {{
  chain forward {{
    type filter hook forward priority filter; policy accept;
    oifname "{_INTERFACE}" ip daddr {_NAMES} meta l4proto {{ tcp, udp }} th dport 53 accept
    oifname "{_INTERFACE}" ip daddr {_NETWORK} drop
    oifname "{_INTERFACE}" ip saddr != {EIPS} drop
  }}
  chain leave {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{_INTERFACE}" masquerade
  }}
}}
"""
_ASKED = ", ".join(RESOLVERS)
# First in the chain, which drops what comes from outside.
_RESOLVING = f"""
insert rule ip edge input iifname "wan" ip saddr {_NAMES} meta l4proto {{ tcp, udp }} th sport 53 accept
insert rule ip edge input iifname != "wan" ip daddr {{ {_ASKED} }} meta l4proto {{ tcp, udp }} th dport 53 accept
"""


@dataclass
class Uplink:
    """The uplink of the internet in `space`; `folder` gets its log."""

    space: Namespace
    folder: Path
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list, init=False)
    _held: int = field(default=-1, init=False)

    def start(self) -> None:
        """Connect the internet to the machine's network."""
        ready, tells = os.pipe()
        ends, self._held = os.pipe()
        try:
            with self._log.open("ab") as log:
                # It ends when the other end of its pipe does, and that with this process, however it ends.
                options = ["--configure", "--mtu=1500", f"--cidr={_NETWORK}", "--disable-host-loopback"]
                pipes = [f"--ready-fd={tells}", f"--exit-fd={ends}"]
                process = subprocess.Popen(
                    [need("slirp4netns"), *options, *pipes, "--netns-type=path", self.space.path, _INTERFACE],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=base_env(),
                    pass_fds=(tells, ends),
                    start_new_session=True,
                )
            self._running.append(process)
            os.close(tells)
            tells = -1
            if not (select.select([ready], [], [], _READY)[0] and os.read(ready, 1)):
                raise MultieipError(f"slirp4netns did not start: {self._last_words()}", hint=f"see {self._log}")
        finally:
            for end in (ready, tells, ends):
                if end >= 0:
                    os.close(end)
        # An EIP that nobody has is not to be found outside either.
        self.space.ip(f"route add unreachable {EIPS}")
        self._filter(self.space, _NAT)

    def serve_names(self, router: Namespace) -> None:
        """Answer DNS for the instances of a VPC, at the addresses that DHCP tells them; for as long as it is there."""
        router.ip(*(f"addr add {address}/32 dev lo" for address in RESOLVERS))
        self._filter(router, _RESOLVING)
        options = [
            "--conf-file=/dev/null",
            "--keep-in-foreground",
            "--log-facility=-",
            "--pid-file=",
            "--no-hosts",
            "--no-resolv",
            "--bind-interfaces",
            f"--listen-address={','.join(RESOLVERS)}",
            f"--server={_NAMES}",
        ]
        self._running = [process for process in self._running if process.poll() is None]
        self._running.append(router.start(["dnsmasq", *options], log=self._log))

    def stop(self) -> None:
        """End what runs; what is in namespaces goes with them."""
        for process in self._running:
            process.kill()
            process.wait()
        self._running.clear()
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    @property
    def _log(self) -> Path:
        return self.folder / "uplink.log"

    def _last_words(self) -> str:
        return (self._log.read_text("utf-8", "replace").strip().splitlines() or ["it said nothing"])[-1]

    @staticmethod
    def _filter(space: Namespace, text: str) -> None:
        done = space.run(["nft", "-f", "-"], stdin=text.encode(), check=False)
        if done.returncode != 0:
            raise MultieipError(f"nft refused in {space.name}: {done.stderr.strip()}")
