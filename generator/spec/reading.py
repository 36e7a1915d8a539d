"""From a file to a spec of a given kind, with every finding in the order of the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from generator import resources
from generator.spec import explain
from generator.spec.findings import Finding, Problem, ordered
from generator.spec.model import Model, between_keys
from generator.spec.source import Document

Spec = TypeVar("Spec", bound=Model)
Further = Callable[[dict[str, Any]], Iterable[Problem]]


def resolve(name: str | os.PathLike[str], *folders: str) -> Path:
    """Return the file that a spec's name means: a path, `FOLDER/NAME.yaml` here, or an example that we ship.

    A name that means none of them is returned as the path that it is, for the reader to say so.
    """
    path = Path(name)
    if path.exists() or path.name != str(path) or path.suffix in (".yaml", ".yml"):
        return path
    for place in (*map(Path, folders), *map(resources.folder, folders)):
        candidate = place / f"{path}.yaml"
        if candidate.is_file():
            return candidate
    return path


def absent(file: Path, *folders: str) -> Finding:
    """Return the finding of a file that is not there, with the examples that there are."""
    examples = ", ".join(sorted(path.stem for folder in folders for path in resources.folder(folder).glob("*.yaml")))
    return Finding(str(file), 0, 0, "file", "there is no such file", f"give a path, or one of {examples}")


def judge(
    model: type[Spec], document: Document | None, findings: tuple[Finding, ...], further: Further
) -> tuple[Spec | None, tuple[Finding, ...]]:
    """Make a spec of what `source.read` gave: the spec, or None when it has errors, and every finding.

    `further` looks at the raw data for what no model knows.
    """
    if document is None:
        return None, findings
    spec = None
    problems = [*between_keys(model, document.data), *further(document.data)]
    try:
        spec = model.model_validate(document.data)
    except ValidationError as error:
        problems += explain.problems(error, model)
    findings = ordered((*findings, *_others(document, problems, findings)))
    return None if any(f.severity == "error" for f in findings) else spec, findings


def _others(document: Document, problems: Iterable[Problem], known: Iterable[Finding]) -> Iterator[Finding]:
    """Put problems at their places; a value that YAML already makes a finding of is not judged a second time."""
    judged = {(finding.line, finding.column) for finding in known}
    for finding in map(document.finding, problems):
        if (finding.line, finding.column) not in judged:
            yield finding
