"""docs/ecs.md: the RAM policy allows what is asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path

from generator.image import publish
from generator.spec.image import load
from tests.sandbox import test_publish_packer as with_packer
from tests.sandbox.ecs import FakeEcs

DOCUMENT = Path(__file__).parents[2] / "docs" / "ecs.md"


def allowed() -> set[str]:
    block = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[0]
    actions: list[str] = json.loads(block)["Statement"][0]["Action"]
    return {action.removeprefix("ecs:") for action in actions if action.startswith("ecs:")}


def test_the_policy_allows_publication_and_removal(ecs: FakeEcs, tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(with_packer.SPEC)
    spec = load(tmp_path / "web.yaml")
    ecs.add("cn-hangzhou", "m-base", family="acs:debian_12_11_x64")
    ecs.add("cn-hangzhou", "m-1", snapshots=("s-1",), shared=["1234567890123456"])
    publish.source_image(spec)
    publish.publish(spec, {"cn-hangzhou": "m-1"}, cloud_init="23.2.2")
    publish.remove({"cn-hangzhou": "m-1"})
    asked = {call.action for call in ecs.calls}
    assert len(asked) == 8
    assert asked <= allowed()


@with_packer.pytestmark
def test_the_policy_allows_packers_way_to_the_instance(ecs: FakeEcs, tmp_path: Path) -> None:
    ecs.add("cn-hangzhou", "m-base", family="acs:debian_12_11_x64")
    with_packer.build(tmp_path, ecs)
    asked = {call.action for call in ecs.calls}
    assert "CreateInstance" in asked
    assert asked <= allowed()
