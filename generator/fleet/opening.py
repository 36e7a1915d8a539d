"""From the name of a fleet spec to all that the verbs work with."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

from generator.cloud.client import Cloud, Conduct, Observer, Pace
from generator.cloud.faults import ApiRefusedError
from generator.errors import CloudRefusedError
from generator.fleet import quotas
from generator.fleet.actions import Actions
from generator.fleet.desired import Desired, desired, image_of
from generator.fleet.diff import diff
from generator.fleet.observe import Observed, look
from generator.fleet.picture import Picture, picture
from generator.render.launch import user_data
from generator.spec import fleet as specs
from generator.spec import image as image_specs
from generator.spec import source
from generator.spec.findings import Finding, Problem, ordered
from generator.spec.fleet import FleetSpec


@dataclass(frozen=True)
class Opened:
    """A fleet's file that was read: the spec, and the user-data of its instances before Base64."""

    path: str
    spec: FleetSpec
    user_data: bytes
    warnings: tuple[Finding, ...]

    def findings(self, problems: Iterable[Problem]) -> tuple[Finding, ...]:
        """Put problems at their places in the file, beside the warnings that it has by itself."""
        document, _ = source.read(specs.resolve(self.path))
        found = map(document.finding, problems) if document else ()
        return ordered((*self.warnings, *found))


def read(name: str | os.PathLike[str]) -> Opened:
    """Read a fleet's file; `FindingsError` with every finding when there is an error among them."""
    path = specs.resolve(name)
    spec = specs.load(path)
    image = image_specs.load(spec.image_spec) if spec.image_spec else None
    _, found = specs.examine(path)
    return Opened(str(path), spec, user_data(spec, image), found)


# Instances are known by their names and tags, not by what they run.
_ANY_IMAGE = "any"


def connect(spec: FleetSpec, observer: Observer | None = None) -> Cloud:
    """Return the clients for a fleet's region, by the clock that $MULTIEIP_CLOCK tells."""
    return Cloud(spec.region, Pace(factor=quotas.clock()), Conduct(observe=observer))


def wanted(cloud: Cloud, opened: Opened) -> Desired:
    """Return what a fleet should be; `CloudRefusedError` for an image or a vSwitch that is not there."""
    return desired(cloud, opened.spec, opened.user_data)


def compared(cloud: Cloud, opened: Opened) -> tuple[Desired, Observed, Actions]:
    """Return what a fleet should be, what there is, and the difference; the image is empty when it is not there."""
    try:
        image = image_of(cloud, opened.spec)
    except ApiRefusedError:
        raise
    except CloudRefusedError:
        image = ""
    goal = desired(cloud, opened.spec, opened.user_data, image=image or _ANY_IMAGE)
    goal = replace(goal, image=image)
    seen = look(cloud, goal)
    return goal, seen, diff(goal, seen)


def named_image(spec: FleetSpec) -> str:
    """Return how a fleet's file names its image, as in `family acs:debian_12_11_x64`."""
    return next(f"{key} {value}" for key, value in spec.image if value)


def pictured(cloud: Cloud, opened: Opened) -> Picture:
    """Return a fleet as it is now, instance by instance; its file's image need not be there any more."""
    goal = desired(cloud, opened.spec, opened.user_data, image=_ANY_IMAGE)
    return picture(goal, look(cloud, goal))
