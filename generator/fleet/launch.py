"""Launching a fleet, and going on with a launch that was cut short. The verbs' entry: the engine is imported here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator.cloud.client import Cloud, Conduct, Pace
from generator.cloud.faults import ApiRefusedError
from generator.errors import CloudRefusedError, MultieipError
from generator.fleet import state
from generator.fleet.actions import Actions
from generator.fleet.desired import Desired, desired
from generator.fleet.diff import diff
from generator.fleet.engine import Settings, Unfinished, opened
from generator.fleet.observe import Observed, look
from generator.fleet.progress import Progress
from generator.fleet.quotas import clock, known
from generator.spec.fleet import FleetSpec

_BUSY = ("RunInstances", "AllocateEipAddress", "AssociateEipAddress")


@dataclass(frozen=True)
class Report:
    """What a launch came to. `writes` and `reads` are the requests of this process that were answered."""

    run: str
    rounds: int
    actions: Actions
    writes: int
    reads: int
    resumed: bool


# What is wanted, what is there, and what leads from one to the other.
Compared = tuple[Desired, Observed, Actions]
# What may stop a launch before anything is spent, by an exception. It gets no comparison when there can be none, since
# the fleet names what is not there.
Check = Callable[[Cloud, Compared | None], None]


def launch(
    spec: FleetSpec,
    *,
    user_data: bytes = b"",
    folder: Path | None = None,
    settings: Settings | None = None,
    removal: bool = False,
    unprotect: bool = False,
    quiet: bool = False,
    check: Check | None = None,
) -> Report:
    """Bring a fleet to what its file says, and return what was done.

    A launch of the same file that was cut short goes on; one of another file is given up, after its calls that were
    under way. `check` is asked before a launch begins that makes something, and not where one goes on. Raises what the
    cloud refuses, as `MultieipError` with the exit code; `KeyboardInterrupt` leaves a state that the next launch goes
    on with.
    """
    settings = settings or default_settings()
    home, run = state.home(spec.name, folder), f"{spec.name}.{state.new_run()}"
    calls, progress = call_log(home), Progress(settings.pace.factor, quiet=quiet)
    cloud = Cloud(spec.region, settings.pace, Conduct(observe=calls))

    def same(one: Unfinished) -> bool:
        return one.workflow == "launch" and one.inputs == (wanted, removal, unprotect)

    resumed = False
    try:
        wanted = _wanted(cloud, spec, user_data, check)
        with opened(home, spec.region, settings=settings, observer=calls, progress=progress, keep=same, busy=_BUSY) as (
            engine,
            left,
        ):
            from generator.fleet.launching import launch as workflow  # noqa: PLC0415 - with the engine

            for one in left:
                progress.say(f"… going on with the run {one.run}")
                run, resumed = one.run, True
            if check and not resumed:
                compared = _compared(cloud, wanted)
                actions = compared[2]
                if actions.is_spending:
                    check(cloud, compared)
                elif actions.is_empty and not actions.remove:
                    return Report(run, 0, actions, calls.writes, calls.reads, resumed)
            try:
                result = engine.wait(run) if resumed else engine.run(workflow, run, wanted, removal, unprotect)
            except KeyboardInterrupt:
                progress.say(interrupted(progress, f"launching {spec.name} again"))
                raise
            if result.failure:
                engine.drain(run)
                raise result.failure.error()
    finally:
        calls.close()
    return Report(run, result.rounds, result.last, calls.writes, calls.reads, resumed)


def _wanted(cloud: Cloud, spec: FleetSpec, user_data: bytes, check: Check | None) -> Desired:
    """Return what a spec asks for; where it names what is not there, a check has the first word on it."""
    try:
        return desired(cloud, spec, user_data)
    except ApiRefusedError:
        raise
    except CloudRefusedError:
        if check:
            check(cloud, None)
        raise


def compare(
    spec: FleetSpec, *, settings: Settings | None = None, user_data: bytes = b"", check: Check | None = None
) -> Compared:
    """Return what a launch would do, without doing anything; `check` has its word where it names what is not there."""
    settings = settings or default_settings()
    cloud = Cloud(spec.region, settings.pace)
    return _compared(cloud, _wanted(cloud, spec, user_data, check))


def _compared(cloud: Cloud, wanted: Desired) -> Compared:
    seen = look(cloud, wanted)
    return wanted, seen, diff(wanted, seen)


def default_settings(**more: Any) -> Settings:
    """Return settings by the environment: the account's quotas, and the speed of a sandbox's clock."""
    return Settings(**{"pace": Pace(factor=clock()), "quotas": known(), **more})


def call_log(home: state.Home) -> state.CallLog:
    """Return the log of a fleet's requests; `MultieipError` when it cannot be written."""
    try:
        home.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return state.CallLog(home.calls)
    except OSError as error:
        raise MultieipError(f"{home.folder} cannot be written: {error.strerror}") from error


def interrupted(progress: Progress, again: str) -> str:
    """Return what is said of a run that was interrupted, and what goes on with it."""
    parts = [f"{done} of {total} {phase}" for phase, (done, total) in progress.counts().items()]
    return f"✗ interrupted: {', '.join(parts) or 'nothing was under way'}; {again} goes on from here"
