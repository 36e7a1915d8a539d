"""Tags on what VPC makes."""

from __future__ import annotations

from generator.sandbox.api import tagging
from generator.sandbox.api.call import TAGS, Body, Call, action, at_most, between, matching
from generator.sandbox.region.model import BandwidthPackage, Eip, Vpc, VSwitch

_KINDS: dict[str, type] = {"EIP": Eip, "VPC": Vpc, "VSWITCH": VSwitch, "COMMONBANDWIDTHPACKAGE": BandwidthPackage}
_MANY = {"ResourceId": at_most(20), "Tag": TAGS, "TagKey": at_most(20), "MaxResults": between(1, 50)}


@action("vpc", "TagResources", required="RegionId ResourceType ResourceId Tag", limits=_MANY)
def tag_resources(call: Call) -> Body:
    """Add tags to up to 20 resources."""
    return tagging.tag(call, _KINDS, call.items("ResourceId"))


@action("vpc", "UnTagResources", required="RegionId ResourceType ResourceId", takes="TagKey All", limits=_MANY)
def untag_resources(call: Call) -> Body:
    """Take tags from up to 20 resources."""
    return tagging.untag(call, _KINDS, call.items("ResourceId"), call.items("TagKey"), every=call.flag("All"))


@action(
    "vpc",
    "ListTagResources",
    required="RegionId ResourceType",
    takes="ResourceId Tag NextToken MaxResults",
    limits={**_MANY, "NextToken": matching(r"[0-9]{0,9}")},
)
def list_tag_resources(call: Call) -> Body:
    """Show tags of resources."""
    return tagging.listed(call, _KINDS)
