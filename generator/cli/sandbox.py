"""`multieip sandbox`: a region of the cloud on this machine."""

from __future__ import annotations

import os
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from generator import console
from generator.errors import MultieipError, PrerequisiteError, UsageError

if TYPE_CHECKING:
    from generator.sandbox.settings import Home, PublicImage, Settings

FOLDER = "build/sandbox"
Dir = Annotated[
    Path,
    typer.Option("--dir", envvar="MULTIEIP_SANDBOX", metavar="DIR", help="Where the sandbox keeps its state."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]
Instance = Annotated[str, typer.Argument(metavar="INSTANCE", help="An instance's id or name.")]


class Backend(StrEnum):
    """What instances are."""

    CONTAINER = "container"
    QEMU = "qemu"


class Imds(StrEnum):
    """What an image knows of the metadata service."""

    V1 = "v1"
    V2 = "v2"


_PROGRAMS = {
    Backend.CONTAINER: ("systemd-nspawn",),
    Backend.QEMU: ("qemu-system-x86_64", "qemu-img", "tc", "ssh", "ssh-keygen"),
}
# ECS's names of images and families, but for what it keeps for itself.
_IMAGE_NAME = r"(?!aliyun|acs:)[^\W\d_][\w.:-]{1,127}"
# Seconds for a disk to be copied or taken apart.
_IMPORT = 900
_MADE = {"none": "without instances", "container": "with containers", "qemu": "with virtual machines"}


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = typer.Typer(help="Run a region of the cloud on this machine: ECS and VPC APIs, instances, packets.")
    for name, command in (
        ("up", up),
        ("down", down),
        ("status", status),
        ("env", env),
        ("exec", exec_),
        ("shell", shell),
        ("logs", logs),
        ("inject", inject),
        ("import", import_),
        ("reset", reset),
    ):
        settings = {"allow_interspersed_args": False} if name == "exec" else {}
        group.command(name, context_settings=settings)(command)
    app.add_typer(group, name="sandbox", no_args_is_help=True)


def up(  # noqa: PLR0917 - options of a command line
    folder: Dir = Path(FOLDER),
    api_only: Annotated[bool, typer.Option("--api-only", help="No instances, no packets: needs no root.")] = False,
    backend: Annotated[
        Backend | None,
        typer.Option(help="Instances are containers, or machines in QEMU that boot the image's kernel.  [container]"),
    ] = None,
    image: Annotated[
        list[str] | None, typer.Option("--image", metavar="SPEC", help="Image specs whose base is a public image.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="The API's port on loopback, instead of a free one.")] = None,
    eips: Annotated[int | None, typer.Option(min=0, help="The account's quota of EIPs, instead of 20.")] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="How fast the clock runs: 10 makes a minute 6 seconds.")
    ] = None,
    uplink: Annotated[
        bool | None,
        typer.Option("--uplink/--no-uplink", help="Let instances out by NAT, to wherever this machine can connect."),
    ] = None,
    throttle: Annotated[bool | None, typer.Option("--throttle/--no-throttle", help="Count calls a minute.")] = None,
    seed: Annotated[int | None, typer.Option(help="What all names come from, instead of chance.")] = None,
    json: Json = False,
) -> None:
    """Start a sandbox, or go on with the one that was there, with its instances and as it was asked to be then."""
    from generator.sandbox import local  # noqa: PLC0415
    from generator.sandbox.settings import Home  # noqa: PLC0415

    home = Home(folder)
    kept, running = home.load(), local.status(home)
    kind = "none" if api_only else backend.value if backend else None
    given = {"backend": kind, "port": port, "eips": eips, "speed": speed, "throttle": throttle, "seed": seed}
    given["uplink"] = uplink
    asked = {name: value for name, value in given.items() if value is not None}
    if not running:
        settings = _settings(kept, asked, image)
        with console.step("starting the sandbox"):
            running = local.up(home, settings)
        _show_up(home, running, json, "serves")
        return
    if image or any(getattr(kept, name) != value for name, value in asked.items()):
        raise UsageError(
            f"the sandbox in {folder} runs already, and was asked to be another one",
            hint="`multieip sandbox down` first, or name another --dir",
        )
    _show_up(home, running, json, "runs already")


def _settings(kept: Settings | None, asked: dict[str, Any], images: list[str] | None) -> Settings:
    """Return what a sandbox shall be: what it was, changed by what is asked."""
    import secrets  # noqa: PLC0415
    from dataclasses import replace  # noqa: PLC0415

    from generator.run import need  # noqa: PLC0415
    from generator.sandbox.settings import Settings  # noqa: PLC0415

    if kept is None:
        # Names that come again in another sandbox would be taken for what they were in this one.
        kept = Settings(backend=asked.get("backend", "container"), seed=secrets.randbelow(2**31))
        images = images or ["debian-12"]
    if asked.get("backend", kept.backend) != kept.backend:
        raise UsageError(f"this sandbox was made {_MADE[kept.backend]}", hint="name another --dir for another kind")
    settings = replace(kept, **asked)
    if settings.uplink:
        need("slirp4netns")
        if kept.backend == "none":
            raise UsageError("--uplink is for instances, which --api-only has none of")
    if kept.backend == "none" or not images:
        return settings
    public, runs_in = _public_images(images, Backend(kept.backend))
    return replace(settings, images=public, accelerator=runs_in)


def _public_images(specs: list[str], backend: Backend) -> tuple[tuple[PublicImage, ...], str]:
    """Return the local bases of specs, made where the cache has none, and what QEMU runs them in."""
    from generator.image import accelerator, base  # noqa: PLC0415
    from generator.run import need  # noqa: PLC0415
    from generator.sandbox.settings import PublicImage  # noqa: PLC0415
    from generator.spec.distro import TRAITS  # noqa: PLC0415
    from generator.spec.image import load  # noqa: PLC0415

    if os.geteuid() != 0:
        raise PrerequisiteError("instances and packets need root", hint="use sudo, or --api-only")
    for program in ("ip", "bridge", "nft", "nsenter", "unshare", "dnsmasq", *_PROGRAMS[backend]):
        need(program)
    found = []
    for name in specs:
        spec = load(name)
        if spec.base.ecs.family is None:
            raise UsageError(f"{name} names its base on ECS by id, and the sandbox knows images by family")
        system = base.folder(spec) if backend is Backend.CONTAINER else base.disk(spec)
        # In a container cloud-init is told by other means; by itself, that of an old distribution knows no tokens.
        imds = "v1" if backend is Backend.QEMU and TRAITS[spec.distro].cloud_init else "v2"
        found.append(PublicImage(spec.base.ecs.family, f"local-{spec.name}", (os.fspath(system),), imds))
    runs_in = "tcg"
    if backend is Backend.QEMU:
        made_here = next((spec for spec in map(load, specs) if spec.base.local and spec.base.local.suite), None)
        runs_in = accelerator.accelerator(base.kernel(made_here) if made_here else base.any_kernel())
    return tuple(found), runs_in


def _show_up(home: Home, running: Any, json: bool, what: str) -> None:
    if json:
        console.out_json(running)
        return
    console.say(f"✓ the sandbox in {home.folder} {what} on {running['url']} (region {running['region']})")
    console.say("  → clients: `multieip sandbox exec -- CMD`, or `eval $(multieip sandbox env)` outside")


def down(folder: Dir = Path(FOLDER)) -> None:
    """End the sandbox; what is in it stays in its folder for the next start."""
    from generator.sandbox import local  # noqa: PLC0415
    from generator.sandbox.settings import Home  # noqa: PLC0415

    ran = local.down(Home(folder))
    console.say(f"✓ {'ended' if ran else 'no sandbox ran'}")


def status(folder: Dir = Path(FOLDER), json: Json = False) -> None:
    """Show what runs, with each private IP and its EIP."""
    from generator.sandbox import local  # noqa: PLC0415
    from generator.sandbox.settings import Home  # noqa: PLC0415

    found = local.need(Home(folder))
    if json:
        console.out_json(found)
        return
    counts = ", ".join(f"{count} {kind}s" for kind, count in found["counts"].items())
    console.say(f"{found['url']} (pid {found['pid']}): {counts}; {len(found['faults'])} faults wait")
    rows = [
        (instance["id"], instance["name"], instance["status"], eni["id"], eni["type"], address, eip)
        for instance in found["instances"]
        for eni in instance["enis"]
        for address, eip in eni["addresses"].items()
    ]
    console.table(("instance", "name", "status", "ENI", "type", "private IP", "EIP"), rows)


def env(folder: Dir = Path(FOLDER)) -> None:
    """Write the variables that lead clients to the sandbox, for a shell."""
    import shlex  # noqa: PLC0415

    found = _environment(folder)[1]
    for name, value in found.items():
        console.out(f"export {name}={shlex.quote(value)}\n")


def exec_(
    command: Annotated[list[str], typer.Argument(metavar="CMD", help="The command with its arguments, after `--`.")],
    folder: Dir = Path(FOLDER),
) -> None:
    """Run a command on the sandbox's internet: the API and every EIP answer there, and an uplink is the way out."""
    running, variables = _environment(folder)
    argv = command
    if running["internet"]:
        argv = ["nsenter", f"--net=/run/netns/{running['internet']}", "--", *command]
    _become(argv, {**_unled(), **variables})


def _unled() -> dict[str, str]:
    """Return this process's environment without what leads to an account or a proxy of the user's."""
    led = ("ALICLOUD_", "ALIBABA_CLOUD_", "ALIBABACLOUD_", "ALIYUN_", "SECURITY_TOKEN")
    proxies = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    return {
        name: value for name, value in os.environ.items() if not name.startswith(led) and name.lower() not in proxies
    }


def _environment(folder: Path) -> tuple[Any, dict[str, str]]:
    from generator.sandbox import local  # noqa: PLC0415
    from generator.sandbox.settings import KEYS, Home, environment  # noqa: PLC0415

    running = local.need(Home(folder))
    return running, environment(running["url"], running["region"], KEYS, running["speed"])


def shell(instance: Instance, folder: Dir = Path(FOLDER)) -> None:
    """Open a shell in an instance, as root."""
    from generator.sandbox import local  # noqa: PLC0415
    from generator.sandbox.settings import Home  # noqa: PLC0415

    enter = local.ask(Home(folder), "guest", instance=instance)["enter"]
    if not enter:
        raise MultieipError(f"{instance} does not run, or lets nobody in but by SSH")
    _become([*enter, "/bin/sh", "-c", "cd; exec bash -l"], _inside())


def _inside() -> dict[str, str]:
    """Return the environment of a program in an instance: a terminal's, and nothing of the user's."""
    kept = {name: os.environ[name] for name in ("TERM", "LANG") if name in os.environ}
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **kept}


def logs(
    instance: Annotated[str | None, typer.Argument(metavar="[INSTANCE]", help="An instance, not the server.")] = None,
    folder: Dir = Path(FOLDER),
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
) -> None:
    """Show what the server has said, or an instance: its journal, or the console of a virtual machine."""
    from generator.sandbox import local  # noqa: PLC0415
    from generator.sandbox.settings import Home  # noqa: PLC0415

    home = Home(folder)
    path = os.fspath(home.log)
    if instance:
        guest = local.ask(home, "guest", instance=instance)
        path = guest["console"]
        if guest["journal"]:
            shown = ["journalctl", "--boot", "--no-pager", *(["--follow", "--lines=all"] if follow else [])]
            _become([*guest["journal"], *shown], _inside())
    if not Path(path).exists():
        raise MultieipError(f"{path} is not there yet", hint="start the sandbox, or the instance")
    _become(["tail", "--lines=+1", *(["--follow"] if follow else []), path], dict(os.environ))


def inject(  # noqa: PLR0917 - options of a command line
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="throttle, unavailable, lost, reset, slow, no-stock, vanish, error; clear ends all."
        ),
    ],
    action: Annotated[str, typer.Option(help="The API that it meets, such as RunInstances; * is any.")] = "*",
    count: Annotated[int, typer.Option(min=0, help="How many calls it meets; 0 is all.")] = 1,
    probability: Annotated[float, typer.Option(min=0.0, max=1.0, help="How likely each call meets it.")] = 1.0,
    seconds: Annotated[float, typer.Option(min=0.0, help="slow: how long the call takes, in real time.")] = 1.0,
    amount: Annotated[int, typer.Option(min=0, help="no-stock: instances that are left; vanish: that go.")] = 0,
    code: Annotated[str, typer.Option(help="error: its code.")] = "InternalError",
    http_status: Annotated[int, typer.Option("--status", min=400, max=599, help="error: its HTTP status.")] = 500,
    folder: Dir = Path(FOLDER),
) -> None:
    """Have calls fail as they do in the cloud: throttled, lost, broken, slow, out of stock, any code."""
    from generator.sandbox import local  # noqa: PLC0415
    from generator.sandbox.region.faults import Kind  # noqa: PLC0415
    from generator.sandbox.settings import Home  # noqa: PLC0415

    home = Home(folder)
    if kind == "clear":
        console.say(f"✓ {local.ask(home, 'clear')} faults cleared")
        return
    if kind not in {known.value for known in Kind}:
        raise UsageError(f"no kind of fault {kind}", hint=f"one of {', '.join(known.value for known in Kind)}, clear")
    waiting = local.ask(
        home,
        "inject",
        kind=kind,
        action=action,
        count=count or None,
        probability=probability,
        seconds=seconds,
        amount=amount,
        code=code,
        status=http_status,
    )
    console.say(f"✓ {waiting} faults wait")


def import_(  # noqa: PLR0917 - options of a command line
    disk: Annotated[str, typer.Argument(metavar="DISK", help="A qcow2 file, or the name of an image or its spec.")],
    name: Annotated[str, typer.Option(help="The image's name; without one that of the disk.")] = "",
    family: Annotated[str, typer.Option(help="The image's family.")] = "",
    imds: Annotated[
        Imds, typer.Option(help="v2: what is in it, cloud-init of 23.2.2 or later too, knows metadata tokens.")
    ] = Imds.V1,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where images were built.")] = Path("build"),
    folder: Dir = Path(FOLDER),
    json: Json = False,
) -> None:
    """Have a golden disk that was built on this machine be an image of the account."""
    from generator.image import catalogue  # noqa: PLC0415
    from generator.sandbox import local  # noqa: PLC0415
    from generator.sandbox.instances import disks  # noqa: PLC0415
    from generator.sandbox.settings import Home  # noqa: PLC0415

    home = Home(folder)
    local.need(home)
    path = Path(disk) if Path(disk).is_file() else catalogue.newest(out, disk)
    called = name or (path.parent.name if path.name == catalogue.DISK else path.stem)
    for text in (called, family):
        if text and not re.fullmatch(_IMAGE_NAME, text):
            raise UsageError(
                f"{text!r} is no name of an image", hint="2 to 128 letters, digits, . _ : -, a letter first"
            )
    size = -(-disks.check(path) // 2**30)
    asked = {"disk": os.fspath(path.resolve()), "name": called, "family": family, "size": size, "imds": imds.value}
    with console.step(f"importing {path}"):
        made = local.ask(home, "import", timeout=_IMPORT, **asked)
    if json:
        console.out_json(made)
    else:
        console.say(f"✓ {made['id']} ({made['name']})")


def reset(
    folder: Dir = Path(FOLDER),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Begin anew: end the sandbox, remove all that was made in it, images too, and start it again."""
    from generator.sandbox import local  # noqa: PLC0415
    from generator.sandbox.settings import Home  # noqa: PLC0415

    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nobody can be asked here", hint="pass --yes")
        typer.confirm(f"Remove all that was made in {folder}?", err=True, abort=True)
    home = Home(folder)
    _show_up(home, local.reset(home), False, "serves")


def _become(argv: list[str], variables: dict[str, str]) -> None:
    """Be another program from now on: its exit code is ours, and signals reach it."""
    from generator.run import need  # noqa: PLC0415

    path = need(argv[0])
    try:
        os.execve(path, argv, variables)  # noqa: S606 - a list, no shell
    except OSError as error:
        raise MultieipError(f"{argv[0]}: {error.strerror}") from error
