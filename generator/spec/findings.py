"""What is wrong with a spec: where, which rule, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from generator.errors import ExitCode, MultieipError

Severity = Literal["error", "warning"]

# The way to a value in a document: keys of mappings and indexes of lists, from the top.
Loc = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """A broken rule that knows which value breaks it, and not yet where that stands in a file.

    `on_key` points at the key instead of the value; `line_offset` counts lines into a literal block (`|`).
    """

    loc: Loc
    rule: str
    message: str
    remedy: str
    severity: Severity = "error"
    on_key: bool = False
    line_offset: int = 0


@dataclass(frozen=True)
class Finding:
    """A broken rule at its place. Line and column count from 1; line 0 means the file as a whole."""

    path: str
    line: int
    column: int
    rule: str
    message: str
    remedy: str
    severity: Severity = "error"

    @property
    def place(self) -> str:
        """`file:line:column`, the form that editors and terminals make a link of."""
        return f"{self.path}:{self.line}:{self.column}" if self.line else self.path

    def __str__(self) -> str:
        return f"{self.place}: {self.severity}[{self.rule}]: {self.message}; {self.remedy}"

    def as_json(self) -> dict[str, Any]:
        """Return the finding with stable keys; `line` and `column` are null for the file as a whole."""
        return {
            "path": self.path,
            "line": self.line or None,
            "column": self.column or None,
            "severity": self.severity,
            "rule": self.rule,
            "message": self.message,
            "remedy": self.remedy,
        }

    def as_github(self) -> str:
        """Return the finding as a workflow command that GitHub shows beside the line."""
        place = f",line={self.line},col={self.column}" if self.line else ""
        return (
            f"::{self.severity} file={_property(self.path)}{place},title={_property(self.rule)}"
            f"::{_data(f'{self.message}; {self.remedy}')}"
        )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings in the order of their places, each once."""
    return tuple(sorted(dict.fromkeys(findings), key=lambda f: (f.path, f.line, f.column, f.rule, f.message)))


def tally(findings: Sequence[Finding]) -> str:
    """Count findings in words: `2 errors, 1 warning`."""
    counts = {kind: sum(f.severity == kind for f in findings) for kind in ("error", "warning")}
    return ", ".join(f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in counts.items() if n) or "no findings"


class FindingsError(MultieipError):
    """A spec that cannot be used; the message lists every finding, one a line."""

    exit_code = ExitCode.FINDINGS

    def __init__(self, findings: Sequence[Finding]) -> None:
        paths = ", ".join(dict.fromkeys(finding.path for finding in findings))
        super().__init__("\n".join((f"{tally(findings)} in {paths}", *map(str, findings))))
        self.findings = tuple(findings)
