"""The RAM policy that lets somebody plan, launch, verify and destroy one fleet, and nothing else. Pure.

Names of actions are read off the operations that the verbs use, out of their source: what the code calls and what
the policy grants cannot part.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterator
from typing import Any

from generator.cloud import assistant, eips, enis, images, instances, networks, offers, prices, traits
from generator.spec.fleet import FleetSpec

Operation = Callable[..., Any]
_REQUEST = re.compile(r"models\.(\w+?)Request\(")
_READ = ("Describe", "List", "Get")


def policy(spec: FleetSpec, *, rollout: bool = False) -> dict[str, Any]:
    """Return the policy document. Reads are of the whole account, changes of the fleet's region.

    With `rollout` it lets somebody replace instances too.
    """
    found = (*operations(spec), *(of_rollout(spec) if rollout else ()))
    names = sorted({name for operation in found for name in actions_of(operation)})
    reads = [name for name in names if name.partition(":")[2].startswith(_READ)]
    writes = [name for name in names if name not in reads]
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": reads, "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": writes,
            "Resource": [f"acs:ecs:{spec.region}:*:*", f"acs:vpc:{spec.region}:*:*"],
        },
    ]
    if spec.ram_role:
        statements.append(
            {"Effect": "Allow", "Action": ["ram:PassRole"], "Resource": f"acs:ram:*:*:role/{spec.ram_role.lower()}"}
        )
    return {"Version": "1", "Statement": statements}


def operations(spec: FleetSpec) -> Iterator[Operation]:
    """Yield the operations that the verbs use for a fleet."""
    # What a plan and a launch look at.
    yield from (networks.vswitches, instances.describe, enis.describe, eips.describe, networks.groups)
    yield from (traits.of_image, traits.eips_in_use, traits.enis_in_use, traits.account_limits)
    yield from (offers.instance_types, offers.in_stock, prices.instances, networks.gateway, networks.has_default_route)
    if spec.image.id:
        yield images.find
    elif spec.image.family:
        yield images.newest_of_family
    else:
        yield images.newest_of_spec
    if spec.key_pair:
        yield traits.key_pair_exists
    yield networks.rules_of
    # What a launch makes, mends and tags.
    yield from (
        instances.check,
        instances.run,
        instances.vanished,
        instances.tag,
        enis.create,
        enis.attach,
        enis.assign,
    )
    yield from (eips.associate, *_of_eips(spec))
    if not spec.security_group.id:
        yield from (networks.create_group, networks.authorize, networks.revoke, networks.delete_group)
    # What a verification runs, and a destroy removes.
    yield from (assistant.run, assistant.results)
    yield from (eips.unassociate, instances.delete, enis.unassign, enis.delete)
    if spec.deletion_protection:
        yield instances.unprotect


def of_rollout(spec: FleetSpec) -> Iterator[Operation]:
    """Yield the operations that a rollout uses beside: ENIs move, with a stop where a type turns out to take none while
    it runs."""
    yield from (enis.detach, instances.stop, instances.start)


def _of_eips(spec: FleetSpec) -> Iterator[Operation]:
    if spec.eips.ids:
        return
    if spec.eips.segment:
        yield from (eips.allocate_segment, eips.tag, eips.release_segment)
    else:
        yield from (eips.allocate, eips.release)
    if spec.eips.bandwidth_package:
        yield eips.pack


def actions_of(operation: Operation) -> frozenset[str]:
    """Return the actions that an operation calls, with those of its module's functions that it uses: `ecs:…`."""
    return frozenset(_found(operation, set()))


def _found(operation: Operation, seen: set[str]) -> Iterator[str]:
    seen.add(operation.__name__)
    text = inspect.getsource(operation)
    product = "vpc" if "vpc20160428" in text else "ecs"
    yield from (f"{product}:{name}" for name in _REQUEST.findall(text))
    for name in _names(operation.__code__):
        below = operation.__globals__.get(name)
        if isinstance(below, types.FunctionType) and below.__module__ == operation.__module__ and name not in seen:
            yield from _found(below, seen)


def _names(code: types.CodeType) -> Iterator[str]:
    """Yield the names that code uses, in the functions within it too."""
    yield from code.co_names
    for below in code.co_consts:
        if isinstance(below, types.CodeType):
            yield from _names(below)
