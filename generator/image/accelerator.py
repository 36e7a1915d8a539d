"""Which accelerator QEMU can use here: found by running a guest, since a /dev/kvm that opens proves nothing.

On some machines KVM is there, opens, and leaves a Linux guest hanging for good (nested, with an instruction
that the outer one emulates wrongly). So a kernel is started in it, which panics for want of a root file system
when all is well.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

from generator import console
from generator.errors import MultieipError, UsageError
from generator.image.cache import cache_dir, put_aside
from generator.run import run

Accelerator = Literal["kvm", "tcg"]

# A kernel without a root panics after about a second of KVM; one that hangs is given this many seconds.
_PATIENCE = 15


def accelerator(kernel: Path | None) -> Accelerator:
    """Return "kvm" when a guest runs in it, else "tcg". $MULTIEIP_ACCEL decides instead of a probe.

    `kernel` is what the probe starts; without one KVM cannot be proved, and TCG is taken. The answer is kept
    until the machine boots again.
    """
    if named := os.environ.get("MULTIEIP_ACCEL"):
        if named not in ("kvm", "tcg"):
            raise UsageError(f"MULTIEIP_ACCEL is {named!r}", hint="set it to kvm or tcg")
        return "kvm" if named == "kvm" else "tcg"
    if kernel is None or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    kept = cache_dir() / "accelerator.json"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    try:
        record = json.loads(kept.read_bytes())
        if record["boot"] == boot:
            return "kvm" if record["runs"] else "tcg"
    except (OSError, ValueError, KeyError):
        pass
    with console.step("seeing whether guests run in KVM here"):
        runs = _guest_runs(kernel)
    with put_aside(kept) as aside:
        aside.write_text(json.dumps({"boot": boot, "runs": runs}))
    if not runs:
        console.say("  they do not: emulating instead (TCG), which takes about a minute for a boot")
    return "kvm" if runs else "tcg"


def _guest_runs(kernel: Path) -> bool:
    try:
        said = run(
            [
                "qemu-system-x86_64", "-accel", "kvm", "-m", "256", "-nodefaults", "-no-reboot",
                "-display", "none", "-serial", "stdio", "-kernel", kernel, "-append", "console=ttyS0 panic=-1",
            ],
            timeout=_PATIENCE,
            check=False,
        )  # fmt: skip
    except MultieipError:
        return False
    return "Unable to mount root fs" in said.stdout
