"""The reference of a spec's keys in Markdown, from the models that check them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from generator.spec.schema import Schema, json_schema, plain, words


def markdown(model: type[BaseModel]) -> str:
    """Return a section for each mapping of the spec, in the order of the keys, with a table of its keys."""
    schema = json_schema(model)
    return "\n".join(_sections(schema, schema))


def _sections(schema: Schema, node: Schema, *names: str) -> Iterator[str]:
    heading = ", ".join(f"`{name}`" for name in names) if names else "The top level"
    yield f"### {heading}\n\n{node['description']}\n"
    yield "| key | takes | default | meaning |\n|---|---|---|---|"
    for key, item in node["properties"].items():
        cells = (f"`{key}`", _takes(schema, item), _default(node, key, item), item["description"])
        yield f"| {' | '.join(map(_cell, cells))} |"
    yield ""
    # Keys that take the same mapping share a section.
    below: dict[int, tuple[Schema, list[str]]] = {}
    for key, item in node["properties"].items():
        part, suffix = _part(schema, item)
        if part:
            name = f"{names[0]}.{key}{suffix}" if names else f"{key}{suffix}"
            below.setdefault(id(part), (part, []))[1].append(name)
    for part, shared in below.values():
        yield from _sections(schema, part, *shared)


def _part(schema: Schema, item: Schema) -> tuple[Schema, str]:
    """Return the mapping with keys of its own in a value, or an empty one, and `[]` when the value lists it."""
    inner = plain(schema, item)
    suffix = ""
    if inner.get("type") == "array":
        inner, suffix = plain(schema, inner["items"]), "[]"
    if "properties" not in inner:
        return {}, ""
    # A key's description hides that of the model that it refers to, which says more.
    reference = next((option["$ref"] for option in [item, *item.get("anyOf", ())] if "$ref" in option), "")
    return (schema["$defs"][reference.rpartition("/")[2]] if reference else inner), suffix


def _takes(schema: Schema, item: Schema) -> str:
    part, suffix = _part(schema, item)
    if not part:
        return words(schema, item)
    return f"a list of at most {item['maxItems']} mappings, see below" if suffix else "a mapping, see below"


def _default(node: Schema, key: str, item: Schema) -> str:
    if key in node.get("required", ()):
        return "required"
    value: Any = item.get("default")
    if value is None or value in ("", [], {}) or isinstance(value, dict):
        return ""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
