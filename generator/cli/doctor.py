"""`multieip doctor`: what this machine has for which verb, and how to get the rest."""

from __future__ import annotations

from typing import Annotated

import typer

from generator import console
from generator.errors import PrerequisiteError


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("doctor")(doctor)


def doctor(json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False) -> None:
    """Show each prerequisite: its version, what it enables, how to install it. Exit code 5 when one is missing."""
    from generator.image import prerequisites  # noqa: PLC0415

    found = prerequisites.examine()
    if json:
        console.out_json([prerequisites.to_json(item) for item in found])
    else:
        console.table(
            ("prerequisite", "state", "version", "enables", "how to get it"),
            [(p.name, p.state, p.version, p.enables, "" if p.state == "ok" else p.remedy) for p in found],
        )
    missing = [item.name for item in found if item.state == "missing"]
    if missing:
        raise PrerequisiteError(f"missing: {', '.join(missing)}", hint="`make system` installs them where apt is there")
