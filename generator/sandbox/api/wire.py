"""Parameters as they travel (`NetworkInterface.1.VSwitchId=vsw-…`) to a tree, and answers to the API's shape."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from generator.sandbox.api.errors import invalid, not_emulated
from generator.sandbox.api.schema import PLAIN, Node

# What belongs to the protocol and not to a call, besides the owners that every call takes and nobody needs.
COMMON = frozenset(
    (
        *("Action", "Version", "Format", "AccessKeyId", "SecurityToken", "Timestamp"),
        *("Signature", "SignatureMethod", "SignatureType", "SignatureVersion", "SignatureNonce"),
        *("OwnerAccount", "OwnerId", "ResourceOwnerAccount", "ResourceOwnerId"),
    )
)
_INDEX = re.compile(r"\.([0-9]+)(?=\.|$)")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_FLOAT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
_TEXT = Node("str", {})
_MOST_ITEMS = 1000

Tree = dict[str, Any]


def parse(schema: Node, flat: Mapping[str, str], takes: Collection[str], ignores: Collection[str]) -> Tree:
    """Return a call's parameters by name, with lists as lists and values of the types that the SDK's model says.

    `takes` and `ignores` hold paths without indexes (`NetworkInterface.VSwitchId`); a path stands for all below it.
    A name that the SDK does not know is refused as invalid, one that only the sandbox does not know as not emulated:
    to take it without effect would have a client believe what is not so.
    """
    tree: Tree = {}
    for key, text in flat.items():
        if key in COMMON:
            continue
        path = _INDEX.sub("", key)
        node = _at(schema, key)
        if node is None:
            if path != "RegionId":
                raise invalid(key)
            # SDKs of old send it with every call.
            node = _TEXT
        if _covers(ignores, path):
            continue
        if not _covers(takes, path):
            raise not_emulated(f"the parameter {path}")
        _insert(tree, key, _value(node, key, text))
    return {name: _as_lists(value) for name, value in tree.items()}


def _covers(paths: Collection[str], path: str) -> bool:
    if path in paths:
        return True
    while "." in path:
        path = path.rpartition(".")[0]
        if path in paths:
            return True
    return False


def _at(schema: Node, key: str) -> Node | None:
    node: Node | None = schema
    for part in key.split("."):
        if node is None:
            return None
        if part.isdecimal():
            if not node.kind.lower().startswith("list") or not 1 <= int(part) <= _MOST_ITEMS:
                return None
            node = Node("object", node.children) if node.kind == "list" else Node(node.kind[5:-1], {})
        else:
            node = node.children.get(part) if node.kind == "object" else None
    return node


def _value(node: Node, key: str, text: str) -> Any:
    if node.kind == "str":
        return text
    # The Python SDK writes True and False, others true and false.
    if node.kind == "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if node.kind == "int" and _INTEGER.fullmatch(text):
        return int(text)
    if node.kind == "float" and _FLOAT.fullmatch(text):
        return float(text)
    raise invalid(key)


def _insert(tree: Tree, key: str, value: Any) -> None:
    *above, last = key.split(".")
    for part in above:
        tree = tree.setdefault(part, {})
    tree[last] = value


def _as_lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if all(key.isdecimal() for key in value):
        return [_as_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _as_lists(below) for key, below in value.items()}


def shape(schema: Node, value: Any, where: str = "") -> Any:
    """Return an answer in the API's shape: lists in their wrappers, absent values left out.

    Raises `AssertionError` for what the SDK's model of the answer does not have, which is a mistake in this package.
    """
    kind = schema.kind
    if kind == "object":
        if type(value) is list:
            wrapper = schema.wrapped
            if wrapper is None:
                raise AssertionError(f"{where} is no list in the SDK's model")
            return {wrapper: shape(schema.children[wrapper], value, where)}
        return _object(schema, value, where)
    if kind == "list":
        return [_object(schema, one, where) for one in value]
    if type(value) not in PLAIN[kind]:
        raise AssertionError(f"{where} is {value!r} and not {kind}")
    return value


def _object(schema: Node, value: Mapping[str, Any], where: str) -> dict[str, Any]:
    plain, made = schema.plain, {}
    for key, below in value.items():
        # Most values are plain, and most of an answer's time would go into calls for them.
        if type(below) in plain.get(key, ()):
            made[key] = below
        elif below is not None:
            child = schema.children.get(key)
            if child is None:
                raise AssertionError(f"the SDK's model of {where or 'the answer'} has no {key}")
            made[key] = shape(child, below, key)
    return made
