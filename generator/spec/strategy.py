"""How a fleet is changed: the part `strategy` of a fleet spec."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from generator.spec import strategy_rules as rules
from generator.spec.fields import (
    Argument,
    Duration,
    Float,
    HttpUrl,
    Int,
    Name,
    Pointer,
    Script,
    Share,
    Timeout,
    share_of,
)
from generator.spec.model import Model, Rule

MOST_INSTANCES = 10_000


class Hook(Model):
    """Something that is done at a point of the rollout: one of `command`, `url` and `assistant`.

    A command runs beside the controller, without a shell, with `MULTIEIP_FLEET`, `MULTIEIP_INSTANCE_ID` and
    `MULTIEIP_EIPS` in its environment; it passes with exit code 0. A URL is called with POST and a JSON body that
    says the same; it passes with a status of 2xx. A script is run on the instance by Cloud Assistant.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (rules.one_way,)

    command: tuple[Argument, ...] = Field((), max_length=64, description="Program and its arguments.")
    url: HttpUrl | None = Field(None, description="Address to call.")
    assistant: Script | None = Field(None, description="Script to run on the instance, by Cloud Assistant.")
    timeout: Timeout = Field(300, description="How long it may take; a time alone is seconds.")


class Gate(Hook):
    """A condition of the user's that each new instance must meet; it is tried until it passes or time is up.

    It takes the same keys as a hook; its URL is read with GET. With `above` or `below` it passes when the number that
    it prints, or that the URL returns, is within them. The gates that are always there need no entry: instance
    running, cloud-init done, the guest's own check, and every EIP answering from its own private IP.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (rules.one_way, rules.bounds)

    name: Name = Field(description="Name of the gate, for reports.")
    after: Literal["launch", "move"] = Field(
        "launch", description="When: after the new instance is up, or after the EIPs have moved to it."
    )
    above: Float | None = Field(None, description="The number must be above this.")
    below: Float | None = Field(None, description="The number must be below this.")
    pointer: Pointer | None = Field(None, description="Where the number is in the JSON that the URL returns.")


class Hooks(Model):
    """What is done around the replacement of an instance, and around a wave."""

    before_wave: Hook | None = Field(None, description="Before the first instance of a wave; no script.")
    after_launch: Hook | None = Field(None, description="On a new instance that passed its gates, before EIPs move.")
    drain: Hook | None = Field(None, description="On the old instance, before its EIPs move away.")
    after_move: Hook | None = Field(None, description="On the new instance, after the EIPs have moved to it.")
    before_delete: Hook | None = Field(None, description="On the old instance, before it is deleted.")
    after_wave: Hook | None = Field(None, description="After the last instance of a wave; no script.")

    RULES = (rules.waves_run_no_script,)


class Strategy(Model):
    """How a rollout goes through the fleet. Parts in percent are of `count`; waves and `max_surge` are rounded up, and
    `max_unavailable` and `failure_threshold` down.

    Every replacement launches the new instance, waits for its gates, drains the old one, moves the EIPs, probes
    them, and deletes the old one when the window for a rollback is over.
    """

    RULES = (rules.some_room, rules.waves_of_some, rules.gates_once)

    canary: Annotated[Int, Field(ge=0, le=1000)] = Field(
        1, description="Instances that are changed first, as a wave of their own; 0 for none."
    )
    waves: tuple[Share, ...] = Field(
        ("25%",), min_length=1, max_length=100, description="Sizes of the waves after it; the last one is repeated."
    )
    max_surge: Share = Field(
        "1", description="Instances that there may be above `count`; with 0 an old one goes before its new one comes."
    )
    max_unavailable: Share = Field(
        "0",
        description="Instances that may be out of service at once, besides the moment in which EIPs move: they are "
        "stopped for it, or there is no room beside them.",
    )
    hotplug: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether ENIs move between running instances: by what is known of the instance type, always, or "
        "never. Both instances are stopped for a move otherwise.",
    )
    bake: Duration = Field(60, description="How long a wave must stay well before the next one.")
    approval: Literal["never", "canary", "waves"] = Field(
        "never", description="When a person must say `resume`: never, after the canary, or after every wave."
    )
    ready_timeout: Timeout = Field(
        600, description="How long a new instance has to pass the gates that are always there."
    )
    failure_threshold: Share = Field("0", description="Instances that may fail before the rollout stops.")
    on_failure: Literal["pause", "rollback"] = Field("pause", description="What stopping means.")
    rollback_window: Duration = Field(
        600, description="How long old instances are kept, for a quick way back, before they are deleted."
    )
    order: Literal["lowest-first", "highest-first", "oldest-first"] = Field(
        "lowest-first", description="Which instances go first: by number, or by age."
    )
    protected: tuple[Annotated[Int, Field(ge=1, le=MOST_INSTANCES)], ...] = Field(
        (), max_length=1000, description="Numbers of instances that rollouts leave alone."
    )
    gates: tuple[Gate, ...] = Field((), max_length=20, description="Conditions of your own.")
    hooks: Hooks = Field(Hooks(), description="What is done around each replacement.")

    def surge(self, count: int) -> int:
        """Return how many instances there may be above `count`."""
        return share_of(self.max_surge, count)

    def unavailable(self, count: int) -> int:
        """Return how many of `count` instances may be out of service at once."""
        return share_of(self.max_unavailable, count, up=False)

    def tolerated(self, count: int) -> int:
        """Return how many of `count` instances may fail before the rollout stops."""
        return share_of(self.failure_threshold, count, up=False)

    def wave_sizes(self, count: int, changing: int) -> tuple[int, ...]:
        """Return the sizes of the waves, canary first, in which `changing` of the `count` instances are changed."""
        sizes = []
        planned = iter([*filter(None, [self.canary]), *(share_of(wave, count) for wave in self.waves)])
        size = 0
        while changing:
            size = next(planned, size)
            sizes.append(min(max(size, 1), changing))
            changing -= sizes[-1]
        return tuple(sizes)
