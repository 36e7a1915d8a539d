"""From `image build` to `image prune` on ECS. Packer is a script that says it built: no instance boots here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from generator.errors import ExitCode
from tests.sandbox.ecs import FORBIDDEN, FakeEcs
from tests.sandbox.test_publish_packer import SPEC

PACKER = """#!/bin/sh
echo "$1" >> "$HOME/packer.ran"
case $1 in
    version) echo "Packer v1.6.6" ;;
    build)
        env | grep -E '^(ALICLOUD|SECURITY|ALIBABA)' | sort > "$HOME/packer.env"
        printf '%s\\n' "$@" > "$HOME/packer.arguments"
        echo '{"last_run_uuid": "u", "builds": [
            {"packer_run_uuid": "u", "files": null, "artifact_id": "cn-beijing:m-2,cn-hangzhou:m-1"}]}' \\
            > packer-manifest.json ;;
esac
"""
IMAGES = {"cn-beijing": "m-2", "cn-hangzhou": "m-1"}


@pytest.fixture
def ready(ecs: FakeEcs, tmp_path: Path) -> FakeEcs:
    """A base image, what Packer will have made, and that Packer."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "packer").write_text(PACKER)
    (tmp_path / "bin" / "packer").chmod(0o755)
    (tmp_path / "web.yaml").write_text(SPEC)
    ecs.add("cn-hangzhou", "m-base", family="acs:debian_12_11_x64", owner="system")
    ecs.add("cn-hangzhou", "m-1", snapshots=("s-1",))
    ecs.add("cn-beijing", "m-2", snapshots=("s-2",))
    return ecs


def multieip(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "generator", *arguments],
        env={**os.environ, "HOME": str(home), "PATH": f"{home / 'bin'}:{os.environ['PATH']}"},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def build(home: Path) -> tuple[int, dict[str, Any]]:
    done = multieip(home, "image", "build", "web.yaml", "--builder", "alicloud-ecs", "--json")
    return done.returncode, json.loads(done.stdout or "{}")


def builds(home: Path) -> int:
    return (home / "packer.ran").read_text().split().count("build")


def test_an_image_is_built_published_and_recorded(ready: FakeEcs, tmp_path: Path) -> None:
    code, record = build(tmp_path)
    assert code == 0
    assert (record["images"], record["base"], record["published"]) == (IMAGES, "m-base", True)
    assert "-var=source_image=m-base" in (tmp_path / "packer.arguments").read_text()
    assert {ready.images[region][name].family for region, name in IMAGES.items()} == {"multieip-web"}


def test_packer_gets_credentials_by_its_environment_only(ready: FakeEcs, tmp_path: Path) -> None:
    build(tmp_path)
    assert (tmp_path / "packer.env").read_text().split() == [
        "ALICLOUD_ACCESS_KEY=multieip-no-account",
        "ALICLOUD_SECRET_KEY=multieip-no-account",
    ]
    assert "no-account" not in (tmp_path / "packer.arguments").read_text()


def test_an_unchanged_image_costs_a_look_in_each_region(ready: FakeEcs, tmp_path: Path) -> None:
    build(tmp_path)
    before = len(ready.calls)
    code, record = build(tmp_path)
    assert (code, record["built_now"], builds(tmp_path)) == (0, False, 1)
    assert [call.action for call in ready.calls[before:]] == ["DescribeImages"] * len(IMAGES)


def test_an_image_that_somebody_deleted_is_built_again(ready: FakeEcs, tmp_path: Path) -> None:
    build(tmp_path)
    del ready.images["cn-beijing"]["m-2"]
    # The copy that Packer would make is not made here, and waiting for it is not the question.
    (tmp_path / "bin" / "packer").write_text(PACKER.replace("build)", "build) exit 1 ;;\n    never)"))
    done = multieip(tmp_path, "image", "build", "web.yaml", "--builder", "alicloud-ecs")
    assert "cn-beijing:m-2 is gone: building it again" in done.stderr
    assert builds(tmp_path) == 2


def test_an_image_whose_publication_failed_is_published_by_the_next_run_and_not_built_again(
    ready: FakeEcs, tmp_path: Path
) -> None:
    ready.fail("TagResources", FORBIDDEN)
    assert build(tmp_path)[0] == ExitCode.CLOUD
    listed = json.loads(multieip(tmp_path, "image", "list", "--json").stdout)
    assert [(entry["images"], entry["published"]) for entry in listed] == [(IMAGES, False)]
    code, record = build(tmp_path)
    assert (code, record["published"], builds(tmp_path)) == (0, True, 1)
    assert ready.images["cn-beijing"]["m-2"].family == "multieip-web"


def test_pruning_deletes_images_and_snapshots_in_every_region(ready: FakeEcs, tmp_path: Path) -> None:
    build(tmp_path)
    refused = multieip(tmp_path, "image", "prune", "--keep", "0")
    assert (refused.returncode, len(ready.of("DeleteImage"))) == (ExitCode.USAGE, 0)
    assert multieip(tmp_path, "image", "prune", "--keep", "0", "--yes").returncode == 0
    assert (list(ready.images["cn-hangzhou"]), list(ready.images["cn-beijing"]), ready.snapshots) == (
        ["m-base"],
        [],
        {},
    )
    assert json.loads(multieip(tmp_path, "image", "list", "--json").stdout) == []


def test_an_image_in_use_stays_in_the_catalogue(ready: FakeEcs, tmp_path: Path) -> None:
    build(tmp_path)
    ready.images["cn-beijing"]["m-2"].in_use = True
    done = multieip(tmp_path, "image", "prune", "--keep", "0", "--yes")
    assert done.returncode == ExitCode.CLOUD
    assert "ImageUsingByInstance" in done.stderr
    assert len(json.loads(multieip(tmp_path, "image", "list", "--json").stdout)) == 1
