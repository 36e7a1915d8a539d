"""Shell scripts as data."""

from __future__ import annotations

import re

_HERE = re.compile(rb"<<-?\s*['\"]?(\w+)['\"]?")


def without_comments(script: bytes) -> bytes:
    """Return a script without the lines that are nothing but a comment; its first line and here-documents stay.

    For where bytes are counted. It takes a script of our own: a line that begins with # inside a quoted text of
    several lines is taken for a comment too, which is what it is in the awk programs that these hold.
    """
    kept = []
    end = b""
    for number, line in enumerate(script.splitlines(keepends=True)):
        if end:
            end = b"" if line.strip() == end else end
        elif number and line.lstrip().startswith(b"#"):
            continue
        elif here := _HERE.search(line):
            end = here[1]
        kept.append(line)
    return b"".join(kept)
