"""What goes wrong around the command, as it does to a user: one line, a hint, the right code, nothing half-written."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from generator.errors import ExitCode
from generator.run import find

MULTIEIP = Path(sys.executable).with_name("multieip")
ROOT = Path(__file__).parents[2]
BUILD_TOOLS = ("packer", "qemu-system-x86_64", "qemu-img", "xorriso", "ssh-keygen")
builds = pytest.mark.skipif(not all(map(find, BUILD_TOOLS)), reason=f"one of {', '.join(BUILD_TOOLS)} is not installed")
# A disk that QEMU starts and that boots nothing, and one that qemu-img refuses.
IDLE = bytes(512)
BROKEN = b"QFI\xfb" + struct.pack(">I", 99) + bytes(504)


@dataclass(frozen=True)
class Place:
    """A folder to run the command in, with a cache of its own."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ALI"))}
        return {**kept, "MULTIEIP_CACHE": str(self.folder / "cache"), "MULTIEIP_ACCEL": "tcg"}

    def run(
        self, *arguments: str, prefix: tuple[str, ...] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefix, MULTIEIP, *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def spec(self, url: str, sha256: str) -> str:
        """Write a spec with a base to download; return its name."""
        (self.folder / "box.yaml").write_text(
            "version: 1\nname: box\ndistro: debian-12\nbase:\n  ecs: {id: m-12345678}\n"
            f"  local: {{url: '{url}', sha256: '{sha256}'}}\n"
        )
        return "box.yaml"

    def spec_of(self, disk: bytes) -> str:
        (self.folder / "base.img").write_bytes(disk)
        return self.spec((self.folder / "base.img").as_uri(), hashlib.sha256(disk).hexdigest())

    def files(self) -> list[str]:
        """Return every file that is here, but for the test's own and for logs, which are kept."""
        found = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]
        return sorted(name for name in found if "/" in name and not name.startswith("build/logs/"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def fails(ran: subprocess.CompletedProcess[str], code: ExitCode, said: str, hint: str) -> None:
    """Hold the end of a run to the rule: its code, one line that says what, and one that says how to go on."""
    assert ran.returncode == code, ran.stderr
    assert "Traceback" not in ran.stderr
    *_, line, remedy = ran.stderr.splitlines()
    assert re.search(said, line), ran.stderr
    assert line.startswith("multieip: ")
    assert remedy.startswith("  → ")
    assert re.search(hint, remedy), ran.stderr
    assert ran.stdout == ""


NOT_YAML = [b"a: [1\n b", b"\0\1\2", b"\xff\xfe", b"- a list\n", b"", b"a: &a [*a]\n"]
OTHER_VERBS = [("render", "-o", "out"), ("render", "user-data"), ("image", "build"), ("image", "test")]


@pytest.mark.parametrize(
    ("verb", "text"), [*((("check",), text) for text in NOT_YAML), *((verb, NOT_YAML[0]) for verb in OTHER_VERBS)]
)
def test_a_spec_that_is_not_yaml_is_a_finding_at_its_place(verb: tuple[str, ...], text: bytes, place: Place) -> None:
    (place.folder / "bad.yaml").write_bytes(text)
    ran = place.run(*verb, "bad.yaml")
    assert ran.returncode == ExitCode.FINDINGS
    assert re.search(r"^bad\.yaml:\d+:\d+: error\[[\w-]+\]: .+; .+$", ran.stdout + ran.stderr, re.MULTILINE)
    assert "Traceback" not in ran.stderr
    assert place.files() == []


def test_a_template_that_lacks_a_variable_is_named_with_its_line(place: Place) -> None:
    for name in ("generator", "templates", "images"):
        shutil.copytree(ROOT / name, place.folder / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    template = place.folder / "copy/templates/guest/multieip-release.j2"
    lines = template.read_text().splitlines()
    template.write_text("\n".join([*lines, "X={{ nothing_of_the_kind | line }}", ""]))
    ran = subprocess.run(
        [sys.executable, "-c", "from generator.cli.entry import main; main()", "render", "debian-12", "-o", "out"],
        cwd=place.folder,
        env={**place.environment, "PYTHONPATH": str(place.folder / "copy"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    where = rf"multieip-release\.j2:{len(lines) + 1}: 'nothing_of_the_kind' is undefined"
    fails(ran, ExitCode.FAILED, where, "restore it, or install multieip again")
    assert not (place.folder / "out").exists()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_disk_that_fills_up_keeps_the_tree_that_was_there(place: Place, small: Path) -> None:
    (small / "out").mkdir()
    ran = place.run("render", "debian-12", "-o", "small/out")
    fails(
        ran, ExitCode.FAILED, "small/out cannot be written: No space left on device; nothing was changed", "make room"
    )
    assert [path.name for path in small.rglob("*")] == ["out"]


@builds
def test_a_cache_that_fills_up_keeps_no_half_of_a_download(place: Place, small: Path) -> None:
    ran = place.run("image", "build", place.spec_of(bytes(1 << 20)), MULTIEIP_CACHE=str(small))
    fails(ran, ExitCode.FAILED, "No space left on device", "room")
    assert [path for path in small.rglob("*") if path.is_file()] == []


@builds
def test_a_full_disk_while_building_leaves_nothing_there(place: Place, small: Path) -> None:
    ran = place.run("image", "build", place.spec_of(BROKEN), "--out", "small")
    fails(ran, ExitCode.FAILED, "No space left on device", "room")
    assert [path.name for path in small.rglob("*") if path.is_file() and path.suffix != ".log"] == []


def test_a_limit_on_file_sizes_is_as_a_full_disk(place: Place) -> None:
    ran = place.run("render", "debian-12", "-o", "out", prefix=("bash", "-c", 'ulimit -f 4; exec "$@"', "bash"))
    fails(ran, ExitCode.FAILED, "out cannot be written: File too large; nothing was changed", "make room")
    assert list(place.folder.iterdir()) == []


@pytest.mark.parametrize("target", ["/proc/none", "/dev/null", "box.yaml/below"])
def test_an_output_that_cannot_be_written_is_named(target: str, place: Place) -> None:
    spec = place.spec_of(IDLE)
    before = sorted(place.folder.rglob("*"))
    fails(place.run("render", spec, "-o", target), ExitCode.FAILED, re.escape(target), "-o")
    assert sorted(place.folder.rglob("*")) == before


@builds
@pytest.mark.parametrize("target", ["/proc/none", "/dev/null", "box.yaml/below"])
def test_a_folder_of_images_that_cannot_be_written_is_named(target: str, place: Place) -> None:
    ran = place.run("image", "build", place.spec_of(IDLE), "--out", target)
    fails(ran, ExitCode.FAILED, re.escape(target), "--out")
    assert place.files() == []


@pytest.mark.parametrize(("old", "said"), [(False, "packer is not installed"), (True, r"Packer 1\.5\.0 is too old")])
def test_a_packer_that_is_missing_or_too_old_is_a_prerequisite(old: bool, said: str, place: Place) -> None:
    programs = place.folder / "programs"
    programs.mkdir()
    if old:
        (programs / "packer").write_text("#!/bin/sh\necho Packer v1.5.0\n")
        (programs / "packer").chmod(0o755)
    (programs / "sh").symlink_to("/bin/sh")
    ran = place.run("image", "build", place.spec_of(IDLE), PATH=str(programs))
    fails(ran, ExitCode.PREREQUISITE, said, "install")
    assert [name for name in place.files() if not name.startswith("programs/")] == []


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@builds
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("file:///nowhere/base.img", "No such file or directory"),
        (f"http://127.0.0.1:{closed_port()}/base.img", "Connection refused"),
        ("http://no-such-host.invalid/base.img", "(name|Name)"),
    ],
    ids=["absent", "refused", "unknown"],
)
def test_a_base_that_cannot_be_fetched_says_why(url: str, said: str, place: Place) -> None:
    ran = place.run("image", "build", place.spec(url, "0" * 64))
    fails(ran, ExitCode.FAILED, f"{url} cannot be fetched: .*{said}", "base.local.url")
    assert place.files() == []


@builds
def test_a_base_of_another_digest_is_not_kept(place: Place) -> None:
    (place.folder / "base.img").write_bytes(b"other")
    ran = place.run("image", "build", place.spec((place.folder / "base.img").as_uri(), "0" * 64))
    fails(ran, ExitCode.FAILED, f"has sha256 {hashlib.sha256(b'other').hexdigest()}, not the {'0' * 64}", "digest")
    assert place.files() == []


@builds
def test_packer_that_fails_in_the_middle_says_why_and_leaves_its_log_only(place: Place) -> None:
    ran = place.run("image", "build", place.spec_of(BROKEN))
    fails(
        ran,
        ExitCode.FAILED,
        "Packer failed while copying the base disk: .*Unsupported qcow2 version 99",
        "build/logs/box-",
    )
    assert [name for name in place.files() if name.startswith("build/")] == []
    log = ran.stderr.splitlines()[-1].rpartition(" ")[2]
    assert "Unsupported qcow2 version 99" in (place.folder / log).read_text()
    assert place.run("image", "list", "--json").stdout == "[]\n"


@builds
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_an_interrupted_build_cleans_up_and_says_so(number: signal.Signals, place: Place) -> None:
    spec = place.spec_of(IDLE)
    with subprocess.Popen(
        # A test run in the background ignores Ctrl-C, and children inherit that.
        ["env", "--default-signal=INT", MULTIEIP, "image", "build", spec],
        cwd=place.folder,
        env=place.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        said = []
        for line in command.stderr:
            said.append(line)
            if "waiting for the builder to boot" in line and len(said) < 100:
                command.send_signal(number)
                break
        said += command.stderr.readlines()
        assert command.wait(60) == ExitCode.INTERRUPTED, said
    assert said[-1] == "multieip: interrupted\n"
    assert "Traceback" not in "".join(said)
    assert [name for name in place.files() if name.startswith("build/")] == []
    assert processes_with(str(place.folder)) == []


def processes_with(text: str) -> list[str]:
    """Return the command lines of processes that name something."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(line)
    return found
