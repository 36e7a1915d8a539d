"""A sandbox from outside its process: start it, find it, end it, and begin anew."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from generator.errors import LeftBehindError, MultieipError
from generator.run import base_env
from generator.sandbox import control
from generator.sandbox.settings import Home, Settings

# Seconds until a started sandbox answers; it boots again the instances that ran.
_START = 60.0
# Seconds in which a sandbox ends: it kills its instances and removes its namespaces.
_STOP = 60.0
_HOW = "start it with `multieip sandbox up`"


def status(home: Home) -> Any | None:
    """Return what a running sandbox says of itself, None where none runs."""
    try:
        return control.ask(home.socket, "status")
    except (FileNotFoundError, ConnectionError):
        return None


def need(home: Home) -> Any:
    """Return what a running sandbox says of itself; `MultieipError` where none runs."""
    found = status(home)
    if found is None:
        raise MultieipError(f"no sandbox runs in {home.folder}", hint=_HOW)
    return found


def ask(home: Home, verb: str, **asked: Any) -> Any:
    """Ask a running sandbox; `MultieipError` where none runs."""
    try:
        return control.ask(home.socket, verb, **asked)
    except (FileNotFoundError, ConnectionError):
        raise MultieipError(f"no sandbox runs in {home.folder}", hint=_HOW) from None


def up(home: Home, settings: Settings) -> Any:
    """Start a sandbox in a process of its own, and return what it says of itself once it serves."""
    with _one_at_a_time(home):
        if running := status(home):
            return running
        before = home.load()
        home.save(settings)
        try:
            return _start(home)
        except MultieipError:
            # What it was asked for and cannot be is not what the next start goes on with.
            home.save(before) if before else home.settings.unlink()
            raise


@contextlib.contextmanager
def _one_at_a_time(home: Home) -> Iterator[None]:
    """Wait until nobody else starts the sandbox, as long as the block runs."""
    home.make()
    with home.lock.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start(home: Home) -> Any:
    with home.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "generator.sandbox.daemon", os.fspath(home.folder.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=base_env(),
            start_new_session=True,
        )
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline:
        if found := status(home):
            return found
        if process.poll() is not None:
            said, _, hint = _last_line(home.log).partition(" → ")
            raise MultieipError(f"the sandbox did not start: {said}", hint=hint or f"see {home.log}")
        time.sleep(0.05)
    process.terminate()
    raise LeftBehindError(f"the sandbox did not answer within {_START:.0f} s", hint=f"see {home.log}")


def down(home: Home) -> bool:
    """End a sandbox and remove what it made, also where its process was killed; return whether it ran."""
    pid = None
    with contextlib.suppress(FileNotFoundError, ConnectionError):
        pid = int(control.ask(home.socket, "down"))
        _wait_for_end(pid)
    if os.geteuid() == 0:
        from generator.sandbox.fabric import owner  # noqa: PLC0415 - without root there is no fabric

        owner.sweep_dead()
    home.socket.unlink(missing_ok=True)
    return pid is not None


def reset(home: Home) -> Any:
    """End a sandbox, forget all that was made in it, and start it again as it was asked to be."""
    settings = home.load()
    if settings is None:
        raise MultieipError(f"no sandbox has been in {home.folder}", hint=_HOW)
    down(home)
    for path in home.folder.iterdir():
        if path != home.settings:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    # Another seed: an id of before must not come again and mean something else.
    return up(home, replace(settings, seed=settings.seed + 1))


def _wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + _STOP
    while time.monotonic() < deadline:
        if not _alive(pid):
            return
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    # Nobody waits for a process whose parent, the `up` of another day, is gone; a zombie has ended.
    return state != "Z"


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1].rpartition(" ERROR ")[2] if lines else "it said nothing"
