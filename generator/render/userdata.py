"""Launch-time user-data, in two forms.

`golden` is for an image that multieip built: the settings of this launch, and the spec's own cloud-config.
`standalone` turns a stock image of the same distribution into a multi-EIP one at its first boot: cloud-init puts
the files aside as one archive, installs the packages, and `templates/cloud-init/takeover` puts all in place; then
one reboot. (One archive, since ECS takes 32 KB and each file by itself compresses to more than that.)

Why a reboot and no switch of the running network: cloud-init has brought the ENIs up before it reads user-data,
with DHCP clients of other tools that NetworkManager cannot take over cleanly; interface names and cloud-init's
own unit change as well; and what has booted once this way boots so again.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import generator
from generator.errors import MultieipError
from generator.render import yaml_block
from generator.render.archive import tar
from generator.render.escape import Escaped
from generator.render.files import File, Link, Tree
from generator.render.guest import LEFTOVERS, POLICY_ROUTING, kernel_arguments, policy_routing_conf, rootfs
from generator.render.provenance import digest
from generator.render.shell import without_comments
from generator.render.templates import fill, load, static
from generator.spec.limits import AUTO_SCALING_LIMIT, ECS_LIMIT

if TYPE_CHECKING:
    from jinja2 import Template

    from generator.spec.image import ImageSpec

_STATE = "var/lib/multieip"
_READY = "/run/multieip-takeover"
# Text up to this many bytes stays readable; more of it is worth its compression.
_PLAIN_BYTES = 2048
_BASE64_LINE = 104

_PURPOSE = {
    "golden": "Settings of one launch, for an image that multieip built.",
    "standalone": "Makes a stock image a multi-EIP one at its first boot, which ends in a reboot.",
}


class Form(StrEnum):
    """The two forms of user-data."""

    GOLDEN = "golden"
    STANDALONE = "standalone"


@dataclass(frozen=True)
class Prepared:
    """User-data of one spec, ready to be rendered for any number of instances."""

    template: Template
    values: Mapping[str, object]

    def render(self, files: Tree | None = None) -> bytes:
        """Return user-data with further files, if any, that this instance alone gets (paths relative to `/`)."""
        entries = [_entry(path, entry) for path, entry in (files or {}).items()]
        return fill(self.template, files=entries, **self.values)


def golden(spec: ImageSpec) -> bytes:
    """Return the user-data that launches an instance from the spec's golden image."""
    return prepare(spec, Form.GOLDEN).render()


def standalone(spec: ImageSpec) -> bytes:
    """Return the user-data that launches an instance from a stock image of the spec's distribution."""
    return prepare(spec, Form.STANDALONE).render()


def prepare(spec: ImageSpec, form: Form) -> Prepared:
    """Do what is the same for every instance: all but the files that one instance gets."""
    ours = _golden(spec) if form is Form.GOLDEN else _standalone(spec)
    merged = _merge(ours, spec.cloud_config)
    entries = [_dumped(entry) for entry in ours["write_files"]]
    theirs = yaml_block.Items(merged.pop("write_files")[len(entries) :])
    before = {key: value for key, value in merged.items() if key in ("package_update", "packages", "bootcmd")}
    after = {key: value for key, value in merged.items() if key not in before}
    return Prepared(
        load("cloud-init/user-data.yaml.j2"),
        {
            "purpose": Escaped(_PURPOSE[form]),
            "version": generator.__version__,
            "name": spec.name,
            "digest": digest(spec),
            "before": _block(before),
            "ours": Escaped("".join(entries)),
            "theirs": _block(theirs),
            "after": _block(after),
        },
    )


def warning(size: int) -> str:
    """Say which limit user-data of `size` bytes is over; empty when it is over none."""
    if size > ECS_LIMIT:
        return f"user-data has {size} bytes; ECS takes {ECS_LIMIT}"
    if size > AUTO_SCALING_LIMIT:
        return f"user-data has {size} bytes; Auto Scaling takes {AUTO_SCALING_LIMIT} (ECS: {ECS_LIMIT})"
    return ""


def _golden(spec: ImageSpec) -> dict[str, Any]:
    return {
        "write_files": [_entry("etc/multieip/policy-routing.conf", policy_routing_conf(spec))],
        # The script ran before cloud-init wrote its settings.
        "runcmd": [["systemctl", "--no-block", "start", "multieip-policy-routing.service"]],
    }


def _standalone(spec: ImageSpec) -> dict[str, Any]:
    tree = rootfs(spec)
    script = tree[POLICY_ROUTING]
    if isinstance(script, File):
        # ECS counts every byte, and comments are a fifth of a script.
        tree[POLICY_ROUTING] = replace(script, data=without_comments(script.data))
    files = {
        f"{_STATE}/rootfs.tar": File(tar(tree), 0o600),
        f"{_STATE}/takeover": File(without_comments(static("cloud-init/takeover"))),
    }
    arguments = " ".join(kernel_arguments(spec))
    return {
        "package_update": True,
        "packages": list(spec.all_packages),
        "write_files": [_entry(path, entry) for path, entry in sorted(files.items())],
        "runcmd": [["sh", f"/{_STATE}/takeover", arguments, *LEFTOVERS]],
        "power_state": {
            "mode": "reboot",
            "message": "multieip: NetworkManager takes over with this reboot",
            "timeout": 120,
            "condition": ["test", "-e", _READY],
        },
    }


def _merge(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Put the spec's cloud-config beside ours: its lists behind our lists, else its value instead of ours."""
    merged = {**ours, **theirs}
    for key, own in ours.items():
        value = theirs.get(key)
        if isinstance(own, list):
            if not isinstance(value, list | None):
                raise MultieipError(f"cloud_config.{key} is not a list", hint="write it as a YAML list")
            merged[key] = [*own, *(value or [])]
    return merged


def _entry(path: str, entry: File | Link) -> dict[str, str]:
    """Return an item of `write_files`; permissions only where they are not cloud-init's own default, 0644."""
    if isinstance(entry, Link):
        raise MultieipError(f"cloud-init's write_files cannot make the link {path}")
    item = {"path": f"/{path}"}
    if entry.mode != 0o644:
        item["permissions"] = f"{entry.mode:04o}"
    text = _text(entry.data)
    if text is not None and len(entry.data) <= _PLAIN_BYTES:
        return {**item, "content": text}
    # Not gzip.compress: the header that it writes differs between versions of Python.
    packed = base64.b64encode(zlib.compress(entry.data, level=9, wbits=31)).decode()
    lines = (packed[start : start + _BASE64_LINE] for start in range(0, len(packed), _BASE64_LINE))
    return {**item, "encoding": "gz+b64", "content": "".join(f"{line}\n" for line in lines)}


def _dumped(item: dict[str, str]) -> Escaped:
    """Return an item of `write_files` as YAML; PyYAML weighs each character, so Base64 goes past it."""
    if "encoding" not in item:
        return yaml_block.dump(yaml_block.Items([item]))
    rest = {key: value for key, value in item.items() if key != "content"}
    lines = "".join(f"    {line}\n" for line in item["content"].splitlines())
    return Escaped(f"{yaml_block.dump(yaml_block.Items([rest]))}  content: |\n{lines}")


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _block(value: Mapping[str, Any] | Sequence[Any]) -> Escaped:
    return yaml_block.dump(value) if value else Escaped()
