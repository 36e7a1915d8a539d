"""Where a rollout's reports go: files that options name, and what GitHub Actions and GitLab CI look for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from generator import console
from generator.errors import MultieipError, UsageError

if TYPE_CHECKING:
    from generator.fleet.rollout.mishaps import SpecFile
    from generator.fleet.rollout.rolling import Work


# What a link to a job's artifacts, or to a line of a file, is made of.
_OF_JOB = ("CI_JOB_URL", "CI_PROJECT_URL", "CI_COMMIT_SHA")


def _in_gitlab(file: Path | None) -> Path | None:
    # Said before a rollout of hours, not after it.
    lacking = [f"${name}" for name in _OF_JOB if not os.environ.get(name)]
    if file and lacking:
        raise UsageError(
            "--gitlab-links is for jobs of GitLab CI", hint=f"leave it out: {', '.join(lacking)} is not set here"
        )
    return file


Junit = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write the gates as JUnit.")]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write a report, one page that stands alone.")
]
Summary = Annotated[
    Path | None, typer.Option("--summary", metavar="FILE", help="Write waves, instances and failed gates as Markdown.")
]
CodeQuality = Annotated[
    Path | None,
    typer.Option("--code-quality", metavar="FILE", help="Write what went wrong as GitLab's code quality report."),
]
Links = Annotated[
    Path | None,
    typer.Option(
        "--gitlab-links",
        metavar="FILE",
        callback=_in_gitlab,
        help="Write links for the page of this job of GitLab CI, as its annotations report.",
    ),
]


@dataclass(frozen=True)
class Reports:
    """The files that are asked for."""

    junit: Path | None = None
    html: Path | None = None
    summary: Path | None = None
    code_quality: Path | None = None
    links: Path | None = None

    @property
    def is_any(self) -> bool:
        """Whether one is asked for."""
        return any(getattr(self, one.name) for one in fields(self))


NO_REPORTS = Reports()


def plain(text: str) -> str:
    """Return text as one line that neither a terminal nor a CI system takes for commands."""
    from generator.fleet.rollout import github  # noqa: PLC0415 - with the engine
    from generator.fleet.topology import printable  # noqa: PLC0415

    return github.plain(printable(text))


def teller(*, json: bool = False) -> Callable[[list[dict[str, Any]]], None]:
    """Return what writes events as JSON, or says them to a person; in GitLab CI each wave in a section."""
    from generator.fleet.rollout import github, gitlab, report  # noqa: PLC0415 - with the engine

    sections = gitlab.Sections() if os.environ.get("GITLAB_CI") == "true" else None

    def tell(portion: list[dict[str, Any]]) -> None:
        for event in portion:
            if json:
                console.out(console.json_text(event) + "\n")
                continue
            text = github.plain(report.line(event))
            for line in sections.around(event, text) if sections else filter(None, [text]):
                console.say(line)

    return tell


def write(work: Work, run: str, reports: Reports, fleet: str) -> None:
    """Write the reports of a rollout, and what GitHub Actions takes up by itself; `fleet` names the fleet's file."""
    step = os.environ.get("GITHUB_STEP_SUMMARY")
    if not (reports.is_any or step):
        return
    from generator.fleet.rollout import github, gitlab, markdown, mishaps, report  # noqa: PLC0415 - with the engine
    from generator.spec import fleet as specs  # noqa: PLC0415

    with work.desk() as desk:
        events = [event for portion in desk.events(run, patience=0) for event in portion]
        before, after = desk.pictures(run)
    if not events:
        raise UsageError(f"nothing is known of the rollout {run}", hint="`multieip rollout history` shows what is")
    file = spec_file(specs.resolve(fleet), os.environ)
    found = mishaps.mishaps(events, file)
    if reports.junit:
        _put(reports.junit, report.junit(events))
    if reports.html:
        _put(reports.html, report.html(events, before, after).encode())
    if reports.summary:
        _put(reports.summary, markdown.summary(events).encode())
    if reports.code_quality:
        _put_json(reports.code_quality, gitlab.code_quality(found, work.fleet, file))
    if reports.links:
        page = below(reports.html, root_of(reports.html, os.environ)) if reports.html else None
        _put_json(reports.links, gitlab.links(found, file, page, os.environ))
    if step:
        _add(Path(step), markdown.summary(events))
        for text in github.commands(found, file):
            console.say(text)


def _put(target: Path, content: bytes) -> None:
    from generator.image.cache import put_aside  # noqa: PLC0415 - with the engine

    with put_aside(target) as aside:
        aside.write_bytes(content)


def _add(target: Path, text: str) -> None:
    try:
        with target.open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise MultieipError(
            f"cannot write {target}: {error.strerror}", hint="$GITHUB_STEP_SUMMARY names it; unset it elsewhere"
        ) from error


def _put_json(target: Path, value: Any) -> None:
    _put(target, (console.json_text(value, indent=2) + "\n").encode())


def spec_file(path: Path, environment: Mapping[str, str]) -> SpecFile:
    """Return a fleet's file with its path in the repository; one from outside has its name alone."""
    from generator.fleet.rollout.mishaps import SpecFile  # noqa: PLC0415 - with the engine
    from generator.spec import source  # noqa: PLC0415

    document, _ = source.read(path)
    return SpecFile(below(path, root_of(path, environment)) or path.name, document)


def root_of(path: Path, environment: Mapping[str, str]) -> Path:
    """Return the folder that a CI system has the repository in, else the nearest one above a path that git knows."""
    for name in ("CI_PROJECT_DIR", "GITHUB_WORKSPACE"):
        if named := environment.get(name):
            return Path(named)
    above = path.absolute().parents
    return next((folder for folder in above if (folder / ".git").exists()), Path.cwd())


def below(path: Path, root: Path) -> str | None:
    """Return a path as seen from a folder that it is in, with `/`; None for one that is elsewhere."""
    for one, top in ((path.absolute(), root.absolute()), (path.resolve(), root.resolve())):
        shown = Path(os.path.normpath(one))
        if shown.is_relative_to(top):
            return shown.relative_to(top).as_posix()
    return None
