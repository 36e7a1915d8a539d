"""The kinds of specs, and which kind a file is.

The command line imports this at its start, so the models are imported where they are used.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from generator.spec.findings import Finding
    from generator.spec.fleet import FleetSpec
    from generator.spec.image import ImageSpec
    from generator.spec.model import Model
    from generator.spec.source import Document


class Kind(StrEnum):
    """What a spec describes."""

    IMAGE = "image"
    FLEET = "fleet"


def model_of(kind: Kind) -> type[Model]:
    """Return the model of a kind of spec."""
    from generator.spec.fleet import FleetSpec
    from generator.spec.image import ImageSpec

    return FleetSpec if kind is Kind.FLEET else ImageSpec


def resolve(name: str | os.PathLike[str]) -> Path:
    """Return the file that a name means: a path, an image or fleet spec here, or an example that we ship."""
    from generator.spec import reading

    return reading.resolve(name, "images", "fleets")


def kind_of(path: Path, document: Document | None) -> Kind:
    """Tell a spec's kind by the keys that only one kind has; where they do not say, by the folder's name."""
    given = document.data.keys() if document else set()
    image, fleet = (model_of(kind).model_fields.keys() for kind in (Kind.IMAGE, Kind.FLEET))
    score = len(given & (fleet - image)) - len(given & (image - fleet))
    if score == 0:
        return Kind.FLEET if path.absolute().parent.name == "fleets" else Kind.IMAGE
    return Kind.FLEET if score > 0 else Kind.IMAGE


def examine(name: str | os.PathLike[str]) -> tuple[ImageSpec | FleetSpec | None, tuple[Finding, ...]]:
    """Read a spec of either kind: the spec, or None when it has errors, and every finding."""
    from generator.spec import fleet, image, reading, source

    path = resolve(name)
    if not path.exists():
        return None, (reading.absent(path, "images", "fleets"),)
    # Once: it may be a pipe.
    document, findings = source.read(path)
    kind = kind_of(path, document)
    return fleet.judge(document, findings) if kind is Kind.FLEET else image.judge(document, findings)
