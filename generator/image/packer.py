"""Packer through its command line: which version it is, and one build with its phases, log and artifact."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from generator import console
from generator.errors import CloudRefusedError, MultieipError, PrerequisiteError
from generator.render.packer import MINIMUM, PLUGINS, Version
from generator.run import find, need, run, stream

# No call home, no plugins of the user's, no colours in a log.
ENVIRONMENT = {"CHECKPOINT_DISABLE": "1", "PACKER_NO_COLOR": "1"}

_PASSED_ON = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

_CLEANING = "cleaning up"

# What Packer says when a phase begins, and what we call it. The first that fits counts.
_PHASES = (
    (re.compile(r"Copying hard drive"), "copying the base disk"),
    (re.compile(r"Starting VM, booting disk image"), "starting the builder"),
    (re.compile(r"Creating instance"), "creating the builder instance"),
    (re.compile(r"Allocating eip"), "giving the builder an EIP"),
    (re.compile(r"Starting instance"), "starting the builder"),
    (re.compile(r"Waiting for SSH"), "waiting for the builder to boot"),
    (re.compile(r"Provisioning with shell script: .*/provision/\d+-(\w+)\.sh"), "provisioning: {0}"),
    (re.compile(r"Gracefully halting|Stopping instance"), "stopping the builder"),
    (re.compile(r"Converting hard drive"), "compacting the disk"),
    (re.compile(r"Creating image"), "creating the image"),
    (re.compile(r"Coping image|Copying image"), "copying the image to other regions"),
    (re.compile(r"Cleaning up|Deleting"), _CLEANING),
)

# How the builder's SDK tells an error of the API, in the reason that Packer gives for a build that failed.
_REFUSAL = re.compile(r"ErrorCode: (\S+)\n.*?RequestId:([^\n]*)\nMessage:([^\n]*)", re.DOTALL)

# What the last provisioning step says of the image.
_CLOUD_INIT = re.compile(r"IMAGE HAS cloud-init ([0-9.]+)")

# A line that names the reason, whatever Packer puts before it.
_REASON = re.compile(r"ASSERTION FAILED: .*|Error: .*")


@dataclass(frozen=True)
class Built:
    """What a build brought: Packer's own account of it, how long Packer ran (seconds), the image's cloud-init."""

    artifact_id: str
    files: tuple[str, ...]
    seconds: float
    cloud_init: str


def installed_version() -> Version | None:
    """Return the version of the Packer on PATH, or None when there is none."""
    if find("packer") is None:
        return None
    said = run(["packer", "version"], env=ENVIRONMENT).stdout
    found = re.search(r"Packer v(\d+)\.(\d+)\.(\d+)", said)
    if found is None:
        raise PrerequisiteError("`packer version` does not say its version", hint="install Packer 1.6.6 or newer")
    return int(found[1]), int(found[2]), int(found[3])


def required_version() -> Version:
    """Return the version of the Packer on PATH; `PrerequisiteError` when there is none or it is too old."""
    need("packer")
    version = installed_version()
    if version is None or version < MINIMUM:
        raise PrerequisiteError(
            f"Packer {'.'.join(map(str, version or ()))} is too old", hint="install Packer 1.6.6 or newer"
        )
    return version


def build(
    folder: Path,
    *,
    builder: str,
    variables: Mapping[str, str],
    work: Path,
    log: Path,
    version: Version,
    left: str,
    credentials: Mapping[str, str] | None = None,
) -> Built:
    """Build one source of the template in `folder` and return its artifact.

    `work` is the current folder of the build; `log` gets all that Packer says, without secrets. `left` tells
    the user what may be left behind when an interrupted Packer cannot clean up. `credentials` are variables that
    only Packer's environment gets; their values never reach the log or the terminal.
    """
    secrets = dict(credentials or {})
    environment = {**_environment(work), **secrets}
    if version >= PLUGINS:
        run(["packer", "init", folder], env=environment, cwd=work, hint="see whether Packer reaches its plugins")
    options = [f"-only={builder}.golden", "-color=false"]
    options += [f"-var={name}={value}" for name, value in variables.items()]
    with log.open("w", encoding="utf-8") as stream_log:
        follower = _Follower(write=stream_log.write, secrets=tuple(secrets.values()))
        code = stream(
            ["packer", "build", "-machine-readable", *options, folder],
            follower.take,
            env=environment,
            cwd=work,
            grace=900,
            on_interrupt=lambda: follower.interrupted(left),
        )
    seconds = follower.end(failed=code != 0)
    if code != 0:
        raise follower.failure(hint=f"the last lines are above, all of them in {log}")
    return _artifact(work / "packer-manifest.json", seconds, follower.cloud_init)


def _environment(work: Path) -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**ENVIRONMENT, "PACKER_CACHE_DIR": os.fspath(work / "packer-cache"), **passed}


def _artifact(manifest: Path, seconds: float, cloud_init: str) -> Built:
    """Read what the last run made: exit code 0 alone does not mean that there is an artifact."""
    try:
        record = json.loads(manifest.read_bytes())
    except FileNotFoundError:
        raise MultieipError(
            "Packer ended well but made no artifact", hint="see the log for why nothing was built"
        ) from None
    mine = [build for build in record["builds"] if build["packer_run_uuid"] == record["last_run_uuid"]]
    if len(mine) != 1:
        raise MultieipError(f"Packer's manifest has {len(mine)} artifacts of this run, not one", hint=f"see {manifest}")
    files = tuple(entry["name"] for entry in mine[0].get("files") or ())
    return Built(mine[0]["artifact_id"], files, seconds, cloud_init)


@dataclass
class _Follower:
    """Turns Packer's machine-readable lines into a log and a line for each phase.

    `work` is the last phase that was not the cleaning up after it; `reason` is why the build failed, by its end;
    `cloud_init` is the version that the image has.
    """

    write: Callable[[str], object]
    secrets: tuple[str, ...]
    begun: float = field(default_factory=time.monotonic)
    phase: str = ""
    phase_begun: float = 0.0
    work: str = ""
    reason: str = ""
    cloud_init: str = ""
    errors: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)

    def take(self, line: str) -> None:
        """Take one line: `epoch,target,type,data…`, or what a panicking Packer prints."""
        parts = line.split(",", 3)
        if len(parts) < 4:
            self._log(line)
            return
        kind, text = parts[2], parts[3]
        if kind == "ui":
            channel, _, text = text.partition(",")
            text = self._plain(text)
            self._log(text)
            if found := _CLOUD_INIT.search(text):
                self.cloud_init = found[1]
            if channel == "say":
                self._follow(text)
            elif channel == "error":
                self.errors.append(text)
        elif kind == "error":
            self.reason = self._plain(text)
            self._log(f"error: {self.reason}")

    def end(self, *, failed: bool) -> float:
        """Close the last phase; return the seconds since the start."""
        self._close("✗" if failed else "✓")
        if failed:
            for line in self.tail[-20:]:
                console.say(f"    {line}")
        return time.monotonic() - self.begun

    def interrupted(self, left: str) -> None:
        """Close the phase that was cut short, and say what happens now."""
        self._close("✗")
        self.phase = ""
        console.say(f"… waiting up to 15 min for Packer to clean up; Ctrl-C again leaves {left}")

    def failure(self, *, hint: str) -> MultieipError:
        """Say in one line what failed: what ECS refused, a failed assertion, else the last error."""
        where = f" while {self.work}" if self.work else ""
        if refused := _REFUSAL.search(self.reason):
            code, request, message = (part.strip() for part in refused.groups())
            return CloudRefusedError(
                f"ECS refused{where}: {code}: {message} (RequestId {request or 'none'})", hint=hint
            )
        named = [found[0] for line in self.tail if (found := _REASON.search(line))]
        said = [line.strip() for text in self.errors[-1:] for line in text.splitlines() if line.strip()]
        return MultieipError(f"Packer failed{where}: {[*named, *reversed(said), 'it gave no reason'][0]}", hint=hint)

    def _plain(self, text: str) -> str:
        text = text.replace("%!(PACKER_COMMA)", ",").replace("\\n", "\n").replace("\\r", "")
        for secret in self.secrets:
            text = text.replace(secret, "********")
        return text.rstrip()

    def _log(self, text: str) -> None:
        for secret in self.secrets:
            text = text.replace(secret, "********")
        self.write(text + "\n")
        self.tail = [*self.tail[-200:], *text.splitlines()]

    def _follow(self, text: str) -> None:
        for pattern, name in _PHASES:
            if found := pattern.search(text):
                phase = name.format(*found.groups())
                if phase != self.phase:
                    self._close("✓")
                    self.phase, self.phase_begun = phase, time.monotonic()
                    self.work = self.work if phase == _CLEANING else phase
                    console.say(f"‣ {phase}")
                return

    def _close(self, mark: str) -> None:
        if self.phase:
            console.say(f"{mark} {self.phase} ({time.monotonic() - self.phase_begun:.1f} s)")
