"""What a new instance must show before anything else happens to it, and what is done around it: gates and hooks.

A step that was cut short is done again, so a command, URL or script may be run twice.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from dbos import DBOS

from generator.cloud import assistant
from generator.cloud.client import Cloud
from generator.errors import MultieipError
from generator.fleet import names, outside
from generator.fleet.engine import process
from generator.fleet.rollout.values import GateResult, Order
from generator.run import run
from generator.spec.strategy import Gate, Hook

# Gates that are always there.
GUEST, SETTLED, ANSWERS = "guest is ready", "guest serves all its private IPs", "every EIP answers"
# Seconds between two tries, and that one run of the guest's script may take.
_AGAIN, _GUEST = 2.0, 120
_WORKERS = 16
# cloud-init's code 2 is done with warnings. What an image does not have is not asked.
GUEST_SCRIPT = """#!/bin/sh
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin
if command -v cloud-init >/dev/null 2>&1; then
    cloud-init status --wait >/dev/null 2>&1
    case $? in 0|2) ;; *) echo "cloud-init: $(cloud-init status)"; exit 1 ;; esac
fi
if command -v multieip-policy-routing >/dev/null 2>&1; then
    exec multieip-policy-routing check
fi
"""


@dataclass(frozen=True)
class Who:
    """The instance that a gate or hook is about; for one around a wave, `instance` is empty."""

    fleet: str
    slot: int
    name: str
    instance: str
    eips: tuple[str, ...] = ()

    def told(self) -> dict[str, Any]:
        """Return what a URL is told."""
        return {"fleet": self.fleet, "name": self.name, "instance": self.instance, "eips": list(self.eips)}

    def environment(self) -> dict[str, str]:
        """Return what a command is told."""
        return {
            "MULTIEIP_FLEET": self.fleet,
            "MULTIEIP_NAME": self.name,
            "MULTIEIP_INSTANCE_ID": self.instance,
            "MULTIEIP_EIPS": " ".join(self.eips),
        }


@DBOS.step(name="guest")
def guest(region: str, gate: str, everyone: Sequence[Who], seconds: float) -> list[GateResult]:
    """Wait until the guests say that they are ready, so many seconds of the cloud's clock."""
    cloud, begun = process().cloud(region), time.monotonic()
    said = dict.fromkeys((who.instance for who in everyone), "it did not say anything")
    waiting = {who.instance for who in everyone}
    while waiting:
        for key, why in _scripts(cloud, sorted(waiting), GUEST_SCRIPT, _GUEST).items():
            said[key] = why
        waiting = {key for key in waiting if said[key]}
        if (time.monotonic() - begun) * cloud.pace.factor >= seconds:
            break
        if waiting:
            cloud.sleep(_AGAIN)
    took = round(time.monotonic() - begun, 3)
    return [
        GateResult(gate, who.slot, who.instance, not said[who.instance], said[who.instance], took) for who in everyone
    ]


def _scripts(cloud: Cloud, ids: Sequence[str], script: str, timeout: int) -> dict[str, str]:
    """Run a script on instances, and return why it failed on each, empty when it did not."""
    return {key: result.why for key, result in _results(cloud, ids, script, timeout).items()}


def _results(cloud: Cloud, ids: Sequence[str], script: str, timeout: int) -> dict[str, assistant.Result]:
    found: dict[str, assistant.Result] = {}
    for start in range(0, len(ids), assistant.MOST):
        part = ids[start : start + assistant.MOST]
        token = names.token("gate", os.urandom(16).hex())
        try:
            invocation = assistant.run(cloud, part, script, name="multieip-rollout", timeout=timeout, token=token)
            found |= _ended(cloud, invocation, part, timeout)
        except MultieipError as refusal:
            found |= {key: assistant.Result(key, "Refused", None, "", refusal.message) for key in part}
    return found


def _ended(cloud: Cloud, invocation: str, ids: Sequence[str], timeout: int) -> dict[str, assistant.Result]:
    waited, delay = 0.0, 0.25
    while True:
        results = {one.instance: one for one in assistant.results(cloud, invocation)}
        if all(key in results and results[key].has_ended for key in ids) or waited > timeout + 60:
            late = assistant.Result("", "Late", None, "", "Cloud Assistant gave no result in time")
            return {key: results[key] if key in results and results[key].has_ended else late for key in ids}
        cloud.sleep(delay)
        waited, delay = waited + delay, min(2 * delay, 2.0)


@DBOS.step(name="answers")
def answers(order: Order, everyone: Sequence[Who]) -> list[GateResult]:
    """Wait until every EIP answers from outside, as long as a new instance may take to be ready."""
    cloud_seconds, begun = order.strategy.ready_timeout, time.monotonic()
    silent = outside.ask([eip for who in everyone for eip in who.eips], order.probe)
    shared = process()
    while any(silent.values()) and (time.monotonic() - begun) * shared.pace.factor < cloud_seconds:
        shared.conduct.sleep(_AGAIN / shared.pace.factor)
        silent |= outside.ask([eip for eip, why in silent.items() if why], order.probe)
    took = round(time.monotonic() - begun, 3)
    found = []
    for who in everyone:
        why = [f"{eip}: {silent[eip]}" for eip in who.eips if silent[eip]]
        found.append(GateResult(ANSWERS, who.slot, who.instance, not why, "; ".join(why), took))
    return found


@DBOS.step(name="gate")
def gate(region: str, one: Gate, everyone: Sequence[Who]) -> list[GateResult]:
    """Try a gate of the user's on each instance until it passes or its time is up."""
    cloud = process().cloud(region)
    return _each(everyone, lambda who: _tried(cloud, one, who))


def _tried(cloud: Cloud, one: Gate, who: Who) -> GateResult:
    begun = time.monotonic()
    while True:
        why = _judged(cloud, one, who)
        left = one.timeout / cloud.pace.factor - (time.monotonic() - begun)
        if not why or left <= 0:
            return GateResult(one.name, who.slot, who.instance, not why, why, round(time.monotonic() - begun, 3))
        cloud.conduct.sleep(min(left, _AGAIN / cloud.pace.factor))


def _judged(cloud: Cloud, one: Gate, who: Who) -> str:
    """Try a gate once, and return why it does not pass."""
    try:
        text = _done(cloud, one, who, asks=True)
        if one.above is None and one.below is None:
            return ""
        number = _number(text, one.pointer)
    except MultieipError as error:
        return error.message
    except (ValueError, LookupError, TypeError) as error:
        return f"no number: {error}"
    if one.above is not None and not number > one.above:
        return f"{number:g} is not above {one.above:g}"
    if one.below is not None and not number < one.below:
        return f"{number:g} is not below {one.below:g}"
    return ""


def _number(text: str, pointer: str | None) -> float:
    """Return the number that a text is, or that a JSON pointer (RFC 6901) finds in it."""
    if pointer is None:
        return float(text.strip().splitlines()[-1])
    value: Any = json.loads(text)
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    return float(value)


@DBOS.step(name="hook")
def hook(region: str, where: str, one: Hook, everyone: Sequence[Who]) -> list[GateResult]:
    """Do a hook once for each."""
    cloud = process().cloud(region)

    def once(who: Who) -> GateResult:
        begun, why = time.monotonic(), ""
        try:
            _done(cloud, one, who, asks=False)
        except MultieipError as error:
            why = error.message
        return GateResult(f"hook {where}", who.slot, who.instance, not why, why, round(time.monotonic() - begun, 3))

    return _each(everyone, once)


def _each(everyone: Iterable[Who], work: Callable[[Who], GateResult]) -> list[GateResult]:
    with ThreadPoolExecutor(_WORKERS) as pool:
        return list(pool.map(work, everyone))


def _done(cloud: Cloud, one: Hook, who: Who, *, asks: bool) -> str:
    """Do it once, and return what it said; `MultieipError` says why it did not pass."""
    if one.command:
        return run(list(one.command), env=who.environment(), timeout=one.timeout).stdout
    if one.url:
        return _called(str(one.url), one.timeout, None if asks else who.told())
    result = _results(cloud, [who.instance], str(one.assistant), one.timeout)[who.instance]
    if result.why:
        raise MultieipError(result.why)
    return result.output


def _called(url: str, timeout: float, body: Mapping[str, Any] | None) -> str:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "multieip"}
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - the spec takes http and https alone
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
            return str(answer.read(1 << 20).decode(errors="replace"))
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise MultieipError(f"the URL did not answer: {error}") from error
