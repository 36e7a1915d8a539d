"""What an error of the API means for the caller: try again and how, or tell the user.

The codes are those of the API's documented error tables and of what its other clients retry.
"""

from __future__ import annotations

from enum import Enum

from generator.errors import CloudRefusedError, MultieipError


class Fault(Enum):
    """What an error means; the value is what a person is told about it."""

    # Limits are counted per minute, so the next minute decides; the account's other clients count too.
    THROTTLE = "throttled"
    # No answer or a broken one: the call may have been carried out.
    TRANSIENT = "no usable answer"
    # The resource is busy with something that ends by itself.
    STATE = "busy"
    # What was asked for is so already, or gone already: read it back.
    DONE = "done already"
    # None left here: another instance type, vSwitch or zone may have some.
    CAPACITY = "out of stock"
    # The account's quota or money: only its owner can go on.
    QUOTA = "over quota"
    # Configuration or permission: the same call will be refused again.
    REFUSED = "refused"


class ApiRefusedError(CloudRefusedError):
    """The API refused a call for good; `code` is its error code, `fault` what that means."""

    # A step's error is kept and read back, which calls this with the message alone and then sets the rest.
    def __init__(self, message: str, *, code: str = "", hint: str = "", fault: Fault = Fault.REFUSED) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.fault = fault


_THROTTLE = {"FrequentPurchase.EIP", "OperationDenied.ResourceControl"}
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
    "DependencyViolation",
    "DependencyViolation.RouteEntry",
    "ImageIsCreating",
    "IncorrectDiskStatus.CreatingSnapshot",
    "IncorrectEipStatus",
    "IncorrectInstanceStatus",
    "IncorrectInstanceStatus.Initializing",
    "IncorrectVSwitchStatus",
    "InvalidBindingStatus",
    "InvalidOperation.Conflict",
    "InvalidOperation.InvalidEcsState",
    "InvalidOperation.InvalidEniState",
    "InvalidOperation.InvalidEniType",
    "InvalidStatus.EcsStatusNotSupport",
    "InvalidStatus.EniStatusNotSupport",
    "InvalidStatus.NotAllow",
    "OperationDenied.CreatingConflict",
    "OperationDenied.ImageCopying",
    "OperationFailed.EcsMigrating",
    # Just after DeleteImage the snapshot still counts as used by the image that is going.
    "SnapshotCreatedImage",
    # An ENI takes one change of its EIPs at a time. The documentation says "too frequent", but no minute has to pass.
    "TaskConflict",
}
_DONE = {
    "InvalidAllocationId.NotFound",
    "InvalidAssociation.Duplicated",
    "InvalidEniId.NotFound",
    "InvalidInstanceId.NotFound",
    "InvalidIp.IpUnassigned",
    # RevokeSecurityGroup: a rule that is not there.
    "InvalidParam.SecurityGroupRuleId",
    "InvalidSecurityGroupId.NotFound",
    "InvalidSegmentInstanceId.NotFound",
    "ResourceAlreadyAssociated.IpAddress",
}
_CAPACITY = {
    "InstanceType.Offline",
    "InvalidInstanceType.ZoneNotSupported",
    "InvalidResourceType.NotSupported",
    "InvalidVSwitchId.IpNotEnough",
    "OperationDenied.NoAvailablePrivateIp",
    "OperationDenied.NoStock",
    "OperationFailed.InsufficientEIP",
    "QuotaExceeded.PrivateIpAddress",
    "Zone.NotOnSale",
}
_QUOTA = {
    "Account.Arrearage",
    "EniPerInstanceLimitExceeded",
    "Forbidden.RiskControl",
    "InsufficientBalance",
    "InvalidAccountStatus.NotEnoughBalance",
    "InvalidEip.EipQuotaExceeded",
    "InvalidOperation.Ipv4CountExceeded",
    "MaxEniCountExceeded",
    "ORDER.QUANTITY_INVALID",
    "QuotaExceed.AfterpayInstance",
    "QuotaExceed.ElasticQuota",
    "QuotaExceeded",
    "QuotaExceeded.Eip",
    "RealNameAuthenticationError",
    "SecurityGroupInstanceLimitExceed",
}
_EIP_QUOTA = "raise the EIP quota in the Quota Center, or release EIPs that nothing uses (multieip sweep)"
_HINTS = {
    "Forbidden.AllocateEipSegmentAddress": "contiguous blocks are not to be had any more: take eips.segment out",
    "Account.Arrearage": "the account is in arrears: pay, then run the same command again",
    "Forbidden.RAM": "ask the administrator: docs/ecs.md has the policy for images, `multieip policy` a fleet's",
    "ImageUsingByInstance": "replace the instances that run it, then prune again",
    "InsufficientBalance": "add money to the account, then run the same command again",
    "InvalidAccessKeyId.NotFound": "see which credentials are set; docs/ecs.md has the order",
    "InvalidAccessKeyId.Inactive": "see which credentials are set; docs/ecs.md has the order",
    "InvalidAccountStatus.NotEnoughBalance": "add money to the account, then run the same command again",
    "InvalidSecurityToken.Expired": "the temporary credentials are over: get new ones",
    "ORDER.QUANTITY_INVALID": _EIP_QUOTA,
    "OperationFailed.Ipv4GatewayNotOpenedInVpc": "give the vSwitch a default route to the VPC's IPv4 gateway",
    "QuotaExceeded.Eip": _EIP_QUOTA,
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
    for names, fault in ((_DONE, Fault.DONE), (_CAPACITY, Fault.CAPACITY), (_QUOTA, Fault.QUOTA)):
        if name in names:
            return fault
    return Fault.TRANSIENT if status >= 500 else Fault.REFUSED


def failure(error: Exception, action: str, product: str, region: str) -> MultieipError:
    """Return the error that the user sees when trying again is over: one line with code, message and RequestId."""
    name = code(error)
    if not name:
        return MultieipError(
            f"{product} in {region} gave no answer to {action}: {_line(str(error))}",
            hint="see whether the network and its proxies reach the region, then run the same command again",
        )
    data = getattr(error, "data", None)
    said = data.get("Message") if isinstance(data, dict) else None
    reason = f"{_line(name)}: {_line(str(said or error))}"
    request = _line(str(getattr(error, "request_id", None) or "none"))
    message = f"{product} in {region} refused {action}: {reason} (RequestId {request})"
    return ApiRefusedError(message, code=name, hint=_HINTS.get(name, ""), fault=classify(error))


def _line(text: str) -> str:
    """Return text from the network as one line of printable characters, of a length that a person reads."""
    line = "".join(character for character in " ".join(text.split()) if character.isprintable())
    return line if len(line) <= 300 else f"{line[:299]}…"
