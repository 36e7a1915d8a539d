from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from generator.errors import MultieipError
from generator.image import outdir
from generator.render.bundle import MANIFEST
from generator.render.files import File, Link, Tree
from generator.run import run


def tree(**files: str) -> Tree:
    entries: dict[str, File | Link] = {
        "secret": File(b"s\n", 0o600),
        "bin/tool": File(b"#!/bin/sh\n", 0o755),
        "link": Link("/dev/null"),
        **{name: File(text.encode()) for name, text in files.items()},
    }
    manifest = {"files": [{"path": path} for path in sorted(entries)]}
    return {**entries, MANIFEST: File(json.dumps(manifest).encode())}


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_tree_is_written_with_its_modes_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        outdir.write(tree(), tmp_path / "a" / "out")
    finally:
        os.umask(before)
    out = tmp_path / "a" / "out"
    modes = {path.name: path.stat().st_mode & 0o7777 for path in (out, out / "bin", out / "secret", out / "bin/tool")}
    assert modes == {"out": 0o755, "bin": 0o755, "secret": 0o600, "tool": 0o755}
    assert (out / "link").readlink() == Path("/dev/null")
    assert listing(tmp_path / "a") == ["out"]


def test_an_earlier_tree_is_replaced_and_files_that_went_are_gone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    outdir.write(tree(old="1", same="2"), out)
    outdir.write(tree(new="1", same="3"), out)
    assert listing(out) == sorted(["secret", "bin", "link", "new", "same", MANIFEST])
    assert (out / "same").read_text() == "3"
    assert listing(tmp_path) == ["out"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    outdir.write(tree(), tmp_path / "out")
    assert (tmp_path / "out" / MANIFEST).is_file()


@pytest.mark.parametrize("ours", [False, True])
def test_a_folder_with_somebodys_file_is_refused_and_left_as_it_is(tmp_path: Path, ours: bool) -> None:
    out = tmp_path / "out"
    if ours:
        outdir.write(tree(), out)
    (out / "deep").mkdir(parents=True)
    (out / "deep" / "notes.txt").write_text("mine")
    with pytest.raises(MultieipError, match=r"deep/notes.txt.*did not write") as caught:
        outdir.write(tree(), out)
    assert caught.value.hint
    with pytest.raises(MultieipError, match=r"did not write"):
        outdir.diff(tree(), out)
    assert (out / "deep" / "notes.txt").read_text() == "mine"
    assert listing(tmp_path) == ["out"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(MultieipError, match=r"is not a folder"):
        outdir.write(tree(), tmp_path / "out")
    with pytest.raises(MultieipError, match=r"cannot be written|Not a directory"):
        outdir.write(tree(), tmp_path / "out" / "below")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk of 64 KiB")
    disk = tmp_path / "disk"
    disk.mkdir()
    if run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        yield disk
    finally:
        run(["umount", str(disk)])


def test_a_full_disk_is_one_error_and_leaves_the_earlier_tree(small_disk: Path) -> None:
    out = small_disk / "out"
    outdir.write(tree(same="1"), out)
    with pytest.raises(MultieipError, match=r"No space left on device; nothing was changed"):
        outdir.write(tree(same="2" * 65536), out)
    assert (out / "same").read_text() == "1"
    assert listing(small_disk) == ["out"]


def test_a_rename_that_fails_puts_the_earlier_tree_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    outdir.write(tree(same="1"), out)
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(MultieipError, match=r"Input/output error"):
            outdir.write(tree(same="2"), out)
    assert (out / "same").read_text() == "1"
    assert listing(tmp_path) == ["out"]


def test_nothing_to_change_is_an_empty_diff(tmp_path: Path) -> None:
    outdir.write(tree(), tmp_path / "out")
    assert outdir.diff(tree(), tmp_path / "out") == ""


def test_a_diff_with_nothing_there_adds_everything_and_writes_nothing(tmp_path: Path) -> None:
    said = outdir.diff(tree(a="x\n"), tmp_path / "out")
    assert "diff a/a b/a\nnew file mode 0644\n--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+x\n" in said
    assert "diff a/link b/link\nnew file mode link\n" in said
    assert listing(tmp_path) == []


def test_a_diff_says_lines_modes_links_and_files_that_go(tmp_path: Path) -> None:
    out = tmp_path / "out"
    outdir.write(tree(a="one\ntwo\n", gone="g\n", mode="m\n", data="\0"), out)
    (out / "mode").chmod(0o600)
    (out / "link").unlink()
    (out / "link").symlink_to("elsewhere")
    said = outdir.diff(tree(a="one\n2", mode="m\n", data="\0\0"), out)
    assert "--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n\\ No newline at end of file\n" in said
    assert "diff a/mode b/mode\nold mode 0600\nnew mode 0644\n" in said
    assert "-elsewhere\n\\ No newline at end of file\n+/dev/null\n" in said
    assert "diff a/gone b/gone\ndeleted file mode 0644\n--- a/gone\n+++ /dev/null\n" in said
    assert "Binary files a/data and b/data differ\n" in said
