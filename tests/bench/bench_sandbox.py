"""The sandbox region's API: describe calls a second with the official SDK, and what a large fleet costs in memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.bench import Row

SECONDS = 4.0
INSTANCES = 1000
EIPS = 20

# Modes of this module as a script, each a process of its own.
_SERVE, _SERVE_BARE, _CALL, _FILL = "serve", "serve-bare", "call", "fill"


def rows() -> Iterator[Row]:
    """Yield a row for the rate of each kind of call, and one for memory."""
    with _Server(_SERVE_BARE) as server:
        floor, _ = server.rate("regions")
    with _Server(_SERVE) as server:
        for what, mode in (
            ("DescribeRegions", "regions"),
            ("DescribeNetworkInterfaces, 1 ENI of 20 EIPs", "eni"),
            ("DescribeInstances, 10 of 1,000", "instances"),
        ):
            if mode == "eni":
                bare = server.memory()
                _run(_FILL, server.url)
                filled = server.memory()
            rate, latency = server.rate(mode)
            # What a page costs depends on its size; the goal is for calls of one resource.
            goal = None if mode == "instances" else rate > 1000
            yield Row(
                f"sandbox: {what}, 2 clients",
                f"{rate:,.0f}/s, median {latency * 1e3:.2f} ms",
                f"aiohttp with a fixed answer: {floor:,.0f}/s",
                rate / floor,
                goal="-" if goal is None else "> 1,000/s",
                met=goal,
            )
        yield Row(
            f"sandbox: memory, {INSTANCES:,} instances of {EIPS} EIPs",
            f"{filled:.0f} MB",
            f"an empty region: {bare:.0f} MB",
            filled / bare,
            "< 300 MB",
            filled < 300,
        )


class _Server:
    """A server in a process of its own, whose state is kept in no file."""

    def __init__(self, mode: str) -> None:
        self._mode = mode

    def __enter__(self) -> _Server:
        self._process = subprocess.Popen(_command(self._mode), stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def memory(self) -> float:
        """Return the resident memory in MB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1000

    def rate(self, mode: str) -> tuple[float, float]:
        """Return calls a second of two clients together, and the median of a call in seconds."""
        with ThreadPoolExecutor(2) as pool:
            told = list(pool.map(lambda _: _run(_CALL, self.url, mode).split(), range(2)))
        return sum(float(rate) for rate, _ in told), max(float(latency) for _, latency in told)


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.bench.bench_sandbox", *arguments]


def _run(*arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    environment["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"
    done = subprocess.run(_command(*arguments), env=environment, capture_output=True, text=True, check=True)
    return done.stdout


# What the processes do


def _serve() -> None:
    import asyncio

    from generator.sandbox.region.account import Account
    from generator.sandbox.region.behaviour import Behaviour
    from generator.sandbox.server import Server

    async def main() -> None:
        server = Server(Account(behaviour=Behaviour(windows=None, eips=10**6, serial_binding=False)))
        await server.start()
        print(server.url, flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())


def _serve_bare() -> None:
    """Answer everything with what DescribeRegions answers: what HTTP and the client cost by themselves."""
    import asyncio
    import json

    from aiohttp import web

    regions = [{"RegionId": f"region-{number}", "LocalName": "a region", "Status": "available"} for number in range(8)]
    body = json.dumps({"RequestId": "0", "Regions": {"Region": regions}}).encode()

    async def answer(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response(body=body, content_type="application/json")

    async def main() -> None:
        runner = web.ServerRunner(web.Server(answer, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())


def _fill(url: str) -> None:
    from tests.sandbox.region import GROUP, IMAGE, REGION, VSWITCH, call, clients

    ecs, vpc = clients(url)
    launch = {
        "region_id": REGION,
        "image_id": IMAGE,
        "instance_type": "ecs.g7.4xlarge",
        "v_switch_id": VSWITCH,
        "security_group_id": GROUP,
        "amount": 100,
        "network_interface": [{"SecondaryPrivateIpAddressCount": EIPS - 1}],
    }
    for _ in range(INSTANCES // 100):
        call(ecs, "RunInstances", launch)
    time.sleep(1)
    enis, token = list[Any](), None
    while token != "":
        page = {"region_id": REGION, "type": "Secondary", "max_results": 500, "next_token": token}
        body = call(ecs, "DescribeNetworkInterfaces", page)
        enis += body.network_interface_sets.network_interface_set
        token = body.next_token
    assert len(enis) == INSTANCES
    for eni in enis:
        for private in eni.private_ip_sets.private_ip_set:
            eip = call(vpc, "AllocateEipAddress", {"region_id": REGION}).allocation_id
            named = {"instance_id": eni.network_interface_id, "instance_type": "NetworkInterface"}
            address = {"allocation_id": eip, "private_ip_address": private.private_ip_address}
            call(vpc, "AssociateEipAddress", {**named, **address})


def _call(url: str, mode: str) -> None:
    from statistics import median

    from tests.sandbox.region import REGION, call, clients

    ecs, _ = clients(url)
    if mode == "eni":
        first = call(ecs, "DescribeNetworkInterfaces", {"region_id": REGION, "type": "Secondary", "max_results": 10})
        eni = first.network_interface_sets.network_interface_set[0].network_interface_id
        what: tuple[str, dict[str, Any]] = ("DescribeNetworkInterfaces", {"network_interface_id": [eni]})
    else:
        what = ("DescribeRegions", {}) if mode == "regions" else ("DescribeInstances", {"page_size": 10})
    parameters = what[1] if mode == "regions" else {"region_id": REGION, **what[1]}
    call(ecs, what[0], parameters)
    taken, begun = list[float](), time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        start = time.perf_counter()
        call(ecs, what[0], parameters)
        taken.append(time.perf_counter() - start)
    print(len(taken) / SECONDS, median(taken))


if __name__ == "__main__":
    modes: dict[str, Callable[..., None]] = {
        _SERVE: _serve,
        _SERVE_BARE: _serve_bare,
        _FILL: _fill,
        _CALL: _call,
    }
    modes[sys.argv[1]](*sys.argv[2:])
