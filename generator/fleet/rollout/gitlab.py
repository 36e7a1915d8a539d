"""A rollout as GitLab shows it: code quality, links on the job's page, sections of the job's log. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from textwrap import shorten
from typing import Any
from urllib.parse import quote

from generator import console
from generator.fleet.rollout.mishaps import Mishap, SpecFile
from generator.fleet.rollout.report import Event
from generator.image.cache import key_of

# What GitLab takes: links in a list, and bytes of a file, of which some are for what is around this list.
# It refuses all of a file of more (80 KiB): https://docs.gitlab.com/administration/instance_limits/
_MOST_LINKS, _ROOM = 1000, 78_000
# Characters of a label: they stand in a narrow column beside the log.
_LABEL = 200
# What is the work of a wave or of the way back, and what is before it and after it.
_WORK = ("gate", "moved", "instance")
_BORDERS = ("begun", "wave", "waits", "resumed", "rolling-back", "ended")


def code_quality(found: Sequence[Mishap], fleet: str, file: SpecFile) -> list[dict[str, Any]]:
    """Return mishaps for `artifacts:reports:codequality`.

    https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format. GitLab shows one of those that share a
    fingerprint, and takes those that the target branch has as well for known.
    """
    return [
        {
            "description": " ".join(one.text.split()),
            "check_name": f"multieip-{one.check}",
            "fingerprint": key_of(fleet, one.check, *one.key),
            "severity": one.severity,
            "location": {"path": file.path, "lines": {"begin": one.line}},
        }
        for one in found
    ]


def links(found: Sequence[Mishap], file: SpecFile, page: str | None, job: Mapping[str, str]) -> dict[str, Any]:
    """Return links for `artifacts:reports:annotations`: to the HTML page, and to what mishaps are about.

    `page` is the path of the page below the project's folder, `job` has the variables that GitLab gives a job.
    https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsannotations
    """
    blob = f"{job['CI_PROJECT_URL']}/-/blob/{job['CI_COMMIT_SHA']}/{quote(file.path)}"
    wrong = list(_fitting(_link(shorten(one.text, _LABEL, placeholder="…"), f"{blob}#L{one.line}") for one in found))
    left_out = "" if len(wrong) == len(found) else f": the worst {len(wrong)} of {len(found)}"
    sections = {
        "Rollout": [_link("report", f"{job['CI_JOB_URL']}/artifacts/file/{quote(page)}")] if page else [],
        f"What went wrong{left_out}": wrong,
    }
    return {name: section for name, section in sections.items() if section}


def _fitting(found: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield links while there is room for them."""
    room = _ROOM
    for one in islice(found, _MOST_LINKS):
        # As deep as it is in the file.
        room -= len(console.json_text([[one]], indent=2).encode())
        if room < 0:
            return
        yield one


def _link(label: str, url: str) -> dict[str, Any]:
    return {"external_link": {"label": label, "url": url}}


class Sections:
    """Puts the lines of each wave into a section of the job's log, closed until somebody opens it.

    The verdict of a wave stands behind its section. https://docs.gitlab.com/ci/jobs/job_logs/
    """

    def __init__(self) -> None:
        self._title, self._begun = "", 0.0
        self._wave, self._count = 1, 0
        self._open = ""

    def around(self, event: Event, text: str) -> Iterator[str]:
        """Yield what begins or ends a section before an event, and its line, which may be empty."""
        kind = event["event"]
        if kind in _BORDERS:
            yield from self._close(event["time"])
            self._begun = event["time"]
            if kind == "wave":
                self._wave = event["wave"] + 1
            if kind == "rolling-back":
                self._title = "the way back"
        elif kind in _WORK and text and not self._open:
            yield self._begin(self._title or f"wave {self._wave}")
        if text:
            yield text

    def _close(self, moment: float) -> Iterator[str]:
        if self._open:
            yield f"\x1b[0Ksection_end:{moment:.0f}:{self._open}\r\x1b[0K"
            self._open = ""

    def _begin(self, title: str) -> str:
        # Names are of letters, digits, _, . and -, and each is new in its log.
        self._count += 1
        self._open = f"multieip_{self._count}"
        return f"\x1b[0Ksection_start:{self._begun:.0f}:{self._open}[collapsed=true]\r\x1b[0K{title}"
