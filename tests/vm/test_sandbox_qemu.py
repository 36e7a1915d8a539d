"""The sandbox with virtual machines: a golden disk becomes an image, and its instances answer on all their EIPs.

One sandbox, used in the order of the tests; a boot takes minutes where machines are emulated.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from generator.image import build as builds
from generator.image.accelerator import accelerator
from generator.image.base import any_kernel
from generator.run import find, run
from generator.sandbox.settings import Home
from generator.spec.image import load
from tests.lab.needs import why_not
from tests.lab.sandboxes import Machines as Lab
from tests.lab.sandboxes import traces
from tests.sandbox.commands import Sandbox
from tests.sandbox.region import GROUP, VSWITCH

pytestmark = [
    pytest.mark.vm,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.skipif(find("qemu-system-x86_64") is None, reason="qemu-system-x86_64 is not installed"),
]
PUBLIC = "debian_12_11_x64_20G_alibase_20250804.vhd"
# Built once for these tests, and for whoever runs `make image`.
OUT = Path(__file__).parents[2] / "build"
NICS = [
    {"InstanceType": "Primary", "VSwitchId": VSWITCH, "SecurityGroupId": GROUP},
    {"InstanceType": "Secondary", "SecondaryPrivateIpAddressCount": 4},
]
USER_DATA = "#cloud-config\nwrite_files: [{path: /etc/told, content: by the metadata service}]\n"


class Machines(Lab):
    """A region whose instances may be emulated, on a machine that has other work."""

    @staticmethod
    def _until(holds: Callable[[], bool], limit: float = 0) -> None:
        Lab._until(holds, max(limit, 600.0))


@dataclass
class Running:
    """The sandbox, and what tests that come later need of those before."""

    sandbox: Sandbox
    image: str
    boot: float
    instance: str = ""
    eips: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.sandbox.folder

    def region(self) -> Machines:
        return Machines(self.folder)

    def launch(self, region: Machines, image: str, **more: object) -> str:
        (instance,) = region.run(image_id=image, instance_type="ecs.g7.large", **more)
        return instance

    def wait_booted(self, region: Machines, eips: dict[str, str]) -> None:
        assert region.wait_for_answers(eips, self.boot) == {}, self.console(region)

    def console(self, region: Machines) -> str:
        """Return what there is to see when an instance does not answer."""
        logs = (self.folder / "instances").glob("*/console.log")
        return "\n".join(log.read_text("utf-8", "replace")[-4000:] for log in logs) + self.sandbox.log()[-4000:]


@pytest.fixture(scope="module")
def disk() -> Path:
    artifact, _ = builds.build(load("debian-12"), builder="qemu", out=OUT, force=False)
    assert artifact.disk is not None
    return artifact.disk


@pytest.fixture(scope="module")
def running(disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("qemu") / "sandbox"
    sandbox = Sandbox(folder, "--backend", "qemu", "--no-throttle", "--eips", "100")
    boot = {"kvm": 120.0, "tcg": 900.0}[accelerator(any_kernel())]
    try:
        sandbox.up()
        done = sandbox.do("import", os.fspath(disk), "--name", "golden", "--family", "golden", "--json")
        assert done.returncode == 0, done.stderr
        yield Running(sandbox, json.loads(done.stdout)["id"], boot)
    finally:
        sandbox.down()
        assert traces(Home(folder)) == set()


def test_an_imported_disk_answers_on_all_its_eips_by_the_metadata_service_alone(running: Running) -> None:
    region = running.region()
    running.instance = running.launch(
        region,
        running.image,
        system_disk={"Size": "40"},
        user_data=base64.b64encode(USER_DATA.encode()).decode(),
        network_interface=NICS,
    )
    running.eips = region.give_eips(running.instance)
    assert len(running.eips) == 6
    running.wait_booted(region, running.eips)
    # Both directions: what leaves from a private IP is seen as its own EIP.
    assert region.seen_as(running.instance, running.eips) == running.eips
    region.until(lambda: "done" in region.command(running.instance, "cloud-init status")[1])
    assert region.said(running.instance, "cloud-id").strip() == "aliyun"
    assert region.said(running.instance, "cat /etc/told") == "by the metadata service"
    # In KiB: the file system has grown with the disk that was asked for.
    assert int(region.said(running.instance, "df --output=size / | tail -1")) > 35 << 20


def test_an_eni_is_plugged_into_a_machine_that_runs_and_out_of_it(running: Running) -> None:
    region, instance = running.region(), running.instance
    made = region.do(
        "CreateNetworkInterface", v_switch_id=VSWITCH, security_group_id=GROUP, secondary_private_ip_address_count=1
    ).network_interface_id
    eni_status = _status_of(region, made)
    region.until(lambda: eni_status() == "Available")
    region.do("AttachNetworkInterface", network_interface_id=made, instance_id=instance)
    region.until(lambda: eni_status() == "InUse")
    (eni,) = (eni for eni in region.enis(instance) if eni.network_interface_id == made)
    eips = {
        private.private_ip_address: region.give_eip(made, private.private_ip_address)
        for private in eni.private_ip_sets.private_ip_set
    }
    assert len(eips) == 2
    running.wait_booted(region, eips)
    assert region.seen_as(instance, eips) == eips
    assert _macs(region, instance) == _macs_told(region, instance)
    for eip in eips.values():
        region.take_eip(eip)
    region.do("DetachNetworkInterface", network_interface_id=made, instance_id=instance)
    region.until(lambda: eni_status() == "Available")
    region.until(lambda: eni.mac_address not in _macs(region, instance))
    assert "did not let go" not in running.sandbox.log()
    running.wait_booted(region, running.eips)


def test_a_copy_of_a_machine_that_runs_and_its_disk_outlive_the_server(running: Running) -> None:
    """An image is captured, the server killed and started anew: the instance boots from the disk that it had."""
    region, instance = running.region(), running.instance
    before = region.said(instance, "echo mine >/root/kept; sync; cat /proc/sys/kernel/random/boot_id")
    image = region.do("CreateImage", instance_id=instance, image_name="live").image_id
    region.until(lambda: region.do("DescribeImages", image_id=image).images.image != [])
    running.sandbox.kill()
    running.sandbox.down()
    assert traces(Home(running.folder)) == set()
    running.sandbox.up()
    region = running.region()
    running.wait_booted(region, running.eips)
    now = region.said(instance, "cat /root/kept /proc/sys/kernel/random/boot_id; cat /etc/machine-id")
    assert now.splitlines()[0] == "mine"
    assert now.splitlines()[1] != before.strip()
    # What the copy held at its moment is the instance's own by now: another boots from it as itself.
    layers = json.loads((running.folder / "images" / f"{image}.json").read_text())
    assert len(layers) == 2
    run(["qemu-img", "check", "-q", layers[0]])


def test_a_machine_shuts_down_in_order_and_by_itself(running: Running) -> None:
    region, instance = running.region(), running.instance
    console = running.folder / "instances" / instance / "console.log"
    asked = len(console.read_bytes())
    region.do("StopInstances", instance_id=[instance])
    region.until(lambda: region.status(instance) == "Stopped")
    region.until(lambda: not _processes(instance))
    assert b"reboot: Power down" in console.read_bytes()[asked:]
    region.do("StartInstances", instance_id=[instance])
    running.wait_booted(region, running.eips)
    region.do(
        "RunCommand", type="RunShellScript", command_content="systemctl poweroff --no-block", instance_id=[instance]
    )
    region.until(lambda: region.status(instance) == "Stopped")
    assert not _processes(instance)


def test_the_local_base_lets_root_in_with_a_key_pair_as_public_images_do(running: Running, tmp_path: Path) -> None:
    region = running.region()
    key = tmp_path / "key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    region.do("ImportKeyPair", key_pair_name="mine", public_key_body=key.with_suffix(".pub").read_text())
    with region:
        instance = running.launch(region, PUBLIC, key_pair_name="mine", v_switch_id=VSWITCH, security_group_id=GROUP)
        eips = region.give_eips(instance)
        running.wait_booted(region, eips)
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]
        done = region.internet.run(["ssh", *options, "-i", key, f"root@{next(iter(eips.values()))}", "id", "-u"])
        assert done.stdout == "0\n"
    region.do("DeleteKeyPairs", key_pair_names='["mine"]')


def test_packer_builds_the_image_by_the_production_source(running: Running, tmp_path: Path) -> None:
    build = ["image", "build", "debian-12", "--builder", "alicloud-ecs", "--out", os.fspath(tmp_path), "--json"]
    done = running.sandbox.run(sys.executable, "-m", "generator", *build, timeout=3 * running.boot)
    assert done.returncode == 0, done.stderr
    ((_, image),) = json.loads(done.stdout)["images"].items()
    with running.region() as region:
        instance = running.launch(region, image, network_interface=NICS)
        eips = region.give_eips(instance)
        running.wait_booted(region, eips)
        assert region.seen_as(instance, eips) == eips
        assert 'NAME="debian-12"' in region.said(instance, "cat /etc/multieip-release")
    assert running.region().do("DescribeKeyPairs").total_count == 0


def test_an_imported_disk_runs_as_a_container_too(disk: Path, tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "sandbox", "--no-throttle", "--eips", "100")
    try:
        sandbox.up()
        done = sandbox.do("import", os.fspath(disk), "--name", "golden", "--imds", "v2", "--json")
        assert done.returncode == 0, done.stderr
        region = Machines(sandbox.folder)
        (instance,) = region.run(
            image_id=json.loads(done.stdout)["id"],
            instance_type="ecs.g7.large",
            http_tokens="required",
            network_interface=NICS,
        )
        eips = region.give_eips(instance)
        assert region.wait_for_answers(eips, 120) == {}, sandbox.log()
        assert region.seen_as(instance, eips) == eips
        again = sandbox.do("import", os.fspath(disk), "--name", "golden")
        assert again.returncode == 2
        assert "there is an image golden already" in again.stderr
    finally:
        sandbox.down()
        assert traces(Home(sandbox.folder)) == set()


def _status_of(region: Machines, eni: str) -> Callable[[], str]:
    def status() -> str:
        found = region.do("DescribeNetworkInterfaces", network_interface_id=[eni])
        return str(found.network_interface_sets.network_interface_set[0].status)

    return status


def _macs(region: Machines, instance: str) -> list[str]:
    """Return the MACs of the NICs that the guest sees."""
    return sorted(region.said(instance, "cat /sys/class/net/eth*/address").split())


def _macs_told(region: Machines, instance: str) -> list[str]:
    return sorted(eni.mac_address for eni in region.enis(instance))


def _processes(instance: str) -> list[str]:
    """Return the processes of an instance's QEMU."""
    time.sleep(0.2)
    lines = run(["ps", "axww", "-o", "args"]).stdout.splitlines()
    return [line for line in lines if f"-name {instance}" in line]
