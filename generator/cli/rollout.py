"""`multieip rollout`: change a fleet in waves, and keep its EIPs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from generator import console
from generator.cli import rollout_reports
from generator.cli.fleet import Fleet, Json, State, Yes
from generator.cli.rollout_reports import NO_REPORTS, CodeQuality, Html, Junit, Links, Reports, Summary, plain
from generator.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from generator.fleet.rollout.plan import Plan
    from generator.fleet.rollout.rolling import Work
    from generator.fleet.rollout.values import State as Standing

Database = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="URL",
        envvar="MULTIEIP_ENGINE",
        help="Keep runs in PostgreSQL (postgresql://…), so that several machines share them.",
    ),
]
Events = Annotated[bool, typer.Option("--json", help="Write events as JSON, a line each.")]
NoProbe = Annotated[bool, typer.Option("--no-probe", help="Do not ask EIPs from this machine.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = typer.Typer(help="Replace a fleet's instances in waves; its EIPs and private IPs stay.")
    for name, command in (
        ("start", start),
        ("status", status),
        ("watch", watch),
        ("pause", pause),
        ("resume", resume),
        ("cancel", cancel),
        ("rollback", rollback),
        ("work", work),
        ("history", history),
    ):
        group.command(name)(command)
    app.add_typer(group, name="rollout", no_args_is_help=True)


def start(  # noqa: PLR0917 - options of a command line
    fleet: Fleet,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be done, and end.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Replace instances that match the file as well.")] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Let go what the file does not ask for any more, EIPs included.")
    ] = False,
    no_probe: NoProbe = False,
    yes: Yes = False,
    state: State = None,
    engine: Database = None,
    json: Events = False,
    junit: Junit = None,
    html: Html = None,
    summary: Summary = None,
    code_quality: CodeQuality = None,
    links: Links = None,
) -> None:
    """Bring a fleet to what its file says, wave by wave; go on with one that was cut short."""
    from generator.fleet import opening  # noqa: PLC0415 - it brings the cloud's SDK
    from generator.fleet.rollout import rolling  # noqa: PLC0415

    opened = opening.read(fleet)
    order = rolling.order_of(opened.spec, probing=not no_probe, every=every, removal=remove)
    if plan or not yes:
        found = rolling.preview(opened.spec, order, user_data=opened.user_data)
        if plan and json:
            console.out_json(found.to_json())
        else:
            _show(found)
        if plan:
            return
        if found.is_change:
            _ask(found)
    work = _work(opened.spec, state, engine, json=json)
    reports = Reports(junit, html, summary, code_quality, links)
    _finish(work, rolling.start(opened.spec, order, work, user_data=opened.user_data), fleet, reports)


def status(fleet: Fleet, state: State = None, engine: Database = None, json: Json = False) -> None:
    """Show how the last rollout of a fleet stands."""
    from dataclasses import asdict  # noqa: PLC0415 - with the engine

    work = _of(fleet, state, engine)
    with work.desk() as desk:
        last = desk.last()
    if json:
        console.out_json({"run": last.run, "over": last.is_over, "state": asdict(last.state) if last.state else None})
    elif last.state is None:
        console.out(f"{last.run}: {plain(last.why) or 'it has not begun yet'}\n")
    else:
        rows = [(key.replace("_", " "), plain(str(value))) for key, value in asdict(last.state).items() if value]
        console.table(("", ""), rows)


def watch(  # noqa: PLR0917 - options of a command line
    fleet: Fleet,
    state: State = None,
    engine: Database = None,
    json: Events = False,
    junit: Junit = None,
    html: Html = None,
    summary: Summary = None,
    code_quality: CodeQuality = None,
    links: Links = None,
) -> None:
    """Show what the last rollout did, and does, until it ends or waits for a person."""
    from generator.fleet.rollout import rolling  # noqa: PLC0415 - with the engine

    work = _of(fleet, state, engine, json=json)
    with work.desk() as desk:
        stands = rolling.follow(desk, desk.last().run, work.told)
    _finish(work, stands, fleet, Reports(junit, html, summary, code_quality, links))


def pause(fleet: Fleet, state: State = None, engine: Database = None) -> None:
    """Have a rollout wait before it begins anything new."""
    _say(fleet, "pause", state, engine)


def resume(  # noqa: PLR0917 - options of a command line
    fleet: Fleet,
    state: State = None,
    engine: Database = None,
    json: Events = False,
    junit: Junit = None,
    html: Html = None,
    summary: Summary = None,
    code_quality: CodeQuality = None,
    links: Links = None,
) -> None:
    """Go on with a rollout that waits, or whose process has ended; what failed is tried again."""
    from generator.fleet.rollout import rolling  # noqa: PLC0415 - with the engine

    work = _of(fleet, state, engine, json=json)
    reports = Reports(junit, html, summary, code_quality, links)
    if rolling.is_attended(work):
        _say(fleet, "resume", state, engine, json=json, reports=reports)
    else:
        _finish(work, rolling.resume(work), fleet, reports)


def cancel(fleet: Fleet, state: State = None, engine: Database = None, json: Events = False) -> None:
    """End a rollout: what is replaced stays so, the rest stays as it is."""
    _say(fleet, "cancel", state, engine, json=json)


def rollback(
    fleet: Fleet,
    yes: Yes = False,
    state: State = None,
    engine: Database = None,
    json: Events = False,
) -> None:
    """Go back: to old instances that are still there, else by another rollout, to the image and type before."""
    if not yes:
        _confirm(f"take the last rollout of {fleet} back?")
    _say(fleet, "rollback", state, engine, json=json)


def work(
    fleet: Fleet,
    engine: Annotated[
        str,
        typer.Option(
            "--engine", metavar="URL", envvar="MULTIEIP_ENGINE", help="The PostgreSQL that the rollout is in."
        ),
    ],
    state: State = None,
    json: Events = False,
) -> None:
    """Carry out a rollout together with other processes, here or elsewhere, and take over what dead ones left."""
    from generator.fleet.rollout import rolling  # noqa: PLC0415 - with the engine

    mine = _of(fleet, state, engine, json=json)
    _finish(mine, rolling.work_along(mine), fleet)


def history(  # noqa: PLR0917 - options of a command line
    fleet: Fleet,
    run: Annotated[str, typer.Option("--run", metavar="RUN", help="Which one the reports are of.  [the last]")] = "",
    state: State = None,
    engine: Database = None,
    json: Json = False,
    junit: Junit = None,
    html: Html = None,
    summary: Summary = None,
    code_quality: CodeQuality = None,
    links: Links = None,
) -> None:
    """Show the rollouts of a fleet that are known here, and write reports of one."""
    work = _of(fleet, state, engine)
    with work.desk() as desk:
        found = desk.history()
        chosen = run or (found[0].run if found else "")
    if json:
        shown = [
            {
                "run": one.run,
                "begun": one.begun.isoformat(timespec="seconds"),
                "over": one.is_over,
                "state": one.state.phase if one.state else None,
                "replaced": one.state.replaced if one.state else 0,
                "why": one.why or (one.state.why if one.state else ""),
            }
            for one in found
        ]
        console.out_json({"fleet": work.fleet, "rollouts": shown})
    else:
        rows = [
            (
                one.run,
                f"{one.begun:%Y-%m-%d %H:%M:%S}",
                one.state.phase if one.state else "-",
                str(one.state.replaced if one.state else 0),
                plain(one.why or (one.state.why if one.state else "")),
            )
            for one in found
        ]
        console.table(("run", "begun (UTC)", "state", "replaced", "why"), rows)
    reports = Reports(junit, html, summary, code_quality, links)
    if chosen:
        rollout_reports.write(work, chosen, reports, fleet)
    elif reports.is_any:
        raise UsageError(f"no rollout of {work.fleet} is known here", hint="`multieip rollout start` begins one")


# What they share


def _of(fleet: str, state: Path | None, engine: str | None, *, json: bool = False) -> Work:
    from generator.spec import fleet as specs  # noqa: PLC0415 - models that --help does not need

    return _work(specs.load(specs.resolve(fleet)), state, engine, json=json)


def _work(spec: Any, state: Path | None, engine: str | None, *, json: bool) -> Work:
    from generator.fleet.launch import default_settings  # noqa: PLC0415 - with the engine
    from generator.fleet.rollout.rolling import Work  # noqa: PLC0415

    if engine is not None and not engine.startswith(("postgresql://", "postgresql+psycopg://")):
        raise UsageError("--engine is not the URL of a PostgreSQL database", hint="postgresql://USER@HOST/DATABASE")
    settings = default_settings(database=engine)
    return Work(spec.name, spec.region, state, settings, rollout_reports.teller(json=json))


def _say(
    fleet: str,
    word: str,
    state: Path | None,
    engine: str | None,
    *,
    json: bool = False,
    reports: Reports = NO_REPORTS,
) -> None:
    from generator.fleet.rollout import rolling  # noqa: PLC0415 - with the engine

    work = _of(fleet, state, engine, json=json)
    stands = rolling.send(work, word)
    if stands is None:
        console.say(f"the rollout of {work.fleet} hears it before it begins anything new")
        if reports.is_any:
            console.say(f"  → `multieip rollout watch {fleet}` with the same options writes its reports when it ends")
    else:
        _finish(
            work, stands, fleet, reports, wanted={"cancel": "cancelled", "rollback": "rolled-back"}.get(word, "done")
        )


def _finish(work: Work, stands: Standing, fleet: str, reports: Reports = NO_REPORTS, *, wanted: str = "done") -> None:
    """Write reports, say what comes next, and end with the exit code of how a rollout stands."""
    rollout_reports.write(work, stands.run, reports, fleet)
    if stands.waits:
        verbs = "`multieip rollout resume`, `rollback` or `cancel`"
        console.say(f"it waits: {plain(stands.why)}\n  → {verbs} {work.fleet} says how to go on")
        raise typer.Exit(ExitCode.FAILED if stands.phase == "failed" else ExitCode.CHANGES)
    if stands.phase not in ("done", wanted):
        raise typer.Exit(ExitCode.FAILED)


def _show(found: Plan) -> None:
    by_slot = {change.slot: change for change in found.changes}
    rows = [
        (
            str(number),
            change.name,
            ", ".join(change.why),
            change.how,
            str(change.moved),
            str(change.rebound),
            f"~{change.outage:.0f} s",
        )
        for number, wave in enumerate(found.waves, 1)
        for change in (by_slot[slot] for slot in wave)
    ]
    if rows:
        console.table(("wave", "instance", "differs in", "how", "ENIs moved", "EIPs bound anew", "EIPs away"), rows)
    for why in found.blocked:
        console.say(f"✗ {why}")
    if found.protected:
        console.say(f"protected, and left as they are: {', '.join(map(str, found.protected))}")
    if found.rest.create:
        console.say(f"launched after the last wave: {len(found.rest.create)} instances")
    if found.rest.remove:
        console.say(f"removed after the last wave (--remove): {len(found.rest.remove.instances)} instances")
    console.say(f"{len(found.matching)} instances match already; at most {found.at_once} are replaced at once")
    if found.minutes:
        console.say(f"the account's limits of calls a minute make it take {found.minutes:,.0f} min at least")
    if not found.is_change:
        console.say("✓ nothing to do")


def _ask(found: Plan) -> None:
    _confirm(f"replace {len(found.changes)} instances of {found.fleet}?")


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked", hint="--yes does it without asking")
    if not typer.confirm(question, err=True):
        raise typer.Exit(ExitCode.FAILED)
