"""Every file that each example renders to. After a change that is meant: `pytest tests/golden --update-golden`.

Modes, links and payload.tar (which holds rootfs/ once more) are compared through manifest.json: Git keeps neither
0600 nor, sensibly, links to /dev/null.
"""

from __future__ import annotations

import difflib
import json
import shutil
from pathlib import Path

import pytest

from generator import resources
from generator.render.bundle import MANIFEST, bundle
from generator.render.files import File
from generator.spec.image import load

HERE = Path(__file__).parent
EXAMPLES = sorted(path.stem for path in resources.folder("images").glob("*.yaml"))
NOT_KEPT = {"packer/payload.tar"}


def rendered(name: str) -> dict[str, File]:
    tree = bundle(load(resources.folder("images") / f"{name}.yaml"), packer_version=(1, 6, 6))
    return {path: entry for path, entry in tree.items() if isinstance(entry, File) and path not in NOT_KEPT}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_renders_to_the_files_that_are_kept(name: str, request: pytest.FixtureRequest) -> None:
    folder = HERE / name
    now = rendered(name)
    if request.config.getoption("--update-golden", default=False):
        shutil.rmtree(folder, ignore_errors=True)
        for path, file in now.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(file.data)
    kept = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    differences = [difference(path, kept.get(path), now.get(path)) for path in sorted({*kept, *now})]
    assert not any(differences), "\n".join(filter(None, differences))


def test_every_kept_folder_is_an_example() -> None:
    assert [path.name for path in sorted(HERE.iterdir()) if (path / MANIFEST).is_file()] == EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_manifest_names_all_files_with_their_digests(name: str) -> None:
    tree = bundle(load(resources.folder("images") / f"{name}.yaml"), packer_version=(1, 6, 6))
    manifest_file = tree.pop(MANIFEST)
    assert isinstance(manifest_file, File)
    listed = {entry["path"]: entry for entry in json.loads(manifest_file.data)["files"]}
    assert set(listed) == set(tree)
    for path, entry in tree.items():
        if isinstance(entry, File):
            expected = {"path": path, "mode": f"{entry.mode:04o}", "size": len(entry.data), "sha256": entry.sha256}
        else:
            expected = {"path": path, "link": entry.target}
        assert listed[path] == expected


def difference(path: str, kept: bytes | None, now: File | None) -> str:
    if now is None:
        return f"{path} is kept and no longer rendered"
    if kept is None:
        return f"{path} is rendered and not kept"
    lines = difflib.unified_diff(
        kept.decode().splitlines(), now.data.decode().splitlines(), f"kept {path}", f"rendered {path}", lineterm=""
    )
    return "\n".join(lines) if kept != now.data else ""
