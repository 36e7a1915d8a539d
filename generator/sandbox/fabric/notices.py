"""What a container tells of its start, by the protocol of sd_notify(3)."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable


class Notices:
    """A socket that is read all the time: a container's systemd waits for whoever does not."""

    def __init__(self, name: str) -> None:
        # An abstract address: no path to be too long, no file to remove.
        self._address = f"multieip-{name}-{os.urandom(4).hex()}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self._address)
        self._socket.settimeout(0.2)
        self._said: dict[str, str] = {}
        self._news = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._read, name=f"notices of {name}", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """The value of $NOTIFY_SOCKET."""
        return f"@{self._address}"

    def wait(self, key: str, timeout: float, alive: Callable[[], bool]) -> str | None:
        """Return the value of `key` once it was told; None when `timeout` seconds or whoever tells it are over."""
        deadline = time.monotonic() + timeout
        with self._news:
            while key not in self._said and alive() and time.monotonic() < deadline:
                self._news.wait(0.1)
            return self._said.get(key)

    def said(self, key: str) -> str | None:
        """Return the value of `key` as it was told last."""
        with self._news:
            return self._said.get(key)

    def close(self) -> None:
        """Read no more."""
        self._closed = True
        self._thread.join()
        self._socket.close()

    def _read(self) -> None:
        while not self._closed:
            try:
                message = self._socket.recv(4096).decode("utf-8", "replace")
            except TimeoutError:
                continue
            with self._news:
                for line in message.splitlines():
                    name, _, value = line.partition("=")
                    self._said[name] = value
                self._news.notify_all()
