"""`multieip plan`: what a launch of a fleet would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from generator import console
from generator.errors import ExitCode

if TYPE_CHECKING:
    from generator.fleet.cost import Item
    from generator.fleet.plan import Plan
    from generator.fleet.planning import Review

Fleet = Annotated[str, typer.Argument(metavar="FLEET", help="A file, or the name of an example such as demo.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]
DetailedExitcode = Annotated[
    bool, typer.Option("--detailed-exitcode", help="Exit code 4 when something would change or differs.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command("plan")(plan)


def plan(fleet: Fleet, json: Json = False, detailed_exitcode: DetailedExitcode = False) -> None:
    """Show what a launch would do, what stands in its way, how long it takes and what it costs. Changes nothing."""
    from generator.fleet import opening, planning  # noqa: PLC0415 - it brings the cloud's SDK

    opened = opening.read(fleet)
    found = planning.review(opening.connect(opened.spec), opened)
    if json:
        console.out_json(found.to_json())
    else:
        _show(found)
    if found.has_errors:
        raise typer.Exit(ExitCode.FINDINGS)
    if detailed_exitcode and found.plan and found.plan.is_change:
        raise typer.Exit(ExitCode.CHANGES)


def _show(found: Review) -> None:
    if found.plan:
        _show_plan(found.plan)
    for finding in found.findings:
        console.out(f"{finding}\n")
    for one in found.unknown:
        console.say(f"not known: {one.what} ({one.why})")
    if found.estimate:
        console.out("\nbilled by the hour, when all is there\n")
        console.table(("what", "count", "an hour", "note"), [_cost(item) for item in found.estimate.items])
    if found.has_errors:
        console.say(f"✗ {found.fleet} cannot be launched as it is")


def _show_plan(plan: Plan) -> None:
    if plan.calls:
        rows = [(call.api, f"{call.times:,}", call.what) for call in plan.calls]
        console.table(("call", "times", "what"), rows)
    if plan.removals:
        console.out("\nnot wanted any more; a launch removes it only with --remove\n")
        console.table(("call", "times", "what"), [(call.api, f"{call.times:,}", call.what) for call in plan.removals])
    if plan.drift:
        console.out("\ndiffers from the file, and a launch leaves it\n")
        columns = ("resource", "what", "is", "in the file", "remedy")
        console.table(columns, [(one.resource, one.what, one.found, one.wanted, one.remedy) for one in plan.drift])
    console.say(f"kept: {plan.kept_instances:,} instances, {plan.kept_eips:,} EIPs on their private IPs")
    if not plan.is_change:
        console.say("✓ nothing to do")
    elif plan.least_minutes:
        console.say(f"the account's limits of calls a minute make it take {plan.least_minutes:,.0f} min at least")


def _cost(item: Item) -> tuple[str, str, str, str]:
    hourly = "not known" if item.hourly is None else f"{item.hourly:.4f} {item.currency}"
    return item.what, f"{item.count:,}", hourly, item.note
