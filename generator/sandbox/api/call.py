"""One call: what an action takes, the check of its parameters, and what its handler is given."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from generator.sandbox.api import wire
from generator.sandbox.api.errors import ApiError, invalid, missing
from generator.sandbox.api.schema import Node, request_of
from generator.sandbox.region.account import Account
from generator.sandbox.region.behaviour import Delays
from generator.sandbox.region.model import Steps, Tags
from generator.sandbox.region.region import Region

Body = dict[str, Any]
# Checks a value and returns it, parsed where it travels packed.
Limit = Callable[[str, Any], Any]


class _Tagged(Protocol):
    @property
    def tags(self) -> Tags: ...


R = TypeVar("R", bound=_Tagged)
_TOKEN = re.compile(r"[\x21-\x7e]{1,64}")


@dataclass(frozen=True)
class Call:
    """A call whose parameters are checked. `region` is the one it names, else the account's home."""

    account: Account
    region: Region
    parameters: Mapping[str, Any]

    @property
    def now(self) -> float:
        """The sandbox's time."""
        return self.account.clock.now()

    @property
    def delays(self) -> Delays:
        """How long transitions take."""
        return self.account.behaviour.delays

    def steps(self, *steps: tuple[float, str]) -> Steps:
        """Return what will become of a record: each delay counted from the step before."""
        moment, found = self.now, []
        for delay, status in steps:
            moment += delay
            found.append((moment, status))
        return tuple(found)

    def new(self, prefix: str) -> str:
        """Return a new id."""
        return self.account.ids.new(prefix)

    def text(self, name: str, default: str = "") -> str:
        """Return a text parameter."""
        return str(self.parameters.get(name, default))

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a parameter that is true or false."""
        return bool(self.parameters.get(name, default))

    def number(self, name: str, default: int) -> int:
        """Return an integer parameter."""
        return int(self.parameters.get(name, default))

    def items(self, name: str) -> list[Any]:
        """Return a list parameter, empty when it was not given."""
        return list(self.parameters.get(name, ()))

    def given(self, fields: Mapping[str, str]) -> list[tuple[str, Any]]:
        """Return the fields of records that parameters ask for, by what was given: (field, value)."""
        return [(field, self.parameters[name]) for name, field in fields.items() if name in self.parameters]

    def tags(self) -> Tags:
        """Return the tags of `Tag.N`."""
        return merged_tags((), self.items("Tag"))


@dataclass(frozen=True)
class Action:
    """What the sandbox knows of one action. `takes` and `ignores` are paths of parameters, see `wire.parse`."""

    product: str
    name: str
    handler: Callable[[Call], Body]
    takes: frozenset[str]
    ignores: frozenset[str]
    required: tuple[str, ...]
    limits: Mapping[str, Limit] = field(default_factory=dict)

    def parse(self, flat: Mapping[str, str]) -> dict[str, Any]:
        """Return the parameters of a call, or raise what the cloud says of the first that is wrong."""
        tree = wire.parse(self.schema, flat, self.takes, self.ignores)
        for name in self.required:
            if tree.get(name) in (None, "", []):
                raise missing(name if not isinstance(tree.get(name), list) else f"{name}.1")
        for path, limit in self.limits.items():
            _apply(tree, path.split("."), limit, path)
        return tree

    @property
    def schema(self) -> Node:
        """What the SDK knows of its parameters."""
        schema = request_of(self.product, self.name)
        if schema is None:
            raise LookupError(f"the SDK has no {self.product} {self.name}")
        return schema


ACTIONS: dict[tuple[str, str], Action] = {}


def action(
    product: str,
    name: str,
    *,
    required: str = "",
    takes: str = "",
    ignores: str = "",
    limits: Mapping[str, Limit] | None = None,
) -> Callable[[Callable[[Call], Body]], Callable[[Call], Body]]:
    """Register a handler; names of parameters are separated by spaces. RegionId is always taken."""

    def register(handler: Callable[[Call], Body]) -> Callable[[Call], Body]:
        known = frozenset(f"RegionId {required} {takes}".split())
        checks = {"ClientToken": _token} | dict(limits or {})
        ACTIONS[product, name] = Action(
            product, name, handler, known, frozenset(ignores.split()), tuple(required.split()), checks
        )
        return handler

    return register


def _apply(tree: Any, path: list[str], limit: Limit, shown: str) -> None:
    head, *rest = path
    if not isinstance(tree, dict) or head not in tree:
        return
    if not rest:
        tree[head] = limit(shown, tree[head])
        return
    for below in tree[head] if isinstance(tree[head], list) else [tree[head]]:
        _apply(below, rest, limit, shown)


def _token(name: str, value: Any) -> Any:
    if not _TOKEN.fullmatch(value):
        raise invalid(name)
    return value


# Limits


def between(least: float, most: float, code: str = "InvalidParameter", status: int = 400) -> Limit:
    """Accept numbers from `least` to `most`, also those that travel as text."""

    def check(name: str, value: Any) -> Any:
        number = value if isinstance(value, int | float) else _number(name, value, code)
        if not least <= number <= most:
            raise invalid(name, f"It must be between {least} and {most}.", code, status)
        return value

    return check


def clamped(least: int, most: int) -> Limit:
    """Take what is outside of `least` to `most` for the nearer of both, as the cloud does with sizes of some pages."""

    def check(name: str, value: Any) -> Any:
        return min(max(value, least), most)

    return check


def _number(name: str, value: str, code: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise invalid(name, code=code)
    return int(value)


def one_of(*values: str, code: str = "InvalidParameter") -> Limit:
    """Accept these values."""

    def check(name: str, value: Any) -> Any:
        if value not in values:
            raise invalid(name, f"It must be one of {', '.join(values)}.", code)
        return value

    return check


def matching(pattern: str, code: str = "InvalidParameter", status: int = 400) -> Limit:
    """Accept text that a pattern matches as a whole."""
    compiled = re.compile(pattern)

    def check(name: str, value: Any) -> Any:
        if not compiled.fullmatch(value):
            raise invalid(name, code=code, status=status)
        return value

    return check


def at_most(count: int, code: str = "InvalidParameter") -> Limit:
    """Accept lists of up to `count` items, none of them empty."""

    def check(name: str, value: Any) -> Any:
        if len(value) > count or not all(value):
            raise invalid(name, f"It takes up to {count} values.", code)
        return value

    return check


def json_list(count: int, code: str = "InvalidParameter") -> Limit:
    """Accept a JSON array of up to `count` texts, and return it as a list."""

    def check(name: str, value: Any) -> Any:
        try:
            parsed = json.loads(value)
        except ValueError:
            raise invalid(name, "It must be a JSON array.", code) from None
        if not isinstance(parsed, list) or not all(isinstance(item, str) for item in parsed) or len(parsed) > count:
            raise invalid(name, f"It must be a JSON array of up to {count} texts.", code)
        return parsed

    return check


def comma_list(count: int, code: str = "InvalidParameter") -> Limit:
    """Accept up to `count` texts between commas, and return them as a list."""

    def check(name: str, value: Any) -> Any:
        # Empty is no condition, as for every filter that clients send without a value.
        parts = [part for part in value.split(",") if part]
        if len(parts) > count:
            raise invalid(name, f"It takes up to {count} values.", code)
        return parts

    return check


# https://www.alibabacloud.com/help/en/ecs/user-guide/tag-overview: 20 tags a resource, 128 characters each.
MOST_TAGS = 20
TAGS = at_most(MOST_TAGS, "NumberExceed.Tags")
# The sandbox has no resource groups, but takes whatever could be one's id, and shows it.
RESOURCE_GROUP = matching(r"rg-[a-z0-9]{1,60}", "InvalidResourceGroup.NotFound", 404)
_TAG = re.compile(r"(?!aliyun|acs:)(?!.*https?://).{1,128}", re.DOTALL)


def merged_tags(present: Tags, more: Iterable[Mapping[str, str]]) -> Tags:
    """Return tags with more ones, or raise what the cloud says of bad keys and of too many."""
    tags, given = dict(present), set()
    for tag in more:
        key, value = tag.get("Key", ""), tag.get("Value", "")
        if key in given:
            raise ApiError("Duplicate.TagKey", "The Tag.N.Key contain duplicate key.")
        given.add(key)
        if not _TAG.fullmatch(key):
            raise invalid("Tag.n.Key", code="InvalidTagKey.Malformed")
        if len(value) > 128 or "http://" in value or "https://" in value:
            raise invalid("Tag.n.Value", code="InvalidTagValue.Malformed")
        tags[key] = value
    if len(tags) > MOST_TAGS:
        raise ApiError("QuotaExceed.TagsPerResource", "The maximum number of tags for each resource is exceeded.", 403)
    return tuple(tags.items())


def tagged(records: list[R], wanted: Sequence[Mapping[str, str]]) -> list[R]:
    """Return the resources of a large fleet that have all these tags: one tag after the other is looked for in all."""
    for tag in wanted:
        if value := tag.get("Value"):
            pair = (tag.get("Key", ""), value)
            records = [one for one in records if pair in one.tags]
        else:
            records = [one for one in records if has_tags(one.tags, [tag])]
    return records


def has_tags(tags: Tags, wanted: Sequence[Mapping[str, str]]) -> bool:
    """Return whether a resource has all these tags; a tag without a value stands for any."""
    for tag in wanted:
        key, value = tag.get("Key", ""), tag.get("Value")
        # A resource has a handful of tags: looking through them is faster than a dictionary of them.
        if not ((key, value) in tags if value else any(held == key for held, _ in tags)):
            return False
    return True
