"""The command as a process: its first page, its streams, and what it must not import for them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import generator
from generator.cli.entry import HELP

MULTIEIP = Path(sys.executable).with_name("multieip")
# Buffered as for a user: an error of stdout shows when it is flushed.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def shell(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command, "bash", MULTIEIP], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_the_first_page_of_help_imports_nothing_heavy(option: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", MULTIEIP, option], capture_output=True, text=True, check=True
    )
    assert ran.stdout == HELP.read_text(encoding="utf-8")
    imported = set(re.findall(r"\| +(\w+)[\w.]*$", ran.stderr, re.MULTILINE))
    assert "generator" in imported
    assert imported & {"aiohttp", "alibabacloud_tea_openapi", "jinja2", "pydantic", "rich", "typer", "yaml"} == set()


def test_help_of_a_verb_imports_no_renderer_and_no_sdk() -> None:
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", MULTIEIP, "image", "build", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(re.findall(r"\| +(\w+)[\w.]*$", ran.stderr, re.MULTILINE))
    assert "typer" in imported
    assert not [name for name in imported if name in ("aiohttp", "jinja2", "yaml") or name.startswith("alibabacloud")]


def test_the_version_is_the_packages(tmp_path: Path) -> None:
    assert shell('"$1" --version', tmp_path).stdout == f"multieip {generator.__version__}\n"


@pytest.mark.parametrize("verb", ["--help", "schema", "check --help", "render user-data debian-12"])
def test_a_stdout_that_is_full_is_one_line_and_a_hint(verb: str, tmp_path: Path) -> None:
    ran = shell(f'"$1" {verb} >/dev/full', tmp_path)
    assert ran.returncode == 1
    assert re.fullmatch(r"multieip: .*No space left on device\n  → .*\n", ran.stderr)


@pytest.mark.parametrize("verb", ["--help", "schema"])
def test_a_stdout_that_is_closed_is_said_before_any_work(verb: str, tmp_path: Path) -> None:
    ran = shell(f'"$1" {verb} >&-', tmp_path)
    assert (ran.returncode, ran.stderr.splitlines()[0]) == (1, "multieip: stdout is closed")


@pytest.mark.parametrize("verb", ["--help", "schema", "check --help", "render user-data debian-12"])
def test_a_reader_that_has_seen_enough_is_not_told_of(verb: str, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ran = subprocess.run(
            [MULTIEIP, *verb.split()], stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path, env=ENVIRONMENT, check=False
        )
    finally:
        os.close(writer)
    assert (ran.returncode, ran.stderr) == (1, b"")


def test_progress_never_ends_up_on_stdout_when_stderr_is_closed(tmp_path: Path) -> None:
    ran = shell('"$1" check debian-12 --json 2>&-', tmp_path)
    assert (ran.returncode, ran.stdout.splitlines()[0]) == (0, "{")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("frobnicate", "No such command 'frobnicate'"),
        ("image frobnicate", "No such command 'frobnicate'"),
        ("check", "Missing argument 'SPEC'"),
        ("image build", "Missing argument 'SPEC'"),
        ("check debian-12 --frobnicate", "No such option: --frobnicate"),
        ("image build debian-12 --builder vmware", "'vmware' is not one of 'qemu', 'alicloud-ecs'"),
        ("image prune --keep -1", "greater than or equal to 0"),
        ("render debian-12 -o x --packer-version 1.5.0", "is not a version of Packer from 1.6.6 on"),
        ("render debian-12 -o x --detailed-exitcode", "--detailed-exitcode goes with --diff"),
    ],
)
def test_a_command_line_that_cannot_be_is_usage(arguments: str, said: str, tmp_path: Path) -> None:
    ran = shell(f'"$1" {arguments}', tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_argument_at_all_shows_the_help_and_is_usage(tmp_path: Path) -> None:
    ran = shell('"$1"', tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Commands:" in ran.stderr
