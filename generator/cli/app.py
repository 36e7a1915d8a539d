"""The command `multieip`: its verbs, and the one place that turns exceptions into exit codes."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
from types import FrameType
from typing import Annotated

import typer

import generator
from generator import console
from generator.cli import check, doctor, fleet, fleet_views, image, render, rollout, sandbox
from generator.errors import ExitCode, MultieipError

APP = typer.Typer(
    name="multieip",
    help="Golden images and fleets of Alibaba Cloud ECS instances that answer on many EIPs each.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
check.register(APP)
render.register(APP)
image.register(APP)
fleet.register(APP)
fleet_views.register(APP)
rollout.register(APP)
fleet.register_removal(APP)
sandbox.register(APP)
doctor.register(APP)

_NO_ROOM = "make room, or name another place: --out or -o, $TMPDIR, $MULTIEIP_CACHE"
_OS_HINTS = {
    errno.EACCES: "get the right to it, or name another place",
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: _NO_ROOM,
    errno.ENOSPC: _NO_ROOM,
    errno.EROFS: _NO_ROOM,
}


def _version(wanted: bool) -> None:
    if wanted:
        console.out(f"multieip {generator.__version__}\n")
        raise typer.Exit


@APP.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Say each program that is run; show tracebacks.")] = False,
) -> None:
    if debug:
        os.environ["MULTIEIP_DEBUG"] = "1"
        logging.basicConfig(level=logging.DEBUG, format="%(message)s")
        logging.getLogger().setLevel(logging.WARNING)
        logging.getLogger("multieip").setLevel(logging.DEBUG)


def main() -> None:
    """Run the command line and exit with the code of what happened (`ExitCode`)."""
    # A pipeline that cancels sends SIGTERM: it gets the clean-up of Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        APP()
    except SystemExit as end:
        if end.code == ExitCode.INTERRUPTED:
            console.say("multieip: interrupted")
        raise
    except MultieipError as failure:
        console.error(failure)
        sys.exit(failure.exit_code)
    except OSError as failure:
        console.drop_output()
        where = f"{failure.filename}: " if failure.filename else ""
        hint = _OS_HINTS.get(failure.errno or 0, "the same command with --debug shows what was run")
        console.error(MultieipError(f"{where}{failure.strerror or failure}", hint=hint))
        sys.exit(ExitCode.FAILED)
    except Exception as bug:
        if os.environ.get("MULTIEIP_DEBUG"):
            raise
        told = f"{type(bug).__name__}: {bug}".splitlines()[0]
        console.error(MultieipError(f"a bug in multieip: {told}", hint="the same command with --debug shows where"))
        sys.exit(ExitCode.FAILED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
