"""How resources say what they belong to: tags, where the API can set them, and names and descriptions elsewhere.

RunInstances gives all instances of a call the same tags, so an instance's number is in its name, which ECS forms. It
gives secondary ENIs no tags at all: until they are tagged, their description says whose they are. An EIP says in a
tag which place it was allocated for, so one whose answer was lost is found again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from generator.cloud.records import Tags

FLEET = "multieip:fleet"
RUN = "multieip:run"
PLACE = "multieip:place"
ENI = "multieip:eni"
# What an instance was launched with besides image and type, as a digest.
CONFIG = "multieip:config"
# Which of two instances of one number it is while a rollout replaces it; both have the same name.
ROLE = "multieip:role"
NEW, CURRENT, OLD = "new", "current", "old"

_PLACE = re.compile(r"([0-9]{1,5})/([0-9]{1,3})/([0-9]{1,3})")


@dataclass(frozen=True, order=True)
class Place:
    """Where an EIP belongs: the private IP number `ip` of ENI number `eni` (both from 0) of instance `slot`."""

    slot: int
    eni: int
    ip: int

    def __str__(self) -> str:
        return f"{self.slot}/{self.eni}/{self.ip}"


def place_of(tags: Tags) -> Place | None:
    """Return the place that an EIP was allocated for, by its tags."""
    found = _PLACE.fullmatch(dict(tags).get(PLACE, ""))
    return Place(*map(int, found.groups())) if found else None


def slot_of(name: str, prefix: str) -> int | None:
    """Return the number of the instance of that name, if it is of the fleet whose instances begin with `prefix`."""
    number = name.removeprefix(f"{prefix}-")
    return int(number) if number != name and re.fullmatch(r"[0-9]{3,5}", number) else None


def numbered(prefix: str, first: int, amount: int) -> str:
    """Return what has ECS name `amount` instances from `first` on: `web-[7,3]` is web-007, web-008, …

    https://help.aliyun.com/document_detail/196048.html (sequential names); one instance is named outright.
    """
    return f"{prefix}-{first:03}" if amount == 1 else f"{prefix}-[{first},{max(3, len(str(first)))}]"


def role_of(tags: Tags) -> str:
    """Return whether an instance is new, current or old in a rollout; one that no rollout made is current."""
    return dict(tags).get(ROLE, CURRENT)


_OWNED = "multieip fleet "


def owned(fleet: str) -> str:
    """Return the description of the ENIs that are made for a fleet."""
    return f"{_OWNED}{fleet}"


def owner_of(description: str) -> str:
    """Return the fleet that an ENI was made for, by its description; empty when it was made for none."""
    return description.removeprefix(_OWNED) if description.startswith(_OWNED) else ""


def is_owned(description: str, fleet: str) -> bool:
    """Say whether an ENI's description says that it is the fleet's."""
    return owner_of(description) == fleet


_MADE = "multieip"


def made(description: str) -> str:
    """Return the description of a rule that is made for a fleet: rules have no tags."""
    return f"{_MADE}: {description}" if description else _MADE


def is_made(description: str) -> bool:
    """Say whether a rule's description says that it was made for a fleet, and not by a person."""
    return description == _MADE or description.startswith(f"{_MADE}: ")


def ours(fleet: str, run: str, more: Mapping[str, str]) -> Tags:
    """Return the tags of what a run makes for a fleet: the user's first."""
    return (*sorted(more.items()), (FLEET, fleet), (RUN, run))


def token(*parts: object) -> str:
    """Return the client token of a call: the same parts give the same, 64 characters at most."""
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()
