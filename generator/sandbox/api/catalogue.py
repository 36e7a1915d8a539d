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
    tags,
)
from generator.sandbox.api.vpc import eips, gateways, networks

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
    tags,
    eips,
    gateways,
    networks,
)

__all__ = ["ACTIONS", "FAMILIES"]
