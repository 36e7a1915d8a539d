"""Whatever a spec holds, reading it ends in findings whose places are in the file, and never in a traceback."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from generator.spec import fleet, image
from generator.spec.findings import Finding
from generator.spec.fleet import FleetSpec
from generator.spec.image import ImageSpec
from generator.spec.model import Model

IMAGE: dict[str, Any] = {
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
FLEET: dict[str, Any] = {
    "version": 1,
    "name": "web",
    "description": "One line",
    "region": "cn-hangzhou",
    "image": {"name": "debian-12"},
    "instance_types": ["ecs.g7.large"],
    "vswitches": ["vsw-12345678"],
    "security_group": {"rules": [{"protocol": "tcp", "ports": "22-443", "cidr": "10.0.0.0/8", "description": "SSH"}]},
    "count": 1,
    "enis": [
        {"private_ips": 2, "eips": 1, "queues": 2, "name": "out"},
        {"addresses": ["10.0.0.1"], "id": "eni-12345678"},
        {"vswitch": "vsw-12345678", "eips": 0},
    ],
    "eips": {"isp": "BGP", "bandwidth_package": "cbwp-12345678", "ids": ["eip-12345678", "eip-12345679"]},
    "instance_name": "web",
    "key_pair": "mine",
    "ram_role": "mine",
    "resource_group": "rg-12345678",
    "spot": {"price_limit": 0.5, "interruption": "Stop"},
    "system_disk": {"category": "cloud_essd", "performance_level": "PL0"},
    "data_disks": [{"name": "data", "size_gib": 20}],
    "metadata": {"tokens": "required"},
    "user_data": {"form": "golden", "image_spec": "debian-12", "cloud_config": {"runcmd": ["x"]}},
    "tags": {"team": "network"},
    "probe": {"protocol": "tcp", "port": 22, "timeout": "5s"},
    "strategy": {
        "waves": [1, "25%"],
        "max_surge": "10%",
        "bake": "1m",
        "order": "oldest-first",
        "protected": [1],
        "gates": [
            {"name": "disk", "url": "https://x/y", "pointer": "/a/0", "below": 0.5},
            {"name": "logs", "command": ["true", "x"], "timeout": 5},
        ],
        "hooks": {"drain": {"assistant": "true\ntrue\n"}},
    },
}

Read = Callable[[Path], tuple[Model | None, tuple[Finding, ...]]]
KINDS = pytest.mark.parametrize(
    ("good", "read"), [pytest.param(IMAGE, image.examine, id="image"), pytest.param(FLEET, fleet.examine, id="fleet")]
)
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


def hold(path: Path, read: Read) -> None:
    """Check a file and hold every finding to its form and to the file."""
    lines = path.read_bytes().decode("utf-8", "replace").splitlines() or [""]
    spec, findings = read(path)
    assert (spec is None) == any(finding.severity == "error" for finding in findings)
    for finding in findings:
        assert len(str(finding).splitlines()) == 1
        assert str(finding).isprintable()
        assert finding.rule
        assert finding.remedy
        if finding.rule != "too-large":
            assert 1 <= finding.line <= len(lines)
            assert 1 <= finding.column <= len(lines[finding.line - 1]) + 1


@KINDS
@SLOW_IS_FINE
@given(data=st.data())
def test_a_spec_with_anything_anywhere_is_read_to_its_end(
    tmp_path: Path, good: dict[str, Any], read: Read, data: st.DataObject
) -> None:
    document: Any = good
    for _ in range(data.draw(st.integers(1, 3))):
        way = data.draw(st.sampled_from(places(document)))
        key = data.draw(st.one_of(st.none(), st.text(min_size=1, max_size=8)))
        document = put(document, way, key, data.draw(VALUES))
    path = tmp_path / "spec.yaml"
    flow = data.draw(st.sampled_from([True, False, None]))
    text = yaml.safe_dump(document, allow_unicode=data.draw(st.booleans()), default_flow_style=flow)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    hold(path, read)


ROOT = Path(__file__).parents[2]
FILES = pytest.mark.parametrize(
    ("file", "read"),
    [("images/ubuntu-24.04.yaml", image.examine), ("fleets/rollout.yaml", fleet.examine)],
    ids=["image", "fleet"],
)


@FILES
@SLOW_IS_FINE
@given(data=st.data())
def test_a_spec_that_is_cut_and_patched_is_read_to_its_end(
    tmp_path: Path, file: str, read: Read, data: st.DataObject
) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    patch = data.draw(st.one_of(st.text(max_size=5), st.text(alphabet="\t\n :-[]{}&*!|>'\"%@`#,?~", max_size=8)))
    path = tmp_path / "spec.yaml"
    path.write_bytes((text[:start] + patch + text[end:]).encode("utf-8", "surrogatepass"))
    hold(path, read)


@pytest.mark.parametrize("read", [image.examine, fleet.examine], ids=["image", "fleet"])
@SLOW_IS_FINE
@given(raw=st.one_of(st.binary(max_size=200), st.text(alphabet="a\t\n :-[]{}&*!|>'\"%<,?~01", max_size=80)))
def test_any_bytes_are_read_to_their_end(tmp_path: Path, read: Read, raw: bytes | str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    hold(path, read)


def at(good: dict[str, Any], way: tuple[Any, ...]) -> Any:
    """Return the value of a good spec at a place."""
    value: Any = good
    for part in way:
        value = value[part]
    return value


TEXTS = [
    pytest.param(good, model, place, id=f"{model.__name__}-{'.'.join(map(str, place))}")
    for good, model in ((IMAGE, ImageSpec), (FLEET, FleetSpec))
    for place in places(good)
    if isinstance(at(good, place), str) and not {"cloud_config", "assistant"} & set(place)
]


@pytest.mark.parametrize("control", ["\n", "\r", "\t", "\0", "\x1b", "\x7f", "\x85", "\u2028"])
@pytest.mark.parametrize(("good", "model", "place"), TEXTS)
def test_no_text_outside_cloud_config_takes_a_control_character(
    good: dict[str, Any], model: type[Model], place: tuple[Any, ...], control: str
) -> None:
    text = at(good, place)
    for hostile in (text + control, control + text, text[:2] + control + text[2:]):
        with pytest.raises(ValidationError):
            model.model_validate(put(good, place, None, hostile))


@pytest.mark.parametrize("control", ["\r", "\0", "\x1b", "\x85", "\u2028"])
def test_a_script_takes_new_lines_and_tabs_only(control: str) -> None:
    place = ("strategy", "hooks", "drain", "assistant")
    FleetSpec.model_validate(put(FLEET, place, None, "if true; then\n\ttrue\nfi\n"))
    with pytest.raises(ValidationError):
        FleetSpec.model_validate(put(FLEET, place, None, f"true{control}"))


@pytest.mark.parametrize("control", ["\n", "\0", "\x1b", "\u2028"])
@pytest.mark.parametrize(
    ("good", "model", "place"), [(IMAGE, ImageSpec, ("alicloud", "tags")), (FLEET, FleetSpec, ("tags",))]
)
def test_no_tag_key_takes_a_control_character(
    good: dict[str, Any], model: type[Model], place: tuple[Any, ...], control: str
) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(put(good, place, f"a{control}b", "c"))


def test_the_good_specs_of_these_tests_are_good() -> None:
    ImageSpec.model_validate(IMAGE)
    FleetSpec.model_validate(FLEET)
