from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
from typing import Any

import jsonschema
import pytest
import yaml

from generator import resources
from generator.errors import MultieipError
from generator.render import guest, userdata
from generator.render.files import File, Link
from generator.render.userdata import Form
from generator.spec.image import ImageSpec, load
from generator.spec.limits import AUTO_SCALING_LIMIT, ECS_LIMIT

EXAMPLES = sorted(path.stem for path in resources.folder("images").glob("*.yaml"))
FORMS = list(Form)


def spec(distro: str = "debian-12", **cloud_config: Any) -> ImageSpec:
    document = {"version": 1, "name": "x1", "distro": distro, "base": {"ecs": {"id": "m-x"}}}
    return ImageSpec.model_validate({**document, "cloud_config": cloud_config})


def render(image: ImageSpec, form: Form) -> dict[str, Any]:
    data = userdata.prepare(image, form).render()
    assert data.startswith(b"#cloud-config\n")
    loaded = yaml.safe_load(data)
    assert isinstance(loaded, dict)
    return loaded


def content(item: dict[str, str]) -> bytes:
    if item.get("encoding") == "gz+b64":
        return gzip.decompress(base64.b64decode(item["content"]))
    return item["content"].encode()


def unpacked(config: dict[str, Any]) -> dict[str, File | Link]:
    (item,) = [item for item in config["write_files"] if item["path"] == "/var/lib/multieip/rootfs.tar"]
    tree: dict[str, File | Link] = {}
    with tarfile.open(fileobj=io.BytesIO(content(item))) as archive:
        for member in archive:
            data = archive.extractfile(member) if member.isfile() else None
            tree[member.name] = File(data.read(), member.mode) if data else Link(member.linkname)
    return tree


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize(
    "schema", sorted((resources.folder("images").parent / "generator/spec/schemas").glob("cloud-init-*.json"))
)
def test_cloud_inits_own_schemas_accept_it(name: str, form: Form, schema: Any) -> None:
    validator = jsonschema.Draft4Validator(json.loads(schema.read_bytes()))
    assert [error.message for error in validator.iter_errors(render(load(name), form))] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_golden_fits_everywhere_and_standalone_fits_ecs_with_room_to_spare(name: str) -> None:
    assert len(userdata.golden(load(name))) < AUTO_SCALING_LIMIT / 4
    assert len(userdata.standalone(load(name))) < ECS_LIMIT - 1024


@pytest.mark.parametrize(
    ("size", "said"), [(16_384, ""), (16_385, "Auto Scaling"), (32_768, "Auto Scaling"), (32_769, "ECS takes")]
)
def test_a_size_beyond_a_limit_is_said(size: int, said: str) -> None:
    assert (said in userdata.warning(size)) if said else userdata.warning(size) == ""


def test_golden_writes_the_settings_of_this_spec() -> None:
    image = spec()
    (item,) = render(image, Form.GOLDEN)["write_files"]
    assert item == {
        "path": "/etc/multieip/policy-routing.conf",
        "content": guest.policy_routing_conf(image).data.decode(),
    }


@pytest.mark.parametrize("distro", ["debian-12", "ubuntu-24.04", "alinux-3", "el-9"])
def test_standalone_holds_the_whole_image_but_for_comments_in_the_script(distro: str) -> None:
    image = spec(distro)
    tree, expected = unpacked(render(image, Form.STANDALONE)), guest.rootfs(image)
    script, original = tree.pop(guest.POLICY_ROUTING), expected.pop(guest.POLICY_ROUTING)
    assert tree == expected
    assert isinstance(script, File)
    assert isinstance(original, File)
    assert script.mode == original.mode
    assert script.data.splitlines()[0] == original.data.splitlines()[0]


def test_standalone_installs_what_the_image_has_and_reboots_only_after_the_takeover() -> None:
    image = spec()
    config = render(image, Form.STANDALONE)
    assert config["packages"] == list(image.all_packages)
    assert config["power_state"]["mode"] == "reboot"
    assert config["power_state"]["condition"] == ["test", "-e", "/run/multieip-takeover"]
    assert config["runcmd"] == [["sh", "/var/lib/multieip/takeover", "net.ifnames=0", *guest.LEFTOVERS]]


@pytest.mark.parametrize("form", FORMS)
def test_the_specs_lists_come_behind_ours_and_its_values_win(form: Form) -> None:
    theirs: dict[str, Any] = {
        "bootcmd": ["true"],
        "packages": ["jq", ["git", "1.0"]],
        "runcmd": ["true"],
        "write_files": [{"path": "/etc/motd", "content": "hello\n"}],
        "power_state": {"mode": "poweroff"},
        "timezone": "Asia/Shanghai",
    }
    config, ours = render(spec(**theirs), form), render(spec(), form)
    for key in ("bootcmd", "packages", "runcmd", "write_files"):
        assert config[key][len(ours.get(key, [])) :] == theirs[key]
    assert config["power_state"] == {"mode": "poweroff"}
    assert config["timezone"] == "Asia/Shanghai"


def test_a_key_with_nothing_behind_it_is_an_empty_list() -> None:
    assert render(spec(runcmd=None), Form.GOLDEN)["runcmd"] == render(spec(), Form.GOLDEN)["runcmd"]


def test_a_list_that_is_none_is_refused() -> None:
    with pytest.raises(MultieipError, match=r"cloud_config.runcmd is not a list"):
        userdata.golden(spec(runcmd="reboot"))


@pytest.mark.parametrize("form", FORMS)
def test_an_instance_gets_its_own_files_behind_ours(form: Form) -> None:
    prepared = userdata.prepare(spec(write_files=[{"path": "/last"}]), form)
    files = {"etc/a": File(b"one\ntwo\n"), "etc/key": File(b"\xff\x00", 0o600), "etc/empty": File(b"")}
    config = yaml.safe_load(prepared.render(files))
    ours = yaml.safe_load(prepared.render())["write_files"]
    assert config["write_files"][: len(ours) - 1] == ours[:-1]
    *added, last = config["write_files"][len(ours) - 1 :]
    assert last == {"path": "/last"}
    assert [(item["path"], item.get("permissions"), content(item)) for item in added] == [
        ("/etc/a", None, b"one\ntwo\n"),
        ("/etc/key", "0600", b"\xff\x00"),
        ("/etc/empty", None, b""),
    ]


def test_an_instance_cannot_be_given_a_link() -> None:
    with pytest.raises(MultieipError, match=r"link etc/x"):
        userdata.prepare(spec(), Form.GOLDEN).render({"etc/x": Link("/dev/null")})


def test_permissions_are_text_as_cloud_init_wants_them() -> None:
    data = userdata.standalone(spec()).decode()
    assert "permissions: '0600'" in data
