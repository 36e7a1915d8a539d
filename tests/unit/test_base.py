"""The local base: downloads, what tells bases apart, and the disk that a tree is put on, with the real tools."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from generator.errors import MultieipError
from generator.image import base
from generator.run import find, run
from generator.spec.image import ImageSpec

DISK = b"a cloud image" * 1000
DIGEST = hashlib.sha256(DISK).hexdigest()
TOOLS = ("sfdisk", "mke2fs", "debugfs", "qemu-img")
disks = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(find, TOOLS)),
    reason=f"not root, whose owners the tree keeps, or one of {', '.join(TOOLS)} is not installed",
)


def spec(packages: tuple[str, ...] = (), distro: str = "debian-12", **local: Any) -> ImageSpec:
    """Make a spec with this local base."""
    document = {"version": 1, "name": "box", "distro": distro, "packages": packages}
    return ImageSpec.model_validate({**document, "base": {"ecs": {"id": "m-1"}, "local": local or None}})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MULTIEIP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """Serve DISK, or what a path asks for; return the address and the list of paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404 if self.path == "/absent" else 200)
            self.send_header("Content-Length", str(len(DISK)))
            self.end_headers()
            self.wfile.write(DISK[:100] if self.path == "/short" else DISK)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that it has
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()


def test_a_download_is_kept_under_its_digest_and_not_fetched_again(server: tuple[str, list[str]], cache: Path) -> None:
    address, asked = server
    image = spec(url=f"{address}/base.img", sha256=DIGEST)
    first, second = base.disk(image), base.disk(image)
    assert first == second
    assert first.read_bytes() == DISK
    assert files(cache) == [f"downloads/{DIGEST}.img"]
    assert asked == ["/base.img"]


@pytest.mark.parametrize(("path", "said"), [("absent", "cannot be fetched: Not Found"), ("short", "has sha256")])
def test_a_download_that_fails_or_ends_early_is_not_kept(
    path: str, said: str, server: tuple[str, list[str]], cache: Path
) -> None:
    url = f"{server[0]}/{path}"
    with pytest.raises(MultieipError, match=f"^{url} {said}") as caught:
        base.disk(spec(url=url, sha256=DIGEST))
    assert caught.value.hint
    assert files(cache) == []


def test_a_file_of_another_digest_is_refused_with_both_digests(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "base.img").write_bytes(DISK)
    with pytest.raises(MultieipError, match=f"has sha256 {DIGEST}, not the {'0' * 64} of the spec"):
        base.disk(spec(url=(tmp_path / "base.img").as_uri(), sha256="0" * 64))
    assert files(cache) == []


def test_a_spec_without_a_local_base_says_what_to_add() -> None:
    with pytest.raises(MultieipError, match="box has no local base") as caught:
        base.disk(spec())
    assert "base.local" in caught.value.hint


def test_a_base_to_download_has_no_tree() -> None:
    with pytest.raises(MultieipError, match="not one made from packages"):
        base.tree(spec(url="https://example.org/x", sha256=DIGEST))


@pytest.mark.parametrize(
    "other",
    [
        lambda: spec(suite="bookworm", disk_gib=3),
        lambda: spec(suite="bookworm", disk_gib=2, mirror="http://mirror.example.org/debian"),
        lambda: spec(suite="bookworm", disk_gib=2, components=["main", "contrib"]),
        lambda: spec(("tcpdump",), suite="bookworm", disk_gib=2),
        lambda: spec(distro="ubuntu-24.04", suite="noble", disk_gib=2),
        lambda: spec(url="https://example.org/x", sha256=DIGEST),
    ],
    ids=["size", "mirror", "components", "packages", "distro", "download"],
)
def test_whatever_changes_a_base_changes_its_identity(other: Callable[[], ImageSpec]) -> None:
    mine = base.identity(spec(suite="bookworm", disk_gib=2))
    assert mine == base.identity(spec(suite="bookworm", disk_gib=2))
    assert mine != base.identity(other())


def test_the_identity_of_a_download_is_its_digest_wherever_it_comes_from() -> None:
    one, two = (base.identity(spec(url=f"https://{host}/x", sha256=DIGEST)) for host in ("a.example", "b.example"))
    assert one == two == DIGEST


BOOT, CORE = bytes(range(256)) * 2, b"\x90" * 3000
KERNEL = b"the kernel"
SPEC = spec(suite="bookworm", disk_gib=2)


def put_tree(cache: Path, core: bytes = CORE) -> None:
    """Put a small tree where the one from packages is kept."""
    tree = cache / "trees" / (base.identity(SPEC).removesuffix("-2g") + ".tar")
    tree.parent.mkdir(parents=True)
    with tarfile.open(tree, "w") as tar:

        def add(name: str, data: bytes = b"", **values: Any) -> None:
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            for key, value in values.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(data))

        for folder in ("boot", "boot/grub", "boot/grub/i386-pc", "dev", "etc"):
            add(folder, type=tarfile.DIRTYPE, mode=0o755)
        add("boot/grub/i386-pc/boot.img", BOOT)
        add("boot/grub/i386-pc/core.img", core)
        add("boot/vmlinuz-6.1", KERNEL)
        add("vmlinuz", type=tarfile.SYMTYPE, linkname="boot/vmlinuz-6.1")
        add("etc/shadow", b"secret", mode=0o640, uid=0, gid=42)
        add("dev/leftover", b"a device of the machine that made the tree")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The disk of the small tree, as raw bytes."""
    folder = tmp_path_factory.mktemp("base")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MULTIEIP_CACHE", str(folder))
        put_tree(folder)
        made = base.disk(SPEC)
        assert made == base.disk(SPEC)
        assert made.stem == base.identity(SPEC)
        assert len(files(folder)) == 2
    run(["qemu-img", "convert", "-O", "raw", made, folder / "disk.raw"])
    yield folder / "disk.raw"
    (folder / "disk.raw").unlink()


@disks
def test_the_partition_table_has_a_bios_boot_partition_and_one_root(raw: Path) -> None:
    table = json.loads(run(["sfdisk", "--json", raw]).stdout)["partitiontable"]
    boot, root = table["partitions"]
    assert (table["label"], raw.stat().st_size) == ("gpt", 2 << 30)
    assert (boot["start"], boot["size"], boot["type"]) == (2048, 2048, "21686148-6449-6E6F-744E-656564454649")
    assert (root["start"], root["type"]) == (4096, "0FC63DAF-8483-4772-8E79-3D69D8477DE4")
    assert root["start"] + root["size"] <= table["lastlba"] + 1
    assert "no errors detected" in run(["sfdisk", "--verify", raw], check=False).stdout.lower()


@disks
def test_grubs_stages_are_where_a_bios_and_the_first_of_them_look(raw: Path) -> None:
    with raw.open("rb") as disk:
        first = disk.read(512)
        disk.seek(2048 * 512)
        core = disk.read(len(CORE) + 512)
    assert first[:0x5C] == BOOT[:0x5C]
    assert struct.unpack_from("<Q", first, 0x5C) == (2048,)
    assert first[0x64:440] == BOOT[0x64:440]
    # The table of partitions that protects a GPT from old tools, and the mark of a sector that boots.
    assert (first[450], first[510:]) == (0xEE, b"\x55\xaa")
    assert core[:0x1F4] == CORE[:0x1F4]
    assert struct.unpack_from("<Q", core, 0x1F4) == (2049,)
    assert core[0x1FC : len(CORE)] == CORE[0x1FC:]
    assert set(core[len(CORE) :]) == {0}


@disks
def test_the_root_has_the_tree_with_its_owners_and_an_empty_dev(raw: Path) -> None:
    def ask(request: str) -> str:
        return run(["debugfs", "-R", request, f"{raw}?offset={4096 * 512}"]).stdout

    assert f"Filesystem UUID:          {base.ROOT_UUID}" in ask("stats -h")
    assert "Filesystem state:         clean" in ask("stats -h")
    shadow = ask("stat /etc/shadow")
    assert "Mode:  0640" in shadow
    assert "Group:    42" in shadow
    assert ask("cat /etc/shadow") == "secret"
    assert "leftover" not in ask("ls -p /dev")
    assert "/040755/0/0/.//" in ask("ls -p /")


def test_the_kernel_is_found_through_its_link_and_kept(cache: Path) -> None:
    put_tree(cache)
    assert base.kernel(SPEC).read_bytes() == KERNEL
    assert base.kernel(SPEC) == base.any_kernel()


@disks
def test_a_core_of_grub_that_does_not_fit_is_refused_and_no_disk_is_kept(cache: Path) -> None:
    put_tree(cache, core=bytes((1 << 20) + 1))
    with pytest.raises(MultieipError, match="GRUB's core image does not fit"):
        base.disk(SPEC)
    assert [name for name in files(cache) if not name.startswith("trees/")] == []


@disks
def test_a_tree_without_grub_is_one_line_that_names_it(cache: Path) -> None:
    put_tree(cache)
    tree = next((cache / "trees").glob("*.tar"))
    with tarfile.open(tree, "w"):
        pass
    with pytest.raises(MultieipError, match=r"boot\.img is not in"):
        base.disk(SPEC)
    assert [name for name in files(cache) if not name.startswith("trees/")] == []
