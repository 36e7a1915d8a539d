"""Snapshots: what images are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from generator.sandbox.api import lookup, paging
from generator.sandbox.api.call import Body, Call, action, between, has_tags, json_list, one_of
from generator.sandbox.api.ecs.instances import shown_tags
from generator.sandbox.api.errors import ApiError
from generator.sandbox.region.clock import to_seconds
from generator.sandbox.region.model import Image, Snapshot


@action(
    "ecs",
    "DescribeSnapshots",
    required="RegionId",
    takes="SnapshotIds SnapshotName DiskId InstanceId Status Tag PageNumber PageSize MaxResults NextToken DryRun",
    limits={
        "SnapshotIds": json_list(100),
        "Status": one_of("progressing", "accomplished", "failed", "all"),
        "PageNumber": between(1, 10**6),
        "PageSize": between(1, 100),
        "MaxResults": between(1, 100),
    },
)
def describe_snapshots(call: Call) -> Body:
    """Show snapshots."""
    disk = call.text("DiskId")
    if call.text("InstanceId"):
        disk = lookup.instance(call, call.text("InstanceId")).disk
    found = [
        one
        for one in call.region.all(Snapshot)
        if ("SnapshotIds" not in call.parameters or one.id in call.items("SnapshotIds"))
        and call.text("SnapshotName", one.name) == one.name
        and (disk or one.disk) == one.disk
        and call.text("Status", "all") in ("all", one.status)
        and has_tags(one.tags, call.items("Tag"))
    ]
    page, fields = paging.either(call, found)
    return {"Snapshots": [_shown_snapshot(call, one) for one in page], **fields}


def _shown_snapshot(call: Call, one: Snapshot) -> Mapping[str, Any]:
    return {
        "SnapshotId": one.id,
        "SnapshotName": one.name,
        "Description": one.description,
        "Status": one.status,
        "Progress": "100%" if one.status == "accomplished" else "0%",
        "Available": one.status == "accomplished",
        "SourceDiskId": one.disk,
        "SourceDiskSize": str(one.size),
        "SourceDiskType": "system",
        "CreationTime": to_seconds(one.created),
        "Usage": "image" if any(image.snapshot == one.id for image in call.region.all(Image)) else "none",
        "RegionId": call.region.name,
        "Tags": shown_tags(one.tags),
    }


@action("ecs", "DeleteSnapshot", required="SnapshotId", takes="Force")
def delete_snapshot(call: Call) -> Body:
    """Delete a snapshot that no image is of."""
    one = lookup.snapshot(call, call.text("SnapshotId"))
    if any(image.snapshot == one.id for image in call.region.all(Image)):
        raise ApiError("SnapshotCreatedImage", "The snapshot has been used to create images.", 403)
    call.region.drop(one)
    return {}
