"""What pydantic says of a document, as problems in plain words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from generator.spec import schema as schemas
from generator.spec.fields import WORDS, RuleError
from generator.spec.findings import Loc, Problem
from generator.spec.model import BetweenKeysError
from generator.spec.source import kind, shown

# The rule's name for each kind of error that the models can raise; the rest are wrong types.
_RULES = {
    "string_pattern_mismatch": "format",
    "literal_error": "choice",
    "enum": "choice",
    "greater_than_equal": "range",
    "less_than_equal": "range",
    "string_too_short": "length",
    "string_too_long": "length",
    "too_short": "length",
    "too_long": "length",
}


@cache
def _schema(model: type[BaseModel]) -> schemas.Schema:
    return schemas.json_schema(model)


def problems(error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    """Yield a problem for each error; those of rules between keys are left to `between_keys`."""
    for details in error.errors(include_url=False):
        cause = details.get("ctx", {}).get("error")
        if isinstance(cause, BetweenKeysError) or _counts_bad_items(details):
            continue
        *way, last = details["loc"] or ("",)
        on_key = last == "[key]"
        loc = tuple(way) if on_key else details["loc"]
        if isinstance(cause, RuleError):
            message = f"{name(loc)} is {shown(details['input'])}: {cause.message}"
            yield Problem(loc, cause.rule, message, cause.remedy, on_key=on_key)
        elif on_key:
            message = f"the key {shown(details['input'])} of {name(loc[:-1])} is not allowed"
            wanted = next(iter(schemas.at(_schema(model), loc[:-1]).get("patternProperties", {"": ""})))
            yield Problem(loc, "format", message, f"give {WORDS.get(wanted, 'text')}", on_key=True)
        else:
            yield _problem(details, loc, model)


def _counts_bad_items(details: ErrorDetails) -> bool:
    """Tell whether a list is too short only since pydantic counts no items that are wrong, and reports those too."""
    value = details["input"]
    return details["type"] == "too_short" and isinstance(value, list) and len(value) >= details["ctx"]["min_length"]


def _problem(details: ErrorDetails, loc: Loc, model: type[BaseModel]) -> Problem:
    schema = _schema(model)
    here = schemas.at(schema, loc)
    kind_of_error, value = details["type"], details["input"]
    if kind_of_error == "extra_forbidden":
        around = schemas.at(schema, loc[:-1])
        return unknown_key(loc, around.get("properties", {}))
    if kind_of_error == "missing":
        wanted = schemas.words(schema, here)
        return Problem(loc, "required", f"{name(loc)} is missing", f"add `{loc[-1]}`: {wanted}", on_key=True)
    rule = _RULES.get(kind_of_error, "type")
    remedy = f"give {schemas.words(schema, here)}"
    if rule == "length" and isinstance(value, list | dict):
        low, high = here.get("minItems", 0), here.get("maxItems", here.get("maxProperties", "any number"))
        return Problem(loc, rule, f"{name(loc)} holds {len(value)}", f"give {low} to {high}", on_key=True)
    if rule == "choice" and isinstance(value, str):
        remedy = f"{_nearest(value, map(str, here.get('enum', ())))}{remedy}"
    if rule != "type":
        return Problem(loc, rule, f"{name(loc)} is {shown(value)}", remedy)
    given = f"{kind(value)} ({shown(value)})" if isinstance(value, str | int | float) else kind(value)
    if here.get("type") == "string" and isinstance(value, str | int | float):
        remedy = f"write it in quotes; {remedy}"
    return Problem(loc, rule, f"{name(loc)} is {given}", remedy)


def unknown_key(loc: Loc, known: Iterable[str], where: str = "") -> Problem:
    """Return the problem of a key that is not one of those known, with the nearest of them."""
    known = sorted(known)
    near = difflib.get_close_matches(str(loc[-1]), known, n=1)
    where = where or (name(loc[:-1]) if len(loc) > 1 else "a spec")
    remedy = f"did you mean `{near[0]}`?" if near else f"it takes {', '.join(known)}" if known else "remove it"
    return Problem(loc, "unknown-key", f"{shown(loc[-1])} is no key of {where}", remedy, on_key=True)


def name(loc: Loc) -> str:
    """Write the way to a value as a person would: `alicloud.data_disks[0].size_gib`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_word(part)}" for part in loc)
    return text.removeprefix(".") or "the spec"


def _word(part: Any) -> str:
    return part if part.replace("_", "").replace("-", "").isalnum() and len(part) <= 60 else shown(part)


def _nearest(value: str, choices: Iterable[str]) -> str:
    near = difflib.get_close_matches(value, list(choices), n=1, cutoff=0.5)
    return f"did you mean {near[0]}? " if near else ""
