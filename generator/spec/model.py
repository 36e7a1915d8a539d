"""The base of every spec model, and the walk that holds raw data to the rules between keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, model_validator

from generator.spec.fields import RuleError
from generator.spec.findings import Loc, Problem

Rule = Callable[[Mapping[str, Any]], Iterator[Problem]]


class BetweenKeysError(RuleError):
    """A rule between keys is broken. A file's findings come from `between_keys`, which knows the place."""


class Model(BaseModel):
    """A part of a spec: frozen, strict about its keys, and held to its rules between keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    RULES: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _hold_to_rules(self) -> Self:
        if self.RULES:
            values = self.model_dump()
            for problem in (problem for rule in self.RULES for problem in rule(values)):
                if problem.severity == "error":
                    raise BetweenKeysError(problem.rule, problem.message, problem.remedy)
        return self


def between_keys(model: type[Model], data: Any, loc: Loc = ()) -> Iterator[Problem]:
    """Run the rules of a model and of its parts over raw data, whatever else is wrong with it."""
    if not isinstance(data, dict):
        return
    given = {key: value for key, value in data.items() if value is not None}
    values = {name: field.get_default() for name, field in model.model_fields.items()} | given
    for rule in model.RULES:
        for problem in rule(values):
            yield replace(problem, loc=loc + problem.loc)
    for name, field in model.model_fields.items():
        part = _part(field.annotation)
        value = data.get(name)
        if part is None:
            continue
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield from between_keys(part, item, (*loc, name, index))
        else:
            yield from between_keys(part, value, (*loc, name))


def _part(annotation: Any) -> type[Model] | None:
    """Return the model in a field's type: `M`, `M | None` or `tuple[M, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next(filter(None, map(_part, get_args(annotation))), None)
