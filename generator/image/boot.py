"""The boot test of an image: a look before, two boots, and checks from inside and outside."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from generator import console, resources
from generator.errors import MultieipError
from generator.image import hygiene, machine
from generator.image.accelerator import Accelerator
from generator.image.machine import PRIMARY, SECOND, Machine
from generator.run import need

# Seconds until somebody can log in; an emulated guest on two busy cores needs about two minutes.
_BOOT_LIMIT = {"kvm": 180.0, "tcg": 600.0}


@dataclass(frozen=True)
class Check:
    """One check: `state` is ok, failed or skipped; `seconds` since the check before it."""

    name: str
    state: str
    seconds: float
    detail: str

    @property
    def ok(self) -> bool:
        """Whether it did not fail."""
        return self.state != "failed"


def test(disk: Path, *, logs: Path, accelerator: Accelerator) -> tuple[Check, ...]:
    """Return the checks of an image; one that cannot boot has a failed check that says so."""
    for program in ("qemu-system-x86_64", "qemu-img", "socat", "ssh", "ssh-keygen", "debugfs", "sfdisk"):
        need(program)
    logs.mkdir(parents=True, exist_ok=True)
    checks: list[Check] = []
    begun = time.monotonic()
    for name, state, detail in _all(disk, logs, accelerator):
        now = time.monotonic()
        checks.append(Check(name, state, round(now - begun, 1), detail))
        begun = now
    return tuple(checks)


def _all(disk: Path, logs: Path, accelerator: Accelerator) -> Iterator[tuple[str, str, str]]:
    with console.step("looking into the disk before its first boot"):
        for name, holds, seen in hygiene.look(disk):
            yield f"disk: {name}", "skipped" if holds is None else _state(holds), seen
    log = (logs / f"boot-test-{disk.parent.name}.console.log").resolve()
    limit = _BOOT_LIMIT[accelerator]
    with (
        tempfile.TemporaryDirectory(prefix="multieip-") as scratch,
        machine.boot(disk, scratch=Path(scratch), console=log, accelerator=accelerator) as guest,
    ):
        boot = ""
        for title in ("first boot", "second boot"):
            try:
                with console.step(f"{title} ({accelerator})"):
                    boot = guest.wait_until_up(not_boot=boot, limit=limit)
                    yield f"{title}: somebody can log in", "ok", ""
                    yield from booted(guest, title)
            except MultieipError as failure:
                yield f"{title}: it boots", "failed", failure.message
                return
            guest.ssh(["systemctl", "reboot"], timeout=60)


def booted(guest: Machine, title: str) -> Iterator[tuple[str, str, str]]:
    """Check a machine that is up, from inside and outside: yield (check, state, what was seen)."""
    script = (resources.folder("templates") / "boot-test" / "inside.sh").read_bytes()
    addresses = [str(address) for address in (*PRIMARY.addresses, *SECOND.addresses)]
    said = guest.ssh(["sh", "-s", "--", *addresses], stdin=script, timeout=600)
    lines = [line.split("\t") for line in said.stdout.splitlines() if line.count("\t") == 2]
    for state, name, seen in lines:
        yield f"{title}: {name}", state, seen
    if said.returncode != 0 or not lines:
        yield f"{title}: the checks inside ran", "failed", (said.stderr.strip() or "they said nothing").splitlines()[-1]
    for address in SECOND.addresses:
        yield f"{title}: {address} answers from outside", _state(guest.answers(address)), ""


def _state(holds: bool) -> str:
    return "ok" if holds else "failed"
