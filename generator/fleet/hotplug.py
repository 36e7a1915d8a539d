"""Which instance types take ENIs, and let go of them, while they run. Pure: no API says so."""

from __future__ import annotations

import re

from generator.spec.strategy import Strategy

# "Bind an ENI" of ECS's guide lists types whose instances must be stopped: of shared and burstable families, and of the
# first generations of bare metal. Whole families are taken for it: an ENI that a running instance does not take costs
# its EIPs minutes, a stop that was not needed one boot.
_COLD = re.compile(r"ecs\.((t5|t6|s6|e|xn4|n4|mn4|e4)[.-]|ebm)")


def plugs_hot(kind: str) -> bool:
    """Return whether an instance of a type need not be stopped for its ENIs to come and go, as far as is known."""
    return _COLD.match(kind) is None


def is_cold(strategy: Strategy, kind: str) -> bool:
    """Return whether a rollout stops instances of a type before their ENIs move."""
    return strategy.hotplug == "never" or (strategy.hotplug == "auto" and not plugs_hot(kind))
