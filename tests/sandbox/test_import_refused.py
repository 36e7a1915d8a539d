"""What `multieip sandbox import` refuses, by its command line: before anything is copied, and with a remedy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from generator.run import find, run
from tests.sandbox.commands import Sandbox

pytestmark = pytest.mark.skipif(
    find("qemu-img") is None, reason="qemu-img is not installed: apt-get install qemu-utils"
)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    found = Sandbox(tmp_path_factory.mktemp("import") / "sandbox", "--api-only")
    found.up()
    yield found
    found.down()


@pytest.fixture
def disk(tmp_path: Path) -> str:
    path = tmp_path / "golden.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1M"])
    return os.fspath(path)


def refused(sandbox: Sandbox, *arguments: str) -> tuple[int, str]:
    done = sandbox.do("import", *arguments)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_a_sandbox_in_which_nothing_boots_takes_no_disk(sandbox: Sandbox, disk: str) -> None:
    before = sandbox.status()["counts"]["Image"]
    code, said = refused(sandbox, disk)
    assert code == 2
    assert "nothing boots in this sandbox" in said
    assert "--api-only" in said
    assert sandbox.status()["counts"]["Image"] == before


@pytest.mark.parametrize("name", ["x", "9lives", "acs:mine", "two words"])
def test_a_name_that_ecs_would_refuse_is_refused(sandbox: Sandbox, disk: str, name: str) -> None:
    for option in ("--name", "--family"):
        code, said = refused(sandbox, disk, option, name)
        assert code == 2
        assert "is no name of an image" in said


def test_what_is_no_disk_of_its_own_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(b"\0" * 4096)
    code, said = refused(sandbox, os.fspath(raw))
    assert code == 1
    assert "not qcow2" in said
    assert "qemu-img convert -O qcow2" in said


def test_a_name_that_was_never_built_says_how_to_build_it(sandbox: Sandbox, tmp_path: Path) -> None:
    code, said = refused(sandbox, "debian-12", "--out", os.fspath(tmp_path))
    assert code == 1
    assert "no disk of debian-12" in said
    assert "multieip image build debian-12" in said


def test_without_a_sandbox_nothing_is_looked_at(tmp_path: Path) -> None:
    code, said = refused(Sandbox(tmp_path / "none"), "whatever")
    assert code == 1
    assert "no sandbox runs" in said
