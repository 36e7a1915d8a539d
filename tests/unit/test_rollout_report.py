"""The reports of a rollout: lines, JUnit, and the page as a browser has it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from generator.fleet.rollout import report
from generator.fleet.topology_svg import svg
from generator.run import find
from tests.unit.test_rollout_plan import ALL, WANTED, fleet

HEAD = {"schema_version": 1, "fleet": "web", "run": "web.1"}
NASTY = '<script>alert(1)</script>&"%\n::error::x'


def events() -> list[dict[str, Any]]:
    """Return the events of a rollout of two instances, of which one fails."""
    found: list[dict[str, Any]] = [
        {"event": "begun", "image": "new", "waves": [[1], [2]], "at_once": 1, "matching": [], "protected": []},
        {"event": "gate", "gate": "guest is ready", "name": "web-001", "instance": "i-3", "passed": True, "detail": "",
         "seconds": 1.5},
        {"event": "moved", "name": "web-001", "eip": "198.18.0.1", "by": "ENI", "outage": 1.25},
        {"event": "moved", "name": "web-001", "eip": "198.18.0.2", "by": "EIP", "outage": None},
        {"event": "instance", "name": "web-001", "state": "replaced", "why": "", "old": "i-1", "new": "i-3",
         "begun": 100.0, "moved": 102.0, "ended": 103.0},
        {"event": "wave", "wave": 1, "passed": True, "why": "", "begun": 100.0},
        {"event": "gate", "gate": "own", "name": "web-002", "instance": "i-4", "passed": False, "detail": NASTY,
         "seconds": 2.0},
        {"event": "instance", "name": "web-002", "state": "failed", "why": NASTY, "old": "i-2", "new": "i-4",
         "begun": 104.0, "moved": 0.0, "ended": 108.0},
        {"event": "wave", "wave": 2, "passed": False, "why": NASTY, "begun": 104.0},
        {"event": "waits", "for": "failed", "why": NASTY},
        {"event": "ended", "state": "cancelled", "why": "a person asked for it", "replaced": 1},
    ]  # fmt: skip
    return [{**HEAD, "time": 100.0 + number, **event} for number, event in enumerate(found)]


def test_a_person_reads_what_happened_in_single_lines() -> None:
    lines = [text for event in events() if (text := report.line(event))]
    assert all("\n" not in text for text in lines)
    assert "✓ web-001: i-1 → i-3 (3.0 s)" in lines
    assert "  198.18.0.1 moved with its ENI: away for 1.25 s" in lines
    assert lines[-1] == "✗ cancelled: a person asked for it"


def test_junit_has_each_gate_and_why_it_does_not_pass() -> None:
    suite = ElementTree.fromstring(report.junit(events()))
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [case.get("classname") for case in suite] == ["web-001", "web-002"]
    failure = suite.find("./testcase/failure")
    assert failure is not None
    assert "<script>" in str(failure.get("message"))


def page() -> str:
    from generator.fleet.picture import picture

    shown = svg(picture(WANTED, fleet(*ALL)))
    return report.html(events(), shown, shown)


def test_the_page_stands_alone_and_escapes_what_it_is_told() -> None:
    text = page()
    assert "<script" not in text
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)
    assert text.count("<svg") == 2
    assert "198.18.0.1" in text
    assert "1.25 s" in text
    assert "not measured" in text


@pytest.mark.skipif(not find("chromium"), reason="chromium is not installed (apt-get install chromium)")
def test_a_browser_shows_the_page_without_a_word_in_its_console(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(), encoding="utf-8")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    chromium = ["chromium", "--headless", *sandbox, "--disable-gpu", "--enable-logging=stderr", "--v=0"]

    def shown(path: Path) -> subprocess.CompletedProcess[str]:
        argv = [*chromium, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)

    done = shown(file)
    assert done.returncode == 0, done.stderr
    assert "Rollout of web: <span" in done.stdout
    assert ":CONSOLE" not in done.stderr, done.stderr
    # It would be seen.
    file.write_text(page().replace("</body>", "<script>console.error('a word')</script></body>"), encoding="utf-8")
    assert "a word" in shown(file).stderr
