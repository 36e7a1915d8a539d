"""User-data of a fleet's instances: that of the image spec, with the fleet's own cloud-config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from generator.render.userdata import Form, prepare

if TYPE_CHECKING:
    from generator.spec.fleet import FleetSpec
    from generator.spec.image import ImageSpec


def user_data(fleet: FleetSpec, image: ImageSpec | None) -> bytes:
    """Return the user-data of every instance before Base64; `image` is the spec that `fleet.image_spec` names.

    Empty when the fleet wants none.
    """
    if fleet.user_data.form == "none" or image is None:
        return b""
    merged = _merged(image.cloud_config, fleet.user_data.cloud_config)
    return prepare(image.model_copy(update={"cloud_config": merged}), Form(fleet.user_data.form)).render()


def _merged(image: dict[str, Any], fleet: dict[str, Any]) -> dict[str, Any]:
    """Put the fleet's cloud-config over the image's: lists behind its lists, and its value instead of another."""
    both = {key: [*image[key], *value] for key, value in fleet.items() if _are_lists(image.get(key), value)}
    return {**image, **fleet, **both}


def _are_lists(*values: Any) -> bool:
    return all(isinstance(value, list) for value in values)
