"""`multieip check` and `multieip schema`: what is wrong with specs, and what a spec may hold."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from generator import console
from generator.errors import ExitCode
from generator.spec.kinds import Kind, examine, model_of, resolve

if TYPE_CHECKING:
    from generator.spec.findings import Finding
    from generator.spec.fleet import FleetSpec
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
    specs: Annotated[
        list[str],
        typer.Argument(metavar="SPEC", help="Files of image and fleet specs, or names of examples such as debian-12."),
    ],
    json: Annotated[bool, typer.Option("--json", help="Write findings as JSON.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail too.")] = False,
    format_: Annotated[
        Format, typer.Option("--format", help="github: annotations beside the lines of a pull request.")
    ] = Format.TEXT,
) -> None:
    """Say everything that is wrong with specs, without a network. Exit code 3 when there are errors.

    A file is a fleet spec when it has a fleet's keys (instance_types, enis, ...), else an image spec.
    """
    from generator.spec.findings import ordered, tally  # noqa: PLC0415

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


def _sizes(path: str, spec: ImageSpec | FleetSpec) -> tuple[Finding, ...]:
    """Judge the size of the user-data that a spec becomes."""
    from generator.render import launch, userdata  # noqa: PLC0415
    from generator.spec.cloud_config import size_findings  # noqa: PLC0415
    from generator.spec.fleet import FleetSpec  # noqa: PLC0415
    from generator.spec.fleet import size_findings as of_fleet  # noqa: PLC0415
    from generator.spec.image import load  # noqa: PLC0415

    if isinstance(spec, FleetSpec):
        image = load(spec.image_spec) if spec.image_spec else None
        return of_fleet(path, len(launch.user_data(spec, image)))
    return size_findings(path, len(userdata.golden(spec)), len(userdata.standalone(spec)))


def schema(
    kind: Annotated[Kind, typer.Option("--kind", help="Which spec.")] = Kind.IMAGE,
) -> None:
    """Write the JSON Schema of a spec, for editors."""
    from generator.spec.schema import json_schema  # noqa: PLC0415

    console.out_json(json_schema(model_of(kind)))
