"""What rendering returns: a tree of files and links, as frozen data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    """A regular file: its bytes, and its permission bits (owner and group are root in an image)."""

    data: bytes
    mode: int = 0o644

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Link:
    """A symbolic link, with its target as it stands in the link."""

    target: str


# Relative POSIX paths without "." or "..", in any order; a writer sorts them.
Tree = Mapping[str, File | Link]
