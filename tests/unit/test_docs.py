"""The documents say what the command says, and their examples run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from generator.cli.app import APP
from generator.cli.entry import HELP
from generator.errors import ExitCode

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "cli.md"
EXIT_CODES = ROOT / "docs" / "exit-codes.md"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
RUN = re.compile(r"<!-- run -->\n```(?:console|sh|shell|bash)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INTRODUCTION = """\
# Command reference

What `--help` says of each command. `make docs` writes this page; [exit-codes.md](exit-codes.md) has the exit codes.
"""


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command with the words that call it; what a group does without a word is the group itself."""
    yield path, command
    for name, below in sorted(getattr(command, "commands", {}).items()):
        if (*path, name) != ("render", "bundle"):
            yield from commands(below, (*path, name))


COMMANDS = list(commands(typer.main.get_command(APP)))


def words(path: tuple[str, ...]) -> str:
    return " ".join(("multieip", *path))


def help_of(path: tuple[str, ...]) -> str:
    shown = CliRunner().invoke(APP, [*path, "--help"], prog_name="multieip", env={"COLUMNS": "80"})
    assert shown.exit_code == 0
    return shown.stdout


def reference() -> str:
    return INTRODUCTION + "".join(f"\n## {words(path)}\n\n```text\n{help_of(path)}```\n" for path, _ in COMMANDS)


def hold(path: Path, wanted: str) -> None:
    """Compare a file with what it should be, or write it with UPDATE=1."""
    if os.environ.get("UPDATE"):
        path.write_text(wanted, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == wanted, f"`make docs` writes {path.name} anew"


def test_the_first_page_of_help_is_the_one_that_the_app_writes() -> None:
    hold(HELP, help_of(()))


def test_the_reference_is_what_each_command_says() -> None:
    hold(REFERENCE, reference())


@pytest.mark.parametrize("command", [command for _, command in COMMANDS], ids=[words(path) for path, _ in COMMANDS])
def test_each_command_and_each_of_its_options_is_explained(command: Any) -> None:
    assert command.help
    assert {parameter.name for parameter in command.params if not parameter.help} == set()


def test_each_exit_code_is_described_once_and_no_other() -> None:
    table = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \|$", EXIT_CODES.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(code) for code, _, _ in table] == [code.value for code in ExitCode]


def test_every_page_that_a_page_links_to_is_there() -> None:
    broken = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\((?!\w+:|#)([^)#]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []


EXAMPLES = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(RUN.findall(page.read_text(encoding="utf-8")))
]


def test_the_readme_has_an_example_that_is_run() -> None:
    assert RUN.search((ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("block", EXAMPLES)
def test_an_example_that_is_marked_to_run_does(block: str, tmp_path: Path) -> None:
    for name in ("images", "fleets", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
