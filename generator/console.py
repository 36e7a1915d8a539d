"""What a person sees: progress on stderr, tables and JSON on stdout.

stdout is data and stderr is progress, so `multieip … --json | jq` works whatever else is said.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from generator.errors import MultieipError


def say(text: str) -> None:
    """Write one line of progress to stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def out(text: str) -> None:
    """Write data to stdout, as it is; `MultieipError` when it cannot be written."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # A reader that has seen enough is nobody's failure; Typer ends the command without a word.
        raise
    except OSError as error:
        drop_output()
        hint = "make room where it goes, or send it elsewhere"
        raise MultieipError(f"stdout cannot be written: {error.strerror}", hint=hint) from error


def drop_output() -> None:
    """Let what stdout could not take go nowhere, or Python tries it again, and fails aloud, as it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def out_json(value: Any) -> None:
    """Write one JSON document to stdout, keys in the order given."""
    out(json_text(value, indent=2) + "\n")


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON, keys in the order given, on one line without an indent."""
    # GitHub's runner takes `##[` for a command wherever it stands in a line. In JSON it can only be in a string.
    return json.dumps(value, indent=indent, ensure_ascii=False).replace("##[", "\\u0023#[")


def error(failure: MultieipError) -> None:
    """Say what failed, and how to go on."""
    say(f"multieip: {failure.message}")
    if failure.hint:
        say(f"  → {failure.hint}")


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say that a phase begins and how long it took; a phase that raises says so."""
    start = time.monotonic()
    say(f"‣ {title}")
    try:
        yield
    except BaseException:
        say(f"✗ {title} ({time.monotonic() - start:.1f} s)")
        raise
    say(f"✓ {title} ({time.monotonic() - start:.1f} s)")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table to stdout: for a terminal with rules and fitted columns, for a pipe as plain columns."""
    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 - 60 ms that only a terminal needs to pay
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        shown = Table(*columns, box=None, header_style="bold")
        for row in rows:
            shown.add_row(*(Text(cell) for cell in row))
        Console().print(shown)
        return
    lines = [columns, *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        out("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n")
