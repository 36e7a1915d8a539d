"""Where the command `multieip` starts: `--help` and `--version` at once, anything else through the app.

Typer takes a tenth of a second to import, five times what Python itself takes to start, and what a person or a
completion asks for most is the first page. It is kept in help.txt; a test compares it with what Typer writes.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

HELP = Path(__file__).with_name("help.txt")


def main() -> None:
    """Run the command line."""
    if sys.stderr is None:
        # Closed by the caller; what is said must not end up on stdout instead.
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as the process lives
    if sys.stdout is None:
        sys.stderr.write("multieip: stdout is closed\n  → send it to a file, a pipe or /dev/null\n")
        sys.exit(1)
    if sys.argv[1:] in (["--help"], ["-h"]):
        # The app says it when stdout cannot be written.
        with contextlib.suppress(OSError):
            sys.stdout.write(HELP.read_text(encoding="utf-8"))
            sys.stdout.flush()
            return
    from generator.cli.app import main as run  # noqa: PLC0415

    run()
