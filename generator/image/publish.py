"""What an image on ECS needs around Packer: its base found before, and its copies made usable after.

Packer starts copies and does not wait for them, tags the first image only and, as 1.6.6, knows no families. Nothing
here is done twice in a way that matters, so a publication that was cut short is simply run again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from generator import console
from generator.cloud import images as ecs_images
from generator.cloud.client import Ecs, Pace
from generator.cloud.faults import ApiRefusedError
from generator.cloud.images import Image
from generator.errors import CloudRefusedError, LeftBehindError, MultieipError
from generator.render.packer import image_tags
from generator.spec.image import Alicloud, ImageSpec

_FAILED = ("CreateFailed", "UnAvailable")
# https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata: an image for hardened metadata has at
# least this version. An older one waits two minutes for metadata that it is refused, and runs no user-data.
_KNOWS_TOKENS = (23, 2, 2)


def source_image(spec: ImageSpec, pace: Pace | None = None) -> str:
    """Return the id of the image that the spec starts from: the newest of its family, or its id if it is there."""
    alicloud, base = alicloud_of(spec), spec.base.ecs
    ecs = Ecs(alicloud.region, pace)
    with console.step(f"finding the base image in {alicloud.region}"):
        if base.family:
            return ecs_images.newest_of_family(ecs, base.family)
        image = str(base.id)
        if ecs_images.find(ecs, image) or ecs_images.find(ecs, image, owner="marketplace"):
            return image
    raise CloudRefusedError(
        f"there is no image {image} in {alicloud.region}", hint="base.ecs.id is of one region and one account"
    )


def alicloud_of(spec: ImageSpec) -> Alicloud:
    """Return the spec's part about ECS; `MultieipError` when it has none."""
    if spec.alicloud is None:
        raise MultieipError(f"{spec.name} does not say where on ECS to build it", hint="add `alicloud:` to the spec")
    return spec.alicloud


def missing(images: Mapping[str, str]) -> list[str]:
    """Return those of an image's copies (region → id) that are not there any more, as REGION:ID."""
    return [f"{region}:{image}" for region, image in sorted(images.items()) if not ecs_images.find(Ecs(region), image)]


def publish(spec: ImageSpec, images: Mapping[str, str], pace: Pace | None = None, *, cloud_init: str) -> None:
    """Make an image and its copies (region → id) usable: available, tagged, fit for hardened metadata, in the family.

    Whether hardened metadata is allowed depends on the image's `cloud_init`, a version. The family comes last, when
    everything else is right in every region: from then on launches by family get the image. Raises
    `CloudRefusedError` for an image that failed and what the API refuses, `LeftBehindError` when an image is not
    available in time.
    """
    regions = {region: Ecs(region, pace) for region in sorted(images)}
    with console.step(f"waiting until {_named(images)} can be used"):
        ready = _await_available(regions, images)
    with console.step("tagging the image and its copies"):
        for region, ecs in regions.items():
            ecs_images.tag(ecs, ready[region], image_tags(spec))
            if knows_tokens(cloud_init):
                ecs_images.set_imds_v2(ecs, images[region])
    family = alicloud_of(spec).family
    if family:
        with console.step(f"putting the image and its copies into the family {family}"):
            for region, ecs in regions.items():
                ecs_images.set_family(ecs, images[region], family)


def knows_tokens(cloud_init: str) -> bool:
    """Tell whether a version of cloud-init can ask a metadata service that wants tokens (`HttpTokens=required`)."""
    numbers = tuple(int(part) for part in cloud_init.split(".") if part)
    return numbers >= _KNOWS_TOKENS


def remove(images: Mapping[str, str], pace: Pace | None = None) -> None:
    """Delete images (region → id), then their snapshots. What is already gone is no error.

    Every region is tried before the first refusal is raised: an image that instances were made from is refused by
    ECS, and stays with its snapshots. `LeftBehindError` names snapshots that outlive their image.
    """
    refusals: list[MultieipError] = []
    for region, image in sorted(images.items()):
        try:
            with console.step(f"deleting {region}:{image}"):
                _remove(Ecs(region, pace), image)
        except (CloudRefusedError, LeftBehindError) as refusal:
            refusals.append(refusal)
    if refusals:
        # Snapshots that nothing points at any more matter most: nobody would find them again.
        refusals.sort(key=lambda refusal: not isinstance(refusal, LeftBehindError))
        kind = LeftBehindError if isinstance(refusals[0], LeftBehindError) else CloudRefusedError
        raise kind("; ".join(refusal.message for refusal in refusals), hint=refusals[0].hint)


def _remove(ecs: Ecs, image: str) -> None:
    found = ecs_images.find(ecs, image)
    if found is None:
        return
    try:
        ecs_images.delete_image(ecs, image)
    except ApiRefusedError as refusal:
        if refusal.code != "ImageUseShared":
            raise
        ecs_images.unshare(ecs, image)
        ecs_images.delete_image(ecs, image)
    left, reason = [], ""
    for snapshot in found.snapshots:
        try:
            ecs_images.delete_snapshot(ecs, snapshot)
        except MultieipError as refusal:
            left.append(f"{ecs.region}:{snapshot}")
            reason = refusal.message
    if left:
        raise LeftBehindError(
            f"snapshots outlive their image {image}: {', '.join(left)}: {reason}",
            hint="delete them by hand; they are billed",
        )


def _await_available(regions: Mapping[str, Ecs], images: Mapping[str, str]) -> dict[str, Image]:
    """Look at the images of all regions in turn until each is available; return them."""
    pace = next(iter(regions.values())).pace
    begun = time.monotonic()
    ready: dict[str, Image] = {}
    said: dict[str, str] = {}
    while True:
        for region in sorted(set(images) - set(ready)):
            found = ecs_images.find(regions[region], images[region])
            waited = time.monotonic() - begun
            if found and found.status == "Available":
                ready[region] = found
            elif found and found.status in _FAILED:
                raise CloudRefusedError(
                    f"{region}:{images[region]} is {found.status}, not Available", hint="build it again with --force"
                )
            elif found is None and waited > pace.visible:
                raise CloudRefusedError(
                    f"there is no image {images[region]} in {region}", hint="build it again with --force"
                )
            _report(region, found, said)
        missing = {region: images[region] for region in images if region not in ready}
        if not missing:
            return ready
        if time.monotonic() - begun > pace.available:
            raise LeftBehindError(
                f"{_named(missing)} did not become available within {pace.available / 60:.0f} min",
                hint="run the same command again: it goes on waiting, and builds nothing anew",
            )
        time.sleep(pace.poll)


def _report(region: str, image: Image | None, said: dict[str, str]) -> None:
    """Say an image's state when it changes, its progress by tens of percent."""
    state = "not there yet"
    if image:
        percent = image.progress.removesuffix("%")
        tens = f" {int(percent) // 10 * 10} %" if percent.isdecimal() and image.status != "Available" else ""
        state = f"{image.status}{tens}"
    if said.get(region) != state:
        said[region] = state
        console.say(f"  {region}: {state}")


def _named(images: Mapping[str, str]) -> str:
    return ", ".join(f"{region}:{image}" for region, image in sorted(images.items()))
