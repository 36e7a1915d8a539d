"""A rendered tree on disk: written whole or not at all, and compared with what is there.

A folder is written aside, next to its place, and renamed into it. Only a folder that an earlier run wrote, and
that holds nothing but what its manifest names, is ever replaced.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

from generator.errors import MultieipError
from generator.render.bundle import MANIFEST
from generator.render.files import File, Link, Tree


def write(tree: Tree, dest: Path) -> None:
    """Write `tree` as the folder `dest`, in place of an earlier one; modes are exact whatever the umask.

    Raises `MultieipError` when `dest` is not ours to replace, or cannot be written; then it is as it was.
    """
    dest = _absolute(dest)
    _refuse_foreign(dest)
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{dest.name}.", dir=dest.parent))
    except OSError as error:
        raise _cannot_write(dest, error) from error
    try:
        new = aside / "new"
        _write_tree(tree, new)
        _swap(new, dest, aside / "old")
    except OSError as error:
        raise _cannot_write(dest, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def diff(tree: Tree, dest: Path) -> str:
    """Return what `write` would change in `dest`, as `git diff` says it; empty when nothing would change."""
    dest = _absolute(dest)
    _refuse_foreign(dest)
    there = _read_tree(dest)
    return "".join(_change(path, there.get(path), tree.get(path)) for path in sorted({*there, *tree}))


def _absolute(dest: Path) -> Path:
    # A link at `dest` is followed: the folder it names is the one to replace. "." needs its name as well.
    try:
        return dest.resolve()
    except (OSError, RuntimeError) as error:
        raise MultieipError(f"{dest}: {error}", hint="give the path of a folder") from error


def _refuse_foreign(dest: Path) -> None:
    try:
        if not os.path.lexists(dest):
            return
        if not dest.is_dir():
            raise MultieipError(f"{dest} is not a folder", hint="give another path to -o, or remove it")
        there = {path.relative_to(dest).as_posix() for path in _leaves(dest)}
    except OSError as error:
        raise MultieipError(f"{dest}: {error.strerror}", hint="give another path to -o") from error
    foreign = sorted(there - _named(dest))
    if foreign:
        raise MultieipError(
            f"{dest} holds {foreign[0]!r}, which multieip did not write; nothing was changed",
            hint="give another path to -o, or move that away",
        )


def _named(dest: Path) -> set[str]:
    """Return the paths that the manifest in `dest` names, its own among them; none without a manifest."""
    try:
        manifest: Any = json.loads((dest / MANIFEST).read_bytes())
        return {str(entry["path"]) for entry in manifest["files"]} | {MANIFEST}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _leaves(folder: Path) -> list[Path]:
    """Return every file, link and empty folder below `folder`."""
    found: list[Path] = []
    for where, folders, files in os.walk(folder, onerror=_raise):
        here = Path(where)
        found += [here / name for name in files]
        found += [here / name for name in folders if (here / name).is_symlink()]
        if not folders and not files and here != folder:
            found.append(here)
    return found


def _raise(error: OSError) -> None:
    raise error


def _write_tree(tree: Tree, root: Path) -> None:
    root.mkdir()
    for path, entry in sorted(tree.items()):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(entry, Link):
            target.symlink_to(entry.target)
            continue
        # The mode from the first byte on: a key file is never readable, not even for a moment.
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(entry.data)
        target.chmod(entry.mode)
    for where, _, _ in os.walk(root):
        Path(where).chmod(0o755)


def _swap(new: Path, dest: Path, old: Path) -> None:
    """Rename `new` to `dest`; a folder that is there goes to `old`, and back when the second rename fails."""
    if not dest.is_dir():
        new.rename(dest)
        return
    dest.rename(old)
    try:
        new.rename(dest)
    except BaseException:
        old.rename(dest)
        raise


def _cannot_write(dest: Path, error: OSError) -> MultieipError:
    return MultieipError(
        f"{dest} cannot be written: {error.strerror}; nothing was changed",
        hint="make room or get the right to write there, or give another path to -o",
    )


def _read_tree(dest: Path) -> dict[str, File | Link]:
    tree: dict[str, File | Link] = {}
    for path in _leaves(dest) if dest.is_dir() else []:
        name = path.relative_to(dest).as_posix()
        try:
            if path.is_symlink():
                tree[name] = Link(str(path.readlink()))
            elif path.is_file():
                tree[name] = File(path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        except OSError as error:
            raise MultieipError(f"{path}: {error.strerror}", hint="it must be readable to be compared") from error
    return tree


def _change(path: str, old: File | Link | None, new: File | Link | None) -> str:
    if old == new:
        return ""
    if isinstance(old, File) and isinstance(new, File) and old.data == new.data:
        return f"{_title(path)}old mode {old.mode:04o}\nnew mode {new.mode:04o}\n"
    return _title(path) + _modes(old, new) + _lines(path, old, new)


def _title(path: str) -> str:
    return f"diff a/{path} b/{path}\n"


def _modes(old: File | Link | None, new: File | Link | None) -> str:
    before, after = _mode(old), _mode(new)
    if before == after:
        return ""
    if old is None:
        return f"new file mode {after}\n"
    if new is None:
        return f"deleted file mode {before}\n"
    return f"old mode {before}\nnew mode {after}\n"


def _mode(entry: File | Link | None) -> str:
    if isinstance(entry, Link):
        return "link"
    return f"{entry.mode:04o}" if entry else ""


def _lines(path: str, old: File | Link | None, new: File | Link | None) -> str:
    before, after = _content(old), _content(new)
    if before is None or after is None:
        return f"Binary files a/{path} and b/{path} differ\n"
    names = (f"a/{path}" if old else "/dev/null", f"b/{path}" if new else "/dev/null")
    lines = difflib.unified_diff(before, after, *names)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _content(entry: File | Link | None) -> list[str] | None:
    """Return an entry's lines, a link's target as one; None for bytes that are no text."""
    if entry is None:
        return []
    if isinstance(entry, Link):
        return [entry.target]
    if b"\0" in entry.data:
        return None
    with contextlib.suppress(UnicodeDecodeError):
        # Not splitlines, which also splits at form feeds and at other alphabets' line breaks.
        return [f"{line}\n" for line in entry.data.decode().split("\n")[:-1]] + _rest(entry.data)
    return None


def _rest(data: bytes) -> list[str]:
    last = data.decode().rpartition("\n")[2]
    return [last] if last else []
