"""Whatever a spec holds, reading it ends in findings whose places are in the file, and never in a traceback."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from generator.spec.image import ImageSpec, examine

GOOD: dict[str, Any] = {
    "version": 1,
    "name": "web",
    "description": "One line",
    "distro": "debian-12",
    "base": {"ecs": {"family": "acs:debian_12_11_x64"}, "local": {"suite": "bookworm", "disk_gib": 8}},
    "packages": ["tcpdump"],
    "cloud_config": {"users": ["default", {"name": "x"}], "write_files": [{"path": "/x", "content": "y"}]},
    "network": {"table_base": 1001, "leave_alone": ["eth2"]},
    "alicloud": {
        "region": "cn-hangzhou",
        "instance_type": "ecs.g7.large",
        "data_disks": [{"name": "data", "size_gib": 20}],
        "copy_regions": ["cn-beijing"],
        "share_accounts": ["1234567890123456"],
        "tags": {"team": "network"},
    },
}

SLOW_IS_FINE = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["0600", "on", "2026-01-01", "1:30", "a\nb", "a\n", "\x00", "-x", "*", "${x}", "eni-12345678"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(place for key, item in items for place in places(item, (*way, key)))]


def put(document: Any, way: tuple[Any, ...], key: str | None, value: Any) -> Any:
    """Return the document with a value replaced, or with a key added where a key is given."""
    if not way and key is None:
        return value
    document = copy.deepcopy(document)
    inner = document
    for part in way if key is not None else way[:-1]:
        inner = inner[part]
    if key is None:
        inner[way[-1]] = value
    elif isinstance(inner, dict):
        inner[key] = value
    return document


def hold(path: Path) -> None:
    """Check a file and hold every finding to its form and to the file."""
    lines = path.read_bytes().decode("utf-8", "replace").splitlines() or [""]
    spec, findings = examine(path)
    assert (spec is None) == any(finding.severity == "error" for finding in findings)
    for finding in findings:
        assert len(str(finding).splitlines()) == 1
        assert str(finding).isprintable()
        assert finding.rule
        assert finding.remedy
        if finding.rule != "too-large":
            assert 1 <= finding.line <= len(lines)
            assert 1 <= finding.column <= len(lines[finding.line - 1]) + 1


@SLOW_IS_FINE
@given(data=st.data())
def test_a_spec_with_anything_anywhere_is_read_to_its_end(tmp_path: Path, data: st.DataObject) -> None:
    document: Any = GOOD
    for _ in range(data.draw(st.integers(1, 3))):
        way = data.draw(st.sampled_from(places(document)))
        key = data.draw(st.one_of(st.none(), st.text(min_size=1, max_size=8)))
        document = put(document, way, key, data.draw(VALUES))
    path = tmp_path / "spec.yaml"
    flow = data.draw(st.sampled_from([True, False, None]))
    text = yaml.safe_dump(document, allow_unicode=data.draw(st.booleans()), default_flow_style=flow)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    hold(path)


TEXT = (Path(__file__).parents[2] / "images" / "ubuntu-24.04.yaml").read_text(encoding="utf-8")


@SLOW_IS_FINE
@given(data=st.data())
def test_a_spec_that_is_cut_and_patched_is_read_to_its_end(tmp_path: Path, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(TEXT)))
    end = data.draw(st.integers(start, min(len(TEXT), start + 40)))
    patch = data.draw(st.one_of(st.text(max_size=5), st.text(alphabet="\t\n :-[]{}&*!|>'\"%@`#,?~", max_size=8)))
    path = tmp_path / "spec.yaml"
    path.write_bytes((TEXT[:start] + patch + TEXT[end:]).encode("utf-8", "surrogatepass"))
    hold(path)


@SLOW_IS_FINE
@given(raw=st.one_of(st.binary(max_size=200), st.text(alphabet="a\t\n :-[]{}&*!|>'\"%<,?~01", max_size=80)))
def test_any_bytes_are_read_to_their_end(tmp_path: Path, raw: bytes | str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    hold(path)


def at(way: tuple[Any, ...]) -> Any:
    """Return the value of the good spec at a place."""
    value: Any = GOOD
    for part in way:
        value = value[part]
    return value


TEXTS = [place for place in places(GOOD) if place[:1] != ("cloud_config",) and isinstance(at(place), str)]


@pytest.mark.parametrize("control", ["\n", "\r", "\t", "\0", "\x1b", "\x7f", "\x85", "\u2028"])
@pytest.mark.parametrize("place", TEXTS, ids=str)
def test_no_text_outside_cloud_config_takes_a_control_character(place: tuple[Any, ...], control: str) -> None:
    text = at(place)
    for hostile in (text + control, control + text, text[:2] + control + text[2:]):
        with pytest.raises(ValidationError):
            ImageSpec.model_validate(put(GOOD, place, None, hostile))


@pytest.mark.parametrize("control", ["\n", "\0", "\x1b", "\u2028"])
def test_no_tag_key_takes_a_control_character(control: str) -> None:
    with pytest.raises(ValidationError):
        ImageSpec.model_validate(put(GOOD, ("alicloud", "tags"), f"a{control}b", "c"))


def test_the_good_spec_of_these_tests_is_good() -> None:
    ImageSpec.model_validate(GOOD)
