"""What the API refuses: a code, a message and an HTTP status, as the cloud says it.

Codes and statuses are those of the documented error tables of each call and of the table that all calls share.
"""

from __future__ import annotations

from generator.errors import MultieipError


class ApiError(MultieipError):
    """A refusal that the client sees as JSON: `{"RequestId", "HostId", "Code", "Message", "Recommend"}`."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def missing(name: str) -> ApiError:
    """A required parameter that was not given."""
    return ApiError(
        "MissingParameter",
        f'The input parameter "{name}" that is mandatory for processing this request is not supplied.',
    )


def invalid(name: str, why: str = "", code: str = "InvalidParameter", status: int = 400) -> ApiError:
    """A parameter that is unknown, malformed or out of its limits."""
    return ApiError(code, f'The specified parameter "{name}" is not valid.{" " + why if why else ""}', status)


def not_found(code: str, what: str) -> ApiError:
    """A resource that is not in this region; `code` without its `.NotFound`."""
    return ApiError(f"{code}.NotFound", f"The specified {what} does not exist.", 404)


def not_emulated(what: str) -> ApiError:
    """Something that the cloud knows and the sandbox does not: said aloud, where to ignore it would be a lie."""
    return ApiError("Sandbox.NotEmulated", f"The sandbox does not emulate {what}; docs/sandbox.md says what it does.")


DRY_RUN = ApiError("DryRunOperation", "Request validation has been passed with DryRun flag set.")
