"""What the official SDK knows of a call's parameters and answer, learned from its models.

The models are generated code without a description of themselves, but each has a `from_map` that asks a mapping for
every key it knows. A mapping that writes down what it is asked for thus learns names and nesting, and the annotations
of the model's constructor say the types.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

# The version is what tells products apart on the wire.
PRODUCTS = {"2014-05-26": "ecs", "2016-04-28": "vpc"}
_MODULES = {"ecs": "alibabacloud_ecs20140526.models", "vpc": "alibabacloud_vpc20160428.models"}
# What the annotations of the models call plain values, and what is taken for them.
PLAIN: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
    "List[str]": (list,),
    "List[int]": (list,),
    "List[float]": (list,),
}


@dataclass(frozen=True, slots=True)
class Node:
    """One value: `kind` is object, list (of objects), or a type of the annotations as `str` or `List[str]`."""

    kind: str
    children: Mapping[str, Node]
    # The children that are plain, with the types that their values may have: most of an answer is these.
    plain: Mapping[str, tuple[type, ...]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        plain = {key: PLAIN[child.kind] for key, child in self.children.items() if child.kind in PLAIN}
        object.__setattr__(self, "plain", plain)

    @property
    def wrapped(self) -> str | None:
        """The key of the only child, if that is a list: the wrapper which the API puts around every list."""
        if self.kind == "object" and len(self.children) == 1:
            ((key, child),) = self.children.items()
            if child.kind.lower().startswith("list"):
                return key
        return None


class _Asked(dict[str, Any]):
    """Answers every key with another of its kind, and remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, _Asked] = {}
        self.iterated = False

    def __bool__(self) -> bool:
        return True

    def get(self, key: str, default: Any = None) -> Any:
        """Give what the generated code takes for the value of a key."""
        return self.asked.setdefault(key, _Asked())

    def __iter__(self) -> Iterator[Any]:
        self.iterated = True
        yield self


@cache
def request_of(product: str, action: str) -> Node | None:
    """Return the parameters of a call, or None where the SDK has no such call.

    Where the SDK packs a parameter into JSON the call on the wire has another, flat model.
    """
    return _learn(product, f"{action}ShrinkRequest") or _learn(product, f"{action}Request")


@cache
def response_of(product: str, action: str) -> Node:
    """Return the shape of the body that a call answers with."""
    learned = _learn(product, f"{action}ResponseBody")
    if learned is None:
        raise LookupError(f"the SDK has no answer for {product} {action}")
    return learned


def _learn(product: str, name: str) -> Node | None:
    # Here and not above: the two packages cost 0.4 s and 80 MB.
    model = getattr(importlib.import_module(_MODULES[product]), name, None)
    if model is None:
        return None
    asked, instance = _Asked(), model()
    instance.from_map(asked)
    return Node("object", _children(asked, instance))


def _children(asked: _Asked, instance: Any) -> dict[str, Node]:
    # A model asks for its keys in the order of its attributes.
    types = inspect.signature(type(instance).__init__).parameters
    return {
        key: _node(child, value, str(types[name].annotation))
        for (key, child), (name, value) in zip(asked.asked.items(), vars(instance).items(), strict=True)
    }


def _node(child: _Asked, value: Any, annotation: str) -> Node:
    if value is child:
        return Node(annotation, {})
    if child.iterated:
        return Node("list", _children(child, value[0]))
    return Node("object", _children(child, value))
