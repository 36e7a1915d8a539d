"""What GitHub and GitLab are told of a rollout, however hostile what gates said is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from markdown_it import MarkdownIt

from generator import console
from generator.cli.rollout_reports import spec_file, teller
from generator.fleet.rollout import github, gitlab, markdown, report
from generator.fleet.rollout.mishaps import Mishap, SpecFile, mishaps
from generator.spec import source

HEAD = {"schema_version": 1, "fleet": "web", "run": "web.1"}
# Commands of GitHub, a section and colours of GitLab's log, Markdown, HTML.
NASTY = (
    "50% bad, a:b\r\n::error file=x::y\n::stop-commands::z\n\x1b[31mred\n"
    "section_start:1:evil\r\x1b[0Kevil ##[add-mask]web\n"
    "| a | `b` ![i](https://evil.example/x) <script>alert(1)</script>"
)
SPEC = """\
# A fleet.
version: 1
strategy:
  canary: 1
  ready_timeout: 10m
  on_failure: pause
  gates:
    - after: launch
      name: disk
      command: ["true"]
    - name: own
      command: ["false"]
  hooks:
    before_wave:
      url: https://chat.example.com
    drain:
      command: ["false"]
"""
# What the page on the format demands: https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
CODE_QUALITY = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "additionalProperties": False,
        "properties": {
            "description": {"type": "string", "minLength": 1, "pattern": "^[^\\u0000-\\u001f]+$"},
            "check_name": {"type": "string", "minLength": 1},
            "fingerprint": {"type": "string", "pattern": "^[0-9a-f]+$"},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "additionalProperties": False,
                "properties": {
                    "path": {"type": "string", "pattern": "^(?!\\./|/|\\.\\.)."},
                    "lines": {
                        "type": "object",
                        "required": ["begin"],
                        "additionalProperties": False,
                        "properties": {"begin": {"type": "integer", "minimum": 1}},
                    },
                },
            },
        },
    },
}
# https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsannotations
LINKS = {
    "type": "object",
    "additionalProperties": {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["external_link"],
            "additionalProperties": False,
            "properties": {
                "external_link": {
                    "type": "object",
                    "required": ["label", "url"],
                    "additionalProperties": False,
                    "properties": {"label": {"type": "string"}, "url": {"type": "string", "pattern": "^https://"}},
                }
            },
        },
    },
}
JOB = {
    "CI_PROJECT_URL": "https://gitlab.example.com/ops/web",
    "CI_COMMIT_SHA": "abc",
    "CI_JOB_URL": "https://gitlab.example.com/ops/web/-/jobs/7",
}
# What GitLab's log takes for the border of a section.
BORDER = re.compile(r"section_(start|end):(\d+):([a-zA-Z0-9_.-]+)(\[\w+=\w+\])?\r\x1b\[0K")


def told(*found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return events, one a second."""
    return [{**HEAD, "time": 100.0 + number, **event} for number, event in enumerate(found)]


def gate(name: str, gate: str, detail: str = "") -> dict[str, Any]:
    return {"event": "gate", "gate": gate, "name": name, "instance": "i-9", "passed": not detail, "detail": detail,
            "seconds": 1.5}  # fmt: skip


def instance(name: str, state: str, why: str = "") -> dict[str, Any]:
    return {"event": "instance", "name": name, "state": state, "why": why, "old": "i-1", "new": "i-9",
            "begun": 100.0, "moved": 0.0, "ended": 103.0}  # fmt: skip


def wave(number: int, why: str = "") -> dict[str, Any]:
    return {"event": "wave", "wave": number, "passed": not why, "why": why, "begun": 100.0}


def waits(why: str, what: str = "failed") -> dict[str, Any]:
    return {"event": "waits", "for": what, "why": why}


def ended(state: str, why: str = "") -> dict[str, Any]:
    return {"event": "ended", "state": state, "why": why, "replaced": 0}


BEGUN = {"event": "begun", "image": "new", "waves": [[1], [2]], "at_once": 1, "matching": [], "protected": []}
STOPPED = f"web-001 failed: own: {NASTY}"
CANARY = told(
    BEGUN,
    gate("web-001", "guest is ready"),
    gate("web-001", "own", NASTY),
    instance("web-001", "failed", f"own: {NASTY}"),
    wave(1, STOPPED),
    waits(STOPPED),
)


@pytest.fixture
def file() -> SpecFile:
    document, findings = source.parse(SPEC, "fleets/web.yaml")
    assert not findings
    return SpecFile("fleets/web.yaml", document)


def shown(found: tuple[Mishap, ...]) -> list[tuple[str, str, int]]:
    return [(one.check, one.severity, one.line) for one in found]


# What counts as a mishap, how bad it is, and where


def test_a_canary_that_failed_has_a_reason_an_instance_and_a_gate(file: SpecFile) -> None:
    found = mishaps(CANARY, file)
    assert shown(found) == [("rollout", "critical", 6), ("instance", "critical", 11), ("gate", "major", 11)]
    assert all(character.isprintable() or character == "\n" for one in found for character in one.text)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("own", 11),
        ("disk", 8),
        ("hook drain", 16),
        ("hook after_move", 3),
        ("every EIP answers", 5),
        ("no such gate", 5),
    ],
)
def test_a_gate_is_where_the_file_has_it_or_nearby(file: SpecFile, name: str, line: int) -> None:
    assert file.line_of_gate(name) == line


@pytest.mark.parametrize(
    ("text", "line"), [("# A comment.\nversion: 1\n", 1), ("version: 1\nstrategy: [no, mapping]\n", 2), ("", 1)]
)
def test_what_the_file_does_not_have_is_at_the_strategy_or_on_its_first_line(text: str, line: int) -> None:
    assert SpecFile("x", source.parse(text, "x")[0]).line_of_gate("own") == line


def test_a_failure_that_was_made_good_is_none(file: SpecFile) -> None:
    again = told(*CANARY, {"event": "resumed"}, gate("web-001", "own"), instance("web-001", "replaced"), wave(2))
    assert mishaps(again, file) == ()
    assert mishaps(told(*again, ended("done")), file) == ()
    # Until it is, it counts, and of several tries the last one.
    worse = told(*CANARY, {"event": "resumed"}, gate("web-001", "disk", "full"), instance("web-001", "failed", "disk"))
    assert shown(mishaps(worse, file)) == [("instance", "critical", 8), ("gate", "major", 8)]


def test_an_instance_that_only_went_back_with_the_others_has_no_mishap(file: SpecFile) -> None:
    why = "web-002 failed: no stock"
    found = mishaps(
        told(BEGUN, instance("web-001", "replaced"), wave(1), instance("web-002", "failed", "no stock"), wave(2, why),
             {"event": "rolling-back", "why": why}, instance("web-001", "failed", "rolled back"),
             ended("rolled-back", why)),
        file,
    )  # fmt: skip
    assert shown(found) == [("rollout", "critical", 6), ("instance", "critical", 3)]
    assert [one.text for one in found][1] == "web-002 is back as it was: no stock"


def test_what_needs_a_person_is_the_worst_and_hooks_are_the_least(file: SpecFile) -> None:
    found = mishaps(
        told(BEGUN, gate("web-001", "hook drain", "exit code 1"), instance("web-001", "stuck", "hook drain"),
             {"event": "hook", "hook": "hook before_delete", "passed": False, "why": "no"},
             {"event": "deleted", "instances": ["i-1"], "why": "DependencyViolation"},
             ended("incomplete", "web-001 is not back")),
        file,
    )  # fmt: skip
    assert [(one.check, one.severity) for one in found] == [
        ("instance", "blocker"), ("rollout", "critical"), ("deletion", "major"), ("hook", "minor"), ("hook", "minor"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "last", [waits("wave 1 of 2 is done", "approval"), ended("cancelled", "a person asked for it"),
             ended("rolled-back", "a person asked for it")],
)  # fmt: skip
def test_what_a_person_wants_is_said_and_no_failure(file: SpecFile, last: dict[str, Any]) -> None:
    found = mishaps(told(BEGUN, wave(1), last), file)
    assert [(one.check, one.severity) for one in found] == [("rollout", "info")]
    assert next(github.commands(found, file)).startswith("::notice ")


def test_a_hook_around_a_wave_and_a_bake_are_where_the_file_has_them(file: SpecFile) -> None:
    assert [one.line for one in mishaps(told(BEGUN, waits("hook before_wave: status 500")), file)] == [14]
    assert [one.line for one in mishaps(told(BEGUN, waits("well after wave 1: i-9: no")), file)] == [3]


# GitLab


def test_code_quality_is_what_gitlab_takes(file: SpecFile) -> None:
    found = gitlab.code_quality(mishaps(CANARY, file), "web", file)
    jsonschema.validate(json.loads(json.dumps(found)), CODE_QUALITY)
    assert [one["check_name"] for one in found] == ["multieip-rollout", "multieip-instance", "multieip-gate"]
    assert len({one["fingerprint"] for one in found}) == 3
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate([{**found[0], "severity": "error"}], CODE_QUALITY)


def test_the_same_mishap_has_the_same_fingerprint_whatever_was_said(file: SpecFile) -> None:
    other = told(BEGUN, gate("web-001", "own", "else"), instance("web-001", "failed", "else"), waits("else"))
    before, after = (
        [one["fingerprint"] for one in gitlab.code_quality(mishaps(events, file), "web", file)]
        for events in (CANARY, other)
    )
    assert before == after
    assert not set(before) & {one["fingerprint"] for one in gitlab.code_quality(mishaps(other, file), "dns", file)}


def test_links_lead_to_the_page_and_to_lines_of_the_file(file: SpecFile) -> None:
    found = gitlab.links(mishaps(CANARY, file), file, "out/my report.html", JOB)
    jsonschema.validate(found, LINKS)
    assert [one["external_link"]["url"] for section in found.values() for one in section] == [
        f"{JOB['CI_JOB_URL']}/artifacts/file/out/my%20report.html",
        *(f"{JOB['CI_PROJECT_URL']}/-/blob/abc/fleets/web.yaml#L{line}" for line in (6, 11, 11)),
    ]
    assert gitlab.links((), file, None, JOB) == {}


def many(count: int, detail: str) -> list[dict[str, Any]]:
    """Return events of a rollout in which all instances fail."""
    each = (
        event
        for number in range(count)
        for event in (gate(f"web-{number:04}", "own", detail), instance(f"web-{number:04}", "failed", f"own: {detail}"))
    )
    return told(BEGUN, *each, waits(f"own: {detail}"))


@pytest.mark.parametrize(("count", "detail"), [(50, "x" * 900), (300, "exit code 1"), (1000, NASTY), (1000, "ü" * 500)])
def test_links_are_as_many_as_gitlab_takes_the_worst_first(file: SpecFile, count: int, detail: str) -> None:
    found = mishaps(many(count, detail), file)
    shown = gitlab.links(found, file, "report.html", JOB)
    jsonschema.validate(shown, LINKS)
    # As it is written. GitLab refuses all of a file of more, or a list of more.
    size = len(console.json_text(shown, indent=2).encode())
    assert size <= 81920
    (name, section) = list(shown.items())[-1]
    assert len(section) <= 1000
    assert section[0]["external_link"]["label"].startswith("the rollout waits for a person: own")
    if len(section) == len(found):
        assert name == "What went wrong"
    else:
        assert name == f"What went wrong: the worst {len(section)} of {len(found)}"
        assert size > 70_000


def lines(events: list[dict[str, Any]]) -> list[str]:
    sections = gitlab.Sections()
    return [line for event in events for line in sections.around(event, report.line(event))]


def test_each_wave_is_a_section_of_the_log_and_its_verdict_stands_behind(file: SpecFile) -> None:
    log = lines(told(BEGUN, instance("web-001", "replaced"), wave(1), *CANARY[1:4], wave(2, "no"), waits("no")))
    borders = [(kind, int(when), name) for kind, when, name, _ in BORDER.findall("\n".join(log))]
    (first, second) = borders[0][2], borders[2][2]
    assert first != second
    # It begins when what was before it ended, not when the first thing in it did.
    assert borders == [("start", 100, first), ("end", 102, first), ("start", 102, second), ("end", 106, second)]
    starts = [number for number, line in enumerate(log) if "section_start:" in line and "[collapsed=true]" in line]
    assert [log[number].rpartition("\x1b[0K")[2] for number in starts] == ["wave 1", "wave 2"]
    assert log[starts[0] + 1].startswith("✓ web-001")
    assert [log[number] for number, line in enumerate(log) if line.startswith(("✓ wave", "✗ wave"))] == [
        "✓ wave 1", "✗ wave 2 stops: no",
    ]  # fmt: skip
    assert "section_end:" in log[log.index("✓ wave 1") - 1]


def test_what_a_gate_said_is_no_section_no_colour_and_no_command_of_the_log() -> None:
    log = lines(CANARY)
    assert not [name for _, _, name, _ in BORDER.findall("\n".join(log)) if name == "evil"]
    assert "\x1b" not in re.sub(r"\x1b\[0K", "", "\n".join(log))
    assert not [line for line in log if line.lstrip().startswith("::") or "\n" in line]


def test_the_way_back_is_a_section_and_what_is_quiet_opens_none() -> None:
    log = lines(told(BEGUN, gate("web-001", "own"), wave(1, "no"), {"event": "rolling-back", "why": "no"},
                     instance("web-001", "failed", "rolled back"), ended("rolled-back", "no")))  # fmt: skip
    assert [line.rpartition("\x1b[0K")[2] for line in log if "section_start" in line] == ["the way back"]
    assert log[-1] == "✗ rolled-back: no"


# GitHub


def unescaped(text: str) -> str:
    """Return what GitHub's runner makes of a value."""
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text


def test_annotations_are_a_line_each_with_their_place(file: SpecFile) -> None:
    found = mishaps(CANARY, file)
    said = list(github.commands(found, file))
    for line, one in zip(said, found, strict=True):
        command = re.fullmatch(r"::error file=([^:,]+),line=(\d+),title=([^:,]+)::([^\r\n\x1b]+)", line)
        assert command
        path, number, title, text = map(unescaped, command.groups())
        assert (path, int(number), title, text) == ("fleets/web.yaml", one.line, one.title, one.text)
    assert said[-1].startswith(
        "::error file=fleets/web.yaml,line=11,title=web-001%3A own::web-001 does not pass own: 50%25"
    )
    assert "%0A::error file=x::y" in said[-1]


def test_a_path_cannot_end_a_property() -> None:
    (said,) = github.commands(
        mishaps(told(BEGUN, waits("x")), SpecFile("a,line=9::b.yaml")), SpecFile("a,line=9::b.yaml")
    )
    assert said.startswith("::error file=a%2Cline=9%3A%3Ab.yaml,line=1,")


def read_by_github(line: str) -> str:
    """Return the command that GitHub's runner takes a line for, empty for none: it looks for two forms of them."""
    second = re.match(r"\s*::([a-z-]+)(?: [^\n]*?)?::", line)
    first = re.search(r"##\[([a-z-]+)[^\]]*\]", line)
    return next((found[1] for found in (second, first) if found), "")


def test_what_a_gate_said_is_no_command_of_github(capsys: pytest.CaptureFixture[str]) -> None:
    assert read_by_github("x ##[add-mask]web") == "add-mask"
    assert read_by_github(" ::error file=x::y") == "error"
    teller()(CANARY)
    teller(json=True)(CANARY)
    printed = capsys.readouterr()
    assert "evil # #[add-mask]web" in printed.err
    assert [read_by_github(line) for text in printed for line in text.splitlines() if read_by_github(line)] == []
    # Whoever reads the events has all of it.
    assert [json.loads(line) for line in printed.out.splitlines()] == CANARY


# Markdown


def test_a_summary_is_as_long_as_github_takes() -> None:
    said = markdown.summary([*many(2000, NASTY), *many(2000, NASTY)])
    assert 500_000 < len(said.encode()) < 1_000_000
    body = ElementTree.fromstring(f"<body>{MarkdownIt('commonmark').enable('table').render(said)}</body>")
    for table in body.iter("table"):
        *_, last = table.iter("tr")
        left_out = re.fullmatch(r"… and (\d+) more", last[0].text or "")
        assert left_out
        assert len(list(table.iter("tr"))) - 2 + int(left_out[1]) == 4000


def test_the_summary_has_waves_instances_gates_and_the_longest_outage() -> None:
    moved = {"event": "moved", "name": "web-001", "eip": "198.18.0.1", "by": "ENI", "outage": 1.25}
    said = markdown.summary(told(BEGUN, moved, instance("web-001", "replaced"), wave(1), ended("done")))
    assert said.startswith("### Rollout of web: done\n")
    assert "1 of 1 instances replaced, 4 s, longest outage of an EIP 1.25 s (web.1)" in said
    assert "| 1 | passed |" in said
    assert "| web-001 | replaced | i-1 | i-9 | 1.25 s |" in said
    assert "does not pass" not in said


def test_what_a_gate_said_stays_one_cell_of_text() -> None:
    page = MarkdownIt("commonmark").enable("table").render(markdown.summary(CANARY))
    body = ElementTree.fromstring(f"<body>{page}</body>")
    assert {element.tag for element in body.iter()} == {
        "body", "h3", "p", "table", "thead", "tbody", "tr", "th", "td",
    }  # fmt: skip
    assert body.findtext("h3") == "Rollout of web: waits for a person (failed)"
    tables = [[[cell.text or "" for cell in row] for row in table.iter("tr")] for table in body.iter("table")]
    assert [len(row) for table in tables for row in table] == [2, 2, 5, 5, 3, 3]
    name, gate, why = tables[-1][-1]
    assert (name, gate) == ("web-001", "own")
    assert why.startswith("50% bad, a:b ::error file=x::y")
    assert why.endswith("| a | `b` ![i](https://evil.example/x) <script>alert(1)</script>")


# Paths


def test_the_path_is_the_one_in_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "repository" / "fleets" / "web.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(SPEC)
    (tmp_path / "repository" / ".git").mkdir()
    assert spec_file(file, {}).path == "fleets/web.yaml"
    monkeypatch.chdir(file.parent)
    assert spec_file(Path("web.yaml"), {}).path == "fleets/web.yaml"
    assert spec_file(Path("../fleets/web.yaml"), {"CI_PROJECT_DIR": str(tmp_path)}).path == "repository/fleets/web.yaml"
    (tmp_path / "link").symlink_to(tmp_path / "repository")
    assert spec_file(file, {"GITHUB_WORKSPACE": str(tmp_path / "link")}).path == "fleets/web.yaml"
    assert spec_file(file, {"CI_PROJECT_DIR": "/elsewhere"}).path == "web.yaml"
    assert spec_file(file, {}).line_of_gate("own") == 11
