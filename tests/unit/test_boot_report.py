"""The results of a boot test, as rows, JSON and JUnit, whatever a guest prints."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generator.errors import MultieipError
from generator.image import report
from generator.image.boot import Check

OK = Check("first boot: units are green", "ok", 1.25, "")
FAILED = Check("second boot: it boots", "failed", 600.0, "nobody could log in within 600 s")
SKIPPED = Check("disk: it is clean", "skipped", 0.0, "its root is not ext4")
HOSTILE = '</failure>]]>&lt;&"\x00\x1b[31m\x85\u2028\ufffe\ud800\n\ttab'


def parsed(path: Path, *checks: Check) -> ElementTree.Element:
    report.write_junit(path, "debian-12", checks)
    return ElementTree.parse(path).getroot()


def test_junit_counts_and_names_what_failed_and_what_was_skipped(tmp_path: Path) -> None:
    suite = parsed(tmp_path / "junit.xml", OK, FAILED, SKIPPED)
    assert suite.tag == "testsuite"
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped", "time")} == {
        "tests": "3",
        "failures": "1",
        "skipped": "1",
        "time": "601.2",
    }
    assert [case.get("name") for case in suite] == [OK.name, FAILED.name, SKIPPED.name]
    assert [[(child.tag, child.get("message")) for child in case] for case in suite] == [
        [],
        [("failure", FAILED.detail)],
        [("skipped", SKIPPED.detail)],
    ]


def test_json_has_stable_keys_and_a_verdict() -> None:
    told = json.loads(json.dumps(report.to_json(Path("disk.qcow2"), [OK, SKIPPED])))
    assert (told["schema_version"], told["disk"], told["ok"]) == (1, "disk.qcow2", True)
    assert told["checks"][0] == {"name": OK.name, "state": "ok", "seconds": 1.25, "detail": ""}
    assert report.to_json(Path("disk.qcow2"), [OK, FAILED])["ok"] is False


@pytest.mark.parametrize("state", ["failed", "skipped"])
def test_what_a_hostile_guest_prints_stays_text_in_junit(state: str, tmp_path: Path) -> None:
    case = parsed(tmp_path / "junit.xml", Check(HOSTILE, state, 0.1, HOSTILE))[0]
    assert [child.tag for child in case] == ["failure" if state == "failed" else "skipped"]
    for said in (case.get("name"), case[0].get("message")):
        assert said is not None
        assert said.startswith('</failure>]]>&lt;&"')
        assert said.endswith("tab")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=30))
def test_junit_of_any_text_parses_back(tmp_path: Path, text: str) -> None:
    suite = parsed(tmp_path / "junit.xml", Check(text, "failed", 0.1, text))
    printable = "".join(char if char.isprintable() else " " for char in text)
    assert (suite[0].get("name"), suite[0][0].get("message")) == (printable, printable)


def test_json_of_a_hostile_detail_can_be_written_and_read_back(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    from generator import console

    console.out_json(report.to_json(Path("disk"), [Check("x", "failed", 0.1, HOSTILE.replace("\ud800", ""))]))
    told = json.loads(capsysbinary.readouterr().out)
    assert told["checks"][0]["detail"] == HOSTILE.replace("\ud800", "")


def test_a_row_is_one_line_and_not_too_long() -> None:
    ((name, state, took, detail),) = report.rows([Check("x", "failed", 0.16, "word\n" * 100)])
    assert (name, state, took) == ("x", "failed", "0.2")
    assert "\n" not in detail
    assert len(detail) <= 120


def test_an_old_report_stays_when_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(MultieipError, match="cannot write"):
        report.write_junit(tmp_path / "file" / "junit.xml", "debian-12", [OK])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
