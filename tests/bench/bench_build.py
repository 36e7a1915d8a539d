"""What `image build` adds to the time of Packer: from the record of an image, made with its base in the cache.

The newest image of ./build is read; with --build (or BENCH_BUILD=1) one is built first, which takes minutes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from generator.image import base, build, catalogue
from generator.image.cache import cache_dir
from generator.image.catalogue import Artifact
from generator.spec.image import load
from tests.bench import Row, seconds, unmeasured

WHAT = "multieip image build, debian-12"
GOAL = "< 5 % over Packer"
OUT = Path("build")


def rows() -> Iterator[Row]:
    """Yield the one row."""
    if os.environ.get("BENCH_BUILD"):
        spec = load("debian-12")
        base.disk(spec)
        with tempfile.TemporaryDirectory(prefix="multieip-bench-", dir=Path.cwd()) as out:
            yield _row(build.build(spec, builder="qemu", out=Path(out))[0])
        return
    built = [artifact for artifact in catalogue.entries(OUT) if artifact.builder == "qemu" and _warm(artifact)]
    if built:
        yield _row(built[-1])
    else:
        yield unmeasured(WHAT, GOAL, f"{OUT}/ has no image built with its base in the cache; --build makes one")


def _warm(artifact: Artifact) -> bool:
    """Tell whether no base was made while the image was built."""
    ended = datetime.fromisoformat(artifact.built).timestamp()
    made = [disk.stat().st_mtime for disk in (*cache_dir().glob("disks/*"), *cache_dir().glob("downloads/*"))]
    return not any(ended - artifact.seconds <= time <= ended for time in made)


def _row(artifact: Artifact) -> Row:
    ratio = artifact.seconds / artifact.packer_seconds
    against = f"Packer's part: {seconds(artifact.packer_seconds)}"
    return Row(WHAT, seconds(artifact.seconds), against, ratio, GOAL, ratio < 1.05)
