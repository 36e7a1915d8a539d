"""The jobs in docs/rollout.md are YAML, and their commands are ones that the command line takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from generator.cli.app import APP
from generator.errors import ExitCode
from generator.fleet.rollout.mishaps import SEVERITIES

PAGE = (Path(__file__).parents[2] / "docs" / "rollout.md").read_text(encoding="utf-8")
(GITLAB, GITHUB) = (yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S))
(STEPS,) = (job["steps"] for job in GITHUB["jobs"].values())
CONSOLE = [
    line.partition(" #")[0]
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.M | re.S)
    for line in block.splitlines()
    if line.startswith("multieip ")
]
COMMANDS = [*GITLAB["rollout"]["script"], *(step["run"] for step in STEPS if "run" in step), *CONSOLE]


def values(command: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what the command line makes of a command, without doing it."""
    for variable in ("CI_JOB_URL", "CI_PROJECT_URL", "CI_COMMIT_SHA"):
        monkeypatch.setenv(variable, "https://gitlab.example.com")
    name, *rest = shlex.split(command)
    assert name == "multieip"
    group: Any = typer.main.get_command(APP)
    while rest and rest[0] in getattr(group, "commands", {}):
        group = group.commands[rest.pop(0)]
    assert not hasattr(group, "commands"), f"{command}: {rest} is no verb"
    context = group.make_context(group.name, rest)
    return dict(context.params)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one_that_the_command_line_takes(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert values(command, monkeypatch)["fleet"] == "fleets/web.yaml"


def test_an_option_that_is_not_there_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception, match="No such option"):
        values(f"{COMMANDS[0]} --junit-file x", monkeypatch)


def test_gitlab_is_given_each_file_that_is_written_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    job = GITLAB["rollout"]
    (command,) = job["script"]
    written = {key: str(value) for key, value in values(command, monkeypatch).items() if isinstance(value, Path)}
    written.pop("state", None)
    assert job["artifacts"]["reports"] == {
        "junit": written["junit"], "codequality": written["code_quality"], "annotations": written["links"],
    }  # fmt: skip
    assert job["artifacts"]["paths"] == [written["html"], written["summary"]]
    assert job["artifacts"]["when"] == "always"
    assert len(written) == 5
    assert job["allow_failure"]["exit_codes"] == ExitCode.CHANGES


def test_github_is_given_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = (step["run"] for step in STEPS if "run" in step)
    (upload,) = (step for step in STEPS if "upload-artifact" in step.get("uses", ""))
    assert upload["with"]["path"] == str(values(command, monkeypatch)["html"])
    assert upload["if"] == "always()"


def test_the_page_has_all_severities_and_options_of_reports() -> None:
    assert [name for name in SEVERITIES if f"`{name}`" not in PAGE] == []
    group: Any = typer.main.get_command(APP)
    options = {option for one in group.commands["rollout"].commands["history"].params for option in one.opts}
    rows = set(re.findall(r"^\| `(--[a-z-]+)` \|", PAGE, re.M))
    assert rows == options - {"fleet", "--run", "--state", "--engine", "--json", "--help", "-h"}
