"""The catalogue of what was built: one folder an image, with its disk (if it has one) and its record.

    OUT/images/IMAGE-NAME/artifact.json     the record below
    OUT/images/IMAGE-NAME/disk.qcow2        a disk of the qemu builder

A folder is made aside and renamed, so that what is listed is whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from generator.errors import MultieipError

SCHEMA_VERSION = 1
RECORD = "artifact.json"
DISK = "disk.qcow2"


@dataclass(frozen=True)
class Artifact:
    """One golden image: what it is, and what it was made from.

    `inputs` is the digest of all that decides its content; `built` is UTC, ISO 8601; `seconds` the time of the
    whole build and `packer_seconds` Packer's part of it; `images` maps a region to the id of an ECS image.
    `published` is false while copies, tags and family of images on ECS are still to be done; `cloud_init` is the
    image's version of it, empty where an older build did not say.
    `folder` is where the record stands, and not part of it.
    """

    name: str
    image_name: str
    builder: str
    inputs: str
    spec_sha256: str
    multieip: str
    packer: str
    base: str
    built: str
    seconds: float
    packer_seconds: float
    size: int
    sha256: str
    images: dict[str, str]
    folder: Path
    published: bool = True
    cloud_init: str = ""

    @property
    def disk(self) -> Path | None:
        """The disk image, of a build on this machine."""
        return self.folder / DISK if self.sha256 else None


def to_json(artifact: Artifact) -> dict[str, object]:
    """Return the record, keys stable, with the path of the disk for pipelines."""
    record = {"schema_version": SCHEMA_VERSION, **asdict(artifact)}
    del record["folder"]
    return {**record, "disk": str(artifact.disk) if artifact.disk else None}


def add(out: Path, artifact: Artifact, disk: Path | None) -> Artifact:
    """Put an artifact into the catalogue; its disk is moved there. Return it with its folder."""
    folder = out / "images" / artifact.image_name
    aside = folder.with_name(f".{folder.name}")
    kept = replace(artifact, folder=folder)
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        if disk is not None:
            shutil.move(disk, aside / DISK)
        (aside / RECORD).write_text(json.dumps(to_json(kept), indent=2) + "\n")
        aside.rename(folder)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise MultieipError(f"cannot write {folder}: {error.strerror}", hint=f"make room in {out}") from error
    return kept


def update(artifact: Artifact) -> Artifact:
    """Write the record of an artifact anew, whole or not at all, and return the artifact."""
    record = artifact.folder / RECORD
    aside = record.with_suffix(".new")
    try:
        aside.write_text(json.dumps(to_json(artifact), indent=2) + "\n")
        aside.replace(record)
    except OSError as error:
        raise MultieipError(f"cannot write {record}: {error.strerror}", hint="make room there") from error
    return artifact


def entries(out: Path) -> tuple[Artifact, ...]:
    """Return what is in the catalogue, oldest first. A record that cannot be read is an error that names it."""
    found = []
    for record in (out / "images").glob(f"[!.]*/{RECORD}"):
        try:
            data = json.loads(record.read_bytes())
            known = {name: data[name] for name in Artifact.__dataclass_fields__ if name not in ("folder", "published")}
        except (ValueError, KeyError) as error:
            raise MultieipError(f"{record} is not a record of multieip", hint="remove its folder") from error
        found.append(Artifact(**known, folder=record.parent, published=data.get("published", True)))
    return tuple(sorted(found, key=lambda artifact: (artifact.built, artifact.image_name)))


def unchanged(out: Path, *, builder: str, inputs: str) -> Artifact | None:
    """Return the newest artifact of the same inputs, when its disk is still as it was."""
    for artifact in reversed(entries(out)):
        if artifact.inputs == inputs and artifact.builder == builder:
            disk = artifact.disk
            if disk is None or (disk.exists() and disk.stat().st_size == artifact.size):
                return artifact
    return None


def newest(out: Path, name: str) -> Path:
    """Return the newest disk of a spec's name, or of an image's own name."""
    mine = [artifact for artifact in entries(out) if name in (artifact.name, artifact.image_name)]
    disks = [artifact.disk for artifact in mine if artifact.disk]
    if not disks:
        raise MultieipError(f"no disk of {name} in {out}", hint=f"build one: multieip image build {name}")
    return disks[-1]


def prune(out: Path, *, keep: int, remove_images: Callable[[Artifact], None]) -> tuple[Artifact, ...]:
    """Remove all but the newest `keep` of each name and builder; return what is gone.

    `remove_images` is called first for an artifact on ECS, and its record stays when that fails.
    """
    gone = []
    groups: dict[tuple[str, str], list[Artifact]] = {}
    for artifact in entries(out):
        groups.setdefault((artifact.name, artifact.builder), []).append(artifact)
    for artifacts in groups.values():
        for artifact in artifacts[: max(0, len(artifacts) - keep)]:
            if artifact.images:
                remove_images(artifact)
            shutil.rmtree(artifact.folder)
            gone.append(artifact)
    return tuple(gone)
