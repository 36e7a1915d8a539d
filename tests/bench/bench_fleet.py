"""Launching a fleet on the sandbox: against the bound of the quotas, a plain SDK loop, and Terraform's calls."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

from tests.bench import Row

# At the default quotas. What the machine needs for itself counts as often as the clock is faster, so ours is slow: a
# minute takes 20 s. The peers wait for most of their time, and a call of theirs takes no longer than the cloud's.
COUNT, EACH, SPEED, PEERS_SPEED = 100, 5, 3.0, 10.0
WINDOW, QUOTA = 60.0, 120
# Without quotas and in real time, since with a faster clock the engine looks into its queues more often: what it costs
# the launcher, a few EIPs in two ways, and many.
FREE, FEW, MANY, EIPS_EACH = 1.0, 20, 1000, 20


def rows() -> Iterator[Row]:
    """Yield the rows of time, calls, peers, memory and CPU."""
    eips = COUNT * EACH
    what = f"launch {COUNT} x {EACH} EIPs"
    with ThreadPoolExecutor(3) as pool:
        # Side by side: each has a region of its own, and waits most of the time.
        first = pool.submit(_launched, "multieip", SPEED, "10", "windows")
        others = [pool.submit(_launched, name, PEERS_SPEED) for name in ("loop", "terraform")]
        ours, peers = first.result(), [job.result() for job in others]
    bound = (math.ceil(eips / QUOTA) - 1) * WINDOW
    yield Row(
        f"{what}: time at the default quotas",
        f"{ours['seconds']:.0f} s",
        f"the quotas' bound: {bound:.0f} s",
        ours["seconds"] / bound,
        "< 1.05",
        ours["seconds"] / bound < 1.05,
    )
    writes, reads = ours["writes"] / eips, ours["reads"] / eips
    yield Row(
        f"{what}: writes an EIP", f"{writes:.3f}", "allocate and associate: 2", writes / 2, "< 1.05", writes < 2.1
    )
    yield Row(f"{what}: reads an EIP", f"{reads:.3f}", goal="< 0.1", met=reads < 0.1)
    yield Row(f"{what}: calls that were throttled", f"{ours['throttled']:.0f}")
    for peer, title in zip(peers, ("a plain SDK loop", "Terraform's calls"), strict=True):
        calls = (peer["writes"] + peer["reads"] + peer["throttled"]) / eips
        mine = (ours["writes"] + ours["reads"] + ours["throttled"]) / eips
        yield Row(
            f"{what}: time against {title}",
            f"{ours['seconds']:.0f} s",
            f"{peer['seconds']:.0f} s",
            ours["seconds"] / peer["seconds"],
        )
        yield Row(f"{what}: calls an EIP against {title}", f"{mine:.2f}", f"{calls:.2f}", mine / calls)
    yield from _costs()


def _costs() -> Iterator[Row]:
    """Yield what the launcher itself costs, with no quota to wait for."""
    batched, single = (_launched("multieip", FREE, batch, "free", count=FEW) for batch in ("10", "1"))
    yield Row(
        f"launch {FEW} x {EACH} EIPs: CPU an EIP in batches of 10 calls",
        f"{batched['cpu'] / FEW / EACH * 1e3:.1f} ms",
        f"a workflow for each call: {single['cpu'] / FEW / EACH * 1e3:.1f} ms",
        batched["cpu"] / single["cpu"],
    )
    large = _launched("multieip", FREE, "10", "free", count=MANY, each=EIPS_EACH)
    cpu = large["cpu"] / MANY / EIPS_EACH * 1e3
    yield Row(f"launch {MANY:,} x {EIPS_EACH} EIPs: CPU an EIP", f"{cpu:.1f} ms", goal="< 5 ms", met=cpu < 5)
    memory = large["memory"]
    yield Row(f"launch {MANY:,} x {EIPS_EACH} EIPs: memory", f"{memory:.0f} MB", goal="< 300 MB", met=memory < 300)


@dataclass
class _Region:
    """A region in a process of its own."""

    speed: float
    quota: int
    windows: str

    def __enter__(self) -> _Region:
        self._process = subprocess.Popen(
            _command("serve", str(self.speed), str(self.quota), self.windows),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = self._read()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)

    def now(self) -> float:
        """Return the region's time."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._read())

    def begin_window(self) -> None:
        """Wait until a minute of the region begins: so that every contender starts with a whole one."""
        time.sleep((WINDOW - self.now() % WINDOW) / self.speed)

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def _launched(mode: str, speed: float, *more: str, count: int = COUNT, each: int = EACH) -> Mapping[str, float]:
    windows = more[-1] if more else "windows"
    with _Region(speed, count * each, windows) as region:
        if windows == "windows":
            region.begin_window()
        environment = {**os.environ, "MULTIEIP_ENDPOINT": region.url, "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"}
        command = _command(mode, str(count), str(each), str(speed), *more)
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.bench.fleet_peers", *arguments]
