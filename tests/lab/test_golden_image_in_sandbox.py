"""The production path without an account: Packer's alicloud-ecs source on the sandbox, and a launch of its image."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.region import LOCAL, Region, multieip
from tests.sandbox.region import GROUP, VSWITCH

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The folder of a sandbox in which `make image` built, and the record of the image."""
    out = tmp_path_factory.mktemp("golden")
    make = ["make", "image", "BUILDER=alicloud-ecs", "CLOUD=sandbox", f"OUT={out}", "ARGS=--json"]
    try:
        done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        yield out / "sandbox", json.loads(done.stdout[done.stdout.index("{\n") :])
    finally:
        multieip("sandbox", "down", "--dir", str(out / "sandbox"))


def test_an_instance_of_the_image_that_packer_built_answers_on_all_its_eips(
    built: tuple[Path, dict[str, Any]],
) -> None:
    folder, record = built
    ((region, image),) = record["images"].items()
    with Region(folder) as sandbox:
        assert sandbox.tags_of_image(image)
        (instance,) = sandbox.run(
            region_id=region,
            image_id=image,
            instance_type="ecs.g7.large",
            network_interface=[
                {"InstanceType": "Primary", "VSwitchId": VSWITCH, "SecurityGroupId": GROUP},
                {"InstanceType": "Secondary", "SecondaryPrivateIpAddressCount": 4},
            ],
        )
        eips = sandbox.give_eips(instance)
        assert len(eips) == 6
        assert sandbox.wait_for_answers(eips, LOCAL) == {}
        # Both directions: what leaves from a private IP is seen as its own EIP.
        assert sandbox.seen_as(instance, eips) == eips


def test_packer_left_nothing_but_the_image(built: tuple[Path, dict[str, Any]]) -> None:
    with Region(built[0]) as sandbox:
        assert sandbox.left_by_packer() == {"instances": 0, "key pairs": 0, "groups": 1, "vpcs": 1}
