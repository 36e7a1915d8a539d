"""Following a build: with the real Packer, and its null builder in the place of a machine."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest

from generator.errors import MultieipError, PrerequisiteError
from generator.image import packer
from generator.image.packer import Built
from generator.run import find, run

pytestmark = pytest.mark.skipif(find("packer") is None, reason="packer is not installed")

SECRET = "LTAIverysecret0001"


def template(folder: Path, steps: str, *, manifest: bool = True) -> Path:
    """Write a template whose one source makes nothing and runs `steps` on this machine."""
    post = 'post-processor "manifest" {\n output = "packer-manifest.json"\n }' if manifest else ""
    folder.mkdir()
    (folder / "image.pkr.hcl").write_text(
        f'variable "v" {{\n type = string\n default = ""\n}}\n'
        f'source "null" "golden" {{\n communicator = "none"\n}}\n'
        f'build {{\n sources = ["source.null.golden"]\n'
        f'provisioner "shell-local" {{\n inline = {steps}\n environment_vars = ["V=${{var.v}}"]\n}}\n{post}\n}}\n'
    )
    return folder


def build(
    tmp_path: Path,
    steps: str,
    *,
    builder: str = "null",
    manifest: bool = True,
    credentials: dict[str, str] | None = None,
) -> Built:
    return packer.build(
        template(tmp_path / "packer", steps, manifest=manifest),
        builder=builder,
        variables={"v": "a value"},
        work=tmp_path,
        log=tmp_path / "packer.log",
        version=packer.required_version(),
        left="nothing",
        credentials=credentials,
    )


def test_a_build_ends_with_its_artifact_and_a_log(tmp_path: Path) -> None:
    built = build(tmp_path, '["echo said, with $V"]')
    assert built.artifact_id == "Null"
    assert 0 < built.seconds < 60
    assert "said, with a value" in (tmp_path / "packer.log").read_text()


def test_packers_exit_code_0_without_an_artifact_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(MultieipError, match="no artifact"):
        build(tmp_path, '["true"]', builder="nothing-of-the-kind")


def test_a_failing_step_is_named_in_one_line_with_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MultieipError) as caught:
        build(tmp_path, '["echo ASSERTION FAILED: no host keys", "exit 1"]')
    assert caught.value.message == "Packer failed: ASSERTION FAILED: no host keys"
    assert str(tmp_path / "packer.log") in caught.value.hint
    assert "ASSERTION FAILED: no host keys" in capsys.readouterr().err


def test_a_template_that_packer_refuses_is_told_by_its_own_words(tmp_path: Path) -> None:
    folder = template(tmp_path / "packer", '["true"]')
    with (folder / "image.pkr.hcl").open("a") as stream:
        stream.write("nonsense {}\n")
    with pytest.raises(MultieipError, match="Packer failed: Error: Unsupported block type"):
        packer.build(
            folder, builder="null", variables={}, work=tmp_path, log=tmp_path / "l", version=(1, 6, 6), left=""
        )


def test_no_credential_reaches_the_log_or_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = '["echo the key is $ALICLOUD_SECRET_KEY", "echo error $ALICLOUD_SECRET_KEY >&2", "exit 1"]'
    with pytest.raises(MultieipError) as caught:
        build(tmp_path, steps, credentials={"ALICLOUD_SECRET_KEY": SECRET})
    log = (tmp_path / "packer.log").read_text()
    assert "the key is ********" in log
    assert SECRET not in log + capsys.readouterr().err + caught.value.message


def test_an_interrupt_is_passed_on_and_packer_cleans_up(tmp_path: Path) -> None:
    """Run in a process of its own, which gets SIGTERM as a pipeline's cancel sends it."""
    template(tmp_path / "packer", '["touch started", "trap \'\' INT; sleep 3; touch ended"]')
    script = textwrap.dedent(
        f"""
        import signal
        from pathlib import Path
        from generator.cli import app
        from generator.image import packer
        signal.signal(signal.SIGTERM, app._interrupt)
        here = Path({str(tmp_path)!r})
        try:
            packer.build(here / "packer", builder="null", variables={{}}, work=here, log=here / "log",
                         version=(1, 6, 6), left="nothing")
        except KeyboardInterrupt:
            raise SystemExit(130)
        """
    )
    child = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", script])
    for _ in range(200):
        if (tmp_path / "started").exists():
            break
        run(["sleep", "0.1"])
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert "Cancelling build" in (tmp_path / "log").read_text()


def test_a_packer_that_is_too_old_is_a_missing_prerequisite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "packer"
    old.write_text("#!/bin/sh\necho Packer v1.5.0\n")
    old.chmod(0o755)
    monkeypatch.setattr("generator.run.SEARCH_PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(PrerequisiteError, match=r"Packer 1\.5\.0 is too old"):
        packer.required_version()


def test_a_missing_packer_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generator.run.SEARCH_PATH", "/nowhere")
    assert packer.installed_version() is None
    with pytest.raises(PrerequisiteError) as caught:
        packer.required_version()
    assert (caught.value.message, caught.value.hint) == ("packer is not installed", "apt-get install packer")
