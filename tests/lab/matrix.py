"""Run both candidates through every disturbance and write docs/disturbances.md: `python -m tests.lab.matrix`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from generator.errors import MultieipError
from generator.image import base as bases
from tests.lab.candidates import INTERVAL, Candidate, Multieip, RcLocal, example_spec
from tests.lab.disturbances import BOOT, DISTURBANCES, Disturbance
from tests.lab.lab import Lab, Repair
from tests.lab.needs import why_not

DOCS = Path(__file__).parents[2] / "docs" / "disturbances.md"

HEAD = """\
# Disturbances

Written by `python -m tests.lab.matrix`; docs/lab.md describes the lab. An instance of Debian 12 with three ENIs, two of
them in one vSwitch, and seven private IPs with an EIP each. After each disturbance every EIP is asked by TCP from the
internet, and a connection from every private IP must be seen with its EIP, until all of it has been well for a second.
The table says how long that took, counted from the end of the disturbance, or from systemd's start. The timer, which
finds what nobody reports, runs every {interval} s here, not every 60 s; "not repaired" was given {limit} s or more.

`rc.local` is the recipe of the vendor's documentation: addresses as NetworkManager profiles, rules and routes in
/etc/rc.local. Here its boot waits for the network before rc.local runs. {unordered}
"""


class Runner:
    """A candidate's instance, replaced by a new one when a disturbance was too much for it."""

    def __init__(self, candidate: Candidate, base: Path) -> None:
        self._candidate, self._base = candidate, base
        self._lab: Lab | None = None

    def meet(self, disturbance: Disturbance) -> Repair:
        """Disturb the instance, or one of its own where the disturbance wants that, and say how it ended."""
        if disturbance.fresh:
            self.close()
            self._lab = Lab(self._candidate, self._base, renew=disturbance.renew)
        elif self._lab is None:
            self._lab = Lab(self._candidate, self._base)
            self._lab.boot()
            self._lab.watch(BOOT)
        try:
            also = disturbance.strike(self._lab)
            repair = self._lab.watch(disturbance.limit, also=also or list)
            disturbance.restore(self._lab)
        except MultieipError as error:
            repair = Repair(None, broken=True, problems=(error.message,))
        if repair.after is None or disturbance.fresh:
            self.close()
        return repair

    def close(self) -> None:
        if self._lab is not None:
            self._lab.close()
            self._lab = None


def run(candidates: Sequence[Candidate], base: Path) -> dict[str, dict[str, Repair]]:
    """Return the repairs, by candidate and disturbance."""
    found: dict[str, dict[str, Repair]] = {}
    for candidate in candidates:
        runner = Runner(candidate, base)
        try:
            for disturbance in DISTURBANCES:
                repair = runner.meet(disturbance)
                found.setdefault(candidate.name, {})[disturbance.key] = repair
                print(f"{candidate.name:10} {disturbance.key:20} {repair}", file=sys.stderr, flush=True)
                if repair.after is None:
                    print("\n".join(f"    {problem}" for problem in repair.problems[:3]), file=sys.stderr, flush=True)
        finally:
            runner.close()
    return found


def table(found: dict[str, dict[str, Repair]], unordered: Repair) -> str:
    """Return the page."""
    said = "Without that it fails at boot." if unordered.after is None else f"Without: {unordered}."
    lines = [HEAD.format(interval=INTERVAL, limit=int(min(d.limit for d in DISTURBANCES)), unordered=said)]
    for group in dict.fromkeys(disturbance.group for disturbance in DISTURBANCES):
        lines += [f"| {group} | " + " | ".join(found) + " |", "| --- |" + " --- |" * len(found)]
        for disturbance in DISTURBANCES:
            if disturbance.group == group:
                cells = [str(repairs[disturbance.key]) for repairs in found.values()]
                lines.append(f"| {disturbance.says} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """Run, write the page, and return 1 when our candidate failed anything."""
    if reason := why_not():
        print(reason, file=sys.stderr)
        return 5
    began = time.monotonic()
    spec = example_spec()
    base = bases.folder(spec)
    ours = Multieip(spec)
    found = run([ours, RcLocal()], base)
    runner = Runner(RcLocal(ordered=False), base)
    try:
        unordered = runner.meet(DISTURBANCES[0])
    finally:
        runner.close()
    DOCS.parent.mkdir(exist_ok=True)
    DOCS.write_text(table(found, unordered))
    failed = [key for key, repair in found[ours.name].items() if repair.after is None]
    print(f"wrote {DOCS} after {time.monotonic() - began:.0f} s; {ours.name} failed {failed or 'nothing'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
