"""One base error, and the exit codes that every verb shares.

An error that a user can meet is a `MultieipError`: one line that says what is wrong and where, and a hint
that says how to go on. `generator.cli.app.main` is the only place that turns one into an exit code.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a pipeline may rely on (docs/exit-codes.md)."""

    OK = 0
    FAILED = 1
    USAGE = 2
    FINDINGS = 3
    CHANGES = 4
    PREREQUISITE = 5
    CLOUD = 6
    TIMEOUT = 7
    INTERRUPTED = 130


class MultieipError(Exception):
    """Something failed in a way that the user can act on.

    `message` is one line: what, and where. `hint` is the remedy, one line, or empty when the message has it.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(MultieipError):
    """The command line asks for something that cannot be."""

    exit_code = ExitCode.USAGE


class PrerequisiteError(MultieipError):
    """A program, a version or a right that this verb needs is missing."""

    exit_code = ExitCode.PREREQUISITE


class CloudRefusedError(MultieipError):
    """The cloud said no: quota, stock or permission."""

    exit_code = ExitCode.CLOUD


class LeftBehindError(MultieipError):
    """A time limit passed, or resources are left that the hint names."""

    exit_code = ExitCode.TIMEOUT
