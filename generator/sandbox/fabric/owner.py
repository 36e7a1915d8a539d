"""Who owns what a fabric made, so that nothing outlives its fabric: not after an exception, nor after kill -9.

A fabric holds a lock on a file of its name. The kernel frees it when the process ends, however it ends, and whoever
makes a fabric next cleans up.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from pathlib import Path
from typing import IO

from generator.errors import MultieipError
from generator.sandbox.fabric import cgroups, netns

_LOCKS = Path("/run/multieip/fabrics")
# Not /run, which may be memory: an instance can write gigabytes.
_WORK = Path("/var/tmp")  # noqa: S108 - what is made in it is made by mkdtemp


def hold(prefix: str) -> IO[bytes]:
    """Become the owner of a prefix until the file that is returned is closed; `MultieipError` when it has one."""
    _LOCKS.mkdir(parents=True, exist_ok=True)
    lock = (_LOCKS / prefix).open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise MultieipError(f"a fabric with the prefix {prefix} is running", hint="choose another prefix") from error
    return lock


def work_folder(prefix: str) -> Path:
    """Make a folder for what the fabric of this prefix writes."""
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=_WORK))
    folder.chmod(0o755)
    return folder


def cleanup(prefix: str) -> list[str]:
    """Remove what a fabric made (processes, namespaces, control groups, folders); return its namespaces' names."""
    found = netns.sweep(f"{prefix}-")
    cgroups.remove(f"{prefix}-*")
    for folder in _WORK.glob(f"{prefix}-*"):
        shutil.rmtree(folder, ignore_errors=True)
    (_LOCKS / prefix).unlink(missing_ok=True)
    return found


def sweep_dead() -> list[str]:
    """Clean up after every fabric whose process is gone; return the names of the namespaces removed."""
    found = []
    for path in sorted(_LOCKS.glob("*")):
        try:
            lock = hold(path.name)
        except MultieipError:
            continue
        with lock:
            found += cleanup(path.name)
    return found
