"""Windows of quota, faults on request, client tokens in flight, and what survives the end of the process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from generator.errors import MultieipError
from generator.sandbox.region import plane
from generator.sandbox.region.account import Account
from generator.sandbox.region.behaviour import WINDOWS, Behaviour, Delays
from generator.sandbox.region.clock import Clock, SteppedClock
from generator.sandbox.region.faults import Fault, Kind
from generator.sandbox.region.model import Eip, Eni, Instance, VSwitch
from tests.sandbox.region import (
    LAUNCH,
    REGION,
    VSWITCH,
    Cloud,
    Recorder,
    call,
    clients,
    refusal,
    served,
)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as one:
        yield one


# Windows


def test_a_call_beyond_the_window_is_throttled_until_the_next_minute() -> None:
    clock = SteppedClock(1_800_000_000.0)
    with served(clock=clock, behaviour=Behaviour(eips=1000)) as cloud:
        limit = WINDOWS["AllocateEipAddress"]
        for _ in range(limit):
            cloud.allocate()
        assert refusal(cloud.allocate) == ("Throttling.User", 400)
        cloud.eip("DescribeEipAddresses", region_id=REGION)
        clock.advance(59)
        assert refusal(cloud.allocate) == ("Throttling.User", 400)
        clock.advance(1)
        cloud.allocate()


def test_windows_are_of_a_region_each() -> None:
    with served(clock=SteppedClock(), behaviour=Behaviour(windows={"DescribeInstances": 2})) as cloud:
        for _ in range(2):
            cloud.do("DescribeInstances", region_id=REGION)
        assert refusal(lambda: cloud.do("DescribeInstances", region_id=REGION))[0] == "Throttling.User"
        cloud.do("DescribeInstances", region_id="cn-beijing")


def test_a_fast_clock_makes_a_minute_short() -> None:
    with served(clock=Clock(600), behaviour=Behaviour(windows={"DescribeRegions": 1})) as cloud:
        begun = time.monotonic()
        answered = 0
        while answered < 4:
            answered += _answered(lambda: cloud.do("DescribeRegions"), "Throttling.User")
        assert time.monotonic() - begun < 5


# Faults


def test_each_fault_is_what_clients_of_the_cloud_see(cloud: Cloud) -> None:
    from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
    from darabonba.exceptions import UnretryableException

    def meet(fault: Fault) -> Exception:
        cloud.run(lambda: cloud.account.faults.add(fault))
        with pytest.raises((AlibabaCloudException, UnretryableException)) as met:
            cloud.allocate()
        error: Exception = met.value
        return error

    assert getattr(meet(Fault(Kind.THROTTLE)), "code", None) == "Throttling.User"
    assert getattr(meet(Fault(Kind.ERROR, code="SystemBusy", status=503)), "code", None) == "SystemBusy"
    for kind in (Kind.UNAVAILABLE, Kind.RESET, Kind.LOST):
        assert isinstance(meet(Fault(kind)), UnretryableException), kind
    # Only the lost answer's call was carried out.
    assert cloud.eip("DescribeEipAddresses", region_id=REGION).total_count == 1


def test_an_answer_that_was_lost_is_had_again_by_its_token(cloud: Cloud) -> None:
    cloud.run(lambda: cloud.account.faults.add(Fault(Kind.LOST, "RunInstances")))
    with pytest.raises(Exception, match=r"(?i)connection|remote|aborted"):
        cloud.do("RunInstances", **LAUNCH, client_token="t")
    ids = cloud.do("RunInstances", **LAUNCH, client_token="t").instance_id_sets.instance_id_set
    assert len(ids) == 1
    assert cloud.run(lambda: [one.id for one in cloud.account.regions[REGION].all(Instance)]) == ids


def test_a_call_whose_token_is_in_flight_is_told_so(cloud: Cloud) -> None:
    cloud.run(lambda: cloud.account.faults.add(Fault(Kind.SLOW, "AllocateEipAddress", seconds=0.5)))
    parameters = {"region_id": REGION, "client_token": "t"}
    answers: list[str] = []
    slow = threading.Thread(
        target=lambda: answers.append(
            call(clients(cloud.server.url)[1], "AllocateEipAddress", parameters).allocation_id
        )
    )
    slow.start()
    time.sleep(0.2)
    assert refusal(lambda: cloud.eip("AllocateEipAddress", **parameters))[0] == "LastTokenProcessing"
    slow.join()
    assert cloud.eip("AllocateEipAddress", **parameters).allocation_id == answers[0]


def test_faults_count_their_calls_and_choose_their_actions(cloud: Cloud) -> None:
    cloud.run(lambda: cloud.account.faults.add(Fault(Kind.THROTTLE, "AllocateEipAddress", count=2)))
    cloud.do("DescribeRegions")
    for _ in range(2):
        assert refusal(cloud.allocate)[0] == "Throttling.User"
    cloud.allocate()
    assert cloud.account.faults.waiting() == ()


def test_chances_come_from_the_seed() -> None:
    def draw(seed: int) -> list[bool]:
        account = Account(seed=seed)
        account.faults.add(Fault(Kind.THROTTLE, count=None, probability=0.3))
        return [account.faults.take("X", {Kind.THROTTLE}) is not None for _ in range(200)]

    assert draw(1) == draw(1) != draw(2)
    assert 30 < sum(draw(1)) < 90


# The process ends


SERVE = """
import asyncio, sys
from pathlib import Path
from generator.sandbox.region.account import Account
from generator.sandbox.region.behaviour import Behaviour, Delays
from generator.sandbox.server import Server

async def main():
    behaviour = Behaviour(delays=Delays(associating=float(sys.argv[2])), windows=None, eips=100)
    server = Server(Account(Path(sys.argv[1]), seed=7, behaviour=behaviour))
    await server.start()
    print(server.port, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Process:
    """A server in a process of its own."""

    def __init__(self, folder: Path, associating: float = 0.05) -> None:
        self.running = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(folder), str(associating)], stdout=subprocess.PIPE, text=True
        )
        assert self.running.stdout is not None
        self.ecs, self.vpc = clients(f"http://127.0.0.1:{self.running.stdout.readline().strip()}")

    def kill(self) -> None:
        self.running.send_signal(signal.SIGKILL)
        self.running.wait()
        if self.running.stdout:
            self.running.stdout.close()


def seen(process: Process) -> dict[str, Any]:
    body = call(process.ecs, "DescribeNetworkInterfaces", {"region_id": REGION, "max_results": 100})
    return {
        one.network_interface_id: (
            one.mac_address,
            [
                (ip.private_ip_address, ip.associated_public_ip.allocation_id)
                for ip in one.private_ip_sets.private_ip_set
            ],
        )
        for one in body.network_interface_sets.network_interface_set
    }


def test_a_killed_server_goes_on_where_it_was(tmp_path: Path) -> None:
    first = Process(tmp_path)
    try:
        launch = {**LAUNCH, "amount": 3, "client_token": "t"}
        ids = call(first.ecs, "RunInstances", launch).instance_id_sets.instance_id_set
        eip = call(first.vpc, "AllocateEipAddress", {"region_id": REGION}).allocation_id
        Cloud.until(lambda: len(seen(first)) == 3)
        named = {**_target(first), "allocation_id": eip}
        Cloud.until(lambda: _running(first, ids))
        call(first.vpc, "AssociateEipAddress", named)
        Cloud.until(lambda: any(bound for _, ips in seen(first).values() for _, bound in ips))
        before = seen(first)
    finally:
        first.kill()
    second = Process(tmp_path)
    try:
        assert seen(second) == before
        assert call(second.ecs, "RunInstances", launch).instance_id_sets.instance_id_set == ids
        more = call(second.ecs, "RunInstances", {**launch, "client_token": "u"}).instance_id_sets.instance_id_set
        assert not set(more) & set(ids)
    finally:
        second.kill()


def _running(process: Process, ids: list[str]) -> bool:
    body = call(process.ecs, "DescribeInstances", {"region_id": REGION, "instance_ids": json.dumps(ids)})
    return [one.status for one in body.instances.instance] == ["Running"] * len(ids)


def test_a_transition_that_was_under_way_is_finished_after_a_kill(tmp_path: Path) -> None:
    first = Process(tmp_path, associating=2)
    try:
        call(first.ecs, "RunInstances", LAUNCH)
        Cloud.until(lambda: len(seen(first)) == 1)
        eip = call(first.vpc, "AllocateEipAddress", {"region_id": REGION}).allocation_id
        named = {**_target(first), "allocation_id": eip}
        Cloud.until(lambda: _bound(first, named))
    finally:
        first.kill()
    second = Process(tmp_path)
    try:

        def status() -> str:
            body = call(second.vpc, "DescribeEipAddresses", {"region_id": REGION, "allocation_id": eip})
            return str(body.eip_addresses.eip_address[0].status)

        Cloud.until(lambda: status() == "InUse")
    finally:
        second.kill()


def _target(process: Process) -> dict[str, str]:
    """Name the primary private IP of the first ENI, as AssociateEipAddress has it."""
    eni, (_, addresses) = next(iter(seen(process).items()))
    return {"instance_id": eni, "instance_type": "NetworkInterface", "private_ip_address": addresses[0][0]}


def _bound(process: Process, named: dict[str, str]) -> bool:
    return _answered(lambda: call(process.vpc, "AssociateEipAddress", named), "InvalidStatus.EcsStatusNotSupport")


def _answered(work: Callable[[], Any], otherwise: str) -> bool:
    """Return whether a call was answered, False if it was refused with this code."""
    try:
        work()
    except Exception as error:
        if getattr(error, "code", "") != otherwise:
            raise
        return False
    return True


def test_calls_in_flight_at_a_kill_are_carried_out_whole_or_not_at_all(tmp_path: Path) -> None:
    for seconds in (0.05, 0.15, 0.3):
        process = Process(tmp_path)
        done: list[str] = []

        def launch(process: Process = process, done: list[str] = done) -> None:
            while True:
                try:
                    answer = call(process.ecs, "RunInstances", {**LAUNCH, "amount": 5})
                    done.extend(answer.instance_id_sets.instance_id_set)
                except Exception:
                    return

        worker = threading.Thread(target=launch)
        worker.start()
        time.sleep(seconds)
        process.kill()
        worker.join()
        with Account(tmp_path) as account:
            region = account.regions[REGION]
            instances = {one.id for one in region.all(Instance)}
            assert set(done) <= instances, "an answered call was forgotten"
            assert len(instances) % 5 == 0, "a call was carried out in part"
            assert Counter(one.instance for one in region.all(Eni)) == dict.fromkeys(instances, 1)


def test_two_servers_do_not_share_a_folder(tmp_path: Path) -> None:
    with Account(tmp_path):
        with pytest.raises(MultieipError, match="locked") as refused:
            Account(tmp_path)
        assert "another sandbox" in refused.value.hint


def test_a_file_that_is_no_state_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "region.sqlite3").write_bytes(os.urandom(8192))
    with pytest.raises(MultieipError, match="not a database") as refused:
        Account(tmp_path)
    assert "\n" not in refused.value.message


def test_time_goes_on_and_never_back(tmp_path: Path) -> None:
    with Account(tmp_path, clock=SteppedClock(2_000_000_000.0)):
        pass
    with Account(tmp_path) as account:
        assert account.clock.now() >= 2_000_000_000.0


def test_a_new_plane_is_brought_to_where_the_region_is(tmp_path: Path) -> None:
    with served(tmp_path) as cloud:
        (instance, stopped) = cloud.launch(2)
        eni = cloud.enis(instance)[0]
        eip = cloud.allocate()
        cloud.bind(eip, eni.network_interface_id, eni.private_ip_address)
        cloud.do("StopInstance", instance_id=stopped)
        cloud.until(lambda: cloud.status(stopped) == "Stopped")
    recorder = Recorder()
    with Account(tmp_path, plane=recorder) as account:
        kinds = [type(event).__name__ for event in recorder.events]
        assert kinds == ["VpcCreated", *["VSwitchCreated"] * 4, "InstanceStarted", "EipAssociated"]
        started = recorder.events[-2]
        assert isinstance(started, plane.InstanceStarted)
        assert started.instance.id == instance
        assert account.regions[REGION].get(Eip, eip).status == "InUse"


def test_the_same_seed_gives_the_same_names() -> None:
    def names(seed: int) -> list[str]:
        with Account(seed=seed) as account:
            return [account.ids.new("i") for _ in range(5)] + [account.ids.mac() for _ in range(5)]

    assert names(1) == names(1) != names(2)


def test_a_refused_call_takes_everything_back() -> None:
    with Account(clock=SteppedClock(), behaviour=Behaviour(delays=Delays())) as account:
        region = account.regions[REGION]
        before = [record.id for record in region.all(VSwitch)]

        def fail() -> None:
            with account.transaction():
                region.drop(region.get(VSwitch, VSWITCH))
                account.ids.new("i")
                raise ValueError("no")

        serial = account.ids.serial
        with pytest.raises(ValueError, match="no"):
            fail()
        assert account.ids.serial == serial
        assert [record.id for record in region.all(VSwitch)] == before
        assert region.position(region.get(VSwitch, VSWITCH)) >= 0
        assert region.events == []
