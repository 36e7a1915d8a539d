"""The JSON Schema of a spec, for editors, and what it says of each value in words."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from generator.spec.fields import WORDS
from generator.spec.findings import Loc

Schema = dict[str, Any]


def json_schema(model: type[BaseModel]) -> Schema:
    """Return the JSON Schema of a model, with each pattern's rule in words where editors look for it."""
    schema: Schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    _dress(schema)
    return schema


def _dress(node: Any) -> None:
    """Add words to patterns, and drop the titles that pydantic makes of names."""
    if isinstance(node, list):
        for item in node:
            _dress(item)
        return
    if not isinstance(node, dict):
        return
    if isinstance(node.get("pattern"), str):
        node["patternErrorMessage"] = f"give {WORDS[node['pattern']]}"
    for key, value in node.items():
        if key in ("properties", "$defs"):
            for item in value.values():
                item.pop("title", None)
                _dress(item)
        elif key not in ("default", "const", "enum"):
            _dress(value)


def at(schema: Schema, loc: Loc) -> Schema:
    """Return the schema of the value at a place; empty where the schema says nothing of it."""
    node = plain(schema, schema)
    for part in loc:
        if isinstance(part, int):
            node = node.get("items", {})
        elif "patternProperties" in node:
            node = next(iter(node["patternProperties"].values()))
        else:
            node = node.get("properties", {}).get(part, {})
        node = plain(schema, node)
    return node


def plain(schema: Schema, node: Schema) -> Schema:
    """Return a node with its reference followed and `or nothing` left out."""
    options = [option for option in node.get("anyOf", ()) if option.get("type") != "null"]
    if options:
        node = {**{key: value for key, value in node.items() if key != "anyOf"}, **options[0]}
    if "$ref" in node:
        node = {**schema["$defs"][node["$ref"].rpartition("/")[2]], **node}
    return node


def words(schema: Schema, node: Schema) -> str:
    """Say what a schema node takes: `a whole number from 10 to 3600`."""
    node = plain(schema, node)
    if "const" in node:
        return str(node["const"])
    if "enum" in node:
        return f"one of {', '.join(map(str, node['enum']))}"
    if node.get("pattern") in WORDS:
        return WORDS[node["pattern"]]
    simple = {
        "number": f"a number from {node['minimum']} to {node['maximum']}" if "minimum" in node else "a number",
        "integer": f"a whole number from {node.get('minimum')} to {node.get('maximum')}",
        "boolean": "true or false",
        "string": "text",
    }
    return simple.get(node.get("type", "")) or _container(schema, node)


def _container(schema: Schema, node: Schema) -> str:
    if node.get("type") == "array":
        return f"a list{_at_most(node.get('maxItems'))}; each item {words(schema, node['items'])}"
    if "patternProperties" in node:
        key, value = next(iter(node["patternProperties"].items()))
        limit = _at_most(node.get("maxProperties"))
        return f"a mapping{limit}; each key {WORDS[key]}; each value {words(schema, value)}"
    keys = ", ".join(node.get("properties", ()))
    return f"a mapping with {keys}" if keys else "a mapping"


def _at_most(limit: int | None) -> str:
    return f" of at most {limit}" if limit else ""
