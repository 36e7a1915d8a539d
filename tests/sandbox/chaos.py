"""Launches and rollouts in processes of their own, to be killed. A server with all modules loaded forks them: 20 ms."""

from __future__ import annotations

import faulthandler
import itertools
import multiprocessing
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from generator.errors import ExitCode, MultieipError
from generator.spec.fleet import FleetSpec

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.sandbox.chaos_modules"])
_NUMBERS = itertools.count(1)
# Whoever starts a process asks after all others as well, and an exit code can be read once: of two threads that read
# it at the same moment, one takes the process for crashed (255).
_ONE = threading.Lock()


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


@dataclass(frozen=True)
class End:
    """How a process ended: its exit code (None: it did not), and the last of what it said."""

    code: int | None
    said: str

    @property
    def last(self) -> str:
        """Its last line."""
        return self.said.rpartition("\n")[2]

    def __str__(self) -> str:
        return f"exit code {self.code}: {self.said or '(it said nothing)'}"


class Process:
    """A process that does a job. Threads may have several of them side by side."""

    def __init__(self, job: Job) -> None:
        job.folder.mkdir(parents=True, exist_ok=True)
        # One each, so that nobody's last words are taken for another's.
        self._said = job.folder / f"said.{next(_NUMBERS)}"
        self._process: BaseProcess = _CONTEXT.Process(target=_live, args=(job, self._said), daemon=True)
        with _ONE:
            self._process.start()

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process.pid
        return self._process.pid

    def join(self, seconds: float | None = None) -> bool:
        """Wait for its end, at most so many seconds; return whether it came."""
        return bool(connection.wait([self._process.sentinel], seconds))

    @property
    def exitcode(self) -> int | None:
        """Its exit code, None while it lives; negative is the signal that killed it."""
        with _ONE:
            return self._process.exitcode

    def kill(self) -> None:
        """Kill it, if it lives, and wait until it is gone."""
        with _ONE:
            self._process.kill()
        self.join()

    @property
    def end(self) -> End:
        """How it ended."""
        try:
            said = self._said.read_text(errors="replace").splitlines()[-25:]
        except FileNotFoundError:
            said = []
        return End(self.exitcode, "\n".join(said))


def _live(job: Job, said: Path) -> None:
    """Do a job, and exit with the exit code that the command would have."""
    # Unbuffered, and opened before anything that can fail: whatever happens then leaves words.
    log = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 2)
    # A crash of the interpreter itself has words as well.
    faulthandler.enable(log)
    try:
        _do(job)
        code = 0
    except MultieipError as error:
        os.write(log, f"multieip: {error.message}\n".encode())
        code = int(error.exit_code)
    except KeyboardInterrupt:
        code = int(ExitCode.INTERRUPTED)
    except BaseException:
        import traceback

        os.write(log, traceback.format_exc().encode())
        code = 99
    os._exit(code)


def _do(job: Job) -> None:
    os.environ |= {"MULTIEIP_ENDPOINT": job.url, "MULTIEIP_CLOCK": str(job.factor)}
    from generator.fleet.destroy import destroy
    from generator.fleet.launch import launch

    spec = FleetSpec.model_validate(job.spec)
    if job.verb == "launch":
        launch(spec, folder=job.folder, **job.more)
    elif job.verb == "rollout":
        _rolled(spec, job)
    else:
        destroy(spec.name, spec.region, folder=job.folder, **job.more)


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


Again = Callable[[End], bool]
# How often a person tries again, and how many seconds one waits for a process.
_TRIES, _PATIENCE = 20, 120.0


def killed_until_done(job: Job, *, kills: Sequence[float] = (), again: Again = lambda _: False) -> int:
    """Do a job, killing its process after so many seconds each time; return how many were killed before they ended.

    A process whose end `again` takes for temporary is followed by another.
    """
    deaths = 0
    for seconds in kills:
        process = Process(job)
        if not process.join(seconds):
            process.kill()
            deaths += 1
    _until_done(job, [], again)
    return deaths


def shared_until_done(job: Job, chance: random.Random, *, longest: float, again: Again) -> int:
    """Do a job by two processes that share it; return how many were killed before they ended.

    The second comes up to `longest` seconds after the first. One or both are killed, each within `longest` seconds of
    its start; a third one comes if none is left.
    """
    later = chance.uniform(0, longest)
    starts = [0.0, later]
    victims = chance.sample(range(2), chance.randint(1, 2))
    kills = {number: starts[number] + chance.uniform(0.1, longest) for number in victims}
    begun = time.monotonic()
    processes, killed = list[Process](), list[Process]()
    for moment in sorted([*starts, *kills.values()]):
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        if len(processes) < 2 and moment == starts[len(processes)]:
            processes.append(Process(job))
        for number, at in kills.items():
            if at == moment and processes[number].exitcode is None:
                processes[number].kill()
                killed.append(processes[number])
    _until_done(job, [one for one in processes if one not in killed], again)
    return len(killed)


def _until_done(job: Job, processes: list[Process], again: Again) -> None:
    """Wait until one of the processes did the job and all have ended, with another one for as often as it takes."""
    for _ in range(_TRIES):
        processes = processes or [Process(job)]
        for process in processes:
            if not process.join(_PATIENCE):
                process.kill()
                raise AssertionError(f"it does not end: {process.end}")
        ends = [process.end for process in processes]
        for end in ends:
            if end.code != 0 and not again(end):
                raise AssertionError(str(end))
        if any(end.code == 0 for end in ends):
            return
        processes = []
        time.sleep(0.05)
    raise AssertionError(f"it does not succeed: {ends[-1]}")
