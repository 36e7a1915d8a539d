"""Where credentials come from. Each case is a process of its own: the SDK reads its variables when it is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PRINT = """
import json
from generator import console
from generator.cloud import credentials
from generator.errors import MultieipError
try:
    print(json.dumps(credentials.packer_environment()))
except MultieipError as error:
    console.error(error)
    raise SystemExit(int(error.exit_code))
"""


def ask(home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRINT],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def cli_profile(home: Path) -> None:
    """Write what `aliyun configure` writes, with two profiles."""
    profiles = [
        {"name": name, "mode": "AK", "access_key_id": f"id-{name}", "access_key_secret": f"secret-{name}"}
        for name in ("default", "work")
    ]
    (home / ".aliyun").mkdir()
    (home / ".aliyun" / "config.json").write_text(json.dumps({"current": "default", "profiles": profiles}))


def test_packers_own_variables_come_first(tmp_path: Path) -> None:
    cli_profile(tmp_path)
    done = ask(
        tmp_path,
        ALICLOUD_ACCESS_KEY="a",
        ALICLOUD_SECRET_KEY="b",
        SECURITY_TOKEN="c",
        ALIBABA_CLOUD_ACCESS_KEY_ID="x",
        ALIBABA_CLOUD_ACCESS_KEY_SECRET="y",
    )
    assert json.loads(done.stdout) == {"ALICLOUD_ACCESS_KEY": "a", "ALICLOUD_SECRET_KEY": "b", "SECURITY_TOKEN": "c"}


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, {"ALICLOUD_ACCESS_KEY": "id-default", "ALICLOUD_SECRET_KEY": "secret-default"}),
        ({"ALICLOUD_PROFILE": "work"}, {"ALICLOUD_ACCESS_KEY": "id-work", "ALICLOUD_SECRET_KEY": "secret-work"}),
        ({"ALIBABA_CLOUD_PROFILE": "work"}, {"ALICLOUD_ACCESS_KEY": "id-work", "ALICLOUD_SECRET_KEY": "secret-work"}),
        (
            {
                "ALIBABA_CLOUD_ACCESS_KEY_ID": "x",
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "y",
                "ALIBABA_CLOUD_SECURITY_TOKEN": "z",
            },
            {"ALICLOUD_ACCESS_KEY": "x", "ALICLOUD_SECRET_KEY": "y", "SECURITY_TOKEN": "z"},
        ),
        (
            {"MULTIEIP_ECS_ENDPOINT": "http://127.0.0.1:9", "ALICLOUD_ACCESS_KEY": "a", "ALICLOUD_SECRET_KEY": "b"},
            {"ALICLOUD_ACCESS_KEY": "multieip-no-account", "ALICLOUD_SECRET_KEY": "multieip-no-account"},
        ),
    ],
    ids=["the CLI's profile", "the profile named for Packer", "for the SDK", "the SDK's variables", "loopback"],
)
def test_packer_gets_what_the_sdk_finds(tmp_path: Path, environment: dict[str, str], wanted: dict[str, str]) -> None:
    cli_profile(tmp_path)
    done = ask(tmp_path, **environment)
    assert json.loads(done.stdout) == wanted


def test_without_credentials_one_line_says_what_to_set(tmp_path: Path) -> None:
    done = ask(tmp_path)
    assert (done.returncode, done.stdout) == (5, "")
    lines = done.stderr.splitlines()
    assert lines[0] == "multieip: no credentials of Alibaba Cloud (CredentialException)"
    assert "ALICLOUD_ACCESS_KEY" in lines[1]
    assert len(lines) == 2


def test_half_a_key_pair_is_not_filled_up_from_elsewhere(tmp_path: Path) -> None:
    cli_profile(tmp_path)
    done = ask(tmp_path, ALICLOUD_ACCESS_KEY="a")
    assert done.returncode == 5
    assert "only one of ALICLOUD_ACCESS_KEY and ALICLOUD_SECRET_KEY" in done.stderr


def test_the_sdk_writes_no_signed_header_to_the_terminal(tmp_path: Path) -> None:
    """DEBUG=sdk has the SDK write each request, with its Authorization header."""
    script = """
import sys
from generator.cloud import images
from generator.cloud.client import Ecs, Pace
from tests.sandbox.ecs import FakeEcs, serving
import os
with serving(FakeEcs()) as fake:
    os.environ["MULTIEIP_ECS_ENDPOINT"] = fake.url
    assert images.find(Ecs("cn-hangzhou"), "m-1") is None
    assert len(fake.calls) == 1
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DEBUG": "sdk"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
