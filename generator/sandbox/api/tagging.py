"""Tags on whatever can have them, the same for both products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from generator.sandbox.api.call import Body, Call, has_tags, merged_tags
from generator.sandbox.api.errors import ApiError, invalid, missing


def tag(call: Call, kinds: Mapping[str, type], ids: list[str]) -> Body:
    """Add tags to resources; values of tags that are there change."""
    if not call.items("Tag"):
        raise missing("Tag.1.Key")
    for record in _records(call, kinds, ids):
        call.region.put(replace(record, tags=merged_tags(record.tags, call.items("Tag"))))
    return {}


def untag(call: Call, kinds: Mapping[str, type], ids: list[str], keys: list[str], *, every: bool) -> Body:
    """Take tags from resources: those with these keys, or all."""
    if not keys and not every:
        raise missing("TagKey.1")
    for record in _records(call, kinds, ids):
        kept = () if every else tuple(one for one in record.tags if one[0] not in keys)
        call.region.put(replace(record, tags=kept))
    return {}


def listed(call: Call, kinds: Mapping[str, type]) -> Body:
    """Show the tags of resources that are named, or that have tags that are named."""
    kind, ids, wanted = call.text("ResourceType"), call.items("ResourceId"), call.items("Tag")
    if not ids and not wanted:
        raise missing("ResourceId.1")
    found = [
        {"ResourceId": record.id, "ResourceType": kind, "TagKey": key, "TagValue": value}
        for record in call.region.all(_kind(call, kinds))
        if (not ids or record.id in ids) and has_tags(record.tags, wanted)
        for key, value in record.tags
    ]
    start, most = int(call.text("NextToken") or 0), call.number("MaxResults", 50)
    more = len(found) > start + most
    return {"TagResources": found[start : start + most], "NextToken": str(start + most) if more else ""}


def _kind(call: Call, kinds: Mapping[str, type]) -> type[Any]:
    found = kinds.get(call.text("ResourceType"))
    if found is None:
        raise invalid("ResourceType", f"It must be one of {', '.join(kinds)}.", "InvalidResourceType.NotFound")
    return found


def _records(call: Call, kinds: Mapping[str, type], ids: list[str]) -> list[Any]:
    kind = _kind(call, kinds)
    records = [call.region.find(kind, key) for key in dict.fromkeys(ids)]
    if None in records:
        raise ApiError("InvalidResourceId.NotFound", "The specified ResourceIds are not found in our records.", 404)
    return records
