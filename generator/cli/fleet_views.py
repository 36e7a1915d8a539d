"""The verbs that look at a fleet that is there: verify, status, topology, inventory, policy."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from generator import console
from generator.cli.fleet import DetailedExitcode, Fleet, Json
from generator.errors import ExitCode, MultieipError, UsageError

if TYPE_CHECKING:
    from generator.fleet.status import Status


class Level(StrEnum):
    """What `verify` may leave out; the API's mapping is always looked at."""

    OUTSIDE = "outside"
    INSIDE = "inside"


class Drawing(StrEnum):
    """How a topology is drawn."""

    TREE = "tree"
    SVG = "svg"
    MERMAID = "mermaid"


class Form(StrEnum):
    """Whom an inventory is for."""

    ANSIBLE = "ansible"
    SSH = "ssh"
    JSON = "json"


class Reach(StrEnum):
    """Where an inventory says that instances are reached."""

    EIP = "eip"
    PRIVATE = "private"


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command("verify")(verify)
    app.command("status")(status)
    app.command("topology")(topology)
    app.command("inventory")(inventory)
    app.command("policy")(policy)


def verify(  # noqa: PLR0917 - options of a command line
    fleet: Fleet,
    skip: Annotated[
        list[Level] | None, typer.Option("--skip", help="outside: ask no EIP; inside: run nothing in instances.")
    ] = None,
    echo: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="A service that tells whoever connects its address (TCP).")
    ] = "",
    listen: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Be that service here; instances call this address, or that of --echo."),
    ] = "",
    wait: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Try again what fails for so long.")] = 120,
    json: Json = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the results as JUnit XML too.")] = None,
) -> None:
    """Prove that a fleet's EIPs work: the API's mapping, answers from outside, and what the instances see."""
    for place in filter(None, (echo, listen)):
        host, _, port = place.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65_535:
            raise UsageError(f"{place} is not HOST:PORT")
    from generator.fleet import opening, verdict  # noqa: PLC0415 - it brings the cloud's SDK
    from generator.fleet.verify import Asked  # noqa: PLC0415
    from generator.fleet.verify import verify as verified  # noqa: PLC0415

    opened = opening.read(fleet)
    asked = Asked(tuple(level.value for level in skip or ()), echo, listen, wait)
    found = verified(opening.connect(opened.spec), opened, asked)
    if junit is not None:
        verdict.write_junit(junit, found)
    if json:
        console.out_json(found.to_json())
    else:
        console.table(verdict.COLUMNS, found.rows())
    console.say(f"proved: {found.proof}")
    if found.failures:
        first = found.failures[0]
        raise MultieipError(
            f"{len(found.failures)} of {len(found.checks)} checks failed on {found.fleet}",
            hint=f"{first.instance}, {first.level}: {verdict.text(first)}",
        )
    console.say(f"✓ {len(found.checks)} checks passed on {found.fleet}")


def status(fleet: Fleet, json: Json = False, detailed_exitcode: DetailedExitcode = False) -> None:
    """Show a fleet as it is, and where it differs from its file."""
    from generator.fleet import opening  # noqa: PLC0415 - it brings the cloud's SDK
    from generator.fleet import status as states  # noqa: PLC0415
    from generator.fleet.picture import picture  # noqa: PLC0415

    opened = opening.read(fleet)
    goal, seen, actions = opening.compared(opening.connect(opened.spec), opened)
    found = states.status(goal, seen, actions, picture(goal, seen), opening.named_image(opened.spec))
    if json:
        console.out_json(found.to_json())
    else:
        _show_status(found)
    if detailed_exitcode and not found.is_as_wanted:
        raise typer.Exit(ExitCode.CHANGES)


def _show_status(found: Status) -> None:
    from generator.fleet import status as states  # noqa: PLC0415

    seen = found.picture
    console.table(states.COLUMNS, [states.row(machine) for machine in seen.machines])
    if found.drift:
        console.out("\ndiffers from the file\n")
        columns = ("resource", "what", "is", "in the file", "remedy")
        console.table(columns, [(one.resource, one.what, one.found, one.wanted, one.remedy) for one in found.drift])
    console.say(
        f"{'✓' if found.is_as_wanted else '✗'} {seen.fleet} in {seen.region}: {states.running(seen)} of {found.wanted} "
        f"instances run, {seen.eips} of {found.wanted_eips} EIPs are on a private IP"
    )
    if found.changes:
        console.say("  → `multieip plan` shows what a launch would do")


def topology(
    fleet: Fleet,
    format_: Annotated[Drawing, typer.Option("--format", help="How to draw it.")] = Drawing.TREE,
) -> None:
    """Draw a fleet as it is: vSwitches, instances, ENIs, private IPs with their EIPs."""
    from generator.fleet import opening, topology_svg  # noqa: PLC0415 - it brings the cloud's SDK
    from generator.fleet import topology as drawings  # noqa: PLC0415

    opened = opening.read(fleet)
    seen = opening.pictured(opening.connect(opened.spec), opened)
    draw = {Drawing.TREE: drawings.tree, Drawing.MERMAID: drawings.mermaid, Drawing.SVG: topology_svg.svg}
    console.out(draw[format_](seen))


def inventory(
    fleet: Fleet,
    format_: Annotated[Form, typer.Option("--format", help="For Ansible, for SSH, or JSON.")] = Form.ANSIBLE,
    address: Annotated[
        Reach, typer.Option(help="Reach instances at their first EIP, or at their primary private IP.")
    ] = Reach.EIP,
    user: Annotated[str, typer.Option(help="User to log in as.")] = "",
) -> None:
    """Write a fleet's instances with their addresses, for Ansible, SSH or another program."""
    from generator.fleet import inventory as inventories  # noqa: PLC0415 - it brings the cloud's SDK
    from generator.fleet import opening  # noqa: PLC0415

    if user and not all(character.isalnum() or character in "._-" for character in user):
        raise UsageError("--user takes letters, digits, '.', '_' and '-'")
    opened = opening.read(fleet)
    seen = opening.pictured(opening.connect(opened.spec), opened)
    private = address is Reach.PRIVATE
    if format_ is Form.JSON:
        console.out_json(inventories.to_json(seen))
    elif format_ is Form.SSH:
        console.out(inventories.ssh(seen, private=private, user=user))
    else:
        console.out(inventories.ansible(seen, private=private, user=user))


def policy(
    fleet: Fleet,
    rollout: Annotated[
        bool, typer.Option("--rollout", help="Let the user replace instances by a rollout too.")
    ] = False,
) -> None:
    """Write the RAM policy that a user needs for one fleet: plan, launch, verify, status and destroy. No network."""
    from generator.fleet import policy as policies  # noqa: PLC0415 - it brings models of specs
    from generator.spec.fleet import load  # noqa: PLC0415

    console.out_json(policies.policy(load(fleet), rollout=rollout))
