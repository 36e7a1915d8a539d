"""Virtual machines, with the real Packer, QEMU, cloud-init and metadata: minutes each (`make test-vm`)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from generator.image import accelerator, base, boot, machine
from generator.render import userdata
from generator.run import find, run
from generator.spec.image import ImageSpec, load

pytestmark = [
    pytest.mark.vm,
    pytest.mark.skipif(find("qemu-system-x86_64") is None, reason="qemu-system-x86_64 is not installed"),
]


@pytest.fixture(scope="module")
def spec() -> ImageSpec:
    return load("debian-12")


def test_a_stock_image_becomes_a_multi_eip_one_by_user_data_alone(spec: ImageSpec, tmp_path: Path) -> None:
    """The base has cloud-init's own network until the standalone user-data takes it over and reboots once."""

    def standalone(public_key: str) -> bytes:
        return userdata.standalone(spec.model_copy(update={"cloud_config": machine.let_root_in(public_key)}))

    console = tmp_path / "console.log"
    accel = accelerator.accelerator(base.kernel(spec))
    with machine.boot(
        base.disk(spec), scratch=tmp_path, console=console, accelerator=accel, user_data=standalone
    ) as guest:
        first = guest.wait_until_up(limit=600)
        guest.wait_until_up(not_boot=first, limit=1200)
        results = list(boot.booted(guest, "after its reboot"))
    failed = [result for result in results if result[1] != "ok"]
    assert failed == []
    assert len(results) > 10


def test_an_interrupted_build_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    out = tmp_path / "build"
    command = [sys.executable, "-m", "generator", "image", "build", "debian-12", "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if "waiting for the builder to boot" in line:
                break
        time.sleep(5)
        child.send_signal(signal.SIGTERM)
        _, said = child.communicate(timeout=120)
    assert child.returncode == 130
    assert "waiting up to 15 min for Packer to clean up" in said
    assert "Traceback" not in said
    assert list((out / "work").iterdir()) == []
    assert not (out / "images").exists()
    assert str(out) not in run(["ps", "axww", "-o", "args"]).stdout
