"""ECS in one region: the SDK's client, set up, and calls that try again where that makes sense.

Calls are synchronous: the SDK's `*_async` ones make a TLS context for each call, 33 ms of CPU. The SDK itself never
tries again, and its retry options cannot tell a throttle from a refusal, so the loop is here.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from generator import console
from generator.cloud import credentials, faults
from generator.cloud.faults import Fault

LOG = logging.getLogger("multieip")

CONNECT_MS = 10_000
# RunInstances and CopyImage take long to answer at times; the SDK's own 10 s end such calls in the middle.
READ_MS = 60_000


@dataclass(frozen=True)
class Pace:
    """How long to wait, in seconds.

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

    def patience(self, fault: Fault) -> float:
        """Return how long trying again makes sense."""
        known = {Fault.THROTTLE: self.throttled, Fault.TRANSIENT: self.unanswered, Fault.STATE: self.busy}
        return known.get(fault, 0.0)


class Ecs:
    """ECS in one region. `client` has the SDK's operations, to be run through `call`."""

    def __init__(self, region: str, pace: Pace | None = None) -> None:
        self.region = region
        self.pace = pace or Pace()
        self.client = _client(region)

    def call(self, operation: Callable[[Any, Any], Any], request: Any) -> Any:
        """Run one operation (`client.…_with_options`) and return the body of its response.

        Throttling, lost answers and busy resources are tried again with growing, random waits, so a call must be
        one that may be carried out twice. Raises `CloudRefusedError` for what the API refuses, `MultieipError`
        for no answer, `PrerequisiteError` without credentials.
        """
        from alibabacloud_credentials.exceptions import CredentialException  # noqa: PLC0415
        from darabonba.runtime import RuntimeOptions  # noqa: PLC0415
        from Tea.exceptions import TeaException  # noqa: PLC0415

        action = type(request).__name__.removesuffix("Request")
        options = RuntimeOptions(connect_timeout=CONNECT_MS, read_timeout=READ_MS)
        begun, delay = time.monotonic(), self.pace.first
        while True:
            try:
                return operation(request, options).body
            except CredentialException as error:
                raise credentials.missing(error) from None
            except TeaException as error:
                fault = faults.classify(error)
                left = self.pace.patience(fault) - (time.monotonic() - begun)
                if left <= 0:
                    raise faults.failure(error, action, self.region) from error
                if delay == self.pace.first:
                    console.say(f"… {action} in {self.region}: {fault.value}; trying again for up to {left:.0f} s")
                LOG.debug("%s in %s: %s", action, self.region, faults.code(error) or "no answer")
                time.sleep(min(_wait(error, delay), left))
                delay = min(2 * delay, self.pace.longest)


def _wait(error: Exception, delay: float) -> float:
    """Return how long to wait: what the server asks for, else about `delay`, spread so that clients part."""
    asked = getattr(error, "retry_after", None)
    return float(asked) / 1000 if asked else delay * random.uniform(0.5, 1.5)  # noqa: S311 - no secret


def _client(region: str) -> Any:
    credentials.quiet()
    from alibabacloud_ecs20140526.client import Client  # noqa: PLC0415
    from alibabacloud_tea_openapi.utils_models import Config  # noqa: PLC0415

    config = Config(credential=credentials.source(), region_id=region, protocol="HTTPS")
    if elsewhere := credentials.endpoint():
        config.endpoint, config.protocol = elsewhere.address, elsewhere.scheme.upper()
        if elsewhere.loopback and (os.environ.get("HTTP_PROXY") or os.environ.get("http_proxy")):
            # The SDK knows no NO_PROXY. Naming the endpoint as its own proxy keeps the call on this machine.
            config.http_proxy = f"http://{elsewhere.address}"
    return Client(config)
