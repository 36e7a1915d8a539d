"""Secrets in cloud-config: user-data is readable by whoever is on the instance, and by the account's tools."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterator
from typing import Any

from generator.spec.explain import name
from generator.spec.findings import Loc, Problem

_MAX_UNPACKED = 1 << 20

_PATTERNS = (
    ("a private key", re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY(?: BLOCK)?-----")),
    ("a password hash", re.compile(r"\$(?:1|2[abxy]|5|6|7|y|gy)\$[./A-Za-z0-9$=,+-]{20,}")),
    ("an AccessKey id", re.compile(r"\b(?:LTAI|STS\.)[A-Za-z0-9]{12,}")),
    ("an AWS access key id", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    ("a token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,})")),
    ("a token", re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}")),
    ("a password in an address", re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/:@${]+@")),
    (
        "a password or token",
        re.compile(
            r"(?i)(?:password|passwd|passphrase|secret|secret_?key|(?:auth|access|api)[_-]?(?:token|key))"
            r"""["']?\s*[:=]\s*["']?(?![$<{%"'\s])[^\s"']{6,}"""
        ),
    ),
)
# Keys whose value is a secret by its meaning, and values of them that are none: locked, or made at random.
_SECRET_KEY = re.compile(r"(?i)(?:^|_)(?:passwd|password|passphrase|secret|token|private|private_?key|authkey)$")
_NO_SECRET = re.compile(r"(?i)^(?:|!+|\*+|!\*|R|RANDOM|x)$")
_ENCODINGS = {"b64", "base64"}
_PACKED = {"gz", "gzip"}

IN_USER_DATA = "that every user of the instance can read in user-data"
_REMEDY = "let the instance fetch it with its RAM role, or set it at first login"


def problems(value: Any, loc: Loc, key: str = "") -> Iterator[Problem]:
    """Yield a warning for each text below a value that holds a secret, and for files that cannot be decoded."""
    if isinstance(value, dict):
        if isinstance(value.get("content"), str) and isinstance(value.get("encoding"), str):
            yield from _file(value["content"], value["encoding"], (*loc, "content"))
        for name_of, item in value.items():
            yield from problems(item, (*loc, name_of), name_of)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from problems(item, (*loc, index), key)
    elif isinstance(value, str):
        yield from _text(value, loc, key)


def _text(text: str, loc: Loc, key: str) -> Iterator[Problem]:
    found = _first(text)
    if found:
        what, line = found
        yield _warning(what, loc, line + 1)
    elif _SECRET_KEY.search(key) and not _NO_SECRET.match(text):
        yield _warning("a secret", loc, 0)


def _first(text: str) -> tuple[str, int] | None:
    """Return what the first secret in a text is, and how many lines come before it."""
    for what, pattern in _PATTERNS:
        match = pattern.search(text)
        if match:
            return what, text.count("\n", 0, match.start())
    return None


def _file(content: str, encoding: str, loc: Loc) -> Iterator[Problem]:
    steps = encoding.split("+")
    if steps[-1] not in _ENCODINGS:
        return
    try:
        data = base64.b64decode("".join(content.split()), validate=True)
        if steps[0] in _PACKED:
            data = zlib.decompressobj(wbits=31).decompress(data, _MAX_UNPACKED)
    except (binascii.Error, ValueError, zlib.error):
        remedy = f"encode it as {encoding}, or remove `encoding`"
        yield Problem(loc, "cloud-config", f"{name(loc)} is not {encoding}", remedy)
        return
    found = _first(data.decode("utf-8", "replace"))
    if found:
        yield _warning(f"{found[0]}, inside {encoding},", loc, 0)


def _warning(what: str, loc: Loc, line: int) -> Problem:
    message = f"{name(loc)} holds {what} {IN_USER_DATA}"
    return Problem(loc, "secret", message, _REMEDY, "warning", line_offset=line)
