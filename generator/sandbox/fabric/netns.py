"""Named network namespaces: make one, run a program or open sockets inside it, and leave none behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from generator.errors import MultieipError
from generator.run import Result, base_env, need, run

_HANDLES = Path("/run/netns")
_CLONE_NEWNET = 0x4000_0000
_LIBC = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


@dataclass(frozen=True)
class Namespace:
    """A network namespace with a handle in /run/netns."""

    name: str

    @property
    def path(self) -> Path:
        """The handle, as `nsenter --net=` and systemd-nspawn take it."""
        return _HANDLES / self.name

    def create(self) -> None:
        """Make the namespace, with its loopback up."""
        run(["ip", "netns", "add", self.name])
        self.ip("link set lo up")

    def delete(self) -> None:
        """Remove the handle, if it is there; the namespace goes when the last process and socket in it do."""
        run(["ip", "netns", "delete", self.name], check=False)

    def ip(self, *commands: str) -> None:
        """Run `ip` commands in one process, in order; the first that fails ends it with `MultieipError`."""
        done = run(["ip", "-n", self.name, "-batch", "-"], stdin="\n".join(commands).encode(), check=False)
        if done.returncode != 0:
            place = re.search(r"-:(\d+)", done.stderr)
            failed = commands[int(place[1]) - 1] if place else "-batch"
            raise MultieipError(f"ip {failed} in {self.name}: {done.stderr.strip().splitlines()[0]}")

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        stdin: bytes | None = None,
        check: bool = True,
        timeout: float | None = None,
    ) -> Result:
        """Run a program inside; like `generator.run.run`."""
        return run([*self.enter, *argv], stdin=stdin, check=check, timeout=timeout)

    def start(self, argv: Sequence[str | os.PathLike[str]], *, log: Path) -> subprocess.Popen[bytes]:
        """Start a program inside that goes on, its output in `log`; the process is the program itself."""
        with log.open("ab") as out:
            return subprocess.Popen(
                [need("nsenter"), *self.enter[1:], need(os.fspath(argv[0])), *argv[1:]],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=base_env(),
                start_new_session=True,
            )

    @property
    def enter(self) -> tuple[str, ...]:
        """What to put before a program for it to run inside."""
        return ("nsenter", f"--net={self.path}", "--")

    def set_sysctls(self, values: dict[str, str]) -> None:
        """Write values under /proc/sys/net of this namespace; names as paths (`ipv4/ip_forward`).

        A name that this kernel does not have is left out: it then has nothing to switch.
        """

        def write() -> None:
            for name, value in values.items():
                path = Path("/proc/sys/net", name)  # the calling thread's namespace
                if path.exists():
                    path.write_text(value)

        self.call(write)

    def call(self, function: Callable[[], T]) -> T:
        """Call `function` in a thread that is inside; sockets that it opens stay inside for good."""
        outcome: list[T] = []
        failure: list[BaseException] = []

        def body() -> None:
            try:
                descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    if _LIBC.setns(descriptor, _CLONE_NEWNET) != 0:
                        code = ctypes.get_errno()
                        raise OSError(code, os.strerror(code), self.name)
                finally:
                    os.close(descriptor)
                outcome.append(function())
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=body, name=f"in {self.name}")
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return outcome[0]

    def pids(self) -> list[int]:
        """Return the processes that are inside."""
        done = run(["ip", "netns", "pids", self.name], check=False)
        return [int(line) for line in done.stdout.split()]


def names(prefix: str) -> list[str]:
    """Return the names of the namespaces that begin with `prefix`."""
    if not _HANDLES.is_dir():
        return []
    return sorted(path.name for path in _HANDLES.iterdir() if path.name.startswith(prefix))


def sweep(prefix: str) -> list[str]:
    """Destroy the namespaces whose names begin with `prefix`, and return their names."""
    found = names(prefix)
    for name in found:
        destroy(Namespace(name))
    return found


def destroy(space: Namespace) -> None:
    """Kill what runs in a namespace, and remove it.

    A container's init is one of those processes, so its whole tree and systemd-nspawn end with it.
    """
    deadline = time.monotonic() + 5
    while (pids := space.pids()) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    space.delete()
