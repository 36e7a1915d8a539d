from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from generator.errors import MultieipError, PrerequisiteError
from generator.image.cache import put_aside
from generator.run import ProgramError, base_env, run, stream


def test_a_program_that_fails_says_its_last_line_and_exit_code() -> None:
    with pytest.raises(ProgramError, match=r"^sh failed \(exit 3\): the reason$"):
        run(["sh", "-c", "echo noise; echo first >&2; echo the reason >&2; exit 3"])


def test_a_program_that_is_killed_says_by_what() -> None:
    with pytest.raises(ProgramError, match="killed by signal 9"):
        run(["sh", "-c", "kill -9 $$"])


def test_a_missing_program_is_a_prerequisite_with_its_package() -> None:
    with pytest.raises(PrerequisiteError) as caught:
        run(["no-such-program"])
    assert caught.value.hint == "apt-get install no-such-program"


def test_a_program_that_hangs_is_ended() -> None:
    with pytest.raises(MultieipError, match="did not end within 0 s"):
        run(["sleep", "30"], timeout=0.1)


def test_the_users_environment_stays_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "of the user")
    assert "SECRET_KEY" not in base_env()
    assert run(["sh", "-c", 'echo "${SECRET_KEY:-none} $X"'], env={"X": "given"}).stdout == "none given\n"


def test_arguments_are_never_read_by_a_shell() -> None:
    assert run(["echo", "$(id); `id` && id"]).stdout == "$(id); `id` && id\n"


def test_lines_are_handed_over_as_they_come_and_the_exit_code_is_returned() -> None:
    lines: list[str] = []
    assert stream(["sh", "-c", "echo one; echo two >&2; exit 4"], lines.append, grace=1) == 4
    assert sorted(lines) == ["one", "two"]


def test_an_interrupted_program_that_does_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        stream(["sh", "-c", "trap '' TERM; echo go; sleep 30 & wait; sleep 30"], interrupt, grace=0.2)
    assert time.monotonic() - begun < 10


def test_what_an_interrupted_program_says_while_it_cleans_up_is_not_lost() -> None:
    lines: list[str] = []

    def take(line: str) -> None:
        lines.append(line)
        if line == "go":
            raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        # What it leaves behind holds its output open.
        stream(["sh", "-c", "trap 'echo cleaned; exit 1' TERM; echo go; sleep 60 >/dev/null & wait"], take, grace=3)
    assert lines == ["go", "cleaned"]
    assert time.monotonic() - begun < 30


def test_an_interrupted_run_lets_the_program_clean_up(tmp_path: Path) -> None:
    script = (
        "import signal, sys; from generator.cli import app; from generator.run import run\n"
        "signal.signal(signal.SIGTERM, app._interrupt)\n"
        "try:\n run(['sh', '-c', sys.argv[1]])\n"
        "except KeyboardInterrupt:\n sys.exit(130)"
    )
    body = "trap 'sleep 0.5; touch cleaned; exit 1' TERM; touch started; sleep 30 >/dev/null 2>&1 & wait"
    with subprocess.Popen([sys.executable, "-c", script, body], cwd=tmp_path) as child:
        while not (tmp_path / "started").exists():
            assert child.poll() is None
            time.sleep(0.02)
        child.terminate()
        assert child.wait(20) == 130
    assert (tmp_path / "cleaned").exists()


def test_what_is_put_aside_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "sub" / "result"

    def fail() -> None:
        with put_aside(target) as aside:
            aside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(target.parent.iterdir()) == []
    with put_aside(target) as aside:
        aside.write_text("whole")
    assert target.read_text() == "whole"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MultieipError, match="cannot write"), put_aside(tmp_path / "file" / "x"):
        pass
