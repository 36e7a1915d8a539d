"""From a spec to a golden image: render, base, Packer, catalogue."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import generator
from generator import console
from generator.errors import MultieipError
from generator.image import accelerator, base, catalogue, outdir, packer
from generator.image.cache import sha256_of
from generator.image.catalogue import Artifact
from generator.render import provenance
from generator.render.bundle import bundle
from generator.render.files import File, Tree
from generator.render.packer import Version
from generator.run import need, run
from generator.spec.image import ImageSpec

Builder = Literal["qemu", "alicloud-ecs"]


@dataclass(frozen=True)
class Job:
    """One build: what to build, with what, where to, and the name that the image gets."""

    spec: ImageSpec
    builder: Builder
    version: Version
    tree: Tree
    inputs: str
    out: Path
    image_name: str
    begun: float

    @property
    def log(self) -> Path:
        """The file that gets all that Packer says."""
        return self.out / "logs" / f"{self.image_name}.log"


def build(spec: ImageSpec, *, builder: Builder, out: Path, force: bool = False) -> tuple[Artifact, bool]:
    """Build an image and record it; return it, and whether it was built now.

    An image of the same inputs that the catalogue has is returned as it is, unless `force`.
    """
    begun = time.monotonic()
    version = packer.required_version()
    tree = bundle(spec, packer_version=version)
    inputs = inputs_of(spec, builder, tree)
    if not force and (kept := catalogue.unchanged(out, builder=builder, inputs=inputs)) and _is_there(kept):
        return kept if kept.published else _published(spec, kept), False
    # ECS's CreateImage documents no dot in a name.
    image_name = f"{spec.name.replace('.', '-')}-{datetime.now(UTC):%Y%m%d%H%M%S}-{inputs[:8]}"
    job = Job(spec, builder, version, tree, inputs, out, image_name, begun)
    try:
        job.log.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MultieipError(f"cannot write {job.log.parent}: {error.strerror}", hint="name another --out") from error
    return (_on_qemu(job) if builder == "qemu" else _on_ecs(job)), True


def _on_qemu(job: Job) -> Artifact:
    for program in ("qemu-system-x86_64", "qemu-img", "xorriso", "ssh-keygen"):
        need(program)
    disk = base.disk(job.spec)
    checksum = sha256_of(disk)
    kernel = base.kernel(job.spec) if job.spec.base.local and job.spec.base.local.suite else base.any_kernel()
    with _workshop(job) as work:
        _seed(work / "seed", job.image_name)
        try:
            built = packer.build(
                work / "packer",
                builder="qemu",
                variables={
                    "image_name": job.image_name,
                    "base_image": str(disk),
                    "base_checksum": f"sha256:{checksum}",
                    "seed": str(work / "seed"),
                    "output": str(work / "output"),
                    "accelerator": accelerator.accelerator(kernel),
                },
                work=work,
                log=job.log,
                version=job.version,
                left=f"a running qemu and {work}",
            )
        finally:
            console_log = work / "seed" / "console.log"
            if console_log.exists():
                shutil.copyfile(console_log, job.log.with_suffix(".console.log"))
        made = work / "output" / catalogue.DISK
        run(["qemu-img", "check", "-q", made], hint=f"the disk that Packer made is damaged; see {job.log}")
        with console.step("recording the image"):
            record = _artifact(job, base=f"sha256:{checksum}", built=built, disk=made, images={})
            return catalogue.add(job.out, record, made)


def _on_ecs(job: Job) -> Artifact:
    # They bring the cloud's SDK where they call it, and pydantic's models at once.
    from generator.cloud import credentials  # noqa: PLC0415
    from generator.image import publish  # noqa: PLC0415

    source = publish.source_image(job.spec)
    with _workshop(job) as work:
        built = packer.build(
            work / "packer",
            builder="alicloud-ecs",
            variables={"image_name": job.image_name, "source_image": source},
            work=work,
            log=job.log,
            version=job.version,
            left=f"the instance multieip-builder-{job.image_name}, its EIP, key pair and security group",
            credentials=credentials.packer_environment(),
        )
    images = dict(pair.split(":", 1) for pair in built.artifact_id.split(","))
    record = _artifact(job, base=source, built=built, disk=None, images=images, published=False)
    # Recorded before it is published: half an hour of building is not lost to a copy that fails.
    return _published(job.spec, catalogue.add(job.out, record, None))


def _is_there(artifact: Artifact) -> bool:
    """Tell whether what is recorded of an image on ECS is still so: others delete images, and sandboxes begin anew."""
    if artifact.disk:
        return True
    from generator.image import publish  # noqa: PLC0415

    gone = publish.missing(artifact.images)
    if gone:
        console.say(f"{artifact.image_name} was built already, and {', '.join(gone)} is gone: building it again")
    return not gone


def _published(spec: ImageSpec, artifact: Artifact) -> Artifact:
    """Publish an image on ECS, or go on with it after a publication that was cut short; record that it is done."""
    from generator.image import publish  # noqa: PLC0415

    publish.publish(spec, artifact.images, cloud_init=artifact.cloud_init)
    return catalogue.update(replace(artifact, published=True))


@contextmanager
def _workshop(job: Job) -> Iterator[Path]:
    """Give a folder with the rendered `packer/` in it, and remove it whatever happens: logs are kept elsewhere."""
    parent = job.out / "work"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{job.image_name}-", dir=parent, ignore_cleanup_errors=True) as name:
        work = Path(name).resolve()
        prefix = "packer/"
        outdir.write(
            {path.removeprefix(prefix): entry for path, entry in job.tree.items() if path.startswith(prefix)},
            work / "packer",
        )
        yield work


def _seed(folder: Path, image_name: str) -> None:
    """Make the NoCloud seed of the build's own boot: it lets root in with a key of this build only."""
    folder.mkdir()
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "multieip-build", "-f", folder / "key"])
    public = (folder / "key.pub").read_text().strip()
    user_data = {"disable_root": False, "users": [{"name": "root", "ssh_authorized_keys": [public]}]}
    # JSON is YAML, and what goes in needs no quoting of ours.
    (folder / "user-data").write_text("#cloud-config\n" + json.dumps(user_data) + "\n")
    (folder / "meta-data").write_text(json.dumps({"instance-id": image_name, "local-hostname": "builder"}) + "\n")


def inputs_of(spec: ImageSpec, builder: Builder, tree: Tree) -> str:
    """Return the digest of all that decides the image: what is rendered, by which builder, on which base."""
    digest = hashlib.sha256()
    for path, entry in sorted(tree.items()):
        said = f"{entry.mode:o} {entry.sha256}" if isinstance(entry, File) else f"-> {entry.target}"
        digest.update(f"{path} {said}\n".encode())
    digest.update(f"{builder} {base.identity(spec) if builder == 'qemu' else _on_which_cloud(spec)}".encode())
    return digest.hexdigest()


def _on_which_cloud(spec: ImageSpec) -> str:
    """Return what tells a base on ECS from another, and ECS from an emulator, whose images are no good elsewhere."""
    from generator.cloud.credentials import endpoint  # noqa: PLC0415

    elsewhere = endpoint()
    return f"{spec.base.ecs}{f' at {elsewhere.address}' if elsewhere else ''}"


def _artifact(
    job: Job,
    *,
    base: str,
    built: packer.Built,
    disk: Path | None,
    images: dict[str, str],
    published: bool = True,
) -> Artifact:
    return Artifact(
        name=job.spec.name,
        image_name=job.image_name,
        builder=job.builder,
        inputs=job.inputs,
        spec_sha256=provenance.digest(job.spec),
        multieip=generator.__version__,
        packer=".".join(map(str, job.version)),
        base=base,
        built=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - job.begun, 1),
        packer_seconds=round(built.seconds, 1),
        size=disk.stat().st_size if disk else 0,
        sha256=sha256_of(disk) if disk else "",
        images=images,
        folder=job.out,
        published=published,
        cloud_init=built.cloud_init,
    )
