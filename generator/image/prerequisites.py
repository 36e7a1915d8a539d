"""What multieip needs of a machine, and what each thing is for."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from typing import Literal

from generator.cloud import credentials
from generator.image import packer
from generator.render.packer import MINIMUM
from generator.run import find, install_command, run

# Program, how it says its version (no arguments: it does not), and what it is for.
_PROGRAMS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("qemu-system-x86_64", ("--version",), "image build --builder qemu, image test"),
    ("qemu-img", ("--version",), "image build --builder qemu, image test"),
    ("mmdebstrap", ("--version",), "a local base from packages"),
    ("mke2fs", ("-V",), "a local base from packages"),
    ("sfdisk", ("--version",), "a local base from packages"),
    ("xorriso", ("--version",), "the seed of a build's boot"),
    ("ssh", ("-V",), "image test"),
    ("ssh-keygen", (), "image build --builder qemu, image test"),
    ("debugfs", ("-V",), "image test: a look into the disk before its first boot"),
    ("socat", ("-V",), "image test: the metadata service inside the virtual machine"),
)


@dataclass(frozen=True)
class Prerequisite:
    """One thing, and whether this machine has it. `state` "absent" is no failure: it only enables less."""

    name: str
    state: Literal["ok", "missing", "absent"]
    version: str
    enables: str
    remedy: str


def to_json(item: Prerequisite) -> dict[str, str]:
    """Return it as a JSON object."""
    return asdict(item)


def examine() -> tuple[Prerequisite, ...]:
    """Look at this machine: programs, KVM, credentials (whether they are there, never what they are)."""
    programs = tuple(_program(name, arguments, enables) for name, arguments, enables in _PROGRAMS)
    return (_packer(), *programs, _kvm(), _credentials())


def _packer() -> Prerequisite:
    version = packer.installed_version()
    good = version is not None and version >= MINIMUM
    shown = ".".join(map(str, version)) if version else "-"
    remedy = f"{install_command('packer')} (1.6.6 or newer)"
    return Prerequisite("packer", "ok" if good else "missing", shown, "image build", remedy)


def _program(name: str, arguments: tuple[str, ...], enables: str) -> Prerequisite:
    if find(name) is None:
        return Prerequisite(name, "missing", "-", enables, install_command(name))
    said = ""
    if arguments:
        result = run([name, *arguments], check=False)
        said = result.stdout + result.stderr
    found = re.search(r"\d+\.\d+[\w.]*", said)
    return Prerequisite(name, "ok", found[0] if found else "-", enables, install_command(name))


def _kvm() -> Prerequisite:
    usable = os.access("/dev/kvm", os.R_OK | os.W_OK)
    remedy = "optional; be in the group kvm. Without it guests are emulated, about a minute for a boot"
    return Prerequisite("/dev/kvm", "ok" if usable else "absent", "-", "fast guests, if they run (probed)", remedy)


def _credentials() -> Prerequisite:
    remedy = "optional; export ALICLOUD_ACCESS_KEY and ALICLOUD_SECRET_KEY, or run `aliyun configure`"
    return Prerequisite(
        "credentials", "ok" if credentials.likely() else "absent", "-", "image build --builder alicloud-ecs", remedy
    )
