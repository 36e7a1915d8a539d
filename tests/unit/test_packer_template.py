"""The Packer template, read by the real Packer."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from generator import resources
from generator.image import outdir
from generator.render import guest, packer
from generator.render.files import File, Tree
from generator.run import Result, find, run
from generator.spec.image import ImageSpec, load

EXAMPLES = sorted(path.stem for path in resources.folder("images").glob("*.yaml"))
PLUGINS = (1, 9, 0)
ENVIRONMENT = {"CHECKPOINT_DISABLE": "1", "ALICLOUD_ACCESS_KEY": "LTAItest", "ALICLOUD_SECRET_KEY": "test"}


@pytest.fixture(params=EXAMPLES)
def spec(request: pytest.FixtureRequest) -> ImageSpec:
    return load(request.param)


def rendered(spec: ImageSpec, version: packer.Version, folder: Path) -> Path:
    outdir.write(packer.render(spec, guest.rootfs(spec), version), folder)
    return folder


def validate(folder: Path, *options: str) -> Result:
    if find("packer") is None:
        pytest.skip("packer is not installed")
    seed = folder.parent / "seed"
    seed.mkdir()
    (seed / "user-data").touch()
    (seed / "meta-data").touch()
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", seed / "key"])
    base = folder.parent / "base.qcow2"
    base.touch()
    settings = [f"-var=seed={seed}", f"-var=base_image={base}"] if "source.qemu" in template(folder) else []
    return run(["packer", "validate", *settings, *options, folder], check=False, env=ENVIRONMENT, cwd=folder.parent)


def template(folder: Path) -> str:
    return (folder / "image.pkr.hcl").read_text()


def test_packer_accepts_the_template_for_both_sources(spec: ImageSpec, tmp_path: Path) -> None:
    folder = rendered(spec, packer.MINIMUM, tmp_path / "packer")
    said = validate(folder, "-var=source_image=m-bp1example")
    assert said.returncode == 0, said.stdout + said.stderr
    assert "source.alicloud-ecs.golden" in template(folder)
    assert ("source.qemu.golden" in template(folder)) is (spec.base.local is not None)


def test_packer_itself_would_format_the_template_no_other_way(spec: ImageSpec, tmp_path: Path) -> None:
    if find("packer") is None:
        pytest.skip("packer is not installed")
    folder = rendered(spec, packer.MINIMUM, tmp_path / "packer")
    run(["packer", "fmt", "-check", "-diff", folder], env=ENVIRONMENT)


def test_a_family_without_an_image_id_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    folder = rendered(load("debian-12"), packer.MINIMUM, tmp_path / "packer")
    said = validate(folder)
    assert said.returncode == 1
    assert "source_image must be specified" in said.stdout + said.stderr


def test_a_packer_with_plugins_is_told_which_and_takes_their_options(tmp_path: Path) -> None:
    spec = load("debian-12")
    old = packer.render(spec, guest.rootfs(spec), packer.MINIMUM)
    new = packer.render(spec, guest.rootfs(spec), PLUGINS)
    assert set(new) - set(old) == {"plugins.pkr.hcl"}
    old_text, new_text = (entry.data.decode() for entry in (file(old, "image.pkr.hcl"), file(new, "image.pkr.hcl")))
    for option in packer.PLUGIN_OPTIONS:
        assert f"\n  {option} = " in new_text
        assert f"\n  {option} = " not in old_text


def test_the_old_packer_refuses_the_options_of_the_plugin(tmp_path: Path) -> None:
    folder = rendered(load("debian-12"), PLUGINS, tmp_path / "packer")
    (folder / "plugins.pkr.hcl").unlink()
    said = validate(folder)
    if "v1.6" not in run(["packer", "version"], env=ENVIRONMENT).stdout:
        pytest.skip("this Packer is not 1.6")
    for option in packer.PLUGIN_OPTIONS:
        assert f'An argument named "{option}" is not expected here' in said.stdout


@pytest.mark.parametrize("version", [packer.MINIMUM, PLUGINS])
def test_every_variable_that_a_build_sets_is_declared(version: packer.Version, tmp_path: Path) -> None:
    text = template(rendered(load("debian-12"), version, tmp_path / "packer"))
    for name in ("image_name", "source_image", "base_image", "base_checksum", "seed", "output", "accelerator"):
        assert f'variable "{name}" {{' in text


def test_vpc_and_vswitch_are_rendered_together(tmp_path: Path) -> None:
    document = load("debian-12").model_dump()
    document["alicloud"] |= {"vpc_id": "vpc-bp1example", "vswitch_id": "vsw-bp1example"}
    folder = rendered(ImageSpec.model_validate(document), packer.MINIMUM, tmp_path / "packer")
    assert "vpc_id " in template(folder)
    assert "vswitch_id " in template(folder)
    assert validate(folder, "-var=source_image=m-bp1example").returncode == 0


def test_the_payload_has_what_the_steps_read_and_no_folder_whose_mode_could_change(spec: ImageSpec) -> None:
    rootfs = guest.rootfs(spec)
    tree = packer.render(spec, rootfs, packer.MINIMUM)
    with tarfile.open(fileobj=io.BytesIO(file(tree, "payload.tar").data)) as tar:
        members = {member.name: member for member in tar.getmembers()}
        packages = tar.extractfile("packages")
        assert packages is not None
        assert packages.read().decode().split() == list(spec.all_packages)
    assert not any(member.isdir() for member in members.values())
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}
    for path, entry in rootfs.items():
        member = members[f"rootfs/{path}"]
        assert (member.mode == entry.mode) if isinstance(entry, File) else (member.linkname == entry.target)


def test_the_users_tags_and_where_it_comes_from_are_on_the_image() -> None:
    tags = packer.image_tags(load("debian-12"))
    assert tags["team"] == "network"
    assert tags["multieip:name"] == "debian-12"
    assert {"multieip:spec", "multieip:version"} <= set(tags)


def file(tree: Tree, path: str) -> File:
    entry = tree[path]
    assert isinstance(entry, File)
    return entry
