"""Publishing and removing images: the real SDK against an ECS on loopback, judged by its requests and its state."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from generator.cloud.client import Pace
from generator.errors import CloudRefusedError, ExitCode, LeftBehindError, MultieipError, UsageError
from generator.image import publish
from generator.render.packer import image_tags
from generator.spec.image import ImageSpec, load
from tests.sandbox.ecs import BUSY_PAGE, FORBIDDEN, LOST, RESET, THROTTLED, FakeEcs, Fault

FAST = Pace(first=0.01, longest=0.05, poll=0.01, available=20, visible=0.2)

SPEC = """\
version: 1
name: web
distro: debian-12
base:
  ecs: {ecs}
alicloud:
  region: cn-hangzhou
  instance_type: ecs.g7.large
  family: multieip-web
  copy_regions: [cn-beijing, ap-southeast-1]
  tags: {{team: network}}
"""
IMAGES = {"cn-hangzhou": "m-1", "cn-beijing": "m-2", "ap-southeast-1": "m-3"}


def spec_of(folder: Path, base: str = "{family: acs:debian_12_11_x64}") -> ImageSpec:
    path = folder / "web.yaml"
    path.write_text(SPEC.format(ecs=base))
    return load(path)


@pytest.fixture
def spec(tmp_path: Path) -> ImageSpec:
    return spec_of(tmp_path)


@pytest.fixture
def built(ecs: FakeEcs) -> FakeEcs:
    """What Packer leaves: an image, and two copies that are still being made."""
    ecs.add("cn-hangzhou", "m-1", snapshots=("s-1", "s-1b"))
    ecs.add("cn-beijing", "m-2", snapshots=("s-2",), polls=3)
    ecs.add("ap-southeast-1", "m-3", snapshots=("s-3",), polls=6)
    return ecs


# --- before Packer


def test_the_base_is_the_newest_image_of_its_family(ecs: FakeEcs, spec: ImageSpec) -> None:
    ecs.add("cn-hangzhou", "debian_12_11_x64_20G_alibase_1.vhd", family="acs:debian_12_11_x64", owner="system")
    ecs.add("cn-hangzhou", "debian_12_11_x64_20G_alibase_2.vhd", family="acs:debian_12_11_x64", owner="system")
    assert publish.source_image(spec, FAST) == "debian_12_11_x64_20G_alibase_2.vhd"
    assert [(call.action, call.region) for call in ecs.calls] == [("DescribeImageFromFamily", "cn-hangzhou")]


def test_a_family_without_an_image_is_named_with_its_region(ecs: FakeEcs, spec: ImageSpec) -> None:
    with pytest.raises(CloudRefusedError, match="family acs:debian_12_11_x64 in cn-hangzhou"):
        publish.source_image(spec, FAST)


@pytest.mark.parametrize("owner", ["self", "system", "others", "marketplace"])
def test_a_base_by_id_is_taken_wherever_it_comes_from(ecs: FakeEcs, tmp_path: Path, owner: str) -> None:
    ecs.add("cn-hangzhou", "m-base", owner=owner)
    assert publish.source_image(spec_of(tmp_path, "{id: m-base}"), FAST) == "m-base"


def test_a_base_of_another_region_is_refused_before_packer_runs(ecs: FakeEcs, tmp_path: Path) -> None:
    ecs.add("cn-beijing", "m-base")
    with pytest.raises(CloudRefusedError, match="no image m-base in cn-hangzhou"):
        publish.source_image(spec_of(tmp_path, "{id: m-base}"), FAST)


# --- after Packer


def test_copies_are_awaited_and_get_what_the_first_image_has(built: FakeEcs, spec: ImageSpec) -> None:
    publish.publish(spec, IMAGES, FAST, cloud_init="23.2.2")
    tags = image_tags(spec)
    assert tags["team"] == "network"
    for region, name in IMAGES.items():
        image = built.images[region][name]
        assert (image.status, image.tags, image.family, image.imds) == ("Available", tags, "multieip-web", "v2")
    assert built.snapshots == dict.fromkeys(("s-1", "s-1b", "s-2", "s-3"), tags)


@pytest.mark.parametrize("version", ["", "22.4.2", "23.2.1"])
def test_an_image_whose_cloud_init_knows_no_tokens_stays_without_hardened_metadata(
    built: FakeEcs, spec: ImageSpec, version: str
) -> None:
    publish.publish(spec, IMAGES, FAST, cloud_init=version)
    assert {built.images[region][name].imds for region, name in IMAGES.items()} == {"v1"}
    assert built.of("ModifyImageAttribute")


def test_nothing_is_changed_before_every_copy_is_there_and_the_family_comes_last(
    built: FakeEcs, spec: ImageSpec
) -> None:
    publish.publish(spec, IMAGES, FAST, cloud_init="23.2.2")
    order = ["family" if "ImageFamily" in call.parameters else call.action for call in built.calls]
    first_change = next(index for index, what in enumerate(order) if what != "DescribeImages")
    assert "DescribeImages" not in order[first_change:]
    assert order[-3:] == ["family"] * 3
    assert order.count("family") == 3


def test_an_image_that_is_available_is_not_looked_at_again(built: FakeEcs, spec: ImageSpec) -> None:
    publish.publish(spec, IMAGES, FAST, cloud_init="23.2.2")
    looks = {region: sum(call.region == region for call in built.of("DescribeImages")) for region in IMAGES}
    assert looks == {"cn-hangzhou": 1, "cn-beijing": 4, "ap-southeast-1": 7}


def test_a_copy_that_is_not_listed_yet_is_waited_for(ecs: FakeEcs, spec: ImageSpec) -> None:
    ecs.add("cn-hangzhou", "m-1")
    with pytest.raises(CloudRefusedError, match="no image m-2 in cn-beijing"):
        publish.publish(spec, {"cn-hangzhou": "m-1", "cn-beijing": "m-2"}, FAST, cloud_init="23.2.2")
    assert len([call for call in ecs.of("DescribeImages") if call.region == "cn-beijing"]) > 3
    assert ecs.of("ModifyImageAttribute") == []


@pytest.mark.parametrize("status", ["CreateFailed", "UnAvailable"])
def test_a_copy_that_failed_is_named_with_region_and_id(built: FakeEcs, spec: ImageSpec, status: str) -> None:
    built.add("cn-beijing", "m-2", polls=2, ends=status)
    with pytest.raises(CloudRefusedError, match=f"cn-beijing:m-2 is {status}"):
        publish.publish(spec, IMAGES, FAST, cloud_init="23.2.2")
    assert built.images["cn-hangzhou"]["m-1"].family == ""


def test_waiting_has_an_end_and_says_how_to_go_on(built: FakeEcs, spec: ImageSpec) -> None:
    built.add("cn-beijing", "m-2", polls=100_000)
    with pytest.raises(LeftBehindError, match=r"^cn-beijing:m-2 did not become available") as caught:
        publish.publish(spec, IMAGES, Pace(poll=0.01, available=3), cloud_init="23.2.2")
    assert caught.value.exit_code == ExitCode.TIMEOUT
    assert "run the same command again" in caught.value.hint


def test_a_publication_that_was_cut_short_is_completed_by_another(built: FakeEcs, spec: ImageSpec) -> None:
    built.fail("ModifyImageAttribute", FORBIDDEN)
    with pytest.raises(CloudRefusedError):
        publish.publish(spec, IMAGES, FAST, cloud_init="23.2.2")
    publish.publish(spec, IMAGES, FAST, cloud_init="23.2.2")
    assert {built.images[region][name].family for region, name in IMAGES.items()} == {"multieip-web"}


def test_progress_is_told_when_it_changes(built: FakeEcs, spec: ImageSpec, capsys: pytest.CaptureFixture[str]) -> None:
    publish.publish(spec, IMAGES, FAST, cloud_init="23.2.2")
    said = capsys.readouterr()
    assert said.out == ""
    assert [line.strip() for line in said.err.splitlines() if line.startswith("  cn-beijing")] == [
        "cn-beijing: Creating 40 %",
        "cn-beijing: Available",
    ]


# --- faults


@pytest.mark.parametrize(
    "fault",
    [
        THROTTLED,
        Fault(code="Throttling", status=429, headers={"x-acs-retry-after": "20"}),
        BUSY_PAGE,
        RESET,
        LOST,
        Fault(code="InternalError", status=500),
        Fault(code="IncorrectStatus.Image"),
    ],
    ids=["throttled", "throttled, with a time", "503 page", "reset", "answer lost", "500", "busy"],
)
@pytest.mark.parametrize("action", ["DescribeImages", "TagResources", "ModifyImageAttribute"])
def test_what_passes_is_tried_again(built: FakeEcs, spec: ImageSpec, action: str, fault: Fault) -> None:
    built.fail(action, fault, fault)
    publish.publish(spec, IMAGES, FAST, cloud_init="23.2.2")
    assert {built.images[region][name].family for region, name in IMAGES.items()} == {"multieip-web"}
    assert built.faults[action] == []


def test_the_time_that_the_api_asks_for_is_waited(ecs: FakeEcs, spec: ImageSpec) -> None:
    ecs.add("cn-hangzhou", "m-base", family="acs:debian_12_11_x64")
    ecs.fail("DescribeImageFromFamily", Fault(code="Throttling", status=429, headers={"x-acs-retry-after": "400"}))
    begun = time.monotonic()
    publish.source_image(spec, FAST)
    assert time.monotonic() - begun >= 0.4


def test_a_missing_permission_is_one_line_with_code_message_and_request(ecs: FakeEcs, spec: ImageSpec) -> None:
    ecs.fail("DescribeImageFromFamily", FORBIDDEN)
    with pytest.raises(CloudRefusedError) as caught:
        publish.source_image(spec, FAST)
    assert caught.value.message == (
        "ECS in cn-hangzhou refused DescribeImageFromFamily: Forbidden.RAM: "
        "User not authorized to operate on the specified resource. (RequestId R-0815)"
    )
    assert caught.value.exit_code == ExitCode.CLOUD
    assert "docs/ecs.md" in caught.value.hint
    assert len(ecs.calls) == 1


def test_no_answer_at_all_ends_after_its_time(spec: ImageSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIEIP_ECS_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(MultieipError, match="ECS in cn-hangzhou gave no answer to DescribeImageFromFamily") as caught:
        publish.source_image(spec, Pace(first=0.01, unanswered=0.3))
    assert "\n" not in caught.value.message


# --- removing


def test_an_image_goes_with_its_snapshots_in_every_region(built: FakeEcs) -> None:
    publish.remove(IMAGES, FAST)
    assert {region: dict(images) for region, images in built.images.items()} == {region: {} for region in IMAGES}
    assert built.snapshots == {}
    assert all(call.parameters.get("Force", "False") == "False" for call in built.calls)


def test_an_image_in_use_stays_with_its_snapshots_and_the_others_go(built: FakeEcs) -> None:
    built.images["cn-beijing"]["m-2"].in_use = True
    with pytest.raises(CloudRefusedError, match=r"cn-beijing refused DeleteImage: ImageUsingByInstance") as caught:
        publish.remove(IMAGES, FAST)
    assert "replace the instances" in caught.value.hint
    assert built.snapshots.keys() == {"s-2"}
    assert [region for region, images in built.images.items() if images] == ["cn-beijing"]


def test_a_shared_image_is_taken_back_from_all_accounts_first(built: FakeEcs) -> None:
    built.images["cn-hangzhou"]["m-1"].shared = [f"{10**15 + number}" for number in range(23)]
    publish.remove({"cn-hangzhou": "m-1"}, FAST)
    assert built.images["cn-hangzhou"] == {}
    assert len(built.of("ModifyImageSharePermission")) == 3


def test_what_is_gone_already_is_no_error(built: FakeEcs) -> None:
    publish.remove(IMAGES, FAST)
    publish.remove(IMAGES, FAST)
    assert len(built.of("DeleteImage")) == 3


def test_a_deletion_whose_answer_was_lost_is_done(built: FakeEcs) -> None:
    built.fail("DeleteImage", LOST)
    built.fail("DeleteSnapshot", LOST)
    publish.remove({"cn-hangzhou": "m-1"}, FAST)
    assert built.snapshots.keys() == {"s-2", "s-3"}


def test_a_snapshot_that_still_counts_as_used_is_tried_again(built: FakeEcs) -> None:
    built.fail("DeleteSnapshot", Fault(code="SnapshotCreatedImage", status=403))
    publish.remove({"cn-beijing": "m-2"}, FAST)
    assert "s-2" not in built.snapshots


def test_a_snapshot_that_outlives_its_image_is_named(built: FakeEcs) -> None:
    built.fail("DeleteSnapshot", Fault(code="SnapshotCreatedDisk", status=403))
    with pytest.raises(LeftBehindError, match=r"cn-hangzhou:s-1: .*SnapshotCreatedDisk") as caught:
        publish.remove({"cn-hangzhou": "m-1"}, FAST)
    assert caught.value.exit_code == ExitCode.TIMEOUT
    assert built.snapshots.keys() == {"s-1", "s-2", "s-3"}


# --- where requests go, and with what


def test_real_credentials_never_reach_an_endpoint_on_this_machine(
    built: FakeEcs, spec: ImageSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ALICLOUD_ACCESS_KEY", "ALICLOUD_SECRET_KEY", "SECURITY_TOKEN"):
        monkeypatch.setenv(name, f"real-{name}")
    publish.publish(spec, IMAGES, FAST, cloud_init="23.2.2")
    publish.remove(IMAGES, FAST)
    assert "real-" not in repr(built.calls)
    assert {re.findall("Credential=([^,]+)", call.headers["Authorization"])[0] for call in built.calls} == {
        "multieip-no-account"
    }


def test_a_proxy_does_not_come_between_multieip_and_this_machine(
    built: FakeEcs, spec: ImageSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    publish.publish(spec, IMAGES, FAST, cloud_init="23.2.2")
    assert built.images["cn-beijing"]["m-2"].family == "multieip-web"


@pytest.mark.parametrize("url", ["127.0.0.1:80", "http://example.com", "ftp://127.0.0.1", "http://[::1", "http:///x"])
def test_an_endpoint_that_cannot_be_is_a_usage_error(
    spec: ImageSpec, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("MULTIEIP_ECS_ENDPOINT", url)
    with pytest.raises(UsageError, match="MULTIEIP_ECS_ENDPOINT"):
        publish.source_image(spec, FAST)
