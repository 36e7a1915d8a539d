from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from generator.cli import render
from generator.errors import ExitCode, MultieipError, UsageError

APP = typer.Typer(rich_markup_mode=None)
render.register(APP)


@APP.callback()
def main() -> None:
    """A second level, as in the command itself."""


def call(*arguments: str) -> Result:
    return CliRunner().invoke(APP, ["render", *arguments], prog_name="multieip")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.mark.parametrize("arguments", [("debian-12", "-o", "{}"), ("-o", "{}", "debian-12")])
def test_a_spec_is_rendered_wherever_it_stands_among_the_options(arguments: tuple[str, ...], out: Path) -> None:
    done = call(*(argument.format(out) for argument in arguments), "--packer-version", "1.6.6")
    assert (done.exit_code, done.stdout) == (0, "")
    assert (out / "manifest.json").is_file()
    assert f"{out}: " in done.stderr


def test_user_data_goes_to_stdout_and_what_is_to_say_to_stderr() -> None:
    golden, standalone = call("user-data", "debian-12"), call("user-data", "debian-12", "--form", "standalone")
    for done in (golden, standalone):
        assert done.exit_code == 0
        assert yaml.safe_load(done.stdout)["write_files"]
    assert "Auto Scaling" in standalone.stderr
    assert golden.stderr == ""


def test_base64_is_one_line_of_the_same_bytes() -> None:
    plain, encoded = call("user-data", "debian-12"), call("user-data", "debian-12", "--base64")
    assert base64.b64decode(encoded.stdout.rstrip("\n"), validate=True) == plain.stdout.encode()


def test_a_spec_named_like_the_sub_command_is_reached_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("user-data").write_text("version: 1\nname: x1\ndistro: debian-12\nbase: {ecs: {id: m-x1}}\n")
    assert call("./user-data", "-o", str(out), "--packer-version", "1.6.6").exit_code == 0


def test_help_is_that_of_the_verb_and_names_the_sub_command() -> None:
    helped = call("--help")
    assert helped.exit_code == 0
    assert "Usage: multieip render [OPTIONS]" in helped.stdout
    assert "SPEC" in helped.stdout
    assert "user-data" in helped.stdout
    helped = call("user-data", "--help")
    assert "Usage: multieip render user-data [OPTIONS]" in helped.stdout
    assert "--base64" in helped.stdout


def test_without_a_spec_or_a_folder_the_usage_is_wrong() -> None:
    assert call().exit_code == ExitCode.USAGE
    assert call("debian-12").exit_code == ExitCode.USAGE


def test_a_diff_goes_to_stdout_writes_nothing_and_fails_only_when_asked_to(out: Path) -> None:
    common = ("debian-12", "-o", str(out), "--packer-version", "1.6.6")
    before = call(*common, "--diff")
    assert before.exit_code == 0
    assert "diff a/manifest.json b/manifest.json\nnew file mode 0644\n" in before.stdout
    assert not out.exists()
    assert call(*common, "--diff", "--detailed-exitcode").exit_code == ExitCode.CHANGES
    call(*common)
    same = call(*common, "--diff", "--detailed-exitcode")
    assert (same.exit_code, same.stdout) == (0, "")


def test_json_is_the_manifest_and_where_it_is(out: Path) -> None:
    done = call("debian-12", "-o", str(out), "--packer-version", "1.6.6", "--json")
    said = json.loads(done.stdout)
    assert said.pop("directory") == str(out)
    assert said == json.loads((out / "manifest.json").read_bytes())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--packer-version", "1.5.0"),
        ("--packer-version", "new"),
        ("--packer-version", "1.6"),
        ("--detailed-exitcode",),
        ("--diff", "--json"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: tuple[str, ...], out: Path) -> None:
    done = call("debian-12", "-o", str(out), *arguments)
    assert isinstance(done.exception, UsageError)
    assert done.exception.hint
    assert not out.exists()


def test_a_spec_that_is_not_there_is_one_error(out: Path) -> None:
    done = call("no-such-spec", "-o", str(out))
    assert isinstance(done.exception, MultieipError)
    assert done.exception.exit_code == ExitCode.FINDINGS
    assert not out.exists()


def test_plugins_are_rendered_for_a_packer_that_has_them(out: Path) -> None:
    call("debian-12", "-o", str(out), "--packer-version", "1.11.2")
    assert (out / "packer" / "plugins.pkr.hcl").is_file()
