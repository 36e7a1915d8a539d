"""Put a value into the syntax of the file that it goes into: one function for each syntax.

Each returns `Escaped`, the only text that a template may print (see `generator.render.templates`), or raises
`ValueError` for a value that the syntax cannot hold at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable


class Escaped(str):
    """Text that is already in the syntax of the file that it goes into."""

    __slots__ = ()


_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")

# https://docs.gtk.org/glib/struct.KeyFile.html, and what NetworkManager's own keyfile reader decodes
_KEYFILE = {"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
_KEYFILE_ITEM = {**_KEYFILE, ";": r"\;"}

# What YAML 1.1 does not print as it is in a double-quoted scalar: controls, its own line breaks, the byte order
# mark, halves of surrogate pairs and non-characters.
_YAML = re.compile(r'["\\\x00-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]')
_SHORT = {'"': r"\"", "\\": r"\\", "\n": r"\n", "\t": r"\t", "\r": r"\r"}

# The first character of "${" and "%{" as a code: it is read after templates are looked for, whatever stands
# before it; "$${" after another "$" is read in different ways.
_HCL = re.compile(r'["\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff]|[$%](?=\{)')


def keyfile(value: str) -> Escaped:
    """Escape a whole value of a GLib keyfile, which is what NetworkManager reads."""
    return _keyfile(value, _KEYFILE)


def keyfile_item(value: str) -> Escaped:
    """Escape one item of a list in a GLib keyfile."""
    return _keyfile(value, _KEYFILE_ITEM)


def _keyfile(value: str, table: dict[str, str]) -> Escaped:
    text = "".join(table.get(char, char) for char in value)
    if _CONTROL.search(text):
        raise ValueError(f"{value!r} holds a character that a keyfile cannot")
    return Escaped(r"\s" + text[1:] if text.startswith(" ") else text)


def line(value: str) -> Escaped:
    """Check what stands as it is: in a comment, or after `KEY=` where the rest of the line is the value."""
    if _CONTROL.search(value) or value != value.strip():
        raise ValueError(f"{value!r} does not fit one line")
    return Escaped(value)


def quoted(value: str) -> Escaped:
    """Quote a value as os-release(5) has it: shell-compatible, in double quotes, one line."""
    if _CONTROL.search(value):
        raise ValueError(f"{value!r} does not fit one line")
    return Escaped('"' + re.sub(r'(["$`\\])', r"\\\1", value) + '"')


def yaml(value: str) -> Escaped:
    """Write a YAML double-quoted scalar."""
    return Escaped(f'"{_YAML.sub(_yaml_char, value)}"')


def _yaml_char(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    return _SHORT.get(char) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def hcl(value: str) -> Escaped:
    """Write an HCL2 quoted string, in which nothing is interpolated."""
    return Escaped(f'"{_HCL.sub(_hcl_char, value)}"')


def hcl_list(values: Iterable[str]) -> Escaped:
    """Write an HCL2 list of strings."""
    return Escaped("[" + ", ".join(hcl(value) for value in values) + "]")


def _hcl_char(match: re.Match[str]) -> str:
    char = match[0]
    if "\ud800" <= char <= "\udfff":
        raise ValueError(f"{char!r} is half a character")
    return _SHORT.get(char) or f"\\u{ord(char):04x}"


_FUNCTIONS: tuple[Callable[..., Escaped], ...] = (keyfile, keyfile_item, line, quoted, yaml, hcl, hcl_list)
FILTERS = {function.__name__: function for function in _FUNCTIONS}
