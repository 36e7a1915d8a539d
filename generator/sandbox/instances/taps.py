"""The last bit of wire to a virtual machine: frames of an ENI's veth end go to a tap, and back, as they are.

The veth end keeps the ENI's MAC, so a bridge would take frames for its own; redirection at the ingress of both sees
them before this machine's kernel does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from generator.run import run
from generator.sandbox.fabric.netns import Namespace


def interfaces(space: Namespace) -> Mapping[str, str]:
    """Return the ENIs' ends in a guest's namespace with their MACs, in the order of their names."""
    listed = json.loads(run(["ip", "-n", space.name, "-json", "link", "show"]).stdout)
    found = {link["ifname"]: link["address"] for link in listed if re.fullmatch(r"eth\d+", link["ifname"])}
    return {name: found[name] for name in sorted(found, key=lambda name: int(name[3:]))}


def tap(mac: str) -> str:
    """Return the name of an ENI's tap: at most 15 characters, and it says the MAC."""
    return "t" + mac.replace(":", "")


def wire(space: Namespace, interface: str, mac: str) -> None:
    """Connect an ENI's end with a tap of its own, for whoever opens that."""
    name = tap(mac)
    # The kernel here has no part in it: not even a router solicitation.
    space.set_sysctls({"ipv6/conf/all/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1"})
    space.ip(f"tuntap add dev {name} mode tap", f"link set {name} up", f"link set {interface} up")
    lines = []
    for here, there in ((interface, name), (name, interface)):
        everything = f"filter add dev {here} parent ffff: protocol all u32 match u32 0 0"
        lines += [f"qdisc add dev {here} ingress", f"{everything} action mirred egress redirect dev {there}"]
    run(["tc", "-n", space.name, "-batch", "-"], stdin="\n".join(lines).encode())


def unwire(space: Namespace, mac: str) -> None:
    """Remove an ENI's tap."""
    space.ip(f"tuntap del dev {tap(mac)} mode tap")
