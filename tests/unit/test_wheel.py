"""The wheel works away from the checkout: templates and examples travel inside."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and unpack it, as an installation would."""
    made = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(made)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = made.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(made / "site")
    return made / "site"


def multieip(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "generator", *arguments]
    # -P and another folder: nothing of the checkout is on the path.
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    return subprocess.run(command, cwd=installed.parent, env=environment, capture_output=True, text=True, check=False)


def test_it_says_from_where_it_runs(installed: Path) -> None:
    where = [sys.executable, "-c", "import generator; print(generator.__file__)"]
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    said = subprocess.run(where, cwd=installed.parent, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.startswith(str(installed))


@pytest.mark.parametrize(
    "arguments", [["--help"], ["check", "el-9", "demo"], ["render", "user-data", "debian-12"], ["schema"]]
)
def test_verbs_work_from_the_wheel(installed: Path, arguments: list[str]) -> None:
    done = multieip(installed, *arguments)
    assert done.returncode == 0, done.stderr


def test_a_whole_image_is_rendered_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    done = multieip(installed, "render", "debian-12", "-o", str(tmp_path / "out"), "--packer-version", "1.6.6")
    assert done.returncode == 0, done.stderr
    script = tmp_path / "out/rootfs/usr/local/sbin/multieip-policy-routing"
    assert os.access(script, os.X_OK)


def test_the_wheel_carries_its_licences(installed: Path) -> None:
    names = {path.name for path in installed.glob("multieip-*.dist-info/licenses/*")}
    assert {"LICENSE", "NOTICE"} <= names
