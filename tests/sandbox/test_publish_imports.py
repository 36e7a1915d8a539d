"""Who needs no cloud does not pay for its SDK: 0.4 s and 89 MB."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SDK = (
    "Tea",
    "alibabacloud_credentials",
    "alibabacloud_ecs20140526",
    "alibabacloud_tea_openapi",
    "darabonba",
    "requests",
)

SCRIPT = """
import sys
from generator.cli import app
sys.argv = ["multieip", *sys.argv[1:]]
try:
    app.main()
except SystemExit as end:
    code = end.code
loaded = {name.split(".")[0] for name in sys.modules}
print("LOADED", code or 0, *sorted(loaded))
"""


def loaded_by(*arguments: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True)
    mark, code, *modules = done.stdout.splitlines()[-1].split()
    assert (mark, code) == ("LOADED", "0"), done.stderr
    return set(modules)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("image", "build", "--help"),
        ("image", "list", "--out", "{out}"),
        ("image", "prune", "--keep", "1", "--out", "{out}"),
        ("check", "debian-12"),
        ("render", "debian-12", "-o", "{out}/tree"),
        ("render", "user-data", "debian-12"),
    ],
    ids=" ".join,
)
def test_the_sdk_is_not_imported(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert loaded_by(*(argument.format(out=tmp_path) for argument in arguments)).isdisjoint(SDK)


def test_the_first_page_of_help_needs_no_models() -> None:
    assert loaded_by("--help").isdisjoint({*SDK, "pydantic", "jinja2", "jsonschema"})


def test_importing_what_publishes_does_not_import_the_sdk() -> None:
    script = "import sys; from generator.image import build, publish; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()).isdisjoint(SDK)
