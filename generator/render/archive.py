"""A tree as one tar, with the same bytes for the same tree."""

from __future__ import annotations

import io
import tarfile

from generator.render.files import Link, Tree


def tar(tree: Tree) -> bytes:
    """Return a tar of the tree's files and links: root's, of no date, in order of their names.

    It holds no directories, so that unpacking it over a system changes no directory's mode.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, entry in sorted(tree.items()):
            member = tarfile.TarInfo(path)
            member.uname = member.gname = "root"
            if isinstance(entry, Link):
                member.type, member.linkname, member.mode = tarfile.SYMTYPE, entry.target, 0o777
                archive.addfile(member)
            else:
                member.size, member.mode = len(entry.data), entry.mode
                archive.addfile(member, io.BytesIO(entry.data))
    return buffer.getvalue()
