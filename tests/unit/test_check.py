"""`multieip check` and `multieip schema`, run as a user runs them."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from generator.cli import check
from generator.errors import ExitCode

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted([*(ROOT / "images").glob("*.yaml"), *(ROOT / "fleets").glob("*.yaml")])
GOOD = "version: 1\nname: web\ndistro: ubuntu-24.04\nbase:\n  ecs: {id: m-12345678}\n"


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    check.register(made)
    return made


@pytest.fixture
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with specs that are good, doubtful and bad, as the current one."""
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "doubtful.yaml").write_text(GOOD + "packages: [a, a]\n")
    (tmp_path / "bad,1.yaml").write_text(GOOD + "pakages: []\ndescription: '%'\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("specs")
def test_a_good_spec_says_ok_on_stderr_and_nothing_on_stdout(app: typer.Typer) -> None:
    ran = CliRunner().invoke(app, ["check", "good.yaml"])
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "", "good.yaml: ok\n")


@pytest.mark.usefixtures("specs")
def test_all_specs_are_checked_and_findings_are_the_output(app: typer.Typer) -> None:
    ran = CliRunner().invoke(app, ["check", "nothing.yaml", "bad,1.yaml", "doubtful.yaml", "good.yaml"])
    assert ran.exit_code == ExitCode.FINDINGS
    assert [line.partition("; ")[0] for line in ran.stdout.splitlines()] == [
        "nothing.yaml: error[file]: there is no such file",
        "bad,1.yaml:6:1: error[unknown-key]: 'pakages' is no key of a spec",
        "bad,1.yaml:7:14: error[format]: description is '%'",
        "doubtful.yaml:6:15: warning[duplicate]: 'a' is given twice",
    ]
    assert ran.stderr.splitlines() == [
        "nothing.yaml: 1 error",
        "bad,1.yaml: 2 errors",
        "doubtful.yaml: 1 warning",
        "good.yaml: ok",
    ]


@pytest.mark.usefixtures("specs")
def test_warnings_pass_unless_they_are_told_to_count(app: typer.Typer) -> None:
    assert CliRunner().invoke(app, ["check", "doubtful.yaml"]).exit_code == 0
    assert CliRunner().invoke(app, ["check", "--strict", "doubtful.yaml"]).exit_code == ExitCode.FINDINGS


@pytest.mark.usefixtures("specs")
def test_json_has_stable_keys(app: typer.Typer) -> None:
    ran = CliRunner().invoke(app, ["check", "--json", "nothing", "doubtful.yaml"])
    document = json.loads(ran.stdout)
    assert document["schema_version"] == 1
    assert [list(finding) for finding in document["findings"]] == [
        ["path", "line", "column", "severity", "rule", "message", "remedy"]
    ] * 2
    assert document["findings"][0]["line"] is None
    assert document["findings"][1] == {
        "path": "doubtful.yaml",
        "line": 6,
        "column": 15,
        "severity": "warning",
        "rule": "duplicate",
        "message": "'a' is given twice",
        "remedy": "remove one",
    }


@pytest.mark.usefixtures("specs")
def test_json_of_a_good_spec_is_an_empty_list(app: typer.Typer) -> None:
    ran = CliRunner().invoke(app, ["check", "--json", "good.yaml"])
    assert json.loads(ran.stdout) == {"schema_version": 1, "findings": []}


@pytest.mark.usefixtures("specs")
def test_github_gets_annotations_with_its_escapes(app: typer.Typer) -> None:
    ran = CliRunner().invoke(app, ["check", "--format", "github", "bad,1.yaml", "doubtful.yaml"])
    first, second, third = ran.stdout.splitlines()
    assert first == (
        "::error file=bad%2C1.yaml,line=6,col=1,title=unknown-key::"
        "'pakages' is no key of a spec; did you mean `packages`?"
    )
    assert second.startswith("::error file=bad%2C1.yaml,line=7,col=14,title=format::description is '%25'; ")
    assert third.startswith("::warning file=doubtful.yaml,line=6,col=15,title=duplicate::")


@pytest.mark.usefixtures("specs")
def test_user_data_that_ecs_would_refuse_is_found(app: typer.Typer) -> None:
    noise = "".join(f"{n:08x}" for n in range(0, 40_000_000, 9_999))[:40_000]
    Path("large.yaml").write_text(f"{GOOD}cloud_config:\n  write_files: [{{path: /x, content: '{noise}'}}]\n")
    ran = CliRunner().invoke(app, ["check", "--json", "large.yaml"])
    findings = json.loads(ran.stdout)["findings"]
    assert ran.exit_code == ExitCode.FINDINGS
    assert {(f["rule"], f["severity"], f["line"], f["column"]) for f in findings} == {
        ("user-data-size", "error", 6, 1),
        ("user-data-size", "warning", 6, 1),
    }
    assert sorted(f["message"].split()[0] for f in findings) == ["golden", "standalone"]


def test_the_examples_pass_by_name_wherever_one_is(
    app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(app, ["check", "--strict", *(example.stem for example in EXAMPLES)])
    assert (ran.exit_code, ran.stdout) == (0, "")


def test_both_kinds_are_checked_in_one_run(app: typer.Typer, specs: Path) -> None:
    (specs / "fleet.yaml").write_text((ROOT / "fleets/demo.yaml").read_text().replace("enis:", "eni:"))
    ran = CliRunner().invoke(app, ["check", "good.yaml", "fleet.yaml"])
    assert ran.exit_code == ExitCode.FINDINGS
    assert [line.partition("; ")[0].partition(": ")[2] for line in ran.stdout.splitlines()] == [
        "error[required]: enis is missing",
        "error[unknown-key]: 'eni' is no key of a spec",
    ]


@pytest.mark.usefixtures("specs")
def test_user_data_of_a_fleet_that_ecs_would_refuse_is_found(app: typer.Typer) -> None:
    noise = "".join(f"{n:08x}" for n in range(0, 40_000_000, 9_999))[:40_000]
    demo = (ROOT / "fleets/demo.yaml").read_text()
    config = f"user_data:\n  cloud_config:\n    write_files: [{{path: /x, content: '{noise}'}}]\n"
    Path("large.yaml").write_text(config + demo)
    ran = CliRunner().invoke(app, ["check", "--json", "large.yaml"])
    [finding] = json.loads(ran.stdout)["findings"]
    assert ran.exit_code == ExitCode.FINDINGS
    assert (finding["rule"], finding["line"], finding["column"]) == ("user-data-size", 1, 1)


def test_a_spec_may_come_through_a_pipe(app: typer.Typer, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(GOOD,))
    writer.start()
    ran = CliRunner().invoke(app, ["check", str(pipe)])
    writer.join()
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "", f"{pipe}: ok\n")


@pytest.mark.parametrize("kind", ["image", "fleet"])
def test_schema_writes_the_file_that_editors_use(app: typer.Typer, kind: str) -> None:
    ran = CliRunner().invoke(app, ["schema", "--kind", kind])
    assert ran.stdout == (ROOT / "docs" / f"{kind}.schema.json").read_text(encoding="utf-8")


def test_the_schema_is_that_of_images_unless_fleets_are_asked_for(app: typer.Typer) -> None:
    assert CliRunner().invoke(app, ["schema"]).stdout == (ROOT / "docs/image.schema.json").read_text(encoding="utf-8")
