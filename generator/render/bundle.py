"""All that `multieip render` writes for one image: rootfs/, packer/, user-data/ and the manifest of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import generator
from generator.render import guest, packer, userdata
from generator.render.files import File, Link, Tree
from generator.render.provenance import digest

if TYPE_CHECKING:
    from generator.spec.image import ImageSpec

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1


def bundle(spec: ImageSpec, *, packer_version: tuple[int, int, int]) -> dict[str, File | Link]:
    """Return the whole tree of one image. The same spec and versions give the same bytes."""
    rootfs = guest.rootfs(spec)
    tree: dict[str, File | Link] = {f"rootfs/{path}": entry for path, entry in rootfs.items()}
    made = packer.render(spec, rootfs, packer_version)
    tree |= {f"packer/{path}": entry for path, entry in made.items()}
    for form in userdata.Form:
        tree[f"user-data/{form}.yaml"] = File(userdata.prepare(spec, form).render())
    tree[MANIFEST] = File((json.dumps(describe(spec, tree, packer_version=packer_version), indent=2) + "\n").encode())
    return dict(sorted(tree.items()))


def describe(spec: ImageSpec, tree: Tree, *, packer_version: tuple[int, int, int]) -> dict[str, Any]:
    """Return the manifest of a rendered tree: where it comes from, and each file but the manifest itself."""
    return {
        "schema_version": SCHEMA_VERSION,
        "name": spec.name,
        "multieip": generator.__version__,
        "spec_sha256": digest(spec),
        "packer_version": ".".join(str(part) for part in packer_version),
        "files": [_described(path, entry) for path, entry in sorted(tree.items()) if path != MANIFEST],
    }


def _described(path: str, entry: File | Link) -> dict[str, Any]:
    if isinstance(entry, Link):
        return {"path": path, "link": entry.target}
    return {"path": path, "mode": f"{entry.mode:04o}", "size": len(entry.data), "sha256": entry.sha256}
