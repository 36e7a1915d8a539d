"""The documents about the spec say what the code does."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from generator.spec.image import ImageSpec, examine
from generator.spec.reference import markdown
from generator.spec.schema import json_schema

ROOT = Path(__file__).parents[2]
DOC = ROOT / "docs" / "image-spec.md"
SCHEMA = ROOT / "docs" / "image.schema.json"
MARKER = re.compile(r"<!-- from here on .*-->\n")
EXAMPLES = sorted((ROOT / "images").glob("*.yaml"))


def hold(path: Path, wanted: str) -> None:
    """Compare a file with what it should be, or write it with UPDATE=1."""
    if os.environ.get("UPDATE"):
        path.write_text(wanted, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == wanted, f"UPDATE=1 pytest {__file__} writes {path.name} anew"


def test_the_schema_for_editors_is_the_one_of_the_models() -> None:
    hold(SCHEMA, json.dumps(json_schema(ImageSpec), indent=2, ensure_ascii=False) + "\n")


def test_the_reference_is_the_one_of_the_models() -> None:
    text = DOC.read_text(encoding="utf-8")
    marker = MARKER.search(text)
    assert marker
    hold(DOC, text[: marker.end()] + "\n" + markdown(ImageSpec))


def test_every_rule_that_can_be_found_is_in_the_table() -> None:
    modules = set((ROOT / "generator" / "spec").glob("*.py")) - {ROOT / "generator" / "spec" / "distro.py"}
    code = "\n".join(path.read_text(encoding="utf-8") for path in modules)
    rules = set(re.findall(r'"((?:ecs|cloud|user|duplicate|unknown|key|too|one|leave)-[a-z-]+)"', code))
    assert len(rules) > 10
    table = DOC.read_text(encoding="utf-8")
    assert not {rule for rule in rules if f"`{rule}`" not in table}


@pytest.mark.parametrize("number", [0, 1])
def test_the_specs_in_the_document_pass_the_check(number: int, tmp_path: Path) -> None:
    block = re.findall(r"```yaml\n(version.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)[number]
    (tmp_path / "web.yaml").write_text(block, encoding="utf-8")
    spec, findings = examine(tmp_path / "web.yaml")
    assert (spec is not None, findings) == (True, ())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_passes_without_a_warning(path: Path) -> None:
    spec, findings = examine(path)
    assert findings == ()
    assert spec is not None
    assert spec.name == path.stem


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_fits_the_schema_that_it_names(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    schema = json.loads((path.parent / named).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)


def test_the_examples_are_one_for_each_distribution() -> None:
    assert sorted(examine(path)[0].distro for path in EXAMPLES) == [  # type: ignore[union-attr]
        "alinux-3",
        "debian-12",
        "el-9",
        "ubuntu-24.04",
    ]
