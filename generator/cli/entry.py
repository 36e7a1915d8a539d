"""Where the command `multieip` starts: `--help` and `--version` at once, anything else through the app.

Typer takes a tenth of a second to import, five times what Python itself takes to start, and what a person or a
completion asks for most is the first page. It is kept in help.txt; a test compares it with what Typer writes.
"""

from __future__ import annotations

import sys
from pathlib import Path

HELP = Path(__file__).with_name("help.txt")


def main() -> None:
    """Run the command line."""
    arguments = sys.argv[1:]
    if arguments in (["--help"], ["-h"]):
        sys.stdout.write(HELP.read_text())
        return
    from generator.cli.app import main as run  # noqa: PLC0415

    run()
