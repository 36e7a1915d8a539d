"""Images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from generator.sandbox.api import lookup, paging
from generator.sandbox.api.call import (
    TAGS,
    Body,
    Call,
    action,
    at_most,
    between,
    comma_list,
    has_tags,
    matching,
    one_of,
)
from generator.sandbox.api.ecs.instances import shown_tags
from generator.sandbox.api.errors import ApiError, invalid, missing, not_found
from generator.sandbox.region.clock import to_seconds
from generator.sandbox.region.model import Image, Instance, Snapshot, Steps
from generator.sandbox.region.plane import ImageCopied, ImageDeleted
from generator.sandbox.region.region import Region

_NAME = matching(r"(?!aliyun|acs:)(?!.*https?://)[^\W\d_][\w.:-]{1,127}", "InvalidImageName.Malformed")
_FAMILY = matching(r"(?!aliyun|acs:)(?!.*https?://)[^\W\d_][\w.:-]{1,127}", "InvalidImageFamily.Malformed")
_DESCRIPTION = matching(r"(?!https?://).{2,256}", "InvalidDescription.Malformed")
_STATUSES = ("Creating", "Waiting", "Available", "UnAvailable", "CreateFailed", "Deprecated")
# ECS looks at the first ten only, and says nothing of the rest.
_ACCOUNTS = 10
# https://www.alibabacloud.com/help/en/ecs/user-guide/overview-of-image-families: of one family, and of families.
_PER_FAMILY = _FAMILIES = 100


@action(
    "ecs",
    "DescribeImages",
    required="RegionId",
    takes="ImageId ImageName ImageFamily ImageOwnerAlias Status SnapshotId Architecture OSType Tag PageNumber PageSize"
    " DryRun IsPublic",
    # The sandbox's images suit all its types but by architecture, and do not expire.
    ignores="ShowExpired Usage ActionType IsSupportIoOptimized IsSupportCloudinit InstanceType ResourceGroupId",
    limits={
        "ImageId": comma_list(100),
        "ImageOwnerAlias": one_of("system", "self", "others", "marketplace", "default", ""),
        "PageNumber": between(1, 10**6),
        "PageSize": between(1, 100),
    },
)
def describe_images(call: Call) -> Body:
    """Show images: without a status those that are Available, newest first."""
    found = [one for one in reversed(call.region.all(Image)) if _is_wanted(call, one)]
    page, fields = paging.by_number(call, found)
    return {"Images": [_shown(call, one) for one in page], "RegionId": call.region.name, **fields}


def _is_wanted(call: Call, one: Image) -> bool:
    statuses = (call.text("Status") or "Available").split(",")
    return (
        (call.text("Status") == "ALL" or one.status in statuses)
        and one.id in (call.items("ImageId") or [one.id])
        and (call.text("ImageName") or one.name) == one.name
        and (call.text("ImageFamily") or one.family) == one.family
        and (call.text("ImageOwnerAlias") or one.owner) == one.owner
        and (call.text("SnapshotId") or one.snapshot) == one.snapshot
        and (call.text("Architecture") or one.architecture) == one.architecture
        and (call.text("OSType") or "linux") == "linux"
        and call.flag("IsPublic", default=one.owner == "system") == (one.owner == "system")
        and has_tags(one.tags, call.items("Tag"))
    )


def _shown(call: Call, one: Image, *, of_family: bool = False) -> dict[str, Any]:
    disk = {"Device": "/dev/xvda", "Size": str(one.size), "SnapshotId": one.snapshot, "Format": ""}
    progress = "100%" if one.status in ("Available", "Deprecated") else "0%"
    shown = {
        "ImageId": one.id,
        "ImageName": one.name,
        "ImageFamily": one.family,
        "ImageOwnerAlias": one.owner,
        "ImageVersion": one.version,
        "Description": one.description,
        "Status": one.status,
        "Progress": progress,
        "Size": one.size,
        "OSName": one.os_name,
        "OSType": "linux",
        "Platform": one.platform,
        "Architecture": one.architecture,
        "Usage": "instance" if any(i.image == one.id for i in call.region.all(Instance)) else "none",
        "IsCopied": one.source.startswith("m-"),
        "IsSelfShared": "true" if one.shared else "",
        "IsSubscribed": False,
        "IsSupportCloudinit": True,
        "IsSupportIoOptimized": True,
        "ProductCode": "",
        "CreationTime": to_seconds(one.created),
        "DiskDeviceMappings": [disk if of_family else {**disk, "Type": "system", "Progress": progress}],
        "Tags": shown_tags(one.tags),
    }
    if not of_family:
        shown |= {"BootMode": one.boot_mode, "IsPublic": one.owner == "system", "Features": {"ImdsSupport": one.imds}}
    return shown


@action("ecs", "DescribeImageFromFamily", required="RegionId ImageFamily")
def describe_image_from_family(call: Call) -> Body:
    """Show the image that a family means now; nothing if it has none."""
    found = newest_of_family(call, call.text("ImageFamily"))
    return {"Image": _shown(call, found, of_family=True)} if found else {}


def newest_of_family(call: Call, family: str) -> Image | None:
    """Return the newest Available image of a family."""
    images = [one for one in call.region.all(Image) if one.family == family and one.status == "Available"]
    return images[-1] if images else None


@action(
    "ecs",
    "CreateImage",
    required="RegionId",
    takes="InstanceId SnapshotId ImageName ImageFamily ImageVersion Description Platform Architecture BootMode"
    " Features.ImdsSupport Tag DryRun ClientToken",
    ignores="ResourceGroupId",
    limits={
        "ImageName": _NAME,
        "ImageFamily": _FAMILY,
        "Description": _DESCRIPTION,
        "ImageVersion": matching(r".{1,40}"),
        "Architecture": one_of("i386", "x86_64", "arm64"),
        "BootMode": one_of("BIOS", "UEFI", "UEFI-Preferred"),
        "Features.ImdsSupport": one_of("v1", "v2"),
        "Tag": TAGS,
    },
)
def create_image(call: Call) -> Body:
    """Make an image of an instance's system disk, or of a snapshot of one."""
    key = call.new("m")
    name = call.text("ImageName", key)
    _check_names(call.region, name, call.text("ImageFamily"))
    instance = lookup.instance(call, call.text("InstanceId")) if call.text("InstanceId") else None
    if instance is None and not call.text("SnapshotId"):
        raise missing("InstanceId")
    steps = call.steps((call.delays.imaging, "Available"))
    if instance is not None:
        if instance.status not in ("Running", "Stopped") or instance.steps:
            raise ApiError("IncorrectInstanceStatus", "The current status of the resource does not support it.", 403)
        snapshot = _snapshot_of(call, instance, key)
    else:
        snapshot = lookup.snapshot(call, call.text("SnapshotId"))
        if snapshot.status != "accomplished":
            raise ApiError("IncorrectSnapshotStatus", "The snapshot is not accomplished yet.", 403)
    origin = call.region.find(Image, instance.image) if instance else None
    image = Image(
        id=key,
        name=name,
        description=call.text("Description"),
        family=call.text("ImageFamily"),
        owner="self",
        os_name=origin.os_name if origin else "Others Linux",
        platform=call.text("Platform", origin.platform if origin else "Others Linux"),
        architecture=call.text("Architecture", origin.architecture if origin else "x86_64"),
        boot_mode=call.text("BootMode", origin.boot_mode if origin else "BIOS"),
        size=snapshot.size,
        snapshot=snapshot.id,
        status="Creating",
        created=call.now,
        version=call.text("ImageVersion"),
        imds=call.parameters.get("Features", {}).get("ImdsSupport", "v1"),
        source=instance.id if instance else snapshot.id,
        steps=steps,
        tags=call.tags(),
    )
    if instance and not call.flag("DryRun") and call.account.plane.capture(call.region.name, image, instance):
        image, snapshot = replace(image, steps=()), replace(snapshot, steps=())
    call.region.put(snapshot)
    call.region.put(image)
    return {"ImageId": key}


def _snapshot_of(call: Call, instance: Instance, image: str) -> Snapshot:
    return Snapshot(
        id=call.new("s"),
        name=f"SnapshotForImage-{image}",
        description="",
        disk=instance.disk,
        size=instance.disk_size,
        status="progressing",
        created=call.now,
        steps=call.steps((call.delays.imaging, "accomplished")),
    )


def _check_names(region: Region, name: str, family: str) -> None:
    mine = [one for one in region.all(Image) if one.owner == "self"]
    if any(one.name == name for one in mine):
        raise ApiError("InvalidImageName.Duplicated", "The specified Image name has already exist in this region.")
    families = {one.family for one in mine if one.family}
    if family and family not in families and len(families) >= _FAMILIES:
        raise ApiError("QuotaExceed.ImageFamily", "The maximum number of image families is exceeded.", 403)
    if family and sum(one.family == family for one in mine) >= _PER_FAMILY:
        raise ApiError("QuotaExceed.ImageFamily", "The maximum number of images of the family is exceeded.", 403)


@action(
    "ecs",
    "CopyImage",
    required="RegionId ImageId",
    takes="DestinationRegionId DestinationImageName DestinationDescription Tag DryRun ClientToken",
    ignores="ResourceGroupId",
    limits={"DestinationImageName": _NAME, "DestinationDescription": _DESCRIPTION, "Tag": TAGS},
)
def copy_image(call: Call) -> Body:
    """Copy an image of one's own to another region; family and tags of the original stay behind."""
    image = _own(call)
    if image.status != "Available":
        raise ApiError("IncorrectImageStatus", "The current status of the image does not support this operation.", 403)
    where = call.account.regions.get(call.text("DestinationRegionId"))
    if where is None:
        raise not_found("InvalidDestinationRegionId", "DestinationRegionId")
    if where is call.region:
        raise invalid("DestinationRegionId", "Only encrypted copies stay in the region.")
    key = call.new("m")
    name = call.text("DestinationImageName", key)
    _check_names(where, name, "")
    copying: Steps = call.steps((call.delays.copying, "Available"))
    snapshot = call.region.get(Snapshot, image.snapshot)
    snapshot = replace(snapshot, id=call.new("s"), name=f"SnapshotForImage-{key}", status="progressing", tags=())
    where.put(replace(snapshot, created=call.now, steps=((copying[0][0], "accomplished"),)))
    where.put(
        replace(
            image,
            id=key,
            name=name,
            description=call.text("DestinationDescription"),
            family="",
            snapshot=snapshot.id,
            status="Creating",
            created=call.now,
            source=image.id,
            shared=(),
            steps=copying,
            tags=call.tags(),
        )
    )
    where.events.append(ImageCopied(image.id, key))
    return {"ImageId": key}


def _own(call: Call) -> Image:
    image = lookup.image(call, call.text("ImageId"))
    if image.owner != "self":
        raise ApiError("InvalidImageType.NotSupported", "The specified image is not a custom image.", 403)
    return image


@action(
    "ecs",
    "ModifyImageSharePermission",
    required="RegionId ImageId",
    takes="AddAccount RemoveAccount DryRun",
    limits={"AddAccount": at_most(1000), "RemoveAccount": at_most(1000)},
)
def modify_image_share_permission(call: Call) -> Body:
    """Share an image with accounts, or take it back; of each list the first ten count."""
    image = _own(call)
    if image.status == "Deprecated" and call.items("AddAccount"):
        raise ApiError("IncorrectImageStatus", "A deprecated image cannot be shared.", 403)
    gone = set(call.items("RemoveAccount")[:_ACCOUNTS])
    kept = [one for one in image.shared if one not in gone]
    call.region.put(replace(image, shared=tuple(dict.fromkeys((*kept, *call.items("AddAccount")[:_ACCOUNTS])))))
    return {}


@action(
    "ecs",
    "DescribeImageSharePermission",
    required="RegionId ImageId",
    takes="PageNumber PageSize",
    limits={"PageNumber": between(1, 10**6), "PageSize": between(1, 100)},
)
def describe_image_share_permission(call: Call) -> Body:
    """Show with which accounts an image is shared."""
    image = _own(call)
    page, fields = paging.by_number(call, image.shared)
    accounts = [{"AliyunId": account} for account in page]
    return {"ImageId": image.id, "RegionId": call.region.name, "Accounts": accounts, **fields}


@action(
    "ecs",
    "ModifyImageAttribute",
    required="RegionId ImageId",
    takes="ImageName ImageFamily Description Status BootMode Features.ImdsSupport DryRun",
    limits={
        "ImageName": _NAME,
        "Description": _DESCRIPTION,
        "Status": one_of("Deprecated", "Available"),
        "BootMode": one_of("BIOS", "UEFI", "UEFI-Preferred"),
        "Features.ImdsSupport": one_of("v1", "v2"),
    },
)
def modify_image_attribute(call: Call) -> Body:
    """Change an image's name, family (empty: none), description, boot mode, or whether it is deprecated."""
    image = _own(call)
    if image.status not in ("Available", "Deprecated"):
        raise ApiError("IncorrectImageStatus", "The current status of the image does not support this operation.", 403)
    if call.text("Status") == "Deprecated" and image.shared:
        raise ApiError("InvalidOperation.ImageShared", "A shared image cannot be deprecated.", 403)
    imds = call.parameters.get("Features", {}).get("ImdsSupport", image.imds)
    if image.imds == "v2" and imds == "v1":
        raise invalid("Features.ImdsSupport", "It cannot be changed from v2 to v1.")
    family, name = call.text("ImageFamily", image.family), call.text("ImageName", image.name)
    if family and family != image.family:
        _FAMILY("ImageFamily", family)
    others = [one for one in call.region.all(Image) if one.owner == "self" and one.id != image.id]
    if name in [one.name for one in others]:
        raise ApiError("InvalidImageName.Duplicated", "The specified Image name has already exist in this region.")
    call.region.put(
        replace(
            image,
            name=name,
            family=family,
            description=call.text("Description", image.description),
            status=call.text("Status", image.status),
            boot_mode=call.text("BootMode", image.boot_mode),
            imds=imds,
        )
    )
    return {}


@action("ecs", "DeleteImage", required="RegionId ImageId", takes="Force DryRun")
def delete_image(call: Call) -> Body:
    """Delete an image of one's own: not a shared one, and one that instances were made from only with Force."""
    image = _own(call)
    if image.shared:
        raise ApiError("ImageUseShared", "The specified image has been shared to others.", 403)
    if not call.flag("Force") and any(one.image == image.id for one in call.region.all(Instance)):
        raise ApiError("ImageUsingByInstance", "The specified image has been used to create instances.", 403)
    if image.status == "Creating" and not call.flag("Force"):
        raise ApiError("ImageIsCreating", "The specified image is creating.", 403)
    call.region.drop(image)
    call.region.events.append(ImageDeleted(image))
    return {}
