"""The guest in the lab: how soon 50 EIPs answer after systemd's start, and what a run with nothing to do costs."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from generator.image import base as bases
from generator.run import base_env, need
from tests.bench import Row, in_turns, seconds, unmeasured
from tests.lab.candidates import Candidate, Multieip, RcLocal, example_spec
from tests.lab.lab import Lab
from tests.lab.layout import FIFTY, USUAL, Layout
from tests.lab.needs import why_not

BOOT = "from systemd's start to 50 EIPs answering"
IDLE_WALL = "a run with nothing to do, 50 private IPs"
IDLE_CPU = "the same, CPU time"
REQUESTS = "metadata requests of a run"
GOALS = {IDLE_WALL: "< 150 ms", IDLE_CPU: "< 100 ms", REQUESTS: "<= 2 + 5 per ENI"}
ROUNDS = 3
RUN = ("/usr/local/sbin/multieip-policy-routing", "apply")


@dataclass(frozen=True)
class Cost:
    """What a program took: seconds of wall clock, and of CPU with all its children."""

    wall: float
    cpu: float


def rows() -> Iterator[Row]:
    """Yield the rows."""
    if reason := why_not():
        yield from (unmeasured(what, GOALS.get(what, "-"), reason) for what in (BOOT, IDLE_WALL, IDLE_CPU, REQUESTS))
        return
    spec = example_spec()
    base = bases.folder(spec)
    # An hour between runs of the timer: what is measured is not disturbed.
    ours, theirs = Multieip(spec, interval=3600), RcLocal()
    times = in_turns({c.name: _Boot(c, base, FIFTY) for c in (ours, theirs)}, ROUNDS)
    boot, against = times[ours.name], times[theirs.name]
    yield Row(BOOT, seconds(boot), f"rc.local: {seconds(against)}", boot / against)
    yield from _idle(ours, base)
    yield _requests(ours, base)


@dataclass(frozen=True)
class _Boot:
    candidate: Candidate
    base: Path
    layout: Layout

    def __call__(self) -> float:
        with Lab(self.candidate, self.base, self.layout) as lab:
            lab.boot()
            return _answering(lab)


def _answering(lab: Lab) -> float:
    """Return the seconds from the container's start until all was well, and stayed so."""
    repair = lab.watch(60, since=lab.container.started_at)
    if repair.after is None:
        raise RuntimeError(lab.report("boot", repair.problems))
    return repair.after


def _idle(candidate: Candidate, base: Path) -> Iterator[Row]:
    with Lab(candidate, base, FIFTY) as lab:
        lab.boot()
        _answering(lab)
        lab.container.wait_booted()
        costs: list[Cost] = []

        def run() -> float:
            costs.append(_cost(lab, RUN))
            return costs[-1].wall

        best = in_turns({"run": run, "nothing": lambda: _cost(lab, ("true",)).wall}, rounds=10)
        cpu = min(cost.cpu for cost in costs)
    against = f"/bin/true: {seconds(best['nothing'])}"
    yield Row(IDLE_WALL, seconds(best["run"]), against, best["run"] / best["nothing"], "< 150 ms", best["run"] < 0.15)
    yield Row(IDLE_CPU, seconds(cpu), goal="< 100 ms", met=cpu < 0.1)


def _cost(lab: Lab, argv: tuple[str, ...]) -> Cost:
    """Run a program in the instance; nsenter becomes the program, so the kernel's account is the program's."""
    before = time.perf_counter()
    process = subprocess.Popen(
        [need("nsenter"), *lab.container.enter[1:], *argv],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=base_env(),
    )
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return Cost(time.perf_counter() - before, usage.ru_utime + usage.ru_stime)


def _requests(candidate: Candidate, base: Path) -> Row:
    with Lab(candidate, base, USUAL) as lab:
        lab.boot()
        _answering(lab)
        lab.container.wait_booted()
        first = len(lab.service.log)
        lab.run("rm -f /run/multieip/token /run/multieip/records")
        lab.service.log.clear()
        lab.candidate.run_now(lab.container)
        fresh = len(lab.service.log)
        lab.service.log.clear()
        lab.candidate.run_now(lab.container)
        again = len(lab.service.log)
    enis = len(USUAL.enis)
    limit = 2 + 5 * enis
    measured = f"{fresh}, then {again}; {first} in the boot"
    return Row(REQUESTS, f"{measured} ({enis} ENIs)", f"{limit}", fresh / limit, GOALS[REQUESTS], fresh <= limit)
