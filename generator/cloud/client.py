"""ECS and VPC in one region: the SDK's clients, set up, and calls that try again where that makes sense.

Calls are synchronous: the SDK's `*_async` ones make a TLS context for each call, 33 ms of CPU. The SDK itself never
tries again, and its retry options cannot tell a throttle from a refusal, so the loop is here.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from generator import console
from generator.cloud import credentials, faults
from generator.cloud.faults import Fault

LOG = logging.getLogger("multieip")

CONNECT_MS = 10_000
# RunInstances and CopyImage take long to answer at times; the SDK's own 10 s end such calls in the middle.
READ_MS = 60_000

# What is tried again unless a caller says otherwise.
AGAIN = frozenset((Fault.THROTTLE, Fault.TRANSIENT, Fault.STATE))


@dataclass(frozen=True)
class Pace:
    """How long to wait, in seconds of the cloud's clock, which runs `factor` times as fast as ours (a sandbox's may).

    Between two tries of a call from `first` on, doubled up to `longest`, and in all as long as `throttled`,
    `unanswered` or `busy` says; between two looks at an image `poll`; for an image to be available at most
    `available`, and for one that is not listed yet at most `visible`.
    """

    first: float = 1.0
    longest: float = 30.0
    throttled: float = 300.0
    unanswered: float = 120.0
    busy: float = 180.0
    poll: float = 10.0
    available: float = 7200.0
    visible: float = 180.0
    factor: float = 1.0

    def patience(self, fault: Fault) -> float:
        """Return how long trying again makes sense."""
        known = {Fault.THROTTLE: self.throttled, Fault.TRANSIENT: self.unanswered, Fault.STATE: self.busy}
        return known.get(fault, 0.0)


@dataclass(frozen=True)
class Sent:
    """One request that was sent, for whoever counts and records: no parameters, so no secrets.

    `request_id` is what support asks for; `code` is empty for success, `-` for no answer. `seconds` is real time.
    """

    action: str
    region: str
    request_id: str
    code: str
    token: str
    seconds: float


class Observer(Protocol):
    """Is told each request that was sent, in the thread that sent it."""

    def __call__(self, sent: Sent) -> None:
        """Take note."""
        ...


class Turns(Protocol):
    """Says whose turn it is to make a call of which the account may make only so many a minute."""

    def turn(self, region: str, api: str) -> AbstractContextManager[None]:
        """Wait until a call may be made, and count it."""
        ...

    def reserved(self, region: str, calls: Mapping[str, int]) -> AbstractContextManager[None]:
        """Wait until this thread may make so many calls of each API, so that it need not wait between them."""
        ...


class StoppedError(BaseException):
    """A wait or a call was given up because the process is about to end.

    No `Exception`: nothing may take it for the outcome of a call, which is unknown.
    """


@dataclass
class Conduct:
    """What all calls of a process share: who is told of them, and whether they are to end.

    Gates are closed APIs: the limits are an account's, so a throttle that one thread meets holds all of them back.
    """

    observe: Observer | None = None
    turns: Turns | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    _closed: dict[tuple[str, str], float] = field(default_factory=dict)

    def sleep(self, seconds: float) -> None:
        """Wait so many real seconds; `StoppedError` when the process is to end."""
        if self.stop.wait(max(0.0, seconds)):
            raise StoppedError

    def turn(self, region: str, action: str) -> AbstractContextManager[None]:
        """Wait for a call's turn, and count it, where calls are counted."""
        return self.turns.turn(region, action) if self.turns else nullcontext()

    def reserved(self, region: str, calls: Mapping[str, int]) -> AbstractContextManager[None]:
        """Wait until this thread may make so many calls of each API one after the other, where calls are counted."""
        return self.turns.reserved(region, calls) if self.turns else nullcontext()

    def close(self, region: str, action: str, seconds: float) -> None:
        """Hold an API back for so many real seconds."""
        self._closed[region, action] = max(self._closed.get((region, action), 0.0), time.monotonic() + seconds)

    def pass_gate(self, region: str, action: str) -> None:
        """Wait until an API is not held back."""
        while (left := self._closed.get((region, action), 0.0) - time.monotonic()) > 0:
            self.sleep(left)
        if self.stop.is_set():
            raise StoppedError


class Product:
    """One product in one region. `client` has the SDK's operations, to be run through `call`."""

    name: ClassVar[str]

    def __init__(self, region: str, pace: Pace | None = None, conduct: Conduct | None = None) -> None:
        self.region = region
        self.pace = pace or Pace()
        self.conduct = conduct or Conduct()
        self.client = self._client()

    def _client(self) -> Any:
        raise NotImplementedError

    def call(self, operation: Callable[[Any, Any], Any], request: Any, again: Collection[Fault] = AGAIN) -> Any:
        """Run one operation (`client.…_with_options`) and return the body of its response.

        Faults of `again` are met by trying again with growing, random waits, so a call must be one that may be
        carried out twice. Raises `ApiRefusedError` for what the API refuses, `MultieipError` for no answer,
        `PrerequisiteError` without credentials, `StoppedError` when the process is to end.
        """
        from Tea.exceptions import TeaException  # noqa: PLC0415

        action = type(request).__name__.removesuffix("Request")
        begun, delay = time.monotonic(), self.pace.first
        while True:
            self.conduct.pass_gate(self.region, action)
            try:
                with self.conduct.turn(self.region, action):
                    return self._send(operation, request, action)
            except TeaException as error:
                fault = faults.classify(error)
                patience = self.pace.patience(fault) if fault in again else 0.0
                left = patience - (time.monotonic() - begun) * self.pace.factor
                if left <= 0:
                    raise faults.failure(error, action, self.name, self.region) from error
                if delay == self.pace.first:
                    self._say(action, fault, left)
                LOG.debug("%s in %s: %s", action, self.region, faults.code(error) or "no answer")
                wait = min(_wait(error, delay), left) / self.pace.factor
                if fault is Fault.THROTTLE:
                    self.conduct.close(self.region, action, wait)
                self.conduct.sleep(wait)
                delay = min(2 * delay, self.pace.longest)

    def _send(self, operation: Callable[[Any, Any], Any], request: Any, action: str) -> Any:
        from alibabacloud_credentials.exceptions import CredentialException  # noqa: PLC0415
        from darabonba.runtime import RuntimeOptions  # noqa: PLC0415
        from Tea.exceptions import TeaException  # noqa: PLC0415

        options = RuntimeOptions(connect_timeout=CONNECT_MS, read_timeout=READ_MS)
        begun = time.monotonic()
        try:
            body = operation(request, options).body
        except CredentialException as error:
            raise credentials.missing(error) from None
        except TeaException as error:
            # The SDK wraps it as if no answer had come.
            if isinstance(inner := getattr(error, "inner_exception", None), CredentialException):
                raise credentials.missing(inner) from None
            self._observed(request, action, begun, getattr(error, "request_id", None), faults.code(error) or "-")
            raise
        self._observed(request, action, begun, body.request_id, "")
        return body

    def _observed(self, request: Any, action: str, begun: float, request_id: str | None, code: str) -> None:
        if self.conduct.observe:
            token = str(getattr(request, "client_token", None) or "")
            seconds = time.monotonic() - begun
            self.conduct.observe(Sent(action, self.region, str(request_id or ""), code, token, seconds))

    def _say(self, action: str, fault: Fault, left: float) -> None:
        # Where many calls run at once each would say so; whoever observes them shows progress instead.
        if self.conduct.observe is None:
            console.say(f"… {action} in {self.region}: {fault.value}; trying again for up to {left:.0f} s")


class Ecs(Product):
    """ECS in one region."""

    name = "ECS"

    def _client(self) -> Any:
        credentials.quiet()
        from alibabacloud_ecs20140526.client import Client  # noqa: PLC0415

        return Client(_config(self.region))


class Vpc(Product):
    """VPC in one region, which EIPs, vSwitches and gateways belong to."""

    name = "VPC"

    def _client(self) -> Any:
        credentials.quiet()
        from alibabacloud_vpc20160428.client import Client  # noqa: PLC0415

        return Client(_config(self.region))


class Cloud:
    """Both products in one region. They share waits and observer, and threads may share them."""

    def __init__(self, region: str, pace: Pace | None = None, conduct: Conduct | None = None) -> None:
        self.region = region
        self.pace = pace or Pace()
        self.conduct = conduct or Conduct()
        self.ecs = Ecs(region, self.pace, self.conduct)
        self.vpc = Vpc(region, self.pace, self.conduct)

    def sleep(self, seconds: float) -> None:
        """Wait so many seconds of the cloud's clock; `StoppedError` when the process is to end."""
        self.conduct.sleep(seconds / self.pace.factor)


def _wait(error: Exception, delay: float) -> float:
    """Return how long to wait: what the server asks for, else about `delay`, spread so that clients part."""
    asked = getattr(error, "retry_after", None)
    return float(asked) / 1000 if asked else delay * random.uniform(0.5, 1.5)  # noqa: S311 - no secret


def _config(region: str) -> Any:
    from alibabacloud_tea_openapi.utils_models import Config  # noqa: PLC0415

    config = Config(credential=credentials.source(), region_id=region, protocol="HTTPS")
    if elsewhere := credentials.endpoint():
        config.endpoint, config.protocol = elsewhere.address, elsewhere.scheme.upper()
        if elsewhere.loopback and (os.environ.get("HTTP_PROXY") or os.environ.get("http_proxy")):
            # The SDK knows no NO_PROXY. Naming the endpoint as its own proxy keeps the call on this machine.
            config.http_proxy = f"http://{elsewhere.address}"
    return config
