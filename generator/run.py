"""The one way to run a program: a list of arguments, a small environment, no shell.

Every program that multieip starts gets `BASE_ENV` and what its caller adds: a user's locale, proxies or
credentials reach a child only where the caller names them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from generator.errors import MultieipError, PrerequisiteError

LOG = logging.getLogger("multieip")

# Debian package of each program that we may ask for, for the remedy in the error.
PACKAGES = {
    "bridge": "iproute2",
    "debugfs": "e2fsprogs",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "nsenter": "util-linux",
    "packer": "packer",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "sfdisk": "fdisk",
    "shellcheck": "shellcheck",
    "slirp4netns": "slirp4netns",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "tc": "iproute2",
    "unshare": "util-linux",
    "xorriso": "xorriso",
}

# Debian's /usr/sbin is not on a plain user's PATH, and mke2fs and debugfs live there.
SEARCH_PATH = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"

# Seconds that an interrupted program has to clean up.
_GRACE = 30.0


@dataclass(frozen=True)
class Result:
    """How a program ended, with what it printed (text, UTF-8, undecodable bytes replaced)."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


class ProgramError(MultieipError):
    """A program ended with another code than 0."""

    def __init__(self, result: Result, *, hint: str = "") -> None:
        last = (result.stderr.strip() or result.stdout.strip() or "it printed nothing").splitlines()[-1]
        super().__init__(f"{result.argv[0]} failed ({describe_exit(result.returncode)}): {last}", hint=hint)
        self.result = result


def describe_exit(returncode: int) -> str:
    """Say an exit code in words: `exit 3`, or `killed by signal 15`."""
    return f"killed by signal {-returncode}" if returncode < 0 else f"exit {returncode}"


def find(program: str) -> str | None:
    """Return the path of a program, or None."""
    return shutil.which(program, path=SEARCH_PATH)


def need(program: str) -> str:
    """Return the path of a program; `PrerequisiteError` with the command that installs it when it is missing."""
    path = find(program)
    if path is None:
        raise PrerequisiteError(f"{program} is not installed", hint=install_command(program))
    return path


def install_command(program: str) -> str:
    """Return the command that installs a program on Debian and Ubuntu."""
    return f"apt-get install {PACKAGES.get(program, program)}"


def base_env(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a child: what programs need to run at all, then `extra`."""
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR", "USER", "XDG_CACHE_HOME") if name in os.environ}
    return {"PATH": SEARCH_PATH, "LANG": "C.UTF-8", "TERM": "dumb", **kept, **(extra or {})}


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    check: bool = True,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
    hint: str = "",
) -> Result:
    """Run a program to its end and return what it printed.

    `timeout` is in seconds. Raises `ProgramError` for an exit code other than 0 when `check` is set,
    `PrerequisiteError` for a program that is not there, `MultieipError` when the time is over. An interrupt is
    raised again once the program, asked to end, has cleaned up.
    """
    command = [need(os.fspath(argv[0])), *(os.fspath(argument) for argument in argv[1:])]
    LOG.debug("+ %s", shlex.join(command))
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=base_env(env),
        cwd=cwd,
    ) as child:
        try:
            stdout, stderr = child.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise MultieipError(f"{argv[0]} did not end within {timeout:.0f} s", hint=hint) from error
        except KeyboardInterrupt:
            # Asked to end, mmdebstrap unmounts and removes its tree; killed, it leaves a gigabyte.
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.communicate(timeout=_GRACE)
            raise
        finally:
            if child.poll() is None:
                child.kill()
    result = Result(
        (os.fspath(argv[0]), *command[1:]),
        child.returncode,
        stdout.decode("utf-8", "replace"),
        stderr.decode("utf-8", "replace"),
    )
    if check and result.returncode != 0:
        raise ProgramError(result, hint=hint)
    return result


def stream(
    argv: Sequence[str | os.PathLike[str]],
    on_line: Callable[[str], None],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    grace: float,
    on_interrupt: Callable[[], None] = lambda: None,
) -> int:
    """Run a program, hand each line that it prints (both channels) to `on_line`, and return its exit code.

    The program has a session of its own, so that Ctrl-C does not reach it: an interrupt is passed on as SIGTERM,
    and the program has `grace` seconds to clean up before it is killed with all its children. The interrupt is
    then raised again.
    """
    command = [need(os.fspath(argv[0])), *(os.fspath(argument) for argument in argv[1:])]
    LOG.debug("+ %s", shlex.join(command))
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=base_env(env),
        cwd=cwd,
        start_new_session=True,
        encoding="utf-8",
        errors="replace",
    )
    assert child.stdout is not None  # noqa: S101 - it is a pipe
    # The program may be gone by then, but what it started holds its output open.
    killer = threading.Timer(grace, _kill_session, [child])
    try:
        try:
            for line in child.stdout:
                on_line(line.rstrip("\n"))
            return child.wait()
        except KeyboardInterrupt:
            on_interrupt()
            child.terminate()
            killer.start()
            # What it says while it cleans up belongs to the log as well.
            for line in child.stdout:
                on_line(line.rstrip("\n"))
            raise
    finally:
        killer.cancel()
        _kill(child)
        child.stdout.close()


def _kill(child: subprocess.Popen[str]) -> None:
    """End a program that is still there, and what it started in its session."""
    if child.poll() is None:
        _kill_session(child)
        child.wait()


def _kill_session(child: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
