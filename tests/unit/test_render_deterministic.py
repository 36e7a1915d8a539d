"""The same input gives the same bytes: in one process, and in others that differ in all that should not matter."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from generator.image import outdir
from generator.render.bundle import bundle
from generator.spec.image import load

RENDER = """
import sys
from pathlib import Path
from generator.image import outdir
from generator.render.bundle import bundle
from generator.spec.image import load
outdir.write(bundle(load(sys.argv[1]), packer_version=(1, 6, 6)), Path(sys.argv[2]))
"""


def fingerprint(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = str(path.readlink())
        else:
            data = path.read_bytes() if path.is_file() else b""
            found[name] = f"{path.stat().st_mode:o} {hashlib.sha256(data).hexdigest()}"
    return found


def test_twice_in_one_process_is_the_same() -> None:
    first, second = (bundle(load("ubuntu-24.04"), packer_version=(1, 6, 6)) for _ in range(2))
    assert first == second
    assert list(first) == list(second)


@pytest.mark.parametrize(
    ("seed", "umask", "zone", "locale"), [("1", 0o077, "Asia/Shanghai", "C"), ("2", 0o000, "UTC", "tr_TR.UTF-8")]
)
def test_hash_seed_umask_time_zone_locale_and_folder_do_not_matter(
    seed: str, umask: int, zone: str, locale: str, tmp_path: Path
) -> None:
    outdir.write(bundle(load("debian-12"), packer_version=(1, 6, 6)), tmp_path / "here")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale, "PYTHONUTF8": "0"}
    subprocess.run(
        [sys.executable, "-c", RENDER, "debian-12", "there"], env=environment, cwd=elsewhere, umask=umask, check=True
    )
    assert fingerprint(elsewhere / "there") == fingerprint(tmp_path / "here")
