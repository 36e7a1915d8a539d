"""DHCP of one vSwitch: dnsmasq, which gives an ENI its primary address, the gateway and DNS, and nothing else."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from generator.sandbox.fabric.model import Eni, VSwitch
from generator.sandbox.fabric.netns import Namespace

# The resolvers that ECS announces in a VPC.
RESOLVERS = ("100.100.2.136", "100.100.2.138")


@dataclass
class Dhcp:
    """A dnsmasq on the bridge `interface` of a vSwitch; `lease` and `renew` (T1) are seconds."""

    space: Namespace
    vswitch: VSwitch
    interface: str
    folder: Path
    lease: int = 3600
    renew: int | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def _hosts(self) -> Path:
        return self.folder / "hosts"

    @property
    def log(self) -> Path:
        """What dnsmasq says, a line for each message."""
        return self.folder / "dnsmasq.log"

    def start(self) -> None:
        """Serve the ENIs that were, and will be, added."""
        self._hosts.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self._hosts.chmod(0o755)
        network = self.vswitch.cidr
        options = [
            "--conf-file=/dev/null",
            "--keep-in-foreground",
            "--log-facility=-",
            "--pid-file=",
            "--port=0",
            "--bind-interfaces",
            f"--interface={self.interface}",
            "--except-interface=lo",
            "--leasefile-ro",
            "--dhcp-authoritative",
            "--no-ping",
            # Or it overwrites the router's permanent neighbour with one that ages.
            "--dhcp-broadcast",
            f"--dhcp-range={network.network_address},static,{network.netmask},{self.lease}",
            f"--dhcp-option=option:router,{self.vswitch.gateway}",
            f"--dhcp-option=option:dns-server,{','.join(RESOLVERS)}",
            f"--dhcp-hostsdir={self._hosts}",
        ]
        if self.renew is not None:
            options.append(f"--dhcp-option=option:T1,{self.renew}")
        self._process = self.space.start(["dnsmasq", *options], log=self.log)

    def add(self, eni: Eni) -> None:
        """Give an ENI its primary address; dnsmasq sees the new file by itself."""
        staged = self.folder / f"{eni.port}.new"
        staged.write_text(f"{eni.mac},{eni.addresses[0]}\n")
        staged.chmod(0o644)
        staged.rename(self._hosts / eni.port)

    def remove(self, eni: Eni) -> None:
        """Forget an ENI. dnsmasq keeps what it read until it starts again, so it is started again."""
        (self._hosts / eni.port).unlink(missing_ok=True)
        self.stop()
        self.start()

    def stop(self) -> None:
        """End the server; leases stay with the guests until they run out."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
