"""The files under `templates/`: static ones as they are, `*.j2` through Jinja2.

A template prints integers and text that went through a filter of `generator.render.escape`, nothing else: a
value that nobody escaped is an error at its line, so no spec can break out of a file's syntax by oversight.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from generator import resources
from generator.errors import MultieipError
from generator.render.escape import FILTERS, Escaped

if TYPE_CHECKING:
    from jinja2 import Environment, Template

_REINSTALL = "templates/ is part of multieip: restore it, or install multieip again"


def static(name: str) -> bytes:
    """Return a file of `templates/` byte for byte; `MultieipError` when it is not there."""
    try:
        return (resources.folder("templates") / name).read_bytes()
    except OSError as error:
        raise MultieipError(f"templates/{name}: {error.strerror}", hint=_REINSTALL) from error


def names(folder: str) -> list[str]:
    """Return the names of the files in a folder of `templates/`, sorted; `MultieipError` when it is not there."""
    try:
        return sorted(path.name for path in (resources.folder("templates") / folder).iterdir())
    except OSError as error:
        raise MultieipError(f"templates/{folder}: {error.strerror}", hint=_REINSTALL) from error


def load(name: str) -> Template:
    """Return a compiled template; compiled once in a process. `MultieipError` names template and line."""
    from jinja2 import TemplateError  # noqa: PLC0415 - 40 ms that only rendering pays

    try:
        return _environment().get_template(name)
    except TemplateError as error:
        raise _located(name, error) from error


def fill(template: Template, /, **values: object) -> bytes:
    """Render a compiled template to UTF-8; `MultieipError` names template and line of what failed."""
    from jinja2 import TemplateError  # noqa: PLC0415

    try:
        return template.render(values).encode()
    except (TemplateError, TypeError, ValueError) as error:
        raise _located(template.name or "", error) from error


def render(name: str, /, **values: object) -> bytes:
    """Load a template and render it."""
    return fill(load(name), **values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined  # noqa: PLC0415

    printable = (Escaped, Undefined)

    def finalize(value: object) -> object:
        if isinstance(value, printable) or type(value) is int:
            return value
        raise TypeError(f"{value!r} is printed without a filter that escapes it")

    environment = Environment(
        loader=FileSystemLoader(resources.folder("templates")),
        undefined=StrictUndefined,
        finalize=finalize,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        autoescape=False,  # noqa: S701 - not HTML; `finalize` refuses what is not escaped for its own syntax
    )
    environment.filters.update({name: _defined(escape) for name, escape in FILTERS.items()})
    return environment


def _defined(escape: Callable[..., Escaped]) -> Callable[..., Escaped]:
    """Let Jinja2 say that a variable is missing, rather than a filter that it is no text."""
    from jinja2 import Undefined  # noqa: PLC0415

    def checked(value: object) -> Escaped:
        return escape(str(value) if isinstance(value, Undefined) else value)

    return checked


def _located(name: str, error: Exception) -> MultieipError:
    """Say where: Jinja2 knows the line of a syntax error, and rewrites tracebacks to name templates' lines."""
    line = getattr(error, "lineno", None)
    if line is None:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((frame.lineno for frame in reversed(frames) if frame.filename.endswith(name)), None)
    where = f"templates/{name}:{line}" if line else f"templates/{name}"
    return MultieipError(f"{where}: {getattr(error, 'message', None) or error}", hint=_REINSTALL)
