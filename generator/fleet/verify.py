"""`verify`: a fleet's EIPs on three levels. The API's mapping, answers from outside, and what instances see."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext
from dataclasses import dataclass

from generator import console
from generator.cloud.client import Cloud
from generator.fleet import inside, outside
from generator.fleet.opening import Opened, pictured
from generator.fleet.picture import Machine, Picture
from generator.fleet.verdict import CLOUD, INSIDE, OUTSIDE, Check, Verdict, failed, ok
from generator.spec.fleet import Probe

# Seconds between two tries of what failed.
_AGAIN = 2.0


@dataclass(frozen=True)
class Asked:
    """How thorough a verification is.

    `skip` has levels that are left out. `echo` is the HOST:PORT of a service that tells callers their address. At
    `listen` this machine does so meanwhile; `echo` is then where instances find it, if that is elsewhere. `patience`
    is how many seconds what fails is tried again.
    """

    skip: Collection[str] = ()
    echo: str = ""
    listen: str = ""
    patience: float = 0.0


def verify(cloud: Cloud, opened: Opened, asked: Asked) -> Verdict:
    """Verify a fleet, and return all checks. Changes nothing: in instances it only listens."""
    seen = pictured(cloud, opened)
    probe = opened.spec.probe
    end = time.monotonic() + asked.patience
    checks = list(of_cloud(seen))
    if OUTSIDE not in asked.skip:
        with console.step(f"asking {seen.eips} EIPs from outside"):
            checks += _outside(cloud, seen, probe, end)
    if INSIDE not in asked.skip:
        with console.step("asking the instances themselves"):
            checks += _inside(cloud, seen, probe, asked, end)
    order = {machine.name: number for number, machine in enumerate(seen.machines)}
    checks.sort(key=lambda check: order[check.instance])
    return Verdict(seen.fleet, seen.region, tuple(checks), proof(asked))


def proof(asked: Asked) -> str:
    """Say what a verification proves at most."""
    if INSIDE in asked.skip:
        inner = "nothing inside"
    elif asked.echo or asked.listen:
        inner = "packets on each ENI, and each private IP seen as its EIP"
    else:
        inner = "packets on each ENI, and the route out of each private IP"
    return inner if OUTSIDE not in asked.skip else f"{inner}; nothing asked from outside"


def of_cloud(seen: Picture) -> Iterable[Check]:
    """Judge what the API shows: each instance, each private IP that should have an EIP, both views of the pair."""
    for machine in seen.machines:
        if not machine.id:
            yield failed(machine.name, CLOUD, "", "the instance is not there")
            continue
        if machine.status != "Running":
            yield failed(machine.name, CLOUD, "", f"the instance is {machine.status}")
        for nic in machine.nics:
            for address in nic.addresses:
                if address.problem:
                    yield failed(machine.name, CLOUD, address.public, address.problem)
                elif address.public:
                    yield ok(machine.name, CLOUD, address.public, f"{address.ip} on {nic.id}")


def _outside(cloud: Cloud, seen: Picture, probe: Probe, end: float) -> list[Check]:
    owners = {address.public: machine for machine in seen.machines for _, address in machine.mapped()}
    answers = outside.ask(owners, probe)
    while any(answers.values()) and time.monotonic() < end:
        cloud.conduct.sleep(_AGAIN)
        answers |= outside.ask([eip for eip, why in answers.items() if why], probe)
    return [
        failed(owners[eip].name, OUTSIDE, eip, why) if why else ok(owners[eip].name, OUTSIDE, eip)
        for eip, why in answers.items()
    ]


def _inside(cloud: Cloud, seen: Picture, probe: Probe, asked: Asked, end: float) -> list[Check]:
    """Ask the instances that run; those whose checks fail are asked again while there is patience."""
    waiting = [machine for machine in seen.machines if machine.id and machine.status == "Running"]
    found: dict[str, list[Check]] = {}
    with outside.echo(asked.listen) if asked.listen else nullcontext("") as here:
        echo = asked.echo or here
        while waiting:
            results = inside.ask(cloud, waiting, probe, echo, _prober(waiting, probe, asked))
            for machine in waiting:
                found[machine.name] = inside.judge(
                    machine, results.get(machine.id), echo=bool(echo), probed=OUTSIDE not in asked.skip
                )
            waiting = [one for one in waiting if any(check.state == "failed" for check in found[one.name])]
            if time.monotonic() >= end:
                break
            if waiting:
                cloud.conduct.sleep(_AGAIN)
    return [check for checks in found.values() for check in checks]


def _prober(machines: Collection[Machine], probe: Probe, asked: Asked) -> Callable[[], object] | None:
    if OUTSIDE in asked.skip:
        return None
    eips = [address.public for machine in machines for _, address in machine.mapped()]
    # A short wait: whoever does not answer now is asked again in a second.
    short = probe.model_copy(update={"timeout": min(2.0, probe.timeout)})
    return lambda: outside.ask(eips, short)
