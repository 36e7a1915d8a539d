from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from generator import resources
from generator.errors import MultieipError
from generator.render import templates
from generator.render.escape import Escaped


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(resources, "folder", lambda name: tmp_path / name)
    templates._environment.cache_clear()
    (tmp_path / "templates").mkdir()
    yield tmp_path / "templates"
    templates._environment.cache_clear()


def test_a_missing_template_is_named(folder: Path) -> None:
    with pytest.raises(MultieipError, match=r"templates/gone.j2") as caught:
        templates.render("gone.j2")
    assert caught.value.hint
    with pytest.raises(MultieipError, match=r"templates/gone.service: No such file"):
        templates.static("gone.service")


def test_a_missing_variable_is_named_with_its_line(folder: Path) -> None:
    (folder / "x.j2").write_text("one\ntwo\n{{ absent | line }}\n")
    with pytest.raises(MultieipError, match=r"templates/x.j2:3: .*'absent' is undefined"):
        templates.render("x.j2")


def test_a_variable_that_is_printed_bare_and_missing_is_named_with_its_line(folder: Path) -> None:
    (folder / "x.j2").write_text("one\n{{ absent }}\n")
    with pytest.raises(MultieipError, match=r"templates/x.j2:2: 'absent' is undefined"):
        templates.render("x.j2")


def test_a_syntax_error_is_named_with_its_line(folder: Path) -> None:
    (folder / "x.j2").write_text("one\n{% if %}\n")
    with pytest.raises(MultieipError, match=r"templates/x.j2:2: "):
        templates.render("x.j2")


@pytest.mark.parametrize("value", ["text", ["text"], None, 1.5, True])
def test_what_is_not_escaped_is_not_printed(folder: Path, value: object) -> None:
    (folder / "x.j2").write_text("\n{{ value }}\n")
    with pytest.raises(MultieipError, match=r"templates/x.j2:2: .* is printed without a filter"):
        templates.render("x.j2", value=value)


def test_integers_and_escaped_text_are_printed(folder: Path) -> None:
    (folder / "x.j2").write_text("{{ number }} {{ text }} {{ raw | yaml }}\n")
    assert templates.render("x.j2", number=7, text=Escaped("$"), raw='"') == b'7 $ "\\""\n'


def test_a_value_that_the_syntax_cannot_hold_is_refused_at_its_line(folder: Path) -> None:
    (folder / "x.j2").write_text("KEY={{ value | line }}\n")
    for value in ("a\nB=c", "a\0", " a", "a\x85b"):
        with pytest.raises(MultieipError, match=r"templates/x.j2:1: "):
            templates.render("x.j2", value=value)
