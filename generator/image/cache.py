"""Where slow things are kept between runs: base trees, base disks, downloads."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from generator.errors import MultieipError


def cache_dir() -> Path:
    """Return the cache folder: $MULTIEIP_CACHE, else multieip in the user's cache folder."""
    if named := os.environ.get("MULTIEIP_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "multieip"


def key_of(*parts: str) -> str:
    """Return a short name that changes when any part changes."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def sha256_of(path: Path) -> str:
    """Return the hex digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def put_aside(target: Path) -> Iterator[Path]:
    """Give a path to write to, beside `target`; rename it to `target` when the block ends well.

    What a failed block leaves is removed, so that nothing half-written is ever taken for the result.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise MultieipError(f"cannot write {target}: {error.strerror}", hint="free or change the folder") from error
    os.close(descriptor)
    aside = Path(name)
    try:
        yield aside
        # mkstemp makes private files; what is kept is as readable as any other file of the user's.
        aside.chmod(0o644)
        aside.replace(target)
    except OSError as error:
        raise MultieipError(f"cannot write {target}: {error.strerror}", hint=f"make room in {target.parent}") from error
    finally:
        aside.unlink(missing_ok=True)
