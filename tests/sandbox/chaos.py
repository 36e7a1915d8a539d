"""Launches in processes of their own, to be killed. A server with all modules loaded forks them: 20 ms each."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from generator.errors import ExitCode, MultieipError
from generator.spec.fleet import FleetSpec

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.sandbox.chaos_modules"])


@dataclass(frozen=True)
class Job:
    """What a process does: a verb with its arguments, for a fleet whose state is in a folder."""

    verb: str
    spec: dict[str, Any]
    url: str
    folder: Path
    factor: float
    more: dict[str, Any]

    @staticmethod
    def of(verb: str, spec: FleetSpec, url: str, folder: Path, factor: float, **more: Any) -> Job:
        """Return a job."""
        return Job(verb, spec.model_dump(mode="json", exclude_defaults=True), url, folder, factor, more)


def _live(job: Job) -> None:
    """Do a job, and exit with the exit code that the command would have."""
    os.environ |= {"MULTIEIP_ENDPOINT": job.url, "MULTIEIP_CLOCK": str(job.factor)}
    from generator.fleet.destroy import destroy
    from generator.fleet.launch import launch

    log = (job.folder / "said").open("a")
    os.dup2(log.fileno(), 2)
    spec = FleetSpec.model_validate(job.spec)
    try:
        if job.verb == "launch":
            launch(spec, folder=job.folder, **job.more)
        elif job.verb == "rollout":
            _rolled(spec, job)
        else:
            destroy(spec.name, spec.region, folder=job.folder, **job.more)
    except MultieipError as error:
        log.write(f"multieip: {error.message}\n")
        log.flush()
        os._exit(int(error.exit_code))
    except KeyboardInterrupt:
        os._exit(int(ExitCode.INTERRUPTED))
    except BaseException:
        import traceback

        traceback.print_exc(file=log)
        log.flush()
        os._exit(99)
    os._exit(0)


def _rolled(spec: FleetSpec, job: Job) -> None:
    """Roll a fleet, or go on with a rollout whatever it waits for; exit code 1 when it waits again."""
    from generator.fleet.launch import default_settings
    from generator.fleet.rollout import rolling

    settings = default_settings(database=job.more.get("database"))
    work = rolling.Work(spec.name, spec.region, job.folder, settings)
    with work.desk() as desk:
        found = desk.history(1)
    if found and not found[0].is_over:
        state = rolling.resume(work)
    else:
        state = rolling.start(spec, rolling.order_of(spec, probing=False), work)
    if state.phase != "done":
        raise MultieipError(f"{state.phase}: {state.why}")


def start(job: Job) -> BaseProcess:
    """Start a process that does a job."""
    job.folder.mkdir(parents=True, exist_ok=True)
    process = _CONTEXT.Process(target=_live, args=(job,), daemon=True)
    process.start()
    return process


def killed_until_done(
    job: Job, chance: random.Random, *, kills: Sequence[float], again: Callable[[int, str], bool] = lambda *_: False
) -> int:
    """Do a job, killing its process after so many seconds each time; return how many were killed before they ended.

    A process that ends with an exit code and last words that `again` takes for temporary is followed by another.
    """
    deaths = 0
    for seconds in kills:
        process = start(job)
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            deaths += 1
    for _ in range(20):
        process = start(job)
        process.join(120)
        if process.exitcode is None:
            process.kill()
            raise AssertionError(f"it does not end: {said(job)}")
        if process.exitcode == 0:
            return deaths
        if not again(process.exitcode, said(job)):
            raise AssertionError(f"exit code {process.exitcode}: {said(job)}")
        time.sleep(0.05)
    raise AssertionError(f"it does not succeed: {said(job)}")


def said(job: Job) -> str:
    """Return the last of what its processes said."""
    return "\n".join((job.folder / "said").read_text().splitlines()[-25:])
