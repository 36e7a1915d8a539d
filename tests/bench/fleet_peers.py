"""Three ways to the same fleet on the sandbox, each a process: multieip, a plain SDK loop, and Terraform's calls.

`python -m tests.bench.fleet_peers serve SPEED EIPS WINDOWS` serves a region; the other modes launch COUNT instances
with one secondary ENI of EIPS EIPs each, and print what it took as JSON. Seconds are of the region's clock.

Terraform's sequence is what its provider's source (aliyun/terraform-provider-alicloud, 2026-08) makes of
alicloud_instance, alicloud_ecs_network_interface with its attachment, alicloud_eip_address and
alicloud_eip_association, with its waits: 5 s before the first look at a new EIP or ENI, 10 s between looks at an
instance, 3 s and then 5 s after a throttle; ten resources at a time. Terraform itself is not run.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from generator.cloud import eips, enis, instances
from generator.cloud.client import Cloud, Conduct, Pace
from generator.cloud.faults import ApiRefusedError, Fault
from generator.fleet.engine import Settings
from generator.fleet.quotas import QUOTAS, Quota
from generator.fleet.state import CallLog
from generator.spec.fleet import FleetSpec
from tests.sandbox.region import GROUP, IMAGE, REGION, VSWITCH

# Terraform's -parallelism.
TERRAFORM = 10


def serve(speed: float, quota: int, *, throttled: bool) -> None:
    """Serve a region until stdin ends; print its URL first, and a line with its time for each line read."""
    from generator.sandbox.region.behaviour import Behaviour
    from generator.sandbox.region.clock import Clock
    from tests.sandbox.region import served

    behaviour = Behaviour(eips=quota) if throttled else Behaviour(eips=quota, windows=None)
    with served(clock=Clock(speed), behaviour=behaviour) as cloud:
        print(cloud.server.url, flush=True)
        for _ in sys.stdin:
            print(cloud.account.clock.now(), flush=True)


def fleet(count: int, each: int) -> FleetSpec:
    """Return the spec of the fleet that is launched."""
    return FleetSpec.model_validate(
        {
            "version": 1,
            "name": "bench",
            "region": REGION,
            "image": {"id": IMAGE},
            "instance_types": ["ecs.g7.4xlarge"],
            "vswitches": [VSWITCH],
            "security_group": {"id": GROUP},
            "user_data": {"form": "none"},
            "count": count,
            "enis": [{"private_ips": 1, "eips": 0}, {"private_ips": each}],
        }
    )


def multieip(count: int, each: int, speed: float, *, batch: int = 10, throttled: bool = True) -> Mapping[str, float]:
    """Launch with multieip."""
    from dbos import DBOS  # noqa: F401

    from generator.fleet import launching  # noqa: F401
    from generator.fleet.launch import launch

    Cloud(REGION)
    quotas = {api: Quota(quota.calls if throttled else 10**6, min(batch, quota.batch)) for api, quota in QUOTAS.items()}
    with tempfile.TemporaryDirectory() as folder, _measured(speed) as found:
        report = launch(
            fleet(count, each),
            folder=Path(folder),
            settings=Settings(quotas=quotas, pace=Pace(factor=speed)),
            quiet=True,
        )
        log = (Path(folder) / "bench" / "calls.jsonl").read_text()
        found.update({"writes": report.writes, "reads": report.reads, "throttled": log.count('"Throttling')})
    return found


class _measured:  # noqa: N801 - it reads as a verb
    """Measures a block: seconds of the region's clock, seconds of CPU, and the most memory in MB."""

    def __init__(self, speed: float) -> None:
        self._speed, self._found = speed, dict[str, float]()

    def __enter__(self) -> dict[str, float]:
        self._begun, self._cpu = time.monotonic(), time.process_time()
        return self._found

    def __exit__(self, *_: object) -> None:
        self._found["seconds"] = (time.monotonic() - self._begun) * self._speed
        self._found["cpu"] = time.process_time() - self._cpu
        self._found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


@dataclass
class Plain:
    """Calls as a script makes them: no token that outlives a try, a wait after a throttle, and again."""

    speed: float
    first: float
    then: float
    log: CallLog = field(default_factory=lambda: CallLog(None))

    def __post_init__(self) -> None:
        self.cloud = Cloud(
            REGION, Pace(throttled=0, unanswered=0, busy=0, factor=self.speed), Conduct(observe=self.log)
        )

    def sleep(self, seconds: float) -> None:
        """Wait so many seconds of the region's clock."""
        time.sleep(seconds / self.speed)

    def call(self, work: Callable[[], Any]) -> Any:
        """Make a call until it is neither throttled nor too early."""
        wait = self.first
        while True:
            try:
                return work()
            except ApiRefusedError as refusal:
                if refusal.fault not in (Fault.THROTTLE, Fault.STATE):
                    raise
            self.sleep(wait)
            wait = self.then

    def until(self, holds: Callable[[], bool], delay: float, every: float) -> None:
        """Wait, then look until something holds."""
        self.sleep(delay)
        while not self.call(holds):
            self.sleep(every)

    def run_one(self, number: int, ips: int) -> str:
        """Run one instance, with a secondary ENI if it is to have private IPs there."""
        nics = (instances.Nic(), instances.Nic(private_ips=ips)) if ips else (instances.Nic(),)
        order = instances.Order(IMAGE, "", (GROUP,), nics, instances.Disk("cloud_essd"), f"peer-{number:03}")
        (key,) = self.call(
            lambda: instances.run(self.cloud, order, kind="ecs.g7.4xlarge", vswitch=VSWITCH, amount=1, token=_token())
        )
        return str(key)

    def runs(self, key: str) -> bool:
        """Look whether an instance runs."""
        return any(one.status == "Running" for one in instances.describe(self.cloud, ids=[key]))

    def totals(self) -> dict[str, float]:
        """Return how many requests were answered, and how many throttled."""
        return {"writes": self.log.writes, "reads": self.log.reads, "throttled": sum(self.log.refused.values())}


def _token() -> str:
    return os.urandom(16).hex()


def loop(count: int, each: int, speed: float) -> Mapping[str, float]:
    """Launch as a loop over the SDK does: one instance after another, one EIP after another."""
    plain = Plain(speed, first=5.0, then=5.0)
    cloud = plain.cloud
    with _measured(speed) as found:
        for number in range(count):
            key = plain.run_one(number, each)
            plain.until(partial(plain.runs, key), 1.0, 1.0)
            held = plain.call(partial(enis.describe, cloud, instance=key))
            eni = next(one for one in held if not one.primary)
            for address in eni.addresses:
                new = plain.call(lambda: eips.allocate(cloud, eips.NewEip(), name="peer", tags=(), token=_token()))
                plain.call(partial(eips.associate, cloud, new.id, eni.id, address.ip, token=_token()))
                plain.until(partial(_in_use, plain, new.id), 1.0, 1.0)
        found.update(plain.totals())
    return found


def _in_use(plain: Plain, eip: str) -> bool:
    return any(one.status == "InUse" for one in eips.describe(plain.cloud, ids=[eip]))


def terraform(count: int, each: int, speed: float) -> Mapping[str, float]:
    """Launch by the calls that Terraform's provider makes, ten resources at a time."""
    plain = Plain(speed, first=3.0, then=5.0)
    with ThreadPoolExecutor(TERRAFORM) as pool, _measured(speed) as found:
        graph = _Graph(pool)
        for number in range(count):
            machine = graph.add(partial(_tf_instance, plain, number))
            eni = graph.add(partial(_tf_eni, plain, each))
            attached = graph.add(partial(_tf_attach, plain, eni, machine), machine, eni)
            for index in range(each):
                eip = graph.add(partial(_tf_eip, plain))
                graph.add(partial(_tf_associate, plain, eip, attached, index), eip, attached)
        graph.wait()
        found.update(plain.totals())
    return found


class _Graph:
    """Runs resources in a pool as soon as those they depend on are there."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool, self._all = pool, list[Future[Any]]()
        self._guard = threading.Lock()

    def add(self, work: Callable[[], Any], *after: Future[Any]) -> Future[Any]:
        done: Future[Any] = Future()
        self._all.append(done)
        left = len(after)

        def run() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        def one_less(_: Future[Any]) -> None:
            nonlocal left
            with self._guard:
                left -= 1
                ready = left == 0
            if ready:
                self._pool.submit(run)

        if not after:
            self._pool.submit(run)
        for future in after:
            future.add_done_callback(one_less)
        return done

    def wait(self) -> None:
        for future in self._all:
            future.result()


def _tf_instance(plain: Plain, number: int) -> str:
    key = plain.run_one(number, 0)
    plain.until(lambda: plain.runs(key), 10.0, 10.0)
    plain.call(lambda: instances.describe(plain.cloud, ids=[key]))
    return key


def _tf_eni(plain: Plain, ips: int) -> str:
    new = enis.NewEni(VSWITCH, (GROUP,), "peer-eth1", ips)
    eni = plain.call(lambda: enis.create(plain.cloud, new, token=_token()))
    plain.until(lambda: bool(enis.describe(plain.cloud, ids=[eni], status="Available")), 5.0, 5.0)
    plain.call(lambda: enis.describe(plain.cloud, ids=[eni]))
    return str(eni)


def _tf_attach(plain: Plain, made: Future[Any], machine: Future[Any]) -> Any:
    eni = made.result()
    plain.call(lambda: enis.attach(plain.cloud, eni, machine.result()))
    plain.until(lambda: bool(enis.describe(plain.cloud, ids=[eni], status="InUse")), 5.0, 5.0)
    return plain.call(lambda: enis.describe(plain.cloud, ids=[eni]))[0]


def _tf_eip(plain: Plain) -> str:
    new = plain.call(lambda: eips.allocate(plain.cloud, eips.NewEip(), name="peer", tags=(), token=_token()))
    plain.until(lambda: bool(eips.describe(plain.cloud, ids=[new.id], status="Available")), 5.0, 5.0)
    # Tags are a call of their own there.
    plain.call(lambda: eips.tag(plain.cloud, [new.id], (("fleet", "peer"),)))
    plain.call(lambda: eips.describe(plain.cloud, ids=[new.id]))
    return str(new.id)


def _tf_associate(plain: Plain, made: Future[Any], attached: Future[Any], index: int) -> None:
    eip, eni = made.result(), attached.result()
    plain.call(lambda: eips.associate(plain.cloud, eip, eni.id, eni.addresses[index].ip, token=_token()))
    plain.call(lambda: eips.describe(plain.cloud, ids=[eip]))


def main() -> None:
    """Run one mode."""
    mode, *rest = sys.argv[1:]
    if mode == "serve":
        serve(float(rest[0]), int(rest[1]), throttled=rest[2] == "windows")
        return
    count, each, speed = int(rest[0]), int(rest[1]), float(rest[2])
    if mode == "multieip":
        batch, throttled = int(rest[3]), rest[4] == "windows"
        print(json.dumps(multieip(count, each, speed, batch=batch, throttled=throttled)))
    else:
        print(json.dumps({"loop": loop, "terraform": terraform}[mode](count, each, speed)))


if __name__ == "__main__":
    main()
