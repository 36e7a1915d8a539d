"""ECS images: find, follow, mark and delete them. Every call may be carried out twice without harm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from generator.cloud.client import Ecs
from generator.cloud.faults import ApiRefusedError
from generator.errors import CloudRefusedError

# ModifyImageSharePermission ignores what exceeds 10 accounts in one call, without saying so.
_ACCOUNTS = 10


@dataclass(frozen=True)
class Image:
    """One image as DescribeImages shows it; `progress` is in percent, as text."""

    id: str
    status: str
    progress: str
    family: str
    snapshots: tuple[str, ...]


def find(ecs: Ecs, image: str, *, owner: str | None = None) -> Image | None:
    """Return an image in whatever state, or None when there is none.

    Without `owner` it may be the account's, a public or a shared one; those of the marketplace are found with
    `owner="marketplace"` only.
    """
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    # Without a status only available images are listed, and a copy in progress or one that failed is not.
    request = models.DescribeImagesRequest(
        region_id=ecs.region, image_id=image, status="ALL", image_owner_alias=owner, page_size=10
    )
    body = ecs.call(ecs.client.describe_images_with_options, request)
    for found in (body.images.image or []) if body.images else []:
        if found.image_id == image:
            return _image(found)
    return None


def newest_of_family(ecs: Ecs, family: str) -> str:
    """Return the id of a family's newest available image; `CloudRefusedError` when it has none in the region."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.DescribeImageFromFamilyRequest(region_id=ecs.region, image_family=family)
    body = ecs.call(ecs.client.describe_image_from_family_with_options, request)
    if body.image is None or not body.image.image_id:
        raise CloudRefusedError(
            f"no available image in the family {family} in {ecs.region}",
            hint="base.ecs.family is a family of public images (acs:…) or of this account",
        )
    return str(body.image.image_id)


def newest_of_spec(ecs: Ecs, spec: str) -> str:
    """Return the id of the newest available image that multieip built from the image spec of a name.

    `CloudRefusedError` when the region has none.
    """
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.DescribeImagesRequest(
        region_id=ecs.region,
        status="Available",
        image_owner_alias="self",
        tag=[models.DescribeImagesRequestTag(key="multieip:name", value=spec)],
        page_size=100,
    )
    body = ecs.call(ecs.client.describe_images_with_options, request)
    found = (body.images.image or []) if body.images else []
    if not found:
        raise CloudRefusedError(
            f"no image in {ecs.region} was built from the image spec {spec}",
            hint=f"multieip image build {spec} --builder alicloud-ecs, or name an image by id or family",
        )
    return str(max(found, key=lambda image: (image.creation_time or "", image.image_id)).image_id)


def set_imds_v2(ecs: Ecs, image: str) -> None:
    """Let instances of the image be launched with hardened metadata. ECS cannot take this back."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    features = models.ModifyImageAttributeRequestFeatures(imds_support="v2")
    request = models.ModifyImageAttributeRequest(region_id=ecs.region, image_id=image, features=features)
    ecs.call(ecs.client.modify_image_attribute_with_options, request)


def set_family(ecs: Ecs, image: str, family: str) -> None:
    """Put an image into a family: from now on it is what the family means, if it is the newest in it."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.ModifyImageAttributeRequest(region_id=ecs.region, image_id=image, image_family=family)
    ecs.call(ecs.client.modify_image_attribute_with_options, request)


def tag(ecs: Ecs, image: Image, tags: Mapping[str, str]) -> None:
    """Put tags on an image and on its snapshots; others that they have stay."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    pairs = [models.TagResourcesRequestTag(key=key, value=value) for key, value in sorted(tags.items())]
    for kind, ids in (("image", [image.id]), ("snapshot", list(image.snapshots))):
        if ids:
            request = models.TagResourcesRequest(region_id=ecs.region, resource_type=kind, resource_id=ids, tag=pairs)
            ecs.call(ecs.client.tag_resources_with_options, request)


def delete_image(ecs: Ecs, image: str) -> None:
    """Delete an image; one that instances were made from is refused. An image that is not there is no error."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.DeleteImageRequest(region_id=ecs.region, image_id=image, force=False)
    _gone(ecs, ecs.client.delete_image_with_options, request, "InvalidImageId.NotFound")


def delete_snapshot(ecs: Ecs, snapshot: str) -> None:
    """Delete a snapshot; one that disks were made from is refused. A snapshot that is not there is no error."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.DeleteSnapshotRequest(snapshot_id=snapshot, force=False)
    _gone(ecs, ecs.client.delete_snapshot_with_options, request, "InvalidSnapshotId.NotFound")


def unshare(ecs: Ecs, image: str) -> None:
    """Take an image back from all accounts that it is shared with: a shared one cannot be deleted."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    asked = models.DescribeImageSharePermissionRequest(region_id=ecs.region, image_id=image, page_size=100)
    body = ecs.call(ecs.client.describe_image_share_permission_with_options, asked)
    accounts = [str(account.aliyun_id) for account in (body.accounts.account or [] if body.accounts else [])]
    for start in range(0, len(accounts), _ACCOUNTS):
        request = models.ModifyImageSharePermissionRequest(
            region_id=ecs.region, image_id=image, remove_account=accounts[start : start + _ACCOUNTS]
        )
        ecs.call(ecs.client.modify_image_share_permission_with_options, request)


def _image(found: Any) -> Image:
    mappings = (found.disk_device_mappings.disk_device_mapping or []) if found.disk_device_mappings else []
    return Image(
        id=found.image_id,
        status=found.status or "",
        progress=found.progress or "",
        family=found.image_family or "",
        snapshots=tuple(mapping.snapshot_id for mapping in mappings if mapping.snapshot_id),
    )


def _gone(ecs: Ecs, operation: Any, request: Any, not_found: str) -> None:
    try:
        ecs.call(operation, request)
    except ApiRefusedError as refusal:
        if refusal.code != not_found:
            raise
