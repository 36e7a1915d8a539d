"""`multieip render` and `multieip render user-data`: what an image and its launches are made of."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from generator import console
from generator.errors import ExitCode, UsageError

_BUNDLE = "bundle"
Spec = Annotated[str, typer.Argument(metavar="SPEC", help="A file, or the name of an example such as debian-12.")]


class Form(StrEnum):
    """The forms of user-data, as `generator.render.userdata` has them: importing that costs what --help must not."""

    GOLDEN = "golden"
    STANDALONE = "standalone"


class _BundleByDefault(TyperGroup):
    """A group that is also a verb: what does not begin with a sub-command is `render SPEC` itself."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        if args and args[0] in self.commands and args[0] != _BUNDLE:
            return super().make_context(info_name, args, parent, **extra)
        return self.commands[_BUNDLE].make_context(info_name, args, parent, **extra)


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    group = typer.Typer(
        cls=_BundleByDefault,
        help="Write what an image is made of.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    settings = {"help_option_names": ["-h", "--help"]}
    more = "`multieip render user-data SPEC` writes a launch's user-data to stdout; it has a --help of its own."
    group.command(_BUNDLE, epilog=more, context_settings=settings)(bundle)
    group.command("user-data", context_settings=settings)(user_data)
    app.add_typer(group, name="render")


def bundle(
    spec: Spec,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="The folder to write, or to compare with.")
    ],
    *,
    diff: Annotated[
        bool, typer.Option("--diff", help="Write what would change in DIR to stdout, and nothing to DIR.")
    ] = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="With --diff: exit code 4 when something would change.")
    ] = False,
    packer_version: Annotated[
        str, typer.Option(metavar="X.Y.Z", help="The Packer to render for. Default: the one installed, or 1.6.6.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Write what was rendered to stdout as JSON.")] = False,
) -> None:
    """Write an image's files, Packer template, user-data and manifest to a folder."""
    from generator.image import outdir  # noqa: PLC0415
    from generator.render import bundle as bundles  # noqa: PLC0415
    from generator.spec.image import load  # noqa: PLC0415

    if detailed_exitcode and not diff:
        raise UsageError("--detailed-exitcode goes with --diff", hint="add --diff, or leave it out")
    if diff and json:
        raise UsageError("--diff and --json both write to stdout", hint="leave one of them out")
    loaded = load(spec)
    version = _packer_version(packer_version)
    tree = bundles.bundle(loaded, packer_version=version)
    if diff:
        changes = outdir.diff(tree, output)
        console.out(changes)
        if changes and detailed_exitcode:
            raise typer.Exit(ExitCode.CHANGES)
        return
    outdir.write(tree, output)
    for form in Form:
        _warn(form, len(getattr(tree[f"user-data/{form}.yaml"], "data", b"")))
    console.say(f"{output}: {len(tree)} files of {loaded.name}")
    if json:
        manifest = bundles.describe(loaded, tree, packer_version=version)
        console.out_json({**manifest, "directory": str(output)})


def user_data(
    spec: Spec,
    form: Annotated[
        Form, typer.Option(help="golden: for an image built by multieip. standalone: for a stock image.")
    ] = Form.GOLDEN,
    as_base64: Annotated[bool, typer.Option("--base64", help="As the ECS API takes it: Base64, in one line.")] = False,
) -> None:
    """Write a launch's user-data to stdout."""
    import base64  # noqa: PLC0415

    from generator.render import userdata  # noqa: PLC0415
    from generator.spec.image import load  # noqa: PLC0415

    data = userdata.prepare(load(spec), userdata.Form(form)).render()
    _warn(form, len(data))
    console.out(base64.b64encode(data).decode() + "\n" if as_base64 else data.decode())


def _warn(form: Form, size: int) -> None:
    from generator.render.userdata import warning  # noqa: PLC0415

    said = warning(size)
    if said:
        console.say(f"warning: {form}: {said}")


def _packer_version(wanted: str) -> tuple[int, int, int]:
    from generator.image.packer import installed_version  # noqa: PLC0415
    from generator.render.packer import MINIMUM  # noqa: PLC0415

    if wanted:
        found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})", wanted, re.ASCII)
        version = (int(found[1]), int(found[2]), int(found[3])) if found else (0, 0, 0)
        if version < MINIMUM:
            raise UsageError(
                f"--packer-version {wanted!r} is not a version of Packer from {_dotted(MINIMUM)} on",
                hint="write it as X.Y.Z",
            )
        return version
    installed = installed_version()
    if installed is None or installed < MINIMUM:
        console.say(f"rendering for Packer {_dotted(MINIMUM)}: no newer one is installed")
        return MINIMUM
    console.say(f"rendering for Packer {_dotted(installed)}, which is installed")
    return installed


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(str(part) for part in version)
