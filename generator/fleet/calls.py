"""The calls that are made in batches, each with its client token: what one of them takes, does and gives.

An item says all that its call needs, so any process may make it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from generator.cloud import eips, enis
from generator.cloud.client import Cloud
from generator.cloud.faults import ApiRefusedError, Fault
from generator.cloud.records import Tags
from generator.errors import ExitCode, MultieipError
from generator.fleet.names import Place

# An ENI takes one change of its EIPs at a time. How long one takes the cloud does not say; a call that comes too
# early is refused (TaskConflict) and counts all the same. Seconds of the cloud's clock.
BINDING = 1.0


# What a person is told is done when a call of an API is.
PHASES = {
    "RunInstances": "instances run",
    "AllocateEipAddress": "EIPs allocated",
    "AssociateEipAddress": "EIPs associated",
    "UnassociateEipAddress": "EIPs unassociated",
    "ReleaseEipAddress": "EIPs released",
    "DeleteNetworkInterface": "ENIs deleted",
}


@dataclass(frozen=True)
class Failure:
    """Why something was not done; `fatal` ends the run, the rest is tried anew in its next round."""

    message: str
    hint: str
    exit_code: int
    fatal: bool

    def error(self) -> MultieipError:
        """Return it as the error that the user sees."""
        error = MultieipError(self.message, hint=self.hint)
        error.exit_code = ExitCode(self.exit_code)
        return error


@dataclass(frozen=True)
class Outcome:
    """What became of one call: its value, or why there is none."""

    value: Any = None
    failure: Failure | None = None


@dataclass(frozen=True)
class Allocate:
    """An EIP to be allocated."""

    place: Place
    name: str
    tags: Tags
    new: eips.NewEip


@dataclass(frozen=True)
class Associate:
    """An EIP to be mapped to a private IP of an ENI."""

    eip: str
    eni: str
    ip: str


@dataclass(frozen=True)
class Attach:
    """An ENI to be put on an instance: `existing`, or one to be made."""

    instance: str
    existing: str
    new: enis.NewEni | None


@dataclass(frozen=True)
class Assign:
    """Private IPs that an ENI gets."""

    eni: str
    count: int
    addresses: tuple[str, ...]


def allocate(cloud: Cloud, item: Allocate, token: str) -> eips.Allocated:
    """Allocate an EIP."""
    return eips.allocate(cloud, item.new, name=item.name, tags=item.tags, token=token)


class _Spacing:
    """When an ENI may be asked for the next change of its EIPs."""

    def __init__(self) -> None:
        self._free: dict[str, float] = {}
        self._guard = threading.Lock()

    def wait(self, cloud: Cloud, eni: str) -> None:
        """Wait for an ENI's turn, and take it."""
        gap = BINDING / cloud.pace.factor
        with self._guard:
            turn = max(self._free.get(eni, 0.0), time.monotonic())
            self._free[eni] = turn + gap
        cloud.conduct.sleep(turn - time.monotonic())


_SPACING = _Spacing()


def associate(cloud: Cloud, item: Associate, token: str) -> None:
    """Map an EIP to its private IP, when its ENI can take it."""
    _SPACING.wait(cloud, item.eni)
    eips.associate(cloud, item.eip, item.eni, item.ip, token=token)


def unassociate(cloud: Cloud, item: str, token: str) -> None:
    """End the association of an EIP."""
    eips.unassociate(cloud, item, token=token)


def release(cloud: Cloud, item: str, token: str) -> None:
    """Release an EIP."""
    eips.release(cloud, item)


def delete_eni(cloud: Cloud, item: str, token: str) -> None:
    """Delete an ENI."""
    enis.delete(cloud, item)


def attach(cloud: Cloud, item: Attach, token: str) -> str:
    """Put an ENI on an instance, wait until it is there, and return its id."""
    eni = item.existing or (enis.create(cloud, item.new, token=token) if item.new else "")
    enis.attach(cloud, eni, item.instance)
    waited, delay = 0.0, 1.0
    while waited < cloud.pace.busy:
        if any(one.status == "InUse" for one in enis.describe(cloud, ids=[eni])):
            break
        cloud.sleep(delay)
        waited, delay = waited + delay, min(2 * delay, 5.0)
    return eni


def assign(cloud: Cloud, item: Assign, token: str) -> tuple[str, ...]:
    """Give an ENI private IPs."""
    return enis.assign(cloud, item.eni, count=item.count, addresses=item.addresses, token=token)


CALLS: dict[str, Callable[[Cloud, Any, str], Any]] = {
    "AllocateEipAddress": allocate,
    "AssociateEipAddress": associate,
    "UnassociateEipAddress": unassociate,
    "ReleaseEipAddress": release,
    "DeleteNetworkInterface": delete_eni,
    "AttachNetworkInterface": attach,
    "AssignPrivateIpAddresses": assign,
}

# What the next round of a run looks at anew, rather than the run's end: the resource was busy, or not as thought.
_PASSING = (Fault.STATE, Fault.DONE, Fault.CAPACITY)


def attempt(work: Callable[[], Any]) -> Outcome:
    """Return what a call gives, or why it failed, as a value that can be kept."""
    try:
        return Outcome(work())
    except ApiRefusedError as refusal:
        fatal = refusal.fault not in _PASSING
        return Outcome(failure=Failure(refusal.message, refusal.hint, int(refusal.exit_code), fatal))
    except MultieipError as error:
        return Outcome(failure=Failure(error.message, error.hint, int(error.exit_code), fatal=True))
