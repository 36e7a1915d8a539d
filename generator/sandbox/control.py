"""How the command line speaks with a running sandbox: one line of JSON each way, over a socket in its folder."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from generator.errors import ExitCode, MultieipError

_MOST = 16 * 1024 * 1024
Handler = Callable[[Mapping[str, Any]], Any]


async def serve(path: Path, handlers: Mapping[str, Handler]) -> asyncio.Server:
    """Answer `{"verb": …, …}` with what the verb's handler returns or awaits, or with the error that it raised."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            asked = json.loads(await reader.readuntil(b"\n"))
            try:
                told = handlers[asked.pop("verb")](asked)
                said = {"answer": await told if inspect.isawaitable(told) else told}
            except MultieipError as failure:
                said = {"error": failure.message, "hint": failure.hint, "code": int(failure.exit_code)}
            writer.write(json.dumps(said).encode() + b"\n")
            await writer.drain()
        writer.close()

    path.unlink(missing_ok=True)
    with _short(path) as name:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(name)
    path.chmod(0o600)
    return await asyncio.start_unix_server(answer, sock=listening, limit=_MOST)


def ask(path: Path, verb: str, *, timeout: float = 30, **asked: Any) -> Any:
    """Ask a running sandbox, and return its answer.

    Raises `MultieipError` for what it refuses, `ConnectionError` or `FileNotFoundError` where none runs.
    """
    with socket.socket(socket.AF_UNIX) as connection, _short(path) as name:
        connection.settimeout(timeout)
        connection.connect(name)
        connection.sendall(json.dumps({"verb": verb, **asked}).encode() + b"\n")
        with connection.makefile("rb") as stream:
            line = stream.readline()
    if not line:
        raise ConnectionResetError("the sandbox ended")
    said = json.loads(line)
    if "error" in said:
        failure = MultieipError(said["error"], hint=said["hint"])
        failure.exit_code = ExitCode(said["code"])
        raise failure
    return said["answer"]


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Give a name of a socket that is short whatever its folder: the kernel takes 107 bytes."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
