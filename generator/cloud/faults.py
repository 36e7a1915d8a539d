"""What an error of the API means for the caller: try again and how, or tell the user.

The codes are those of the API's documented error tables and of what its other clients retry.
"""

from __future__ import annotations

from enum import Enum

from generator.errors import CloudRefusedError, MultieipError


class ApiRefusedError(CloudRefusedError):
    """The API refused a call for good; `code` is its error code."""

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class Fault(Enum):
    """What an error means; the value is what a person is told about it."""

    # Limits are counted per minute, so the next minute decides; the account's other clients count too.
    THROTTLE = "throttled"
    # No answer or a broken one: the call may have been carried out.
    TRANSIENT = "no usable answer"
    # The resource is busy with something that ends by itself.
    STATE = "busy"
    # Configuration, permission, quota or money: the same call will be refused again.
    REFUSED = "refused"


_THROTTLE = {"FrequentPurchase.EIP", "OperationDenied.ResourceControl", "TaskConflict"}
_TRANSIENT = {
    "Idempotence.Processing",
    "InternalError",
    "LastOrderProcessing",
    "LastRequestProcessing",
    "LastTokenProcessing",
    "Operation.Conflict",
    "OperationConflict",
    "OperationFailed.LastTokenProcessing",
    "OperationFailed.SystemBusy",
    "ServiceUnavailable",
    "SystemBusy",
    "UnknownError",
}
_STATE = {
    "ImageIsCreating",
    "IncorrectDiskStatus.CreatingSnapshot",
    "OperationDenied.CreatingConflict",
    "OperationDenied.ImageCopying",
    # Just after DeleteImage the snapshot still counts as used by the image that is going.
    "SnapshotCreatedImage",
}
_HINTS = {
    "Forbidden.RAM": "the account's administrator grants it; docs/ecs.md has the RAM policy",
    "ImageUsingByInstance": "replace the instances that run it, then prune again",
    "InvalidAccessKeyId.NotFound": "see which credentials are set; docs/ecs.md has the order",
    "InvalidAccessKeyId.Inactive": "see which credentials are set; docs/ecs.md has the order",
    "InvalidSecurityToken.Expired": "the temporary credentials are over: get new ones",
    "SignatureDoesNotMatch": "the access key's secret is not the one of its id",
}


def code(error: Exception) -> str:
    """Return the code of an error of the API, or the empty string for a call without a readable answer."""
    return str(getattr(error, "code", None) or "")


def classify(error: Exception) -> Fault:
    """Return what to do about an exception of the SDK.

    The SDK raises an exception without a code for a timeout, a refused or broken connection, an empty answer and
    a gateway's HTML page.
    """
    name, status = code(error), getattr(error, "status_code", None) or 0
    if "Throttling" in name or name in _THROTTLE or status == 429:
        return Fault.THROTTLE
    if not name or name in _TRANSIENT:
        return Fault.TRANSIENT
    if name in _STATE or name.startswith("IncorrectStatus"):
        return Fault.STATE
    return Fault.TRANSIENT if status >= 500 else Fault.REFUSED


def failure(error: Exception, action: str, region: str) -> MultieipError:
    """Return the error that the user sees when trying again is over: one line with code, message and RequestId."""
    name = code(error)
    if not name:
        return MultieipError(
            f"ECS in {region} gave no answer to {action}: {_line(str(error))}",
            hint="see whether the network and its proxies reach the region, then run the same command again",
        )
    data = getattr(error, "data", None)
    said = data.get("Message") if isinstance(data, dict) else None
    reason = f"{_line(name)}: {_line(str(said or error))}"
    request = _line(str(getattr(error, "request_id", None) or "none"))
    return ApiRefusedError(
        f"ECS in {region} refused {action}: {reason} (RequestId {request})", code=name, hint=_HINTS.get(name, "")
    )


def _line(text: str) -> str:
    """Return text from the network as one line of printable characters, of a length that a person reads."""
    line = "".join(character for character in " ".join(text.split()) if character.isprintable())
    return line if len(line) <= 300 else f"{line[:299]}…"
