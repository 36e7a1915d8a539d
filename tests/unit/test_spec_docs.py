"""The documents about the spec say what the code does."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from generator.spec import kinds
from generator.spec.image import examine as examine_image
from generator.spec.kinds import Kind
from generator.spec.reference import markdown
from generator.spec.schema import json_schema

ROOT = Path(__file__).parents[2]
MARKER = re.compile(r"<!-- from here on .*-->\n")
EXAMPLES = sorted([*(ROOT / "images").glob("*.yaml"), *(ROOT / "fleets").glob("*.yaml")])
# How names of rules begin in the code; what else is in quotes there begins in other ways.
RULE = re.compile(r'"((?:ecs|cloud|user|duplicate|unknown|key|too|one|leave|image|no)-[a-z-]+)"')
RULE_OF_PROBLEM = re.compile(r'(?:yield |return )?Problem\(\s*[^"]*?(?:\("[^)]*\)|loc|\(\)),\s*"([a-z-]+)"')


def document(kind: Kind) -> Path:
    return ROOT / "docs" / f"{kind}-spec.md"


def hold(path: Path, wanted: str) -> None:
    """Compare a file with what it should be, or write it with UPDATE=1."""
    if os.environ.get("UPDATE"):
        path.write_text(wanted, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == wanted, f"UPDATE=1 pytest {__file__} writes {path.name} anew"


@pytest.mark.parametrize("kind", Kind)
def test_the_schema_for_editors_is_the_one_of_the_models(kind: Kind) -> None:
    schema = json_schema(kinds.model_of(kind))
    hold(ROOT / "docs" / f"{kind}.schema.json", json.dumps(schema, indent=2, ensure_ascii=False) + "\n")


@pytest.mark.parametrize("kind", Kind)
def test_the_reference_is_the_one_of_the_models(kind: Kind) -> None:
    text = document(kind).read_text(encoding="utf-8")
    marker = MARKER.search(text)
    assert marker
    hold(document(kind), text[: marker.end()] + "\n" + markdown(kinds.model_of(kind)))


def test_every_rule_that_can_be_found_is_in_a_table() -> None:
    modules = set((ROOT / "generator" / "spec").glob("*.py")) - {ROOT / "generator" / "spec" / "distro.py"}
    code = "\n".join(path.read_text(encoding="utf-8") for path in modules)
    rules = {*RULE.findall(code), *RULE_OF_PROBLEM.findall(code)}
    assert len(rules) > 25
    tables = "".join(document(kind).read_text(encoding="utf-8") for kind in Kind)
    assert not {rule for rule in rules if f"`{rule}`" not in tables}


@pytest.mark.parametrize(("kind", "number"), [(Kind.IMAGE, 0), (Kind.IMAGE, 1), (Kind.FLEET, 0)])
def test_the_specs_in_the_documents_pass_the_check(kind: Kind, number: int, tmp_path: Path) -> None:
    block = re.findall(r"```yaml\n(version.*?)```", document(kind).read_text(encoding="utf-8"), re.DOTALL)[number]
    (tmp_path / "web.yaml").write_text(block, encoding="utf-8")
    spec, findings = kinds.examine(tmp_path / "web.yaml")
    assert findings == ()
    assert isinstance(spec, kinds.model_of(kind))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_passes_without_a_warning(path: Path) -> None:
    spec, findings = kinds.examine(path)
    assert findings == ()
    assert isinstance(spec, kinds.model_of(Kind(path.parent.name.removesuffix("s"))))
    assert spec.name == path.stem


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_fits_the_schema_that_it_names(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    schema = json.loads((path.parent / named).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)


def test_the_examples_are_one_for_each_distribution() -> None:
    images = (path for path in EXAMPLES if path.parent.name == "images")
    assert sorted(examine_image(path)[0].distro for path in images) == [  # type: ignore[union-attr]
        "alinux-3",
        "debian-12",
        "el-9",
        "ubuntu-24.04",
    ]
