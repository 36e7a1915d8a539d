"""The local base: a system made from the distribution's packages, as a tree (tar) and as a disk (qcow2).

The tree comes from mmdebstrap. The disk gets a GPT with a BIOS boot partition and one ext4 root, and GRUB's
boot sectors, all written into a file: no loop device, no mount, no guest. A distribution that publishes cloud
images is fetched instead, and must have the digest that the spec names.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from generator import console, resources
from generator.errors import MultieipError
from generator.image.cache import cache_dir, key_of, put_aside, sha256_of
from generator.run import need, run
from generator.spec.distro import Distro
from generator.spec.image import ImageSpec, LocalBase

# Part of each cache key: raise it when this module makes another tree or disk from the same spec.
RECIPE = "3"

# What a system needs to boot from a disk by itself and be used; the image's own packages are in the spec.
_BOOT_PACKAGES = (
    "dbus",
    "e2fsprogs",
    "grub-pc",
    "ifupdown",
    "initramfs-tools",
    "iputils-ping",
    "isc-dhcp-client",
    "kmod",
    "less",
    "netbase",
    "procps",
    "sudo",
    "systemd-sysv",
    "systemd-timesyncd",
    "tzdata",
    "udev",
    "vim-tiny",
)
_KERNELS = {Distro.DEBIAN_12: "linux-image-cloud-amd64", Distro.UBUNTU_24_04: "linux-image-virtual"}

# GRUB's package would ask for a disk to write to, and there is none yet.
_GRUB_ANSWER = "grub-pc grub-pc/install_devices_empty boolean true"

SECTOR = 512
_BIOS_BOOT_LBA = 2048
_ROOT_LBA = 4096
_GRUB_DIR = "boot/grub/i386-pc"
ROOT_UUID = "6d756c74-6965-4970-a000-726f6f742d30"


def tree(spec: ImageSpec) -> Path:
    """Return a tar of the base system with the spec's packages installed; make it when the cache has none.

    Raises `PrerequisiteError` when mmdebstrap is missing, and `MultieipError` when the spec names no suite or
    the packages cannot be had.
    """
    local = _local(spec)
    if local.suite is None:
        raise MultieipError(f"{spec.name} has a base to download, not one made from packages")
    target = cache_dir() / "trees" / f"{local.suite}-{_tree_key(spec, local)}.tar"
    if target.exists():
        return target
    need("mmdebstrap")
    customize = resources.folder("templates") / "base" / "customize"
    packages = sorted({*_BOOT_PACKAGES, _KERNELS[spec.distro], *spec.all_packages})
    with (
        console.step(f"making a {local.suite} system of {len(packages)} packages"),
        put_aside(target) as aside,
    ):
        run(
            [
                "mmdebstrap",
                "--variant=minbase",
                "--format=tar",
                f"--components={','.join(local.components)}",
                f"--include={','.join(packages)}",
                '--aptopt=Acquire::Retries "3"',
                f"--essential-hook=echo '{_GRUB_ANSWER}' | chroot \"$1\" debconf-set-selections",
                # mmdebstrap hands the hook to a shell: the path goes through the environment, not through its text.
                '--customize-hook="$MULTIEIP_CUSTOMIZE" "$1"',
                local.suite,
                aside,
                *([local.mirror] if local.mirror else []),
            ],
            env={"MULTIEIP_CUSTOMIZE": os.fspath(customize), "ROOT_UUID": ROOT_UUID},
            hint="see whether the mirror and the package names are right: base.local and packages in the spec",
        )
    return target


def folder(spec: ImageSpec) -> Path:
    """Return the tree as a folder, for containers: without a kernel and /dev, which they have already. Needs root."""
    archive = tree(spec)
    target = cache_dir() / "folders" / archive.stem
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with console.step("unpacking it"):
        aside = Path(tempfile.mkdtemp(prefix=f".{archive.stem}.", dir=target.parent))
        try:
            aside.chmod(0o755)
            left_out = [f"--exclude=./{path}/*" for path in ("boot", "dev", "usr/lib/modules")]
            whole = ["--xattrs", "--xattrs-include=*", *left_out]
            run(["tar", "--extract", "--file", archive, "--directory", aside, *whole])
            aside.rename(target)
        except OSError:
            # Somebody else was faster.
            if not target.is_dir():
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return target


def disk(spec: ImageSpec) -> Path:
    """Return a disk image that boots by itself: the tree on a disk, or the download that the spec names."""
    local = _local(spec)
    if local.url is not None:
        return _download(local)
    source = tree(spec)
    target = cache_dir() / "disks" / f"{source.stem}-{local.disk_gib}g.qcow2"
    if target.exists():
        return target
    for program in ("mke2fs", "sfdisk", "qemu-img"):
        need(program)
    with console.step("writing it to a disk"), tempfile.TemporaryDirectory(prefix="multieip-") as scratch:
        raw = Path(scratch) / "disk.raw"
        _partition(raw, local.disk_gib)
        _fill_root(raw, source, local.disk_gib)
        _install_grub(raw, source)
        with put_aside(target) as aside:
            run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, aside])
    return target


def identity(spec: ImageSpec) -> str:
    """Return what tells one local base from another, without making it."""
    local = _local(spec)
    return local.sha256 or f"{local.suite}-{_tree_key(spec, local)}-{local.disk_gib}g"


def kernel(spec: ImageSpec) -> Path:
    """Return the kernel of the local tree, as a file that QEMU can start."""
    source = tree(spec)
    target = source.with_suffix(".vmlinuz")
    if not target.exists():
        with put_aside(target) as aside:
            aside.write_bytes(_member(source, "vmlinuz"))
    return target


def any_kernel() -> Path | None:
    """Return a Linux kernel that is at hand: of a cached base, or this machine's own; None without one."""
    there = [*(cache_dir() / "trees").glob("*.vmlinuz"), *Path("/boot").glob("vmlinuz-*")]
    return next((path for path in there if os.access(path, os.R_OK)), None)


def _local(spec: ImageSpec) -> LocalBase:
    if spec.base.local is None:
        raise MultieipError(
            f"{spec.name} has no local base to build from",
            hint="add base.local (suite, or url and sha256: docs/image-spec.md), or use --builder alicloud-ecs",
        )
    return spec.base.local


def _tree_key(spec: ImageSpec, local: LocalBase) -> str:
    customize = resources.folder("templates") / "base" / "customize"
    return key_of(
        RECIPE,
        local.suite or "",
        local.mirror or "",
        *local.components,
        *spec.all_packages,
        customize.read_text(),
    )


def _partition(raw: Path, gib: int) -> None:
    with raw.open("wb") as stream:
        stream.truncate(gib << 30)
    layout = (
        "label: gpt\n"
        f"start={_BIOS_BOOT_LBA}, size={_ROOT_LBA - _BIOS_BOOT_LBA}, type=21686148-6449-6E6F-744E-656564454649\n"
        f"start={_ROOT_LBA}, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4\n"
    )
    run(["sfdisk", "--quiet", raw], stdin=layout.encode())


def _fill_root(raw: Path, source: Path, gib: int) -> None:
    """Make the root file system inside the disk file, filled with the tree, owners and capabilities kept."""
    # The last MiB is left for the backup partition table.
    size_kib = (gib << 20) - (_ROOT_LBA * SECTOR >> 10) - 1024
    with tempfile.TemporaryDirectory(prefix="multieip-tree-") as unpacked:
        script = (
            'tar --extract --file "$1" --directory "$2" --xattrs --xattrs-include="*" --exclude="./dev/*" && '
            'chmod 755 "$2" && '
            'mke2fs -q -F -t ext4 -L root -U "$3" -E "offset=$4,root_owner=0:0" -d "$2" "$5" "$6" && '
            # The tree has other people's owners in a user namespace; only from inside can it be removed.
            'find "$2" -mindepth 1 -delete'
        )
        # Inside a user namespace a plain user is root over a range of ids of his own.
        prefix = [] if os.geteuid() == 0 else ["unshare", "--map-auto", "--map-root-user"]
        run(
            [
                *prefix,
                "sh",
                "-c",
                script,
                "sh",
                source,
                unpacked,
                ROOT_UUID,
                str(_ROOT_LBA * SECTOR),
                raw,
                f"{size_kib}k",
            ],
            hint="as a plain user this needs subordinate ids (/etc/subuid); or run it as root",
        )


def _install_grub(raw: Path, source: Path) -> None:
    """Write GRUB's two boot stages where a BIOS looks for them.

    The first (boot.img) goes into the code area of the master boot record, with the sector of the second in it
    at 0x5c; the second (core.img) goes into the BIOS boot partition, with the sector of its own rest at 0x1f4
    (grub-core/boot/i386/pc/{boot,diskboot}.S).
    """
    boot = bytearray(_member(source, f"{_GRUB_DIR}/boot.img"))
    core = bytearray(_member(source, f"{_GRUB_DIR}/core.img"))
    if len(core) > (_ROOT_LBA - _BIOS_BOOT_LBA) * SECTOR:
        raise MultieipError("GRUB's core image does not fit the BIOS boot partition")
    struct.pack_into("<Q", boot, 0x5C, _BIOS_BOOT_LBA)
    struct.pack_into("<Q", core, 0x1F4, _BIOS_BOOT_LBA + 1)
    with raw.open("r+b") as stream:
        stream.write(boot[:440])
        stream.seek(_BIOS_BOOT_LBA * SECTOR)
        stream.write(core)


def _member(archive: Path, name: str) -> bytes:
    """Return a file of a tree, through a link to it."""
    with contextlib.suppress(KeyError, tarfile.TarError), tarfile.open(archive) as tar:
        member = tar.getmember(f"./{name}")
        if member.issym():
            return _member(archive, member.linkname.lstrip("/"))
        stream = tar.extractfile(member)
        if stream is not None:
            return stream.read()
    raise MultieipError(f"{name} is not in {archive}", hint=f"remove {archive} and build again")


def _download(local: LocalBase) -> Path:
    """Return the cloud image that the spec names, from the cache or from its URL, once its digest is right."""
    url, wanted = local.url or "", local.sha256 or ""
    target = cache_dir() / "downloads" / f"{wanted}.img"
    if target.exists():
        return target
    with console.step(f"fetching {url}"), put_aside(target) as aside:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer, aside.open("wb") as stream:  # noqa: S310 - the spec admits http, https and file
                shutil.copyfileobj(answer, stream, 1 << 20)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            raise MultieipError(f"{url} cannot be fetched: {reason}", hint="see base.local.url in the spec") from error
        if (found := sha256_of(aside)) != wanted:
            raise MultieipError(
                f"{url} has sha256 {found}, not the {wanted} of the spec",
                hint="take the digest that the distribution publishes today; what was fetched is removed",
            )
    return target
