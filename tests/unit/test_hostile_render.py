"""No value of a spec breaks out of the syntax that it is put into: rendered, and read back by the real readers."""

from __future__ import annotations

import base64
import ctypes
import ctypes.util
import gzip
import json
import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from generator.errors import MultieipError
from generator.render import escape, userdata, yaml_block
from generator.render.bundle import bundle
from generator.render.files import File
from generator.render.guest import rootfs
from generator.render.packer import image_tags
from generator.render.userdata import Form
from generator.run import find, run
from generator.spec.image import ImageSpec

PIECES = [
    *(
        "'",
        '"',
        "`",
        "\\",
        "\n",
        "\r",
        "\r\n",
        "\t",
        "\0",
        "\x1b",
        "\x7f",
        "\x85",
        "\xa0",
        "\u2028",
        "\u2029",
        "\ufeff",
    ),
    *(
        "${",
        "$${",
        "$",
        "%{",
        "%%{",
        "{{",
        "}}",
        "{%",
        "{#",
        "#}",
        "%",
        "%n",
        "#",
        " #",
        ";",
        ":",
        ": ",
        "- ",
        "? ",
        "&a",
    ),
    *(
        "*a",
        "!!python/object:os.system",
        "|",
        ">",
        "---",
        "...",
        "EOF",
        "$(id)",
        "[x]",
        "=",
        "\\n",
        "\\u0000",
        "\\",
        " ",
    ),
    *("é", "e\u0301", "漢", "😀", "\U0010ffff", "\ufffe", "null", "yes", "0x10", "1e3", "2026-01-01", "<<", "\u202e"),
]
TEXT = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
LINE = TEXT.filter(lambda text: not escape._CONTROL.search(text) and text == text.strip())
SCALAR = st.one_of(TEXT, st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False))
TREE = st.recursive(
    SCALAR,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)
PATIENT = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])


def spec(**more: Any) -> ImageSpec:
    base = {"ecs": {"id": "m-x"}, "local": {"suite": "bookworm"}}
    return ImageSpec.model_validate({"version": 1, "name": "x1", "distro": "debian-12", "base": base, **more})


@cache
def plain(form: Form) -> Any:
    return yaml.safe_load(userdata.prepare(spec(), form).render())


@PATIENT
@given(st.dictionaries(TEXT, TREE, max_size=6))
def test_yaml_reads_back_every_tree(tree: dict[str, Any]) -> None:
    assert yaml.safe_load(yaml_block.dump(tree)) == tree


@PATIENT
@given(TEXT)
def test_yaml_reads_back_every_scalar(text: str) -> None:
    assert yaml.safe_load(f"a: {escape.yaml(text)}\nb: 1\n") == {"a": text, "b": 1}


@PATIENT
@given(
    st.dictionaries(TEXT.map(lambda text: f"x-{text}"), TREE, max_size=4),
    st.lists(TREE, max_size=3),
    st.sampled_from(Form),
)
def test_user_data_holds_the_specs_cloud_config_as_it_was(extra: dict[str, Any], runcmd: list[Any], form: Form) -> None:
    image = spec(cloud_config={**extra, "runcmd": runcmd})
    data = userdata.prepare(image, form).render()
    loaded = yaml.safe_load(data)
    ours = plain(form)
    assert data.startswith(b"#cloud-config\n")
    assert {key: loaded[key] for key in extra} == extra
    assert loaded["runcmd"] == ours["runcmd"] + runcmd
    assert set(loaded) == set(ours) | set(extra)


@PATIENT
@given(TEXT, st.binary(max_size=20), LINE.filter(bool))
def test_user_data_holds_an_instances_files_as_they_are(text: str, blob: bytes, name: str) -> None:
    files = {f"etc/{name}": File(text.encode()), "etc/blob": File(blob, 0o600)}
    *_, first, second = yaml.safe_load(userdata.prepare(spec(), Form.GOLDEN).render(files))["write_files"]
    for item, (path, file) in zip((first, second), files.items(), strict=True):
        content = item["content"]
        packed = "encoding" in item
        assert item["path"] == f"/{path}"
        assert (gzip.decompress(base64.b64decode(content)) if packed else content.encode()) == file.data


def admitted(**alicloud: Any) -> ImageSpec | None:
    try:
        return spec(**alicloud)
    except ValidationError:
        return None


def described(description: str, tags: dict[str, str]) -> ImageSpec | None:
    alicloud = {"region": "cn-hangzhou", "instance_type": "ecs.g7.large", "tags": tags}
    return admitted(description=description, alicloud=alicloud)


def test_packer_reads_description_and_tags_as_they_were(tmp_path: Path) -> None:
    if find("packer") is None:
        pytest.skip("packer not installed")
    texts = [f"a{first}{second}z" for first in PIECES for second in PIECES[::3] if described(f"a{first}{second}z", {})]
    assert len(texts) > len(PIECES)
    variables, expected = [], []
    for number in range(0, len(texts), 10):
        tags = {f"{index}{text}": text for index, text in enumerate(texts[number : number + 10])}
        image = described(texts[number], {key: value for key, value in tags.items() if described("", {key: value})})
        assert image is not None
        assert image.alicloud is not None
        text = packer_template(image)
        description = re.search(r"^ +image_description += (.*)$", text, re.MULTILINE)
        block = re.search(r"^  tags = (\{$.*?^  \})$", text, re.MULTILINE | re.DOTALL)
        assert description
        assert block
        variables.append(f'variable "v{number}" {{\n default = [{description[1]}, {block[1]}]\n}}\n')
        expected.append([image.description, image_tags(image)])
    (tmp_path / "v.pkr.hcl").write_text("".join(variables))
    wanted = ", ".join(f"var.v{number}" for number in range(0, len(texts), 10))
    # Packer's values are in Unicode's form C, whatever the file has.
    assert console(tmp_path / "v.pkr.hcl", f"[{wanted}]") == json.loads(
        unicodedata.normalize("NFC", json.dumps(expected, ensure_ascii=False))
    )


def packer_template(image: ImageSpec) -> str:
    file = bundle(image, packer_version=(1, 6, 6))["packer/image.pkr.hcl"]
    assert isinstance(file, File)
    return file.data.decode()


def console(template: Path, expression: str) -> Any:
    environment = {"CHECKPOINT_DISABLE": "1"}
    said = run(
        ["packer", "console", template], stdin=f"jsonencode({expression})\n".encode(), env=environment, timeout=60
    )
    return json.loads(said.stdout)


def test_packer_reads_every_string_as_it_was(tmp_path: Path) -> None:
    if find("packer") is None:
        pytest.skip("packer not installed")
    texts = [*PIECES, *(a + b for a in PIECES for b in PIECES)]
    template = tmp_path / "strings.pkr.hcl"
    template.write_text(f'variable "texts" {{\n  default = {escape.hcl_list(texts)}\n}}\n')
    assert console(template, "var.texts") == [unicodedata.normalize("NFC", text) for text in texts]


def test_half_a_character_is_refused_in_hcl() -> None:
    with pytest.raises(ValueError, match="half a character"):
        escape.hcl("a\ud800b")


@PATIENT
@given(TEXT, TEXT)
def test_glib_reads_every_keyfile_value_as_it_was(text: str, item: str) -> None:
    glib = ctypes.CDLL(ctypes.util.find_library("glib-2.0") or pytest.skip("libglib-2.0 not installed"))
    for name in ("g_key_file_new", "g_key_file_get_string", "g_key_file_get_string_list"):
        getattr(glib, name).restype = ctypes.c_void_p
    try:
        data = f"[a]\nb={escape.keyfile(text)}\nc={escape.keyfile_item(item)};second;\n".encode()
    except ValueError:
        assert escape._CONTROL.search(text.translate({9: None, 10: None, 13: None})) or escape._CONTROL.search(
            item.translate({9: None, 10: None, 13: None})
        )
        return
    file = ctypes.c_void_p(glib.g_key_file_new())
    assert glib.g_key_file_load_from_data(file, data, ctypes.c_size_t(len(data)), 0, None)
    value = glib.g_key_file_get_string(file, b"a", b"b", None)
    length = ctypes.c_size_t()
    items = glib.g_key_file_get_string_list(file, b"a", b"c", ctypes.byref(length), None)
    read = [
        ctypes.string_at(pointer).decode()
        for pointer in ctypes.cast(items, ctypes.POINTER(ctypes.c_void_p))[: length.value]
    ]
    assert (ctypes.string_at(value).decode(), read) == (text, [item, "second"])
    glib.g_free(ctypes.c_void_p(value))
    glib.g_strfreev(ctypes.c_void_p(items))
    glib.g_key_file_free(file)


def test_a_shell_reads_every_quoted_value_as_it_was(tmp_path: Path) -> None:
    texts = [text for text in (*PIECES, *(a + b for a in PIECES for b in PIECES)) if not escape._CONTROL.search(text)]
    script = "".join(f"A={escape.quoted(text)}\nprintf '%s\\n' \"$A\"\n" for text in texts)
    (tmp_path / "script").write_text(script)
    assert run(["sh", tmp_path / "script"]).stdout.split("\n")[:-1] == texts


@pytest.mark.parametrize("text", [text for text in PIECES if escape._CONTROL.search(text)])
def test_what_no_line_can_hold_is_refused(text: str) -> None:
    for filter_ in (escape.line, escape.quoted):
        with pytest.raises(ValueError, match="one line"):
            filter_(f"a{text}b")


@PATIENT
@given(st.lists(TEXT, max_size=4), TEXT)
def test_names_of_enis_and_interfaces_never_add_a_line_or_a_key(selectors: list[str], interface: str) -> None:
    try:
        image = spec(network={"leave_alone": selectors, "primary_interface": interface})
    except ValidationError:
        return
    usual, hostile = rootfs(spec(network={"leave_alone": ["eth7"] * bool(selectors)})), rootfs(image)
    conf = hostile["etc/multieip/policy-routing.conf"]
    assert isinstance(conf, File)
    values = dict(line.split("=", 1) for line in conf.data.decode().splitlines() if not line.startswith("#"))
    assert values["LEAVE_ALONE"].split() == selectors
    assert values["PRIMARY_INTERFACE"] == interface
    for path in set(usual) & set(hostile):
        before, after = usual[path], hostile[path]
        if isinstance(before, File) and isinstance(after, File) and path.endswith("multieip-primary.nmconnection"):
            assert before.data.count(b"\n") == after.data.count(b"\n")


@PATIENT
@given(st.dictionaries(st.sampled_from(["runcmd", "packages", "write_files"]), TREE, min_size=1, max_size=3))
def test_a_list_of_cloud_init_that_is_none_is_one_error(config: dict[str, Any]) -> None:
    image = spec(cloud_config=config)
    if all(isinstance(value, list | None) for value in config.values()):
        loaded = yaml.safe_load(userdata.standalone(image))
        assert all(loaded[key][len(plain(Form.STANDALONE)[key]) :] == (value or []) for key, value in config.items())
    else:
        with pytest.raises(MultieipError, match="is not a list"):
            userdata.standalone(image)


def test_half_characters_in_cloud_config_reach_cloud_init_as_they_are() -> None:
    image = spec(cloud_config={"final_message": "a\ud800b"})
    assert yaml.safe_load(userdata.golden(image))["final_message"] == "a\ud800b"
