"""An instance as a systemd-nspawn container: a real system's tree, copied on write, in the instance's namespace.

The overlay is mounted in a mount namespace that only the container has, so that it goes when the container does,
however that ends, and the machine's mount table never sees it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from generator.errors import MultieipError
from generator.run import Result, base_env, need, run
from generator.sandbox.fabric import cgroups
from generator.sandbox.fabric.netns import Namespace
from generator.sandbox.fabric.notices import Notices

# A layer between the image and what the instance changes, so that neither has it.
_LAYER = {
    # Without udev, which containers do not have, NetworkManager takes a veth for somebody else's. An ENI is not.
    "etc/NetworkManager/conf.d/00-multieip-sandbox.conf": (
        b"[device-multieip-sandbox]\nmatch-device=interface-name:eth*\nmanaged=1\n"
    ),
    # The disks of the image are not here.
    "etc/fstab": b"",
}
# nspawn leaves folders here behind where /run is not a tmpfs.
_PRIVATE_RUN = "mkdir -p /run/systemd/nspawn && mount -t tmpfs -o mode=0755 tmpfs /run/systemd/nspawn"

# What nspawn ends with, of a unit that is kept, when the container wants to boot again.
_REBOOT = 133
_LEADER = "X_NSPAWN_LEADER_PID"

_BOOT_TIMEOUT = 90.0
_STOP_TIMEOUT = 30.0


class Power(Enum):
    """What a system did that ended by itself."""

    OFF = "it powered off"
    REBOOT = "it boots again"


def wake() -> None:
    """Let programs of this process go on that a system stopped as it shut down.

    systemd stops every process before it kills them. nsenter, which waits outside for one of them, then stops as well,
    and systemd waits a minute and a half for the end of what nobody reaps.
    """
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            for pid in map(int, (task / "children").read_text().split()):
                if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                    os.kill(pid, signal.SIGCONT)


@dataclass
class Container:
    """One instance. `lowers` are its trees, the upper one first; `folder` gets what it changes, and its log.

    The name is also its machine name, which is why two fabrics' containers must not share one. `extra` are files
    that it finds in its tree, and that are not part of what it changes.
    """

    name: str
    lowers: Sequence[Path]
    folder: Path
    space: Namespace
    extra: Mapping[str, bytes] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _first_leader: int = field(default=0, init=False)
    _notices: Notices | None = field(default=None, init=False)
    started_at: float = field(default=0.0, init=False)

    @property
    def upper(self) -> Path:
        """What differs from the trees below."""
        return self.folder / "upper"

    @property
    def _layer(self) -> Path:
        return self.folder / "sandbox"

    @property
    def log(self) -> Path:
        """What the container wrote to its console."""
        return self.folder / "console.log"

    def start(self) -> None:
        """Begin to boot; returns when the container's init runs (time.monotonic() of that in `started_at`)."""
        for path in (self.upper, self.folder / "work", self.folder / "root"):
            path.mkdir(parents=True, exist_ok=True)
        self.upper.chmod(0o755)
        for name, data in {**_LAYER, **self.extra}.items():
            (self._layer / name).parent.mkdir(parents=True, exist_ok=True)
            (self._layer / name).write_bytes(data)
        self._notices = Notices(self.name)
        self.started_at = time.monotonic()
        with self.log.open("ab") as console:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=base_env({"NOTIFY_SOCKET": self._notices.address, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}),
                start_new_session=True,
            )
        self._first_leader = int(self._await(_LEADER, _BOOT_TIMEOUT))

    def _command(self) -> list[str]:
        lowers = ":".join(self._link_lowers())
        options = f"lowerdir={lowers},upperdir={self.upper.name},workdir=work,index=off"
        nspawn = [
            need("systemd-nspawn"),
            "--quiet",
            f"--directory={self.folder / 'root'}",
            f"--machine={self.name}",
            "--boot",
            "--register=no",
            *([] if cgroups.managed() else ["--keep-unit"]),
            "--notify-ready=yes",
            "--console=pipe",
            f"--network-namespace-path={self.space.path}",
            # Which nspawn gives by itself only with a network that it made.
            "--capability=CAP_NET_ADMIN",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
        ]
        enter = ["cd", str(self.folder)]
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, "root"]
        groups = [] if cgroups.managed() else cgroups.make(self.name)
        join = [f"echo $$ >{shlex.quote(str(group / 'cgroup.procs'))}" for group in groups]
        script = " && ".join([*join, _PRIVATE_RUN, shlex.join(enter), shlex.join(mount), f"exec {shlex.join(nspawn)}"])
        return [need("unshare"), "--mount", "--propagation=private", "/bin/sh", "-c", script]

    def _link_lowers(self) -> list[str]:
        """Give the layers short names in the folder: options of a mount end at 4 KB, a layer's at a colon or comma."""
        names = []
        for number, layer in enumerate((self._layer, *self.lowers)):
            link = self.folder / f"lower{number}"
            link.unlink(missing_ok=True)
            link.symlink_to(layer.absolute())
            names.append(link.name)
        return names

    def _await(self, key: str, timeout: float) -> str:
        said = self._notices.wait(key, timeout, lambda: self.running) if self._notices is not None else None
        if said is None:
            last = self._last_words()
            self.kill()
            raise MultieipError(f"instance {self.name} did not boot: {last}", hint=f"see {self.log}")
        return said

    def _last_words(self) -> str:
        lines = self.log.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def wait_booted(self, timeout: float = _BOOT_TIMEOUT) -> str:
        """Wait until systemd has started everything, and return its verdict: `running` or `degraded`."""
        self._await("READY", timeout)
        return self.run(["systemctl", "is-system-running", "--wait"], check=False).stdout.strip()

    def ready(self, timeout: float) -> bool:
        """Wait until systemd has started everything; False when it has not within `timeout` seconds, or is gone."""
        notices = self._notices
        return notices is not None and notices.wait("READY", timeout, lambda: self.running) is not None

    @property
    def running(self) -> bool:
        """Whether the container is there."""
        process = self._process
        return process is not None and process.poll() is None

    @property
    def ended(self) -> Power | None:
        """What became of a container that was started, and neither shut down nor killed since."""
        process = self._process
        if process is None or not self._first_leader:
            return None
        if process.poll() is None:
            # With a scope of systemd's, nspawn boots it again by itself: in the network state of the boot before.
            return Power.REBOOT if self._leader not in (0, self._first_leader) else None
        return Power.REBOOT if process.returncode == _REBOOT else Power.OFF

    @property
    def _leader(self) -> int:
        """The container's init, 0 as long as there is none."""
        notices = self._notices
        return int(notices.said(_LEADER) or 0) if notices is not None else 0

    @property
    def root(self) -> Path:
        """The container's file system as it sees it; while it runs."""
        return Path(f"/proc/{self._leader}/root")

    @property
    def enter(self) -> tuple[str, ...]:
        """What to put before a program for it to run inside, as root."""
        # A folder after --wd would be one of the machine's.
        kinds = ("--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd")
        return ("nsenter", f"--target={self._leader}", *kinds, "--")

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = 60,
    ) -> Result:
        """Run a program inside, as root; like `generator.run.run`."""
        inside = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **(env or {})}
        return run([*self.enter, *argv], check=check, stdin=stdin, env=inside, timeout=timeout)

    def poweroff(self) -> None:
        """Shut down in order; killed when that takes too long."""
        if self.running and self._process is not None:
            os.kill(self._leader, signal.SIGRTMIN + 4)
            try:
                self._process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.kill()
        self._forget()

    def kill(self) -> None:
        """Pull the plug."""
        if self._process is not None:
            # nspawn ends when the container's init has; without a leader it has not come so far.
            if self.running:
                os.kill(self._leader or self._process.pid, signal.SIGKILL)
            try:
                self._process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._forget()

    def _forget(self) -> None:
        self._process, self._first_leader = None, 0
        cgroups.remove(self.name)
        if self._notices is not None:
            self._notices.close()
            self._notices = None
