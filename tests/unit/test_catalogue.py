from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from generator.errors import MultieipError
from generator.image import catalogue
from generator.image.catalogue import Artifact

ONE = Artifact(
    name="debian-12",
    image_name="debian-12-1",
    builder="qemu",
    inputs="aa",
    spec_sha256="bb",
    multieip="0.1.0",
    packer="1.6.6",
    base="sha256:cc",
    built="2026-01-01T00:00:00+00:00",
    seconds=1.0,
    packer_seconds=0.9,
    size=4,
    sha256="dd",
    images={},
    folder=Path(),
)


def add(out: Path, number: int, **changes: object) -> Artifact:
    disk = out / "made.qcow2"
    disk.parent.mkdir(exist_ok=True)
    disk.write_bytes(b"disk")
    built = f"2026-01-0{number}T00:00:00+00:00"
    artifact = replace(ONE, image_name=f"debian-12-{number}", built=built, **changes)  # type: ignore[arg-type]
    return catalogue.add(out, artifact, disk if artifact.sha256 else None)


def test_what_is_added_is_listed_with_its_disk(tmp_path: Path) -> None:
    added = add(tmp_path, 1)
    assert catalogue.entries(tmp_path) == (added,)
    assert added.disk is not None
    assert added.disk.read_bytes() == b"disk"
    assert not (tmp_path / "made.qcow2").exists()


def test_a_folder_that_was_not_finished_is_no_artifact(tmp_path: Path) -> None:
    add(tmp_path, 1)
    (tmp_path / "images" / ".debian-12-2").mkdir()
    (tmp_path / "images" / ".debian-12-2" / catalogue.RECORD).write_text("{")
    assert len(catalogue.entries(tmp_path)) == 1


def test_an_unreadable_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "images" / "x").mkdir(parents=True)
    (tmp_path / "images" / "x" / catalogue.RECORD).write_text("{}")
    with pytest.raises(MultieipError, match=r"images/x/artifact\.json"):
        catalogue.entries(tmp_path)


def test_the_same_inputs_are_found_again_and_others_are_not(tmp_path: Path) -> None:
    added = add(tmp_path, 1)
    assert catalogue.unchanged(tmp_path, builder="qemu", inputs="aa") == added
    assert catalogue.unchanged(tmp_path, builder="qemu", inputs="other") is None
    assert catalogue.unchanged(tmp_path, builder="alicloud-ecs", inputs="aa") is None


def test_a_disk_that_is_gone_or_was_changed_is_built_again(tmp_path: Path) -> None:
    added = add(tmp_path, 1)
    assert added.disk is not None
    added.disk.write_bytes(b"longer than it was")
    assert catalogue.unchanged(tmp_path, builder="qemu", inputs="aa") is None
    added.disk.unlink()
    assert catalogue.unchanged(tmp_path, builder="qemu", inputs="aa") is None


def test_the_newest_disk_is_found_by_the_specs_name_and_an_older_one_by_its_own(tmp_path: Path) -> None:
    first, second = add(tmp_path, 1), add(tmp_path, 2)
    assert catalogue.newest(tmp_path, "debian-12") == second.disk
    assert catalogue.newest(tmp_path, "debian-12-1") == first.disk
    with pytest.raises(MultieipError, match="no disk of el-9"):
        catalogue.newest(tmp_path, "el-9")


def test_pruning_keeps_the_newest_of_each_name_and_builder(tmp_path: Path) -> None:
    add(tmp_path, 1)
    add(tmp_path, 2)
    other = add(tmp_path, 3, name="other")
    newest = add(tmp_path, 4)
    gone = catalogue.prune(tmp_path, keep=1, remove_images=lambda artifact: pytest.fail(artifact.image_name))
    assert [artifact.image_name for artifact in gone] == ["debian-12-1", "debian-12-2"]
    assert catalogue.entries(tmp_path) == (other, newest)


def test_an_image_that_the_cloud_does_not_let_go_keeps_its_record(tmp_path: Path) -> None:
    add(tmp_path, 1, builder="alicloud-ecs", sha256="", images={"cn-hangzhou": "m-1"})

    def refuse(artifact: Artifact) -> None:
        raise MultieipError("m-1 is in use")

    with pytest.raises(MultieipError):
        catalogue.prune(tmp_path, keep=0, remove_images=refuse)
    assert len(catalogue.entries(tmp_path)) == 1
