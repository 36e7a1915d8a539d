"""QEMU's machine protocol, for threads that wait for what they asked: a machine's monitor."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Coroutine
from typing import Any, TypeVar

from qemu.qmp import EventListener, ExecuteError, Message, QMPClient, QMPError

from generator.errors import MultieipError
from generator.sandbox.fabric.loop import Loop

# Seconds in which a machine that runs answers anything, and between two requests to a guest that boots still.
_ANSWER, _AGAIN = 20.0, 2.0

# It logs what it raises, and that QEMU ended as it was asked to.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)

T = TypeVar("T")


class Monitor:
    """The monitor of one machine. Each method may raise `MultieipError`: refused, not in time, or QEMU is gone."""

    def __init__(self, loop: Loop, name: str) -> None:
        self._loop = loop
        self._name = name
        self._client = QMPClient(name)

    def connect(self, connection: socket.socket) -> None:
        """Begin to speak over a socket that QEMU has the other end of."""
        connection.setblocking(False)
        self._call(self._client.connect(connection), _ANSWER)

    def execute(self, command: str, **arguments: object) -> Any:
        """Have a command done, and return its answer; underscores in names are hyphens."""
        return self._call(self._execute(command, arguments), _ANSWER)

    def unplug(self, device: str, limit: float) -> bool:
        """Ask the guest to let go of a device, and return whether it did within `limit` seconds."""
        return self._call(self._unplug(device, limit), limit + _ANSWER)

    def backup(self, device: str, target: str, limit: float) -> None:
        """Write what the upper layer of a disk holds at this moment to another node."""
        self._call(self._backup(device, target), limit)

    def close(self) -> None:
        """Speak no more."""
        # What the protocol failed with, if it did, was said to whoever asked.
        self._loop.call(_quietly(self._client.disconnect()))

    def _call(self, coroutine: Coroutine[Any, Any, T], limit: float) -> T:
        try:
            return self._loop.call(asyncio.wait_for(coroutine, limit))
        except ExecuteError as error:
            raise MultieipError(f"QEMU of {self._name} refused: {error}") from error
        except TimeoutError as error:
            raise MultieipError(f"QEMU of {self._name} did not answer within {limit:.0f} s") from error
        except QMPError as error:
            raise MultieipError(f"QEMU of {self._name} is gone: {error}") from error

    async def _execute(self, command: str, arguments: dict[str, object]) -> object:
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        return await self._client.execute(command, named)

    async def _unplug(self, device: str, limit: float) -> bool:
        end = asyncio.get_running_loop().time() + limit

        def its(event: Message) -> bool:
            told = event["data"]
            return isinstance(told, dict) and told.get("device") == device

        with self._client.listener("DEVICE_DELETED", its) as gone:
            while (left := end - asyncio.get_running_loop().time()) > 0:
                # A guest that has not booted so far does not hear it, and QEMU refuses to ask twice at once.
                with contextlib.suppress(ExecuteError):
                    await self._client.execute("device_del", {"id": device})
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(gone.get(), min(left, _AGAIN))
                    return True
        return False

    async def _backup(self, device: str, target: str) -> None:
        job = f"to-{target}"
        with self._client.listener("BLOCK_JOB_COMPLETED") as ended:
            asked = {"job-id": job, "device": device, "target": target, "sync": "top"}
            await self._client.execute("blockdev-backup", asked)
            try:
                failure = await self._outcome(ended, job)
            except BaseException:
                with contextlib.suppress(QMPError):
                    await self._client.execute("block-job-cancel", {"device": job, "force": True})
                raise
        if failure:
            raise MultieipError(f"the disk of {self._name} could not be copied: {failure}")

    @staticmethod
    async def _outcome(ended: EventListener, job: str) -> object:
        """Return with what a job failed, None if it did not."""
        while True:
            told = (await ended.get())["data"]
            if isinstance(told, dict) and told.get("device") == job:
                return told.get("error")


async def _quietly(coroutine: Coroutine[Any, Any, None]) -> None:
    try:
        await asyncio.wait_for(coroutine, _ANSWER)
    except (QMPError, TimeoutError, EOFError, OSError):
        return
