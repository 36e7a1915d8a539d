"""`multieip check` and `multieip schema`: what is wrong with specs, and what a spec may hold."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from generator import console
from generator.errors import ExitCode

if TYPE_CHECKING:
    from generator.spec.findings import Finding
    from generator.spec.image import ImageSpec

SCHEMA_VERSION = 1


class Format(StrEnum):
    """How findings are written."""

    TEXT = "text"
    GITHUB = "github"


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command("check")(check)
    app.command("schema")(schema)


def check(
    specs: Annotated[list[str], typer.Argument(metavar="SPEC", help="Files, or names of examples such as debian-12.")],
    json: Annotated[bool, typer.Option("--json", help="Write findings as JSON.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail too.")] = False,
    format_: Annotated[
        Format, typer.Option("--format", help="github: annotations beside the lines of a pull request.")
    ] = Format.TEXT,
) -> None:
    """Say everything that is wrong with specs, without a network. Exit code 3 when there are errors."""
    from generator.spec.findings import ordered, tally  # noqa: PLC0415
    from generator.spec.image import examine, resolve  # noqa: PLC0415

    findings: list[Finding] = []
    for name in specs:
        path = str(resolve(name))
        spec, found = examine(path)
        here = ordered((*found, *(_sizes(path, spec) if spec else ())))
        findings += here
        console.say(f"{path}: {tally(here) if here else 'ok'}")
    if json:
        console.out_json({"schema_version": SCHEMA_VERSION, "findings": [f.as_json() for f in findings]})
    else:
        for finding in findings:
            console.out(f"{finding.as_github() if format_ is Format.GITHUB else finding}\n")
    if any(strict or finding.severity == "error" for finding in findings):
        raise typer.Exit(ExitCode.FINDINGS)


def _sizes(path: str, spec: ImageSpec) -> tuple[Finding, ...]:
    from generator.render import userdata  # noqa: PLC0415
    from generator.spec.cloud_config import size_findings  # noqa: PLC0415

    return size_findings(path, len(userdata.golden(spec)), len(userdata.standalone(spec)))


def schema() -> None:
    """Write the JSON Schema of the image spec, for editors."""
    from generator.spec.image import ImageSpec  # noqa: PLC0415
    from generator.spec.schema import json_schema  # noqa: PLC0415

    console.out_json(json_schema(ImageSpec))
