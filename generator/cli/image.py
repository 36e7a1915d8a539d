"""`multieip image …`: build golden images, boot them to see that they are right, list and prune them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from generator import console
from generator.errors import MultieipError, UsageError

if TYPE_CHECKING:
    from generator.image.catalogue import Artifact


class Builder(StrEnum):
    """Where an image is built."""

    QEMU = "qemu"
    ALICLOUD = "alicloud-ecs"


Spec = Annotated[str, typer.Argument(metavar="SPEC", help="A file, or the name of an example such as debian-12.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of images, logs and work in progress.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]

OUT = Path("build")


def register(app: typer.Typer) -> None:
    """Add the group `image` to the app."""
    group = typer.Typer(help="Build, boot-test, list and prune golden images.", no_args_is_help=True)
    group.command("build")(build)
    group.command("test")(boot_test)
    group.command("list")(list_)
    group.command("prune")(prune)
    app.add_typer(group, name="image")


def build(
    spec: Spec,
    builder: Annotated[
        Builder, typer.Option(help="qemu: on this machine; alicloud-ecs: in the account.")
    ] = Builder.QEMU,
    out: Out = OUT,
    force: Annotated[bool, typer.Option("--force", help="Build even when nothing changed.")] = False,
    json: Json = False,
) -> None:
    """Build a golden image with Packer. An image of the same inputs is not built again."""
    from generator.image import build as builds  # noqa: PLC0415
    from generator.image import catalogue  # noqa: PLC0415
    from generator.spec.image import load  # noqa: PLC0415

    artifact, now = builds.build(load(spec), builder=builder.value, out=out, force=force)
    if json:
        console.out_json({**catalogue.to_json(artifact), "built_now": now})
        return
    console.say(f"✓ built in {artifact.seconds:.0f} s" if now else "✓ unchanged; --force builds it again")
    console.out("".join(f"{line}\n" for line in _where(artifact)))


def boot_test(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A spec or its name (its newest disk), an image's name, or a disk.")
    ],
    out: Out = OUT,
    json: Json = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the results as JUnit XML too.")] = None,
) -> None:
    """Boot an image in a virtual machine with two ENIs, twice, and check it from inside and outside."""
    from generator.image import accelerator, base, boot, catalogue, report  # noqa: PLC0415
    from generator.spec.image import load  # noqa: PLC0415

    if name.endswith((".yaml", ".yml")):
        name = load(name).name
    disk = Path(name) if Path(name).is_file() else catalogue.newest(out, name)
    results = boot.test(disk, logs=out / "logs", accelerator=accelerator.accelerator(base.any_kernel()))
    if junit is not None:
        report.write_junit(junit, disk.parent.name, results)
    if json:
        console.out_json(report.to_json(disk, results))
    else:
        console.table(("check", "result", "seconds", "detail"), report.rows(results))
    failed = sum(not result.ok for result in results)
    if failed:
        raise MultieipError(f"{failed} of {len(results)} checks failed on {disk}", hint=f"serial console: {out}/logs")
    console.say(f"✓ {len(results)} checks passed on {disk}")


def list_(out: Out = OUT, json: Json = False) -> None:
    """List the images that were built, oldest first."""
    from generator.image import catalogue  # noqa: PLC0415

    entries = catalogue.entries(out)
    if json:
        console.out_json([catalogue.to_json(artifact) for artifact in entries])
        return
    console.table(
        ("image", "builder", "built", "size", "where"),
        [
            (a.image_name, a.builder, a.built, f"{a.size / 1e6:.0f} MB" if a.size else "-", " ".join(_where(a)))
            for a in entries
        ],
    )


def prune(
    keep: Annotated[int, typer.Option(min=0, help="How many of each name and builder stay.")],
    out: Out = OUT,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove images on ECS without asking.")] = False,
    json: Json = False,
) -> None:
    """Remove all but the newest images, with their snapshots on ECS."""
    from generator.image import catalogue  # noqa: PLC0415

    def remove_images(artifact: Artifact) -> None:
        from generator.image import publish  # noqa: PLC0415 - it brings the cloud's SDK

        if not yes and not _agreed(artifact):
            raise MultieipError(f"{artifact.image_name} was not removed", hint="pass --yes")
        publish.remove(artifact.images)

    gone = catalogue.prune(out, keep=keep, remove_images=remove_images)
    if json:
        console.out_json([catalogue.to_json(artifact) for artifact in gone])
        return
    for artifact in gone:
        console.out(f"{artifact.image_name}\n")
    console.say(f"✓ removed {len(gone)}")


def _agreed(artifact: Artifact) -> bool:
    import sys  # noqa: PLC0415

    if not sys.stdin.isatty():
        raise UsageError(f"{artifact.image_name} is on ECS, and nobody can be asked here", hint="pass --yes")
    return typer.confirm(f"Delete {', '.join(_where(artifact))} and their snapshots?", err=True)


def _where(artifact: Artifact) -> list[str]:
    if artifact.disk:
        return [str(artifact.disk)]
    return [f"{region}:{image}" for region, image in sorted(artifact.images.items())]
