"""What the answers of both products have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Tags = tuple[tuple[str, str], ...]


def wrapped(holder: Any, name: str) -> list[Any]:
    """Return a list that the API wraps in an object of its own, empty when either is missing."""
    return list(getattr(holder, name) or []) if holder is not None else []


def tags_of(shown: Iterable[Any]) -> Tags:
    """Return tags, sorted by key. ECS shows TagKey and TagValue, VPC Key and Value."""
    pairs = ((_either(one, "tag_key", "key"), _either(one, "tag_value", "value")) for one in shown)
    return tuple(sorted(pairs))


def _either(one: Any, first: str, second: str) -> str:
    return str(getattr(one, first, None) or getattr(one, second, None) or "")
