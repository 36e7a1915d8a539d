"""A control group for each container, where no systemd is there to make one.

systemd in a container takes the groups below its own for its services'. Two containers in one group would find,
and kill, each other's processes in them.
"""

from __future__ import annotations

import os
import time
from pathlib import Path


def managed() -> bool:
    """Return whether the machine's init is systemd, which makes a scope for each container."""
    return Path("/run/systemd/system").is_dir()


def make(name: str) -> list[Path]:
    """Make a group in each hierarchy that systemd uses, and return them."""
    groups = [root / name for root in _hierarchies()]
    for group in groups:
        group.mkdir(exist_ok=True)
    return groups


def remove(pattern: str) -> None:
    """Remove the groups whose name matches a shell pattern, with all below them; one that stays in use stays."""
    # A killed process is in its group until it is reaped.
    deadline = time.monotonic() + 2
    while not _removed(pattern) and time.monotonic() < deadline:
        time.sleep(0.02)


def _removed(pattern: str) -> bool:
    busy = False
    for root in _hierarchies():
        for group in root.glob(pattern):
            for folder, _, _ in os.walk(group, topdown=False):
                try:
                    Path(folder).rmdir()
                except FileNotFoundError:
                    continue
                except OSError:
                    busy = True
    return not busy


def _hierarchies() -> list[Path]:
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.append(Path(where))
    return found
