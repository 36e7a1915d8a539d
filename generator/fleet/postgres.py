"""Connections to a PostgreSQL database that processes on several machines share, beside the engine's own."""

from __future__ import annotations

import hashlib
from typing import Any

from generator.errors import MultieipError

# A connection whose machine is gone is closed after about as long as these say: 5 s, and three times 5 s more.
_KEEPALIVES = "keepalives=1&keepalives_idle=5&keepalives_interval=5&keepalives_count=3"


def connect(url: str) -> Any:
    """Return a connection that commits each statement; psycopg's errors go through."""
    import psycopg  # noqa: PLC0415 - with the engine

    address = url.replace("postgresql+psycopg://", "postgresql://", 1)
    return psycopg.connect(f"{address}{'&' if '?' in address else '?'}{_KEEPALIVES}", autocommit=True)


def connected(url: str) -> Any:
    """Return a connection; `MultieipError` when there is none to be had."""
    import psycopg  # noqa: PLC0415 - with the engine

    try:
        return connect(url)
    except psycopg.Error as error:
        raise unusable(error) from None


def unusable(error: Exception) -> MultieipError:
    """Return what is said of a database; the error's own text may have the URL, and that a password."""
    return MultieipError(
        f"the engine's database cannot be used ({type(error).__name__})",
        hint="see whether it answers, and whether its user may make schemas",
    )


def key_of(name: str) -> int:
    """Return the number of the advisory lock of a name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
