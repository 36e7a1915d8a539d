"""Every action that the sandbox knows: importing the modules of the families registers them."""

from generator.sandbox.api.call import ACTIONS
from generator.sandbox.api.ecs import (
    attributes,
    commands,
    disks,
    enis,
    groups,
    images,
    instances,
    keys,
    launch,
    places,
    power,
    prices,
    snapshots,
    tags,
)
from generator.sandbox.api.vpc import binding, eips, gateways, networks, packages
from generator.sandbox.api.vpc import tags as vpc_tags

FAMILIES = (
    attributes,
    commands,
    disks,
    enis,
    groups,
    images,
    instances,
    keys,
    launch,
    places,
    power,
    prices,
    snapshots,
    tags,
    binding,
    eips,
    gateways,
    networks,
    packages,
    vpc_tags,
)

__all__ = ["ACTIONS", "FAMILIES"]
