"""The Packer template of an image, and what it uploads: pure, from a spec and a tree.

One list of provisioning steps serves two sources: `alicloud-ecs.golden` for production and `qemu.golden` for a
machine with no account. What a source may say depends on the version of Packer: 1.6.6, the last free one, has
its builders inside; from 1.7 on they are plugins, with options of their own.
"""

from __future__ import annotations

import generator
from generator.render import archive, escape, provenance, templates
from generator.render.escape import Escaped
from generator.render.files import File, Link, Tree
from generator.render.guest import LEFTOVERS, kernel_arguments
from generator.spec.image import ImageSpec

Version = tuple[int, int, int]

# The oldest Packer whose options the template keeps to.
MINIMUM: Version = (1, 6, 6)
# From this version on builders are plugins, and `packer init` installs them.
PLUGINS: Version = (1, 7, 0)

# Options of alicloud-ecs that plugin v1.1.2 has and Packer 1.6.6 calls an unsupported argument. Its image_family and
# target_image_family are not among them: which image a build starts from is decided, and recorded, before it; and a
# new image joins its family when its copies are there too (generator/image/publish.py).
PLUGIN_OPTIONS = frozenset({"run_tags"})

STEPS = ("10-unpack.sh", "20-packages.sh", "30-rootfs.sh", "40-kernel.sh", "80-clean.sh", "90-assert.sh")


def render(spec: ImageSpec, rootfs: Tree, version: Version) -> dict[str, File | Link]:
    """Return the files of `packer/`: template, plugins where this Packer has them, steps and their payload.

    `rootfs` is what `generator.render.guest.rootfs` made of the same spec. `version` is that of the Packer that
    will read the template.
    """
    options = PLUGIN_OPTIONS if version >= PLUGINS else frozenset()
    tree: dict[str, File | Link] = {
        "image.pkr.hcl": File(_template(spec, options)),
        "payload.tar": File(_payload(spec, rootfs)),
    }
    if version >= PLUGINS:
        tree["plugins.pkr.hcl"] = File(templates.static("packer/plugins.pkr.hcl"))
    for step in STEPS:
        tree[f"provision/{step}"] = File(templates.static(f"packer/provision/{step}"), 0o755)
    return tree


def image_tags(spec: ImageSpec) -> dict[str, str]:
    """Return the tags of the image, its copies and snapshots: the user's, and where it comes from."""
    ours = {
        "multieip:name": spec.name,
        "multieip:spec": provenance.digest(spec)[:32],
        "multieip:version": generator.__version__,
    }
    return {**(spec.alicloud.tags if spec.alicloud else {}), **ours}


def _template(spec: ImageSpec, options: frozenset[str]) -> bytes:
    sources = [
        *(["source.alicloud-ecs.golden"] if spec.alicloud else []),
        *(["source.qemu.golden"] if spec.base.local else []),
    ]
    return templates.render(
        "packer/image.pkr.hcl.j2",
        image=spec.name,
        description=spec.description or f"{spec.name}, made by multieip",
        multieip_version=generator.__version__,
        digest=provenance.digest(spec),
        alicloud=spec.alicloud,
        local=spec.base.local,
        source_image=spec.base.ecs.id or "",
        options={name: name in options for name in PLUGIN_OPTIONS},
        tags=_aligned(image_tags(spec)),
        sources=sources,
        steps=STEPS,
    )


def _aligned(entries: dict[str, str]) -> list[tuple[Escaped, str]]:
    """Return the entries of an HCL map in order, keys quoted and padded as `packer fmt` has them."""
    width = max(len(escape.hcl(key)) for key in entries)
    return [(Escaped(escape.hcl(key).ljust(width)), value) for key, value in sorted(entries.items())]


def _payload(spec: ImageSpec, rootfs: Tree) -> bytes:
    """Return the tar that the steps read: rootfs/ and the lists that they work from and assert."""
    files = {path: entry for path, entry in sorted(rootfs.items()) if isinstance(entry, File)}
    links = {path: entry for path, entry in sorted(rootfs.items()) if isinstance(entry, Link)}
    lists = {
        "packages": spec.all_packages,
        "leftovers": LEFTOVERS,
        "kernel-args": kernel_arguments(spec),
        "rootfs.list": sorted(rootfs),
        "rootfs.sha256": [f"{entry.sha256}  {path}" for path, entry in files.items()],
        "rootfs.modes": [f"{entry.mode:o} {path}" for path, entry in files.items()],
        "rootfs.links": [f"{path} {entry.target}" for path, entry in links.items()],
    }
    members: dict[str, File | Link] = {f"rootfs/{path}": entry for path, entry in rootfs.items()}
    members |= {name: File("".join(f"{line}\n" for line in lines).encode()) for name, lines in lists.items()}
    return archive.tar(members)
