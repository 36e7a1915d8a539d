"""How long EIPs do not answer while they move: asked from this machine the whole time."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from generator.fleet import outside
from generator.spec.fleet import Probe

# Seconds between two questions to an EIP, and how many are asked in a second at most, over all EIPs.
EVERY = 0.1
MOST = 400
# Seconds that an answer may take, and the next question does not wait for it. Less than the second after which TCP asks
# again by itself: a question must not be answered for having been asked twice.
PATIENCE = 0.8


class Watch:
    """Asks EIPs from when it is entered until it is left.

    An outage is the longest time between two questions that were answered and have one between them that was not.
    """

    def __init__(self, eips: Iterable[str], probe: Probe, *, away: Iterable[str] = ()) -> None:
        """Watch EIPs; those of them that are `away` do not answer yet, and are waited for all the same."""
        self._away = frozenset(away)
        self._eips = tuple(dict.fromkeys(eips))
        self._probe = probe.model_copy(update={"timeout": PATIENCE})
        self._every = max(EVERY, len(self._eips) / MOST)
        # When each EIP was asked, and whether it answered; None while that is open.
        self._asked: dict[str, dict[float, bool | None]] = {eip: {} for eip in self._eips}
        self._epoch = time.time() - time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        if self._eips:
            self._thread.start()
            self._until(
                lambda: all(any(asked.values()) for eip, asked in self._asked.items() if eip not in self._away),
                2 * (self._every + PATIENCE),
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._eips:
            self._thread.join()

    def settle(self, seconds: float) -> None:
        """Wait until every EIP that answered before answers again, so many seconds at most."""
        begun = time.monotonic()
        self._until(lambda: all(self._is_back(eip, begun) for eip in self._eips), seconds)

    def outage(self, eip: str, since: float | None = None) -> float | None:
        """Return the seconds for which an EIP was away; None when it did not answer before, or does not after.

        One that went away earlier, at `since` (seconds since the epoch), is away until its first answer.
        """
        asked = sorted(self._asked.get(eip, {}).items())
        if since is None:
            return longest_gap([(when, bool(answered)) for when, answered in asked if answered is not None])
        first = next((when for when, answered in asked if answered), None)
        return None if first is None else max(0.0, self._epoch + first - since)

    def _is_back(self, eip: str, since: float) -> bool:
        asked = dict(self._asked[eip])
        was_there = any(asked.values()) or eip in self._away
        return not was_there or any(answered for when, answered in asked.items() if when >= since)

    def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not holds() and time.monotonic() < end:
            time.sleep(0.02)

    async def _run(self) -> None:
        await asyncio.gather(*(self._ask(eip) for eip in self._eips))

    async def _ask(self, eip: str) -> None:
        asking: set[asyncio.Task[None]] = set()
        while not self._stop.is_set():
            task = asyncio.create_task(self._once(eip))
            asking.add(task)
            task.add_done_callback(asking.discard)
            await asyncio.sleep(self._every)
        for task in asking:
            task.cancel()

    async def _once(self, eip: str) -> None:
        begun = time.monotonic()
        self._asked[eip][begun] = None
        if self._probe.protocol == "icmp":
            answered = not (await asyncio.to_thread(outside.ask, [eip], self._probe))[eip]
        else:
            answered = await _connects(eip, self._probe.tcp_port)
        self._asked[eip][begun] = answered


async def _connects(eip: str, port: int) -> bool:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            await asyncio.wait_for(loop.sock_connect(connection, (eip, port)), PATIENCE)
        except OSError:
            return False
    return True


def longest_gap(asked: Sequence[tuple[float, bool]]) -> float | None:
    """Return the longest time without an answer, of questions (when, answered) in order.

    0 when every one was answered; None when the first or the last ones were not: nobody knows how long it was.
    """
    if not asked or not asked[0][1] or not asked[-1][1]:
        return None
    longest, last, missed = 0.0, asked[0][0], False
    for when, answered in asked:
        if not answered:
            missed = True
            continue
        if missed:
            longest = max(longest, when - last)
        last, missed = when, False
    return longest
