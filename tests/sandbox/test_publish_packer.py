"""`multieip image build --builder alicloud-ecs` with the real Packer, whose API calls HTTP_PROXY leads to loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from generator.errors import ExitCode
from generator.image import packer
from generator.render.packer import PLUGINS
from tests.sandbox.ecs import FakeEcs

SPEC = """\
version: 1
name: web
distro: debian-12
base:
  ecs: {family: acs:debian_12_11_x64}
alicloud:
  region: cn-hangzhou
  instance_type: ecs.g7.large
  vpc_id: vpc-bp1example01
  vswitch_id: vsw-bp1example01
  security_group_id: sg-bp1example01
  family: multieip-web
  copy_regions: [cn-beijing]
"""

pytestmark = pytest.mark.skipif(
    shutil.which("packer") is None or (packer.installed_version() or PLUGINS) >= PLUGINS,
    reason="needs a Packer that has alicloud-ecs built in (1.6)",
)


def build(folder: Path, ecs: FakeEcs, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "web.yaml").write_text(SPEC)
    proxies = {"HTTP_PROXY": ecs.url, "HTTPS_PROXY": ecs.url}
    return subprocess.run(
        [sys.executable, "-m", "generator", "image", "build", "web.yaml", "--builder", "alicloud-ecs", "--json"],
        env={**os.environ, "MULTIEIP_ECS_ENDPOINT": ecs.url, **proxies, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_an_instance_that_is_sold_out_is_one_line_and_leaves_nothing(ecs: FakeEcs, tmp_path: Path) -> None:
    ecs.add("cn-hangzhou", "debian_12_11_x64_20G_alibase_1.vhd", family="acs:debian_12_11_x64", owner="system")
    done = build(tmp_path, ecs)
    assert (done.returncode, done.stdout) == (ExitCode.CLOUD, "")
    assert (
        "multieip: ECS refused while creating the builder instance: OperationDenied.NoStock: "
        "The requested resource is sold out in the specified zone. (RequestId R-0815)\n"
    ) in done.stderr
    assert [call.parameters["ImageId"] for call in ecs.of("CreateInstance")] == ["debian_12_11_x64_20G_alibase_1.vhd"]
    assert len(ecs.of("CreateKeyPair")) == 1
    assert ecs.key_pairs == {}
    assert not (tmp_path / "build" / "images").exists()


def test_no_credential_is_written_anywhere(ecs: FakeEcs, tmp_path: Path) -> None:
    """The endpoint on loopback gives Packer keys of no account; they are treated as any other."""
    ecs.add("cn-hangzhou", "m-base", family="acs:debian_12_11_x64")
    done = build(tmp_path, ecs, ALICLOUD_ACCESS_KEY="LTAIreal", ALICLOUD_SECRET_KEY="real-secret")
    written = "".join(path.read_text(errors="replace") for path in (tmp_path / "build").rglob("*") if path.is_file())
    assert "Creating instance" in written
    for secret in ("LTAIreal", "real-secret", "multieip-no-account", "PRIVATE-KEY-OF-THE-BUILD"):
        assert secret not in written + done.stdout + done.stderr
    assert "LTAIreal" not in repr(ecs.calls)
