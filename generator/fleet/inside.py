"""Asks instances themselves, through Cloud Assistant, and judges what they tell."""

from __future__ import annotations

import base64
import binascii
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from generator import resources
from generator.cloud import assistant
from generator.cloud.assistant import Result
from generator.cloud.client import Cloud
from generator.errors import MultieipError
from generator.fleet import names
from generator.fleet.picture import Machine, Nic, PrivateIp
from generator.fleet.verdict import INSIDE, Check, failed, ok, skipped
from generator.spec.fleet import Probe

# Seconds that instances listen at most; they end as soon as every private IP was asked and has answered.
LISTENING = 15
# Seconds that Cloud Assistant may take to bring a script there and its output back, beside the script's own.
GRACE = 60
_EVERY = 1.0


def script(probe: Probe, echo: str, seconds: int = LISTENING, expected: Sequence[str] = ()) -> str:
    """Return the script that instances run; it needs Python, which cloud-init needs too.

    `expected` are the private IPs with an EIP of all instances: one ends as soon as it has seen its own. Where they are
    too many for one script, each listens to the end.
    """
    program = (resources.folder("templates") / "verify" / "inside.py").read_text(encoding="utf-8")
    asked = {"protocol": probe.protocol, "port": probe.tcp_port, "echo": echo, "seconds": seconds}
    for those in (expected, ()):
        packed = zlib.compress(json.dumps({**asked, "expected": list(those)}).encode(), 9)
        argument = base64.b64encode(packed).decode()
        text = f"#!/bin/sh\nexec python3 - {argument} <<'END_OF_PROGRAM'\n{program}END_OF_PROGRAM\n"
        if len(text.encode()) <= assistant.MOST_SCRIPT:
            break
    return text


def ask(
    cloud: Cloud, machines: Sequence[Machine], probe: Probe, echo: str, probing: Callable[[], object] | None
) -> dict[str, Result]:
    """Run the script in instances, 100 at once, and return what each gave; `probing` asks EIPs meanwhile."""
    found: dict[str, Result] = {}
    for start in range(0, len(machines), assistant.MOST):
        part = machines[start : start + assistant.MOST]
        ids = [machine.id for machine in part]
        eips = [address.ip for machine in part for _, address in machine.mapped()]
        text = script(probe, echo, LISTENING if probing else 0, eips)
        try:
            run = assistant.run(
                cloud,
                ids,
                text,
                name="multieip-verify",
                timeout=LISTENING + GRACE,
                token=names.token("verify", os.urandom(16).hex()),
            )
        except MultieipError as refusal:
            found |= {key: Result(key, "Refused", None, "", refusal.message) for key in ids}
            continue
        found |= _ended(cloud, run, ids, probing)
    return found


def _ended(cloud: Cloud, run: str, ids: Sequence[str], probing: Callable[[], object] | None) -> dict[str, Result]:
    end = time.monotonic() + LISTENING + 2 * GRACE
    while True:
        found = {result.instance: result for result in assistant.results(cloud, run)}
        if all(key in found and found[key].has_ended for key in ids):
            return found
        if time.monotonic() >= end:
            return {key: _late(found.get(key), key) for key in ids}
        begun = time.monotonic()
        if probing:
            probing()
        cloud.conduct.sleep(max(0.0, begun + _EVERY - time.monotonic()))


def _late(result: Result | None, key: str) -> Result:
    if result and result.has_ended:
        return result
    return Result(key, "Late", None, "", "Cloud Assistant gave no result in time: does its agent run there?")


def judge(machine: Machine, result: Result | None, *, echo: bool, probed: bool) -> list[Check]:
    """Judge what an instance told: its own check, then each EIP. `probed` says whether EIPs were asked meanwhile."""
    told = _told(result)
    if isinstance(told, str):
        return [failed(machine.name, INSIDE, "", told)]
    try:
        return list(_judged(machine, told, echo=echo, probed=probed))
    except (KeyError, TypeError, AttributeError):
        # Whoever has taken an instance over may have it tell anything.
        return [failed(machine.name, INSIDE, "", "the script's output is not what it writes")]


def _judged(machine: Machine, told: Mapping[str, Any], *, echo: bool, probed: bool) -> Iterator[Check]:
    check = told["check"]
    if check["code"] is None:
        yield skipped(machine.name, INSIDE, "", "multieip-policy-routing is not installed")
    elif check["code"]:
        yield failed(machine.name, INSIDE, "", f"multieip-policy-routing check: {check['said'] or check['code']}")
    else:
        yield ok(machine.name, INSIDE, "", "multieip-policy-routing check is content")
    for stray in told["strays"]:
        yield failed(machine.name, INSIDE, "", f"{stray}, which is not its ENI")
    for nic, address in machine.mapped():
        if address.wanted:
            yield _of_address(machine, nic, address, told, echo=echo, probed=probed)


def _told(result: Result | None) -> Any:
    """Return what the script told, or why it did not."""
    if result is None:
        return "Cloud Assistant did not run the script"
    if result.exit_code != 0:
        return f"the script ended as {result.status}: {result.why}"
    try:
        return json.loads(zlib.decompress(base64.b64decode(result.output.strip(), validate=True)))
    except (binascii.Error, zlib.error, ValueError):
        return "the script's output was cut off"


def _of_address(
    machine: Machine, nic: Nic, address: PrivateIp, told: Mapping[str, Any], *, echo: bool, probed: bool
) -> Check:
    device = next((eni["dev"] for eni in told["enis"] if eni["id"] == nic.id), None)
    if device is None:
        return failed(machine.name, INSIDE, address.public, f"the instance does not see {nic.id}")
    held = next((eni["ips"] for eni in told["enis"] if eni["id"] == nic.id), ())
    if address.ip not in held:
        return failed(machine.name, INSIDE, address.public, f"{address.ip} is not on {device} ({nic.id})")
    wrong: list[str] = []
    proof: list[str] = []
    if probed:
        _way("the probe arrived", told["asked"].get(address.ip, []), device, wrong, proof)
        _way("the answer left", told["answered"].get(address.ip, []), device, wrong, proof)
    if echo:
        seen = told["seen"].get(address.ip, "!no attempt")
        if seen == address.public:
            proof.append(f"seen as {seen}")
        else:
            wrong.append(f"no connection from {address.ip}: {seen[1:]}" if seen[:1] == "!" else f"seen as {seen}")
    _way("the route leads out", [told["routes"].get(address.ip) or "nothing"], device, wrong, proof)
    if wrong:
        return failed(machine.name, INSIDE, address.public, "; ".join(wrong))
    return ok(machine.name, INSIDE, address.public, "; ".join(proof))


def _way(what: str, seen: Sequence[str], device: str, wrong: list[str], proof: list[str]) -> None:
    if list(seen) == [device]:
        proof.append(f"{what} by {device}")
    else:
        wrong.append(f"{what} by {', '.join(seen)}, not {device}" if seen else f"not seen that {what} by {device}")
