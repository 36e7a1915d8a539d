"""Destroying a fleet: EIPs, instances, ENIs and its security group, in the order in which the cloud lets them go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from generator.cloud.client import Cloud
from generator.fleet import state
from generator.fleet.actions import Removal
from generator.fleet.diff import everything
from generator.fleet.engine import Settings, Unfinished, opened
from generator.fleet.launch import call_log, default_settings, interrupted
from generator.fleet.observe import look_at_all
from generator.fleet.progress import Progress

_BUSY = ("UnassociateEipAddress", "ReleaseEipAddress", "DeleteNetworkInterface")


@dataclass(frozen=True)
class Report:
    """What a removal came to. `writes` and `reads` are the requests of this process that were answered."""

    run: str
    removed: Removal
    writes: int
    reads: int


def preview(fleet: str, region: str, *, keep_eips: bool = False, settings: Settings | None = None) -> Removal:
    """Return what `destroy` would remove, without removing anything."""
    cloud = Cloud(region, (settings or default_settings()).pace)
    return everything(look_at_all(cloud, fleet), fleet, keep_eips=keep_eips)


def destroy(
    fleet: str,
    region: str,
    *,
    keep_eips: bool = False,
    unprotect: bool = False,
    folder: Path | None = None,
    settings: Settings | None = None,
    quiet: bool = False,
) -> Report:
    """Remove all that a fleet has, and return what that was; what is gone already is no error.

    A launch that was cut short is given up, after its calls that were under way. EIPs that are kept are unassociated
    and stay the fleet's. Nothing goes while instances are protected against deletion, but with `unprotect`, which takes
    the protection back. Raises what the cloud refuses; `KeyboardInterrupt` leaves a state that the next call goes on
    with.
    """
    return carry_out("destroy", fleet, region, (fleet, region, keep_eips, unprotect), folder, settings, quiet=quiet)


def carry_out(  # noqa: PLR0917 - destroy and sweep are the same but for these
    name: str,
    fleet: str,
    region: str,
    inputs: tuple[object, ...],
    folder: Path | None,
    settings: Settings | None,
    *,
    quiet: bool = False,
) -> Report:
    """Run a workflow of removals by its name, or go on with it."""
    settings = settings or default_settings()
    home, run = state.home(fleet, folder), f"{fleet}.{state.new_run()}"
    calls, progress = call_log(home), Progress(settings.pace.factor, quiet=quiet)

    def same(one: Unfinished) -> bool:
        return one.workflow == name and one.inputs == inputs

    try:
        with opened(home, region, settings=settings, observer=calls, progress=progress, keep=same, busy=_BUSY) as (
            engine,
            left,
        ):
            from generator.fleet import removing  # noqa: PLC0415 - with the engine

            try:
                for one in left:
                    progress.say(f"… going on with the run {one.run}")
                    run = one.run
                result = engine.wait(run) if left else engine.run(getattr(removing, name), run, *inputs)
            except KeyboardInterrupt:
                progress.say(interrupted(progress, "the same command"))
                raise
            if result.failure:
                engine.drain(run)
                raise result.failure.error()
    finally:
        calls.close()
    return Report(run, result.removed, calls.writes, calls.reads)
