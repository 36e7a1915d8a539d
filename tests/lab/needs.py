"""What the lab needs of the machine."""

from __future__ import annotations

import os

from generator.run import PACKAGES, find

PROGRAMS = ("ip", "bridge", "nft", "nsenter", "unshare", "dnsmasq", "systemd-nspawn", "mmdebstrap")


def why_not() -> str:
    """Return why the lab cannot run here, or nothing."""
    if os.geteuid() != 0:
        return "the lab needs root: sudo make test"
    packages = sorted({PACKAGES.get(program, program) for program in PROGRAMS if find(program) is None})
    return f"the lab needs programs: apt-get install {' '.join(packages)}" if packages else ""
