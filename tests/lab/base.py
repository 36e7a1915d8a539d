"""The system that instances of the lab boot: the local base of an image spec, unpacked once and kept."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from generator.image.base import tree
from generator.image.cache import cache_dir
from generator.run import run
from generator.spec.image import ImageSpec


def base_tree(spec: ImageSpec) -> Path:
    """Return the folder of the base's tree; made from its tar when it is not there."""
    archive = tree(spec)
    target = cache_dir() / "lab" / archive.stem
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{archive.stem}.", dir=target.parent))
    try:
        aside.chmod(0o755)
        # A container has its own /dev and no kernel.
        left_out = [f"--exclude=./{path}/*" for path in ("boot", "dev", "usr/lib/modules")]
        run(["tar", "--extract", "--file", archive, "--directory", aside, "--xattrs", "--xattrs-include=*", *left_out])
        aside.rename(target)
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target
