"""What a command costs before and beside its work: processes, from their start to their end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from generator.errors import MultieipError
from generator.image import build, packer
from generator.image.catalogue import Artifact, add
from generator.render.bundle import bundle
from generator.run import find
from generator.spec.image import load
from tests.bench import Row, in_turns, seconds, unmeasured

SPEC = str(Path(__file__).parents[2] / "images" / "debian-12.yaml")
MULTIEIP = Path(sys.executable).with_name("multieip")
# Compiled modules are kept, as they are where nobody develops.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
ROUNDS = 15
HEAVY = ("pydantic", "alibabacloud", "Tea", "aiohttp", "jinja2", "jsonschema", "yaml", "rich", "typer")


def rows() -> Iterator[Row]:
    """Yield a row for each verb that must answer at once."""
    with tempfile.TemporaryDirectory(prefix="multieip-bench-") as scratch:
        commands: dict[str, list[str | Path]] = {
            "bare": [sys.executable, "-c", "pass"],
            "help": [MULTIEIP, "--help"],
            "check": [MULTIEIP, "check", SPEC],
            "render": [MULTIEIP, "render", SPEC, "-o", f"{scratch}/tree", "--packer-version", "1.6.6"],
        }
        if find("packer"):
            _record_as_built(Path(scratch) / "built")
            commands["unchanged"] = [MULTIEIP, "image", "build", SPEC, "--out", f"{scratch}/built"]
        best = in_turns({name: _process(command) for name, command in commands.items()}, ROUNDS)
    bare = best["bare"]

    def row(name: str, what: str, *, limit: float | None, times: float | None = None) -> Row:
        took = best[name]
        goals = [f"< {times:.0f}x"] if times else []
        goals += [f"< {limit:.1f} s"] if limit else []
        met = (not times or took < times * bare) and (not limit or took < limit)
        goal = " and ".join(goals)
        return Row(
            what, seconds(took), f"python -c pass: {seconds(bare)}", took / bare, goal or "-", met if goal else None
        )

    yield row("help", "multieip --help", limit=0.2, times=3)
    yield _imports()
    yield row("check", "multieip check, one spec", limit=None)
    yield row("render", "multieip render, one image", limit=0.5)
    if "unchanged" in best:
        yield row("unchanged", "multieip image build, nothing changed", limit=1)
    else:
        yield unmeasured("multieip image build, nothing changed", "< 1.0 s", "packer is not installed")


def _process(command: list[str | Path]) -> Callable[[], float]:
    def run() -> float:
        begun = time.perf_counter()
        done = subprocess.run(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        took = time.perf_counter() - begun
        if done.returncode != 0:
            raise MultieipError(f"{command} failed: {done.stderr.decode()}")
        return took

    return run


def _imports() -> Row:
    command: list[str | Path] = [sys.executable, "-X", "importtime", MULTIEIP, "--help"]
    said = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stderr
    imported = {line.rpartition("|")[2].strip() for line in said.splitlines() if line.startswith("import time:")}
    heavy = sorted({name.partition(".")[0] for name in imported if name.startswith(HEAVY)})
    goal = "neither pydantic nor an SDK"
    return Row(
        "modules of multieip --help", f"{len(imported)}, heavy: {', '.join(heavy) or 'none'}", goal=goal, met=not heavy
    )


def _record_as_built(out: Path) -> None:
    """Put an image of the spec's inputs into a catalogue: what `image build` looks at, its disk by its size only."""
    spec, version = load(SPEC), packer.required_version()
    tree = bundle(spec, packer_version=version)
    out.mkdir()
    disk = out / "disk"
    disk.write_bytes(b"disk")
    artifact = Artifact(
        name=spec.name,
        image_name=f"{spec.name}-bench",
        builder="qemu",
        inputs=build.inputs_of(spec, "qemu", tree),
        spec_sha256="-",
        multieip="-",
        packer="-",
        base="-",
        built="2026-01-01T00:00:00+00:00",
        seconds=1,
        packer_seconds=1,
        size=disk.stat().st_size,
        sha256="-",
        images={},
        folder=out,
    )
    add(out, artifact, disk)
