"""One rollout by several workers on PostgreSQL, without quotas: what the controllers themselves can do."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import Row, unmeasured

# A faster clock has each worker look for work so often that little else is measured.
COUNT, EACH, SPEED = 400, 5, 5.0
WORKERS = (1, 2, 4)
# Each number of workers has its turn so many times; the fastest counts.
ROUNDS = 2


@dataclass(frozen=True)
class Rolled:
    """Seconds of a rollout, CPU seconds of all its workers, and the calls that each of them made."""

    seconds: float
    cpu: float
    calls: tuple[int, ...]


def rows() -> Iterator[Row]:
    """Yield the rows of time and CPU by the number of workers."""
    from tests.sandbox import postgres

    what = f"replace {COUNT} x {EACH} EIPs without quotas"
    if reason := postgres.why_not():
        yield unmeasured(f"{what}: workers on PostgreSQL", "-", reason)
        return
    found: dict[int, list[Rolled]] = {workers: [] for workers in WORKERS}
    with tempfile.TemporaryDirectory() as name, _region() as region, postgres.serving(Path(name)) as server:
        folder = Path(name)
        bench = _Bench(region, folder)
        bench.launch()
        for workers in WORKERS * ROUNDS:
            found[workers].append(bench.roll(workers, postgres.database(server)))
    best = {workers: min(rolled, key=lambda one: one.seconds) for workers, rolled in found.items()}
    one, cores = best[1], len(os.sched_getaffinity(0))
    for workers in WORKERS:
        yield Row(
            f"{what}: time of {_several(workers)}; {cores} cores for them, PostgreSQL and the region",
            f"{best[workers].seconds:.1f} s",
            f"1 worker: {one.seconds:.1f} s",
            best[workers].seconds / one.seconds,
        )
    for workers in WORKERS:
        calls = " + ".join(str(calls) for calls in best[workers].calls)
        yield Row(
            f"{what}: CPU of {_several(workers)}, which made {calls} calls",
            f"{best[workers].cpu:.1f} s",
            f"1 worker: {one.cpu:.1f} s",
            best[workers].cpu / one.cpu,
        )


def _several(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"


class _Bench:
    """A fleet that is rolled from one image to the other and back, each time with a new database."""

    def __init__(self, region: str, folder: Path) -> None:
        quotas = ",".join(f"{api}=999999" for api in _apis())
        self._folder, self._numbers = folder, itertools.count()
        self._environment = {
            **os.environ,
            "MULTIEIP_ENDPOINT": region,
            "MULTIEIP_CLOCK": str(SPEED),
            "MULTIEIP_QUOTAS": quotas,
            "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
        }

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "tests.bench.bench_workers", *arguments]
        return subprocess.Popen(
            argv, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def launch(self) -> None:
        """Launch the fleet."""
        _end(self._start("launch", str(self._folder)))

    def roll(self, workers: int, database: str) -> Rolled:
        """Replace all instances by so many workers, all of which are loaded when the clock starts."""
        number = next(self._numbers)
        # A folder of its own, so that calls are counted from nothing.
        folder = self._folder / str(number)
        processes = [
            self._start("roll" if first else "join", str(folder), str(number), database)
            for first in [True, *[False] * (workers - 1)]
        ]
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        begun = time.monotonic()
        for process in processes:
            assert process.stdin
            print("go", file=process.stdin)
        ends = [_end(process) for process in processes]
        seconds = max(end["ended"] for end in ends) - begun
        logs = [path for path in folder.rglob("calls.jsonl") if "workers" in path.parts]
        assert len(logs) == workers
        calls = sorted((len(log.read_text().splitlines()) for log in logs), reverse=True)
        return Rolled(seconds, sum(end["cpu"] for end in ends), tuple(calls))


def _end(process: subprocess.Popen[str]) -> dict[str, float]:
    """Return what a process reports as its last line."""
    said, _ = process.communicate()
    assert process.returncode == 0, f"a worker failed: exit code {process.returncode}"
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def _apis() -> list[str]:
    from generator.fleet.quotas import QUOTAS

    return sorted(QUOTAS)


@contextmanager
def _region() -> Iterator[str]:
    """Serve a region without quotas in a process of its own, and yield its URL."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    region = context.Process(target=_serve, args=(theirs,), daemon=True)
    region.start()
    try:
        yield ours.recv()
    finally:
        region.terminate()
        region.join()


def _serve(pipe: Any) -> None:
    from generator.sandbox.region.behaviour import Behaviour
    from generator.sandbox.region.clock import Clock
    from tests.sandbox.region import served

    with served(clock=Clock(SPEED), behaviour=Behaviour(eips=COUNT * EACH, windows=None)) as cloud:
        pipe.send(cloud.server.url)
        pipe.recv()


def _work(verb: str, folder: Path, number: str = "", database: str = "") -> dict[str, float]:
    """Do what one process does: launch, begin a rollout, or work along with the one that another began."""
    from generator.fleet.launch import default_settings, launch
    from generator.fleet.rollout import rolling, waves  # noqa: F401 - loaded before the clock starts
    from tests.sandbox.rollouts import NEW, OLD, QUICK, fleet

    strategy = {**QUICK, "canary": 0, "waves": ["100%"], "max_surge": "100%", "ready_timeout": 3600}
    image = OLD if verb == "launch" or int(number) % 2 else NEW
    spec = fleet(image, strategy=strategy, count=COUNT, enis=[{"eips": 0}, {"private_ips": EACH}])
    if verb == "launch":
        launch(spec, folder=folder, quiet=True)
        return {}
    work = rolling.Work(spec.name, spec.region, folder, default_settings(database=database))
    print("ready", flush=True)
    sys.stdin.readline()
    used = _cpu()
    if verb == "roll":
        state = rolling.start(spec, rolling.order_of(spec, probing=False), work)
    else:
        with work.desk() as desk:
            while not desk.history(1):
                time.sleep(0.02)
        state = rolling.work_along(work)
    assert state.phase == "done", state
    return {"ended": time.monotonic(), "cpu": _cpu() - used}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    verb, folder, *more = sys.argv[1:]
    print(json.dumps(_work(verb, Path(folder), *more)))
