"""The verbs of fleets that change something, and `plan`, which says what they would do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from generator import console
from generator.errors import ExitCode, MultieipError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generator.cloud.client import Cloud
    from generator.fleet.actions import Removal
    from generator.fleet.cost import Item
    from generator.fleet.destroy import Report
    from generator.fleet.launch import Compared
    from generator.fleet.plan import Call, Plan
    from generator.fleet.planning import Review

Fleet = Annotated[str, typer.Argument(metavar="FLEET", help="A file, or the name of an example such as demo.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Unprotect = Annotated[
    bool,
    typer.Option("--unprotect", help="Take protection against deletion back from instances that are to go."),
]
State = Annotated[
    Path | None,
    typer.Option(
        "--state", metavar="DIR", envvar="MULTIEIP_STATE", help="Where runs are kept.  [default: build/fleets]"
    ),
]
DetailedExitcode = Annotated[
    bool, typer.Option("--detailed-exitcode", help="Exit code 4 when something would change or differs.")
]

SCHEMA_VERSION = 1


def register(app: typer.Typer) -> None:
    """Add the commands that come before a fleet to the app."""
    app.command("plan")(plan)
    app.command("launch")(launch)


def register_removal(app: typer.Typer) -> None:
    """Add the commands that end a fleet to the app."""
    app.command("destroy")(destroy)
    app.command("sweep")(sweep)


# plan


def plan(
    fleet: Fleet,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Have ECS check RunInstances too (DryRun), which makes nothing.")
    ] = False,
    json: Json = False,
    detailed_exitcode: DetailedExitcode = False,
) -> None:
    """Show what a launch would do, what stands in its way, how long it takes and what it costs. Changes nothing."""
    from generator.fleet import opening, planning  # noqa: PLC0415 - it brings the cloud's SDK

    opened = opening.read(fleet)
    found = planning.review(opening.connect(opened.spec), opened, dry_run=dry_run)
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
    if any(one.more for one in found.uses):
        console.out("\nquotas of the account\n")
        rows = [(one.what, *(_number(value) for value in (one.in_use, one.more, one.limit))) for one in found.uses]
        console.table(("what", "in use", "more", "limit"), rows)
    if found.estimate:
        console.out("\nbilled by the hour, when all is there\n")
        console.table(("what", "count", "an hour", "note"), [_cost(item) for item in found.estimate.items])
    if found.has_errors:
        console.say(f"✗ {found.fleet} cannot be launched as it is")


def _show_plan(plan: Plan) -> None:
    if plan.calls:
        _show_calls(plan.calls)
    if plan.removals:
        console.out("\nnot wanted any more; a launch removes it only with --remove\n")
        _show_calls(plan.removals)
    if plan.drift:
        console.out("\ndiffers from the file, and a launch leaves it\n")
        columns = ("resource", "what", "is", "in the file", "remedy")
        console.table(columns, [(one.resource, one.what, one.found, one.wanted, one.remedy) for one in plan.drift])
    console.say(f"kept: {plan.kept_instances:,} instances, {plan.kept_eips:,} EIPs on their private IPs")
    if not plan.is_change:
        console.say("✓ nothing to do")
    elif plan.least_minutes:
        console.say(f"the account's limits of calls a minute make it take {plan.least_minutes:,.0f} min at least")


def _show_calls(calls: Sequence[Call]) -> None:
    console.table(("call", "times", "what"), [(call.api, f"{call.times:,}", call.what) for call in calls])


def _cost(item: Item) -> tuple[str, str, str, str]:
    hourly = "not known" if item.hourly is None else f"{item.hourly:.4f} {item.currency}"
    return item.what, f"{item.count:,}", hourly, item.note


def _number(value: int | None) -> str:
    return "not known" if value is None else f"{value:,}"


# launch


def launch(  # noqa: PLR0917 - options of a command line
    fleet: Fleet,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove what the file does not ask for any more, after asking.")
    ] = False,
    unprotect: Unprotect = False,
    no_checks: Annotated[
        bool, typer.Option("--no-checks", help="Leave out what `plan` checks before anything is spent.")
    ] = False,
    yes: Yes = False,
    state: State = None,
    json: Json = False,
) -> None:
    """Bring a fleet to what its file says: instances, ENIs, EIPs. Done again, it goes on, or changes nothing."""
    from generator.fleet import launch as launches  # noqa: PLC0415 - it brings the cloud's SDK
    from generator.fleet import opening, planning  # noqa: PLC0415
    from generator.fleet.plan import removals  # noqa: PLC0415

    if unprotect and not remove:
        raise UsageError("--unprotect is for what --remove removes", hint="add --remove, or leave both out")
    opened = opening.read(fleet)
    for warning in opened.warnings:
        console.say(str(warning))
    spec = opened.spec

    def warn(cloud: Cloud, compared: Compared | None) -> None:
        for warning in planning.cleared(cloud, opened, compared):
            console.say(str(warning))

    check = None if no_checks else warn
    if remove and not yes:
        gone = launches.compare(spec, user_data=opened.user_data, check=check)[2].remove
        _must_be_unprotected(gone, unprotect=unprotect)
        if gone:
            console.table(("call", "times", "what"), [(one.api, str(one.times), one.what) for one in removals(gone)])
            _agree(f"Remove this from {spec.name}?", "pass --yes, or launch without --remove")
    done = launches.launch(
        spec, user_data=opened.user_data, folder=state, removal=remove, unprotect=unprotect, check=check
    )
    if json:
        console.out_json(
            {
                "schema_version": SCHEMA_VERSION,
                "fleet": spec.name,
                "region": spec.region,
                "run": done.run,
                "resumed": done.resumed,
                "rounds": done.rounds,
                "instances": spec.count,
                "eips": spec.total_eips,
                "writes": done.writes,
                "reads": done.reads,
            }
        )
    changed = f"{done.writes} changes" if done.writes else "nothing to change"
    console.say(f"✓ {spec.name}: {spec.count} instances, {spec.total_eips} EIPs ({changed}, {done.reads} reads)")


# destroy


def destroy(  # noqa: PLR0917 - options of a command line
    fleet: Fleet,
    keep_eips: Annotated[
        bool, typer.Option("--keep-eips", help="Keep the EIPs, for the next launch. They are billed meanwhile.")
    ] = False,
    unprotect: Unprotect = False,
    yes: Yes = False,
    state: State = None,
    json: Json = False,
) -> None:
    """Remove all that a fleet has: EIPs, instances, ENIs, the security group that was made for it."""
    from generator.fleet import destroy as removal  # noqa: PLC0415 - it brings the cloud's SDK
    from generator.spec.fleet import load  # noqa: PLC0415

    spec = load(fleet)
    gone = removal.preview(spec.name, spec.region, keep_eips=keep_eips)
    _must_be_unprotected(gone, unprotect=unprotect)
    if gone and not yes:
        console.say(f"{spec.name} in {spec.region} has: {_counts(gone)}")
        _agree(f"Remove {'all but the EIPs' if keep_eips else 'all'} of {spec.name}?", "pass --yes")
    # Without anything to remove too: a run that was cut short may have calls under way.
    done = removal.destroy(spec.name, spec.region, keep_eips=keep_eips, unprotect=unprotect, folder=state)
    if json:
        console.out_json(_removed(spec.name, spec.region, done))
    console.say(f"✓ {spec.name}: {f'removed {_counts(done.removed)}' if done.removed else 'nothing was there'}")


def _must_be_unprotected(gone: Removal, *, unprotect: bool) -> None:
    """Refuse before anybody is asked what the removal itself would refuse."""
    from generator.fleet.protection import refusal  # noqa: PLC0415 - with the cloud's SDK

    if not unprotect and (failure := refusal(gone)):
        raise failure.error()


def _counts(gone: Removal) -> str:
    what = (
        (len(gone.instances), "instance"),
        (len(gone.enis), "secondary ENI"),
        (len(gone.release), "EIP"),
        (len(gone.segments), "EIP segment"),
        (len(gone.unassociate), "EIP association"),
        (len(gone.groups), "security group"),
    )
    return ", ".join(f"{count:,} {name}{'' if count == 1 else 's'}" for count, name in what if count) or "nothing"


def _removed(fleet: str, region: str, done: Report) -> dict[str, Any]:
    gone = done.removed
    return {
        "schema_version": SCHEMA_VERSION,
        "fleet": fleet,
        "region": region,
        "run": done.run,
        "instances": list(gone.instances),
        "enis": list(gone.enis),
        "eips_released": list(gone.release),
        "eip_segments_released": list(gone.segments),
        "eips_unassociated": list(gone.unassociate),
        "security_groups": list(gone.groups),
        "writes": done.writes,
        "reads": done.reads,
    }


def _agree(question: str, otherwise: str) -> None:
    """Ask on stderr; `UsageError` where nobody can answer, `MultieipError` for a no."""
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked here", hint=otherwise)
    if not typer.confirm(question, err=True):
        raise MultieipError("nothing was removed", hint=otherwise)


# sweep


def sweep(  # noqa: PLR0917 - options of a command line
    region: Annotated[
        str,
        typer.Option(
            "--region",
            metavar="REGION",
            envvar=["ALIBABA_CLOUD_REGION_ID", "ALICLOUD_REGION"],
            help="Region to look through.",
        ),
    ],
    fleets: Annotated[
        list[str] | None, typer.Argument(metavar="[FLEET]...", help="Fleets that are in use: what is theirs stays.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what belongs to no fleet.")] = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="With --dry-run: exit code 4 when there is something.")
    ] = False,
    unprotect: Unprotect = False,
    yes: Yes = False,
    state: State = None,
    json: Json = False,
) -> None:
    """Find what multieip made and no fleet of those named owns, with its age and cost; remove it after asking."""
    from generator.fleet import orphans as ages  # noqa: PLC0415 - it brings the cloud's SDK
    from generator.fleet import sweep as sweeps  # noqa: PLC0415
    from generator.spec.fleet import load  # noqa: PLC0415

    known = {load(one).name for one in fleets or ()}
    cloud = ages.connect(region)
    found = sweeps.find(cloud, known)
    rows = ages.listed(cloud, found)
    if json:
        console.out_json(
            {"schema_version": SCHEMA_VERSION, "region": region, "orphans": [one.to_json() for one in rows]}
        )
    elif rows:
        console.table(ages.COLUMNS, [one.row() for one in rows])
    if not rows:
        console.say(f"✓ nothing in {region} that belongs to no fleet")
        return
    if dry_run:
        raise typer.Exit(ExitCode.CHANGES if detailed_exitcode else ExitCode.OK)
    _must_be_unprotected(found.removal, unprotect=unprotect)
    if not yes:
        _agree(f"Remove these {len(rows)} things for good?", "pass --yes, or --dry-run to look only")
    done = sweeps.remove(found, region, unprotect=unprotect, folder=state)
    console.say(f"✓ removed {_counts(done.removed)}")
