"""Replacing a fleet on the sandbox: against the bound of the quotas, and against moving its EIPs one by one."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.bench import Row

COUNT, EACH = 1000, 5
# For EIPs that move one by one: at 120 a minute, a large fleet takes three quarters of an hour.
FEW = 60
# How fast the cloud's clock runs while a fleet is launched, without quotas, and while a small one is replaced. What the
# controller and the region need of this machine counts as much longer, so the large one is replaced in real time.
LAUNCHING, FAST, REAL = 20.0, 3.0, 1.0
WINDOW, DETACHED, BOUND_ANEW = 60.0, 400, 120


def rows() -> Iterator[Row]:
    """Yield the rows of time, memory and CPU."""
    few = _rolled(FEW, "secondary", FAST)
    single = _rolled(FEW, "primary", FAST)
    yield Row(
        f"replace {FEW} x {EACH} EIPs: time with their ENIs",
        f"{few['seconds']:.0f} s",
        f"EIPs bound anew, one by one: {single['seconds']:.0f} s",
        few["seconds"] / single["seconds"],
    )
    one = _rolled(1, "secondary", REAL)
    large = _rolled(COUNT, "secondary", REAL)
    bound = (math.ceil(COUNT / DETACHED) - 1) * WINDOW
    what = f"replace {COUNT:,} x {EACH} EIPs"
    yield Row(
        f"{what}: time at the default quotas",
        f"{large['seconds']:.0f} s",
        f"the quotas' bound: {bound:.0f} s",
        large["seconds"] / bound,
        "< 1.05",
        large["seconds"] / bound < 1.05,
    )
    # What one instance takes on its own no limit is to blame for: to boot, to be asked, to move, to be deleted.
    yield Row(
        f"{what}: time at the default quotas",
        f"{large['seconds']:.0f} s",
        f"the quotas' bound and one replacement alone: {bound:.0f} + {one['seconds']:.0f} s",
        large["seconds"] / (bound + one["seconds"]),
        "< 1.05",
        large["seconds"] / (bound + one["seconds"]) < 1.05,
    )
    alone = (math.ceil(COUNT * EACH / BOUND_ANEW) - 1) * WINDOW
    yield Row(
        f"{what}: time against the quotas' bound of EIPs bound anew",
        f"{large['seconds']:.0f} s",
        f"{alone:.0f} s",
        large["seconds"] / alone,
    )
    cpu = large["cpu"] / COUNT / EACH * 1e3
    yield Row(f"{what}: CPU an EIP", f"{cpu:.1f} ms", goal="< 5 ms", met=cpu < 5)
    yield Row(f"{what}: controller's memory", f"{large['memory']:.0f} MB", goal="< 300 MB", met=large["memory"] < 300)
    yield Row(f"{what}: calls that were throttled", f"{large['throttled']:.0f}")


def _rolled(count: int, enis: str, speed: float) -> Mapping[str, float]:
    """Launch a fleet and replace it by a clock of that speed, with a region in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    region = context.Process(target=_serve, args=(theirs, count * EACH), daemon=True)
    region.start()
    # So that a region that does not come up is an error here, not a wait for ever.
    theirs.close()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "MULTIEIP_ENDPOINT": ours.recv(),
            "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
        }

        def do(verb: str, factor: float) -> Any:
            argv = [sys.executable, "-m", "tests.bench.bench_rollout", verb, str(count), enis, folder]
            done = subprocess.run(
                argv, env={**environment, "MULTIEIP_CLOCK": str(factor)}, stdout=subprocess.PIPE, text=True, check=True
            )
            return json.loads(done.stdout.splitlines()[-1])

        do("launch", LAUNCHING)
        ours.send(speed)
        ours.recv()
        found: dict[str, float] = do("roll", speed)
    region.terminate()
    region.join()
    return found


def _serve(pipe: Any, eips: int) -> None:
    """Serve a region: without quotas until told the speed of the clock, with the default ones from then on."""
    from generator.sandbox.region.behaviour import WINDOWS, Behaviour
    from generator.sandbox.region.clock import Clock
    from tests.sandbox.region import served

    with served(clock=Clock(LAUNCHING), behaviour=Behaviour(eips=eips, windows=None)) as cloud:
        pipe.send(cloud.server.url)
        speed = pipe.recv()
        cloud.run_at(speed)
        cloud.account.behaviour = replace(cloud.account.behaviour, windows=WINDOWS)
        pipe.send("go")
        pipe.recv()


def _work(verb: str, count: int, enis: str, folder: Path) -> dict[str, float]:
    from generator.fleet.launch import launch
    from generator.fleet.quotas import clock
    from generator.fleet.rollout import rolling
    from tests.sandbox.rollouts import NEW, OLD, QUICK, fleet

    shape = [{"private_ips": EACH}] if enis == "primary" else [{"eips": 0}, {"private_ips": EACH}]
    strategy = {**QUICK, "canary": 0, "waves": ["100%"], "max_surge": "100%", "ready_timeout": 3600}
    spec = fleet(NEW if verb == "roll" else OLD, strategy=strategy, count=count, enis=shape)
    begun, used = time.monotonic(), _cpu()
    if verb == "launch":
        launch(spec, folder=folder, quiet=True)
        return {}
    state = rolling.start(spec, rolling.order_of(spec, probing=False), rolling.Work("web", spec.region, folder))
    assert state.phase == "done", state
    lines = [json.loads(line) for line in (folder / "web" / "calls.jsonl").read_text().splitlines()]
    return {
        "seconds": (time.monotonic() - begun) * clock(),
        "cpu": _cpu() - used,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "throttled": sum(line["code"].startswith("Throttling") for line in lines),
    }


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    print(json.dumps(_work(sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))))
