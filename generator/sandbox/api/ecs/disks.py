"""Disks: the system disk of every instance, and data disks. They are kept and shown; what runs sees no data disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from generator.sandbox.api import paging
from generator.sandbox.api.call import (
    RESOURCE_GROUP,
    Body,
    Call,
    action,
    between,
    clamped,
    has_tags,
    json_list,
    matching,
    one_of,
)
from generator.sandbox.api.ecs.instances import shown_tags
from generator.sandbox.api.errors import ApiError, invalid, not_found
from generator.sandbox.region.clock import to_seconds
from generator.sandbox.region.model import Disk, Image, Instance

CATEGORIES = ("cloud_essd", "cloud_efficiency", "cloud_ssd", "cloud_auto")
# Categories that the sandbox's instance types do not have: the documentation gives them to others.
_OTHERS = ("cloud", "cloud_essd_entry")
LEVELS = ("PL0", "PL1", "PL2", "PL3")
# The SDK's documentation of RunInstances, in GiB: the least of each performance level, and the most of all.
_LEAST = {"PL0": 1, "PL1": 20, "PL2": 461, "PL3": 1261}
_LEAST_OF_CATEGORY = {"cloud_auto": 1}
_MOST_OF_CATEGORY = {"cloud_efficiency": 32_768, "cloud_ssd": 32_768}
_MOST_SYSTEM, _MOST_DATA = 2048, 65_536
_MOST_DISKS = 16


def _flag(name: str, value: Any) -> bool:
    # RunInstances has it as text, CreateInstance as a boolean.
    if str(value).lower() not in ("true", "false"):
        raise invalid(name)
    return str(value).lower() == "true"


_NAME = matching(r"(?!https?://)[^\W\d_][\w.:-]{1,127}", "InvalidDiskName.Malformed")
_DESCRIPTION = matching(r"(?!https?://).{2,256}", "InvalidDiskDescription.Malformed")
_LEVEL = one_of(*LEVELS, code="InvalidPerformanceLevel.Malformed")
_BOTH = ("Category", "Size", "PerformanceLevel", "DiskName", "Description")

# What RunInstances and CreateInstance take of disks; RunInstances encrypts system disks too.
TAKES = " ".join(
    (
        *(f"SystemDisk.{name}" for name in _BOTH),
        *(f"DataDisk.{name}" for name in (*_BOTH, "Encrypted", "DeleteWithInstance")),
    )
)
LIMITS = {
    "SystemDisk.Category": one_of(*CATEGORIES, *_OTHERS, code="InvalidSystemDiskCategory.ValueNotSupported"),
    "SystemDisk.Size": between(1, _MOST_SYSTEM, "InvalidSystemDiskSize.ValueNotSupported"),
    "SystemDisk.PerformanceLevel": _LEVEL,
    "SystemDisk.DiskName": _NAME,
    "SystemDisk.Description": _DESCRIPTION,
    "SystemDisk.Encrypted": _flag,
    "DataDisk.Category": one_of(*CATEGORIES, *_OTHERS, code="InvalidDataDiskCategory.ValueNotSupported"),
    "DataDisk.PerformanceLevel": _LEVEL,
    "DataDisk.DiskName": _NAME,
    "DataDisk.Description": _DESCRIPTION,
    "DataDisk.Encrypted": _flag,
}


@dataclass(frozen=True)
class NewDisk:
    """A disk of each instance to be; the first one of several is the system disk."""

    category: str
    level: str
    size: int
    name: str
    description: str
    encrypted: bool
    delete_with_instance: bool


def asked(call: Call, image: Image) -> list[NewDisk]:
    """Return the disks that each instance gets, the system disk first, or raise what cannot be."""
    given = call.parameters.get("SystemDisk", {})
    size = int(given.get("Size", max(40, image.size)))
    if size < image.size:
        raise ApiError("InvalidSystemDiskSize.LessThanImageSize", "The system disk is smaller than the image.", 404)
    system = _new(given, size)
    if size < _least(system):
        raise ApiError("InvalidSystemDiskSize.LessThanMinSize", "The system disk is smaller than it can be.", 404)
    data = call.items("DataDisk")
    if len(data) > _MOST_DISKS:
        raise ApiError("InstanceDiskNumLimitExceed", "The number of specified disk in an instance exceeds.", 403)
    return [system, *(_data(one) for one in data)]


def _data(given: Mapping[str, Any]) -> NewDisk:
    disk = _new(given, given.get("Size", 0))
    most = _MOST_OF_CATEGORY.get(disk.category, _MOST_DATA)
    if disk.level and _LEAST["PL1"] <= disk.size < _least(disk):
        why = "The specified DataDisk.n.PerformanceLevel and DataDisk.n.Size do not match."
        raise ApiError("OperationDenied.PerformanceLevelNotMatch", why, 403)
    if not _least(disk) <= disk.size <= most:
        raise invalid("DataDisk.Size", f"It must be {_least(disk)} to {most}.", "InvalidDataDiskSize.ValueNotSupported")
    return disk


def _new(given: Mapping[str, Any], size: int) -> NewDisk:
    category = given.get("Category", "cloud_essd")
    if category in _OTHERS:
        why = "The instance type does not support this disk category."
        raise ApiError("InvalidInstanceType.NotSupportDiskCategory", why, 403)
    return NewDisk(
        category=category,
        level=level_of(given),
        size=size,
        name=given.get("DiskName", ""),
        description=given.get("Description", ""),
        encrypted=given.get("Encrypted", False),
        delete_with_instance=given.get("DeleteWithInstance", True),
    )


def level_of(given: Mapping[str, Any]) -> str:
    """Return the performance level of a disk that a call asks for, empty for categories that have none."""
    # Without a category instance types of today get a cloud_essd of PL0, one that is asked for is PL1.
    level = given.get("PerformanceLevel", "PL1" if "Category" in given else "PL0")
    return str(level) if given.get("Category", "cloud_essd") == "cloud_essd" else ""


def _least(disk: NewDisk) -> int:
    return _LEAST[disk.level] if disk.level else _LEAST_OF_CATEGORY.get(disk.category, 20)


def fill(call: Call, instance: Instance, disks: Sequence[NewDisk], image: Image) -> None:
    """Give an instance its disks; the system disk has the id that the instance knows."""
    for number, new in enumerate(disks):
        call.region.put(
            Disk(
                id=call.new("d") if number else instance.disk,
                name=new.name,
                description=new.description,
                type="data" if number else "system",
                category=new.category,
                level=new.level,
                size=new.size,
                zone=instance.zone,
                image="" if number else image.id,
                device=f"/dev/xvd{'abcdefghijklmnopq'[number]}",
                instance=instance.id,
                encrypted=new.encrypted,
                delete_with_instance=new.delete_with_instance,
                created=call.now,
                resource_group=instance.resource_group,
                # ECS hands an instance's tags on to its disks.
                tags=instance.tags,
            )
        )


# Which parameter asks for which field.
_PLAIN = {
    "InstanceId": "instance",
    "Category": "category",
    "ZoneId": "zone",
    "DiskName": "name",
    "Encrypted": "encrypted",
    "DeleteWithInstance": "delete_with_instance",
    "PerformanceLevel": "level",
    "ResourceGroupId": "resource_group",
}


@action(
    "ecs",
    "DescribeDisks",
    required="RegionId",
    takes=f"DiskIds {' '.join(_PLAIN)} DiskType Status DiskChargeType Portable Tag PageNumber PageSize MaxResults"
    " NextToken DryRun",
    limits={
        "DiskIds": json_list(100),
        "DiskType": one_of("all", "system", "data"),
        "Status": one_of("All", "In_use", "Available", "Attaching", "Detaching", "Creating", "ReIniting"),
        "ResourceGroupId": RESOURCE_GROUP,
        "PageNumber": between(1, 10**6),
        "PageSize": between(1, 100),
        "MaxResults": clamped(10, 500),
    },
)
def describe_disks(call: Call) -> Body:
    """Show disks, also those that instances left behind."""
    found = call.region.disks_of(call.text("InstanceId")) if call.text("InstanceId") else call.region.all(Disk)
    for field, value in call.given(_PLAIN):
        found = [disk for disk in found if getattr(disk, field) == value]
    found = [disk for disk in found if _is_wanted(call, disk)]
    page, fields = paging.either(call, sorted(found, key=call.region.position))
    return {"Disks": [_shown(call, disk) for disk in page], **fields}


def _is_wanted(call: Call, disk: Disk) -> bool:
    instance = call.region.find(Instance, disk.instance)
    return (
        ("DiskIds" not in call.parameters or disk.id in call.items("DiskIds"))
        and call.text("DiskType", "all") in ("all", disk.type)
        and call.text("Status", "All") in ("All", _status(disk))
        and call.text("DiskChargeType", "PostPaid") == "PostPaid"
        and call.flag("Portable", default=disk.type == "data") == (disk.type == "data")
        and (instance is None or instance.visible <= call.now)
        and has_tags(disk.tags, call.items("Tag"))
    )


def _status(disk: Disk) -> str:
    return "In_use" if disk.instance else "Available"


def _shown(call: Call, disk: Disk) -> dict[str, Any]:
    attached = to_seconds(disk.created) if disk.instance else ""
    attachment = {"InstanceId": disk.instance, "Device": disk.device, "AttachedTime": attached}
    return {
        "DiskId": disk.id,
        "DiskName": disk.name,
        "Description": disk.description,
        "Type": disk.type,
        "Category": disk.category,
        "PerformanceLevel": disk.level,
        "Size": disk.size,
        "Status": _status(disk),
        "RegionId": call.region.name,
        "ZoneId": disk.zone,
        "ImageId": disk.image,
        "InstanceId": disk.instance,
        "Device": disk.device,
        "Attachments": [attachment] if disk.instance else [],
        "AttachedTime": attached,
        "Encrypted": disk.encrypted,
        "DeleteWithInstance": disk.delete_with_instance,
        "DiskChargeType": "PostPaid",
        "Portable": disk.type == "data",
        "CreationTime": to_seconds(disk.created),
        "ExpiredTime": "2999-09-08T16:00Z",
        "ResourceGroupId": disk.resource_group,
        "SerialNumber": disk.id[2:],
        "OperationLocks": [],
        "Tags": shown_tags(disk.tags),
    }


@action("ecs", "DeleteDisk", required="DiskId")
def delete_disk(call: Call) -> Body:
    """Delete a disk that no instance has."""
    disk = call.region.find(Disk, call.text("DiskId"))
    if disk is None:
        raise not_found("InvalidDiskId", "DiskId")
    if disk.instance:
        raise ApiError("IncorrectDiskStatus", "The current disk status does not support this operation.", 403)
    call.region.drop(disk)
    return {}
