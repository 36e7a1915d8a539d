"""The command `multieip` in a process of its own, and sandboxes that it starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Done = subprocess.CompletedProcess[str]
# Without root's rights, but with its files: a Python in root's home is nobody else's to run.
WITHOUT_ROOT = ("unshare", "--user") if os.geteuid() == 0 else ()


def multieip(
    *arguments: str | os.PathLike[str],
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    through: Sequence[str] = (),
    timeout: float = 120,
) -> Done:
    """Run the command to its end; `env` is added to this process's environment, `through` runs it."""
    argv = [*through, sys.executable, "-m", "generator", *(os.fspath(one) for one in arguments)]
    return subprocess.run(
        argv,
        input=stdin,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


class Sandbox:
    """The sandbox of a folder, by its command line."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self._options = folder, options

    def do(self, verb: str, *arguments: str, **more: Any) -> Done:
        """Run a verb of `multieip sandbox`, whatever its exit code."""
        return multieip("sandbox", verb, "--dir", self.folder, *arguments, **more)

    def up(self, *options: str) -> Any:
        """Start it, and return what it says of itself."""
        done = self.do("up", *self._options, *options, "--json")
        assert done.returncode == 0, done.stderr + self.log()
        return json.loads(done.stdout)

    def status(self) -> Any:
        """Return what it says of itself."""
        done = self.do("status", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def down(self) -> None:
        """End it."""
        done = self.do("down")
        assert done.returncode == 0, done.stderr

    def kill(self) -> None:
        """Kill its server, which cleans nothing up."""
        os.kill(self.status()["pid"], signal.SIGKILL)

    def run(self, *command: str, **more: Any) -> Done:
        """Run a command by `exec`."""
        return self.do("exec", "--", *command, **more)

    def log(self) -> str:
        """Return what its server said, for messages of tests."""
        path = self.folder / "server.log"
        return path.read_text() if path.exists() else ""
