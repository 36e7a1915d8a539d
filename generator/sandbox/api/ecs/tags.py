"""Tags on what ECS makes, by today's calls and by those that Packer 1.6 uses."""

from __future__ import annotations

from generator.sandbox.api import tagging
from generator.sandbox.api.call import TAGS, Body, Call, action, at_most, matching
from generator.sandbox.region.model import Disk, Eni, Image, Instance, KeyPair, SecurityGroup, Snapshot

KINDS: dict[str, type] = {
    "instance": Instance,
    "eni": Eni,
    "disk": Disk,
    "image": Image,
    "snapshot": Snapshot,
    "securitygroup": SecurityGroup,
    "keypair": KeyPair,
}
_MANY = {"ResourceId": at_most(50), "Tag": TAGS, "TagKey": at_most(20), "NextToken": matching(r"[0-9]{0,9}")}


@action("ecs", "TagResources", required="RegionId ResourceType ResourceId Tag", limits=_MANY)
def tag_resources(call: Call) -> Body:
    """Add tags to up to 50 resources."""
    return tagging.tag(call, KINDS, call.items("ResourceId"))


@action("ecs", "UntagResources", required="RegionId ResourceType ResourceId", takes="TagKey All", limits=_MANY)
def untag_resources(call: Call) -> Body:
    """Take tags from up to 50 resources."""
    return tagging.untag(call, KINDS, call.items("ResourceId"), call.items("TagKey"), every=call.flag("All"))


@action("ecs", "ListTagResources", required="RegionId ResourceType", takes="ResourceId Tag NextToken", limits=_MANY)
def list_tag_resources(call: Call) -> Body:
    """Show tags of resources."""
    return tagging.listed(call, KINDS)


@action("ecs", "AddTags", required="RegionId ResourceType ResourceId Tag", limits={"Tag": TAGS})
def add_tags(call: Call) -> Body:
    """Add tags to one resource."""
    return tagging.tag(call, KINDS, [call.text("ResourceId")])


@action("ecs", "RemoveTags", required="RegionId ResourceType ResourceId", takes="Tag", limits={"Tag": TAGS})
def remove_tags(call: Call) -> Body:
    """Take tags from one resource, all of them if none is named."""
    keys = [tag.get("Key", "") for tag in call.items("Tag")]
    return tagging.untag(call, KINDS, [call.text("ResourceId")], keys, every=not keys)
