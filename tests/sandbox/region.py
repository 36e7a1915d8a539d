"""A region that serves on loopback in a thread, and the official SDK's clients for it."""

from __future__ import annotations

import asyncio
import importlib
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from generator.sandbox.region.account import Account
from generator.sandbox.region.behaviour import Behaviour
from generator.sandbox.region.clock import Clock
from generator.sandbox.region.plane import Event, NullPlane, Plane
from generator.sandbox.region.seeding import SECURITY_GROUP_ID, vswitch_id
from generator.sandbox.server import Server
from generator.sandbox.settings import KEYS

T = TypeVar("T")
REGION = "cn-hangzhou"
ZONE = "cn-hangzhou-h"
VSWITCH = vswitch_id(ZONE)
GROUP = SECURITY_GROUP_ID
IMAGE = "debian_12_11_x64_20G_alibase_20250804.vhd"
# As many seconds a second as make delays short, and windows of a minute still long for a test.
FAST = 20.0


class Recorder(NullPlane):
    """A plane that only writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def apply(self, region: str, event: Event) -> None:
        self.events.append(event)


class Cloud:
    """A served account with clients. What touches the account runs in the server's thread."""

    def __init__(self, account: Account, loop: asyncio.AbstractEventLoop, server: Server) -> None:
        self.account, self._loop, self.server = account, loop, server
        self.ecs, self.vpc = clients(server.url)

    def run(self, work: Callable[[], T]) -> T:
        """Run something in the server's thread."""

        async def call() -> T:
            return work()

        return self.run_async(call())

    def run_async(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def run_at(self, factor: float) -> None:
        """Have the clock run so many times as fast as ours, from the next minute on: nobody has called in it yet."""
        minute = self.account.clock.now() // 60 + 1
        self.run(lambda: setattr(self.account, "clock", Clock(factor, minute * 60)))

    # Shorthands for what many tests need.

    def do(self, name: str, /, **parameters: Any) -> Any:
        """Call an action of ECS by its name, and return the answer's body."""
        return call(self.ecs, name, parameters)

    def eip(self, name: str, /, **parameters: Any) -> Any:
        """Call an action of VPC by its name, and return the answer's body."""
        return call(self.vpc, name, parameters)

    def launch(self, amount: int = 1, **more: Any) -> list[str]:
        """Run instances and return their ids when they run."""
        body = self.do("RunInstances", **{**LAUNCH, "amount": amount, **more})
        ids: list[str] = body.instance_id_sets.instance_id_set
        for key in ids:
            self.until(lambda key=key: self.status(key) == "Running")  # type: ignore[misc]
        return ids

    def status(self, instance: str) -> str | None:
        """Return what DescribeInstances says of an instance, None if it does not show it."""
        found = self.do("DescribeInstances", region_id=REGION, instance_ids=f'["{instance}"]').instances.instance
        return str(found[0].status) if found else None

    def enis(self, instance: str) -> list[Any]:
        """Return the ENIs of an instance."""
        body = self.do("DescribeNetworkInterfaces", region_id=REGION, instance_id=instance)
        return list(body.network_interface_sets.network_interface_set)

    def allocate(self) -> str:
        """Allocate an EIP and return its id."""
        return str(self.eip("AllocateEipAddress", region_id=REGION).allocation_id)

    def eip_status(self, eip: str) -> str:
        """Return the status of an EIP."""
        shown = self.eip("DescribeEipAddresses", region_id=REGION, allocation_id=eip).eip_addresses.eip_address
        return str(shown[0].status)

    def bind(self, eip: str, eni: str, address: str) -> None:
        """Associate an EIP with a private IP of an ENI, and wait until it is."""
        self.eip(
            "AssociateEipAddress",
            region_id=REGION,
            allocation_id=eip,
            instance_id=eni,
            instance_type="NetworkInterface",
            private_ip_address=address,
        )
        self.until(lambda: self.eip_status(eip) == "InUse")

    @staticmethod
    def until(holds: Callable[[], bool], seconds: float = 10) -> None:
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "it never came about"
            time.sleep(0.005)


LAUNCH: dict[str, Any] = {
    "region_id": REGION,
    "image_id": IMAGE,
    "instance_type": "ecs.g7.large",
    "v_switch_id": VSWITCH,
    "security_group_id": GROUP,
}


def clients(url: str, key: str = "", secret: str = "") -> tuple[Any, Any]:
    """Return the SDK's clients of ECS and VPC for an endpoint."""
    from alibabacloud_ecs20140526.client import Client as Ecs
    from alibabacloud_tea_openapi.utils_models import Config
    from alibabacloud_vpc20160428.client import Client as Vpc

    known = next(iter(KEYS))
    config = {"access_key_id": key or known, "access_key_secret": secret or KEYS[known]}
    address = url.removeprefix("http://")
    settings = Config(**config, region_id=REGION, endpoint=address, protocol="HTTP")
    return Ecs(settings), Vpc(settings)


def call(client: Any, name: str, parameters: dict[str, Any]) -> Any:
    """Call an action with the SDK's own request model and method.

    Parameters have the model's names; what is a model of its own is given by wire names: `tag=[{"Key": "a"}]`.
    """
    models = importlib.import_module(type(client).__module__.replace(".client", ".models"))
    request = getattr(models, f"{name}Request")()
    nested = {key: value for key, value in parameters.items() if _is_nested(value)}
    if nested:
        request.from_map({key.title().replace("_", ""): value for key, value in nested.items()})
    for attribute, value in parameters.items():
        assert hasattr(request, attribute), f"{name} has no {attribute}"
        if attribute not in nested:
            setattr(request, attribute, value)
    return getattr(client, _method(client.__class__, name))(request).body


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


@cache
def _method(client: type[Any], action: str) -> str:
    return next(name for name in dir(client) if name.replace("_", "") == action.lower())


def refusal(work: Callable[[], Any]) -> tuple[str, int]:
    """Return code and HTTP status that a call is refused with."""
    from alibabacloud_tea_openapi.exceptions import AlibabaCloudException

    try:
        work()
    except AlibabaCloudException as error:
        return str(error.code), int(error.status_code)
    raise AssertionError("the call was not refused")


@contextmanager
def served(
    folder: Path | None = None,
    *,
    clock: Clock | None = None,
    behaviour: Behaviour | None = None,
    plane: Plane | None = None,
) -> Iterator[Cloud]:
    """Serve an account on a free port, in a thread, until the block ends."""
    loop = asyncio.new_event_loop()
    account = Account(
        folder, seed=1, clock=clock or Clock(FAST), behaviour=behaviour or Behaviour(windows=None), plane=plane
    )
    server = Server(account)
    loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield Cloud(account, loop, server)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
        account.close()
