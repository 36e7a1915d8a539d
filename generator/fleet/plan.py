"""The calls that a launch or a destroy would make, counted from its actions. Pure: `plan` prints them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from generator.cloud import eips as eips_api
from generator.cloud import instances as instances_api
from generator.cloud import networks as networks_api
from generator.fleet.actions import Actions, Drift, Removal, stretches
from generator.fleet.desired import Desired
from generator.fleet.quotas import QUOTAS, minutes

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Call:
    """A call that would be made `times` times; `what` says for what, `removes` that something goes by it."""

    api: str
    times: int
    what: str
    removes: bool = False


@dataclass(frozen=True)
class Plan:
    """What a launch would do: calls that make, calls that remove (only when asked for), and what it leaves as it is."""

    calls: tuple[Call, ...]
    removals: tuple[Call, ...]
    kept_instances: int
    kept_eips: int
    drift: tuple[Drift, ...]

    @property
    def writes(self) -> int:
        """How many calls that make something there are."""
        return sum(call.times for call in self.calls)

    @property
    def is_change(self) -> bool:
        """Whether anything would change or differs from the file."""
        return bool(self.calls or self.removals or self.drift)

    @property
    def least_minutes(self) -> float:
        """How many minutes the account's limits of calls a minute make a launch take at least."""
        return least_minutes(self.calls)

    def to_json(self) -> dict[str, Any]:
        """Return the plan with stable keys."""
        return {
            "calls": [asdict(call) for call in self.calls],
            "removals": [asdict(call) for call in self.removals],
            "kept": {"instances": self.kept_instances, "eips": self.kept_eips},
            "drift": [asdict(one) for one in self.drift],
            "least_minutes": self.least_minutes,
        }


def least_minutes(calls: Sequence[Call]) -> float:
    """Return how many minutes calls take at least; those of different APIs are made at the same time."""
    totals: dict[str, int] = {}
    for call in calls:
        totals[call.api] = totals.get(call.api, 0) + call.times
    return max((minutes(times, api) for api, times in totals.items() if api in QUOTAS), default=0.0)


def plan(desired: Desired, actions: Actions) -> Plan:
    """Return the plan of actions."""
    return Plan(
        calls=tuple(call for call in _calls(desired, actions) if call.times),
        removals=removals(actions.remove),
        kept_instances=actions.kept_instances,
        kept_eips=actions.kept_eips,
        drift=actions.drift,
    )


def _calls(desired: Desired, actions: Actions) -> Iterator[Call]:
    if actions.create_group:
        yield Call("CreateSecurityGroup", 1, f"multieip-{desired.fleet}")
    if actions.add_rules:
        yield Call("AuthorizeSecurityGroup", 1, counted(len(actions.add_rules), "rule"))
    revoked = len(actions.revoke_rules)
    what = f"{counted(revoked, 'rule')} that the file has no more"
    yield Call("RevokeSecurityGroup", _parts(revoked, networks_api.MOST_REVOKED), what, removes=True)
    yield from _instances(desired, actions)
    yield from _enis(desired, actions)
    yield from _eips(desired, actions)


def _instances(desired: Desired, actions: Actions) -> Iterator[Call]:
    ways = len(desired.places) if desired.spread else 1
    runs = stretches(actions.create, ways)
    kind = desired.types[0] + (", or the next type" if len(desired.types) > 1 else "")
    yield Call("RunInstances", len(runs), f"{_names(desired, actions.create)}: {kind}")
    yield Call(
        "RunInstances", len(actions.revive), f"{counted(len(actions.revive), 'instance')} with ENIs that are there"
    )
    # RunInstances hands its tags on to the primary ENI only; secondary ones are tagged by number.
    made = [index for index, eni in enumerate(desired.enis) if index and not eni.existing and not eni.addresses]
    tagged = len(made) * sum(_parts(amount, instances_api.MOST_TAGGED) for _, amount in runs)
    yield Call("TagResources", tagged, counted(len(made) * len(actions.create), "new secondary ENI"))
    known = sum(_parts(len(ids), instances_api.MOST_TAGGED) for _, ids in actions.tag_enis)
    yield Call("TagResources", known, counted(sum(len(ids) for _, ids in actions.tag_enis), "ENI"))


def _enis(desired: Desired, actions: Actions) -> Iterator[Call]:
    # Secondary ENIs with private IPs of the file are made one by one, once their instance is there.
    listed = [eni for eni in desired.enis[1:] if eni.addresses and not eni.existing] if actions.create else []
    new = sum(not one.existing for one in actions.add_enis) + len(listed)
    yield Call("CreateNetworkInterface", new, counted(new, "ENI"))
    attached = len(actions.add_enis) + len(listed)
    yield Call("AttachNetworkInterface", attached, counted(attached, "ENI"))
    more = len(actions.add_ips) + (len(desired.enis[0].addresses) > 1 if actions.create else 0)
    yield Call("AssignPrivateIpAddresses", more, f"private IPs for {counted(more, 'ENI')}")
    yield Call("DeleteNetworkInterface", len(actions.leftover_enis), "what an instance that vanished left behind")


def _eips(desired: Desired, actions: Actions) -> Iterator[Call]:
    kind = f"{desired.eip.charge}, {desired.eip.bandwidth} Mbit/s, {desired.eip.isp}"
    new = len(actions.allocate)
    if desired.segment and new:
        block = 2 ** (32 - desired.segment)
        yield Call("AllocateEipSegmentAddress", 1, f"a /{desired.segment} of up to {block} EIPs: {kind}")
        yield Call("TagResources", _parts(block, eips_api.MOST_TAGGED), f"the EIPs of the /{desired.segment}")
    else:
        yield Call("AllocateEipAddress", new, f"{counted(new, 'EIP')}: {kind}")
    if desired.package:
        packed = new + len(actions.pack)
        calls = _parts(packed, eips_api.MOST_PACKED)
        yield Call("AddCommonBandwidthPackageIps", calls, f"{counted(packed, 'EIP')} into {desired.package}")
    bound = new + len(actions.bind)
    yield Call("AssociateEipAddress", bound, f"{counted(bound, 'EIP')} with a private IP each, in NAT mode")
    tagged = _parts(len(actions.tag_eips), eips_api.MOST_TAGGED)
    yield Call("TagResources", tagged, counted(len(actions.tag_eips), "EIP"))


def removals(gone: Removal) -> tuple[Call, ...]:
    """Return the calls that remove what is not wanted any more, in their order."""
    calls = (
        Call("ModifyInstanceAttribute", len(gone.protected), "protection against deletion (--unprotect)", removes=True),
        Call("UnassociateEipAddress", len(gone.unassociate), counted(len(gone.unassociate), "EIP"), removes=True),
        Call("ReleaseEipAddress", len(gone.release), counted(len(gone.release), "EIP"), removes=True),
        Call("ReleaseEipSegmentAddress", len(gone.segments), counted(len(gone.segments), "segment"), removes=True),
        Call(
            "DeleteInstances",
            _parts(len(gone.instances), instances_api.MOST),
            counted(len(gone.instances), "instance"),
            removes=True,
        ),
        Call(
            "UnassignPrivateIpAddresses",
            len(gone.unassign),
            counted(sum(len(addresses) for _, addresses in gone.unassign), "private IP"),
            removes=True,
        ),
        Call("DeleteNetworkInterface", len(gone.enis), counted(len(gone.enis), "ENI"), removes=True),
        Call("DeleteSecurityGroup", len(gone.groups), ", ".join(gone.groups), removes=True),
    )
    return tuple(call for call in calls if call.times)


def _names(desired: Desired, slots: Sequence[int]) -> str:
    if len(slots) <= 1:
        return "".join(f"{desired.prefix}-{slot:03}" for slot in slots)
    return f"{len(slots)} instances, {desired.prefix}-{min(slots):03} to {desired.prefix}-{max(slots):03}"


def counted(number: int, what: str) -> str:
    """Return a number with its noun: `1 EIP`, `20 EIPs`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _parts(number: int, size: int) -> int:
    return -(-number // size)
