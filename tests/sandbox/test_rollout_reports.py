"""The reports of a rollout by its command line: a gate fails at the canary, in GitLab CI and in GitHub Actions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from generator.errors import ExitCode
from generator.fleet.rollout.rolling import Work
from generator.sandbox.region.behaviour import Behaviour
from generator.sandbox.region.clock import Clock
from tests.sandbox.commands import Done, multieip
from tests.sandbox.fleets import FAST
from tests.sandbox.region import REGION, Cloud, served
from tests.sandbox.rollouts import NEW, fleet

SAYS = "printf 'first\\n::error::evil 50%% \\033[31m| x ##[add-mask]web' >&2; exit 1"
GATES = {"gates": [{"name": "own", "command": ["sh", "-c", SAYS], "timeout": 1}]}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_JOB_URL": "https://gitlab.example.com/ops/web/-/jobs/7",
    "CI_PROJECT_URL": "https://gitlab.example.com/ops/web",
    "CI_COMMIT_SHA": "abc",
}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    for name in (*GITLAB, "CI_PROJECT_DIR", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    with served(clock=Clock(FAST), behaviour=Behaviour(windows=None, eips=60)) as cloud:
        monkeypatch.setenv("MULTIEIP_ENDPOINT", cloud.server.url)
        monkeypatch.setenv("MULTIEIP_CLOCK", str(FAST))
        yield cloud


def write(file: Path, spec: object) -> int:
    """Write a fleet's file, and return the line of its gate."""
    file.write_text(f"# The web.\n{yaml.safe_dump(spec, sort_keys=False)}")
    lines = file.read_text().splitlines()
    return lines.index("  gates:") + 2 if "  gates:" in lines else 0


def names(log: str, kind: str) -> list[str]:
    # What is read as text has a line feed for a carriage return.
    return re.findall(rf"section_{kind}:\d+:([a-zA-Z0-9_.-]+)(?:\[\w+=\w+\])?\n\x1b\[0K", log)


def test_a_canary_that_fails_is_in_every_report(cloud: Cloud, tmp_path: Path) -> None:
    repository, out = tmp_path / "repository", tmp_path / "repository" / "out"
    file = repository / "fleets" / "web.yaml"
    file.parent.mkdir(parents=True)
    (repository / ".git").mkdir()
    state = ("--state", str(tmp_path / "state"))

    def reports(*verb: str, **env: str) -> Done:
        files = {"--code-quality": "q.json", "--summary": "s.md", "--html": "r.html", "--junit": "g.xml"}
        if "CI_JOB_URL" in env:
            files["--gitlab-links"] = "l.json"
        options = [part for option, name in files.items() for part in (option, str(out / name))]
        return multieip("rollout", *verb, str(file), *state, *options, env=env)

    write(file, fleet().model_dump(mode="json", exclude_unset=True))
    launched = multieip("launch", str(file), *state)
    assert launched.returncode == 0, launched.stderr
    line = write(file, fleet(NEW, strategy=GATES).model_dump(mode="json", exclude_unset=True))

    # GitLab
    done = reports("start", CI_PROJECT_DIR=str(repository), **GITLAB)
    assert done.returncode == ExitCode.USAGE, "nobody was asked"
    done = multieip("rollout", "start", str(file), *state, "--gitlab-links", str(out / "l.json"), "--yes")
    assert done.returncode == ExitCode.USAGE
    assert "$CI_JOB_URL" in done.stderr
    done = reports("start", "--yes", "--no-probe", CI_PROJECT_DIR=str(repository), **GITLAB)
    assert done.returncode == ExitCode.FAILED, done.stderr
    assert names(done.stderr, "start") == names(done.stderr, "end") == ["multieip_1"]
    assert "::error::evil 50% ?[31m| x # #[add-mask]web" in done.stderr
    assert not [one for one in done.stderr.splitlines() if one.startswith("::")]
    assert "\x1b" not in done.stderr.replace("\x1b[0K", "")
    found = json.loads((out / "q.json").read_text())
    assert [one["check_name"] for one in found] == ["multieip-rollout", "multieip-instance", "multieip-gate"]
    assert {one["location"]["path"] for one in found} == {"fleets/web.yaml"}
    assert [one["location"]["lines"]["begin"] for one in found][1:] == [line, line]
    links = json.loads((out / "l.json").read_text())
    assert links["Rollout"][0]["external_link"]["url"] == f"{GITLAB['CI_JOB_URL']}/artifacts/file/out/r.html"
    assert links["What went wrong"][2]["external_link"]["url"].endswith(f"/-/blob/abc/fleets/web.yaml#L{line}")
    assert "| web-001 | own |" in (out / "s.md").read_text()

    # GitHub: the same again, from the record
    step = tmp_path / "step.md"
    step.write_text("before\n")
    shown = reports("history", GITHUB_STEP_SUMMARY=str(step))
    assert shown.returncode == 0, shown.stderr
    assert step.read_text() == "before\n" + (out / "s.md").read_text()
    annotated = [one for one in shown.stderr.splitlines() if one.startswith("::")]
    assert len(annotated) == 3
    assert annotated[2].startswith(
        f"::error file=fleets/web.yaml,line={line},title=web-001%3A own::web-001 does not pass own: "
    )
    assert annotated[2].endswith("::error::evil 50%25 ?[31m| x ##[add-mask]web")
    assert names(shown.stderr, "start") == []
    stood = multieip("rollout", "status", str(file), *state)
    for printed in (shown.stdout, stood.stdout, done.stderr):
        assert "::error::evil 50% ?[31m| x # #[add-mask]web" in printed
        assert not [one for one in printed.splitlines() if one.lstrip().startswith("::") or "##[" in one]
    for verb in ("status", "history"):
        assert "##[" not in multieip("rollout", verb, str(file), *state, "--json").stdout

    # Another process is at work: it writes its own reports.
    lock = Work("web", REGION, tmp_path / "state").home.lock()
    (out / "s.md").unlink()
    heard = reports("resume")
    lock.release()
    assert heard.returncode == 0, heard.stderr
    assert f"`multieip rollout watch {file}` with the same options" in heard.stderr
    assert not (out / "s.md").exists()
