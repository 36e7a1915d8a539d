"""Names of the instances that one call makes: numbers in brackets, suffixes, host names one by one.

https://www.alibabacloud.com/help/en/ecs/user-guide/batch-configure-sequential-names-or-hostnames-for-multiple-instances
"""

from __future__ import annotations

import re

from generator.sandbox.api.call import Call
from generator.sandbox.api.errors import ApiError, invalid

# `web-[7,3]-a` is web-007-a, web-008-a, …; without a prefix brackets are no more than characters.
_SEQUENCE = re.compile(r"([^\[\]]+)\[([^\[\]]*)\]([^\[\]]*)")
_NUMBERS = re.compile(r"([0-9]{0,6}),([1-6]?)|")
_BITS = 6
_NAME = re.compile(r"(?!https?://)[^\W\d_][\w.:-]{1,127}")
_HOST = re.compile(r"(?!.*[.-]{2})[A-Za-z0-9][A-Za-z0-9.-]{0,62}[A-Za-z0-9]")


def of_instance(call: Call, key: str, number: int, amount: int) -> str:
    """Return the name of the instance `key`, which is the `number`th of `amount`, from 0 on."""
    given = call.text("InstanceName")
    if not given:
        return key
    name = _of_many(call, given, number, amount)
    if len(name) > 128 >= len(given):
        raise ApiError("InvalidParams.InstanceNameExceed", "The suffix makes the instance's name too long.", 403)
    if not _NAME.fullmatch(name):
        raise invalid("InstanceName", code="InvalidInstanceName.Malformed")
    return name


def of_host(call: Call, key: str, number: int, amount: int) -> str:
    """Return the host name of an instance, see `of_instance`."""
    names, given = call.items("HostNames"), call.text("HostName")
    if names and given:
        raise ApiError("InvalidHostname.SingleAndMultiConflict", "HostName and HostNames exclude each other.", 403)
    if names and len(names) != amount:
        raise ApiError("InvalidHostname.SizeInvalid", "There must be as many HostNames as instances.", 403)
    if not names and not given:
        return f"iZ{key[2:]}Z"
    name = names[number] if names else _of_many(call, given, number, amount)
    name = name.replace("${instance_id}", key)
    if len(name) > 64 >= len(given):
        raise ApiError("InvalidParams.HostnameExceed", "The suffix makes the host name too long.", 403)
    if not _HOST.fullmatch(name):
        raise invalid("HostName", code="InvalidHostName.Malformed")
    return str(name)


def _of_many(call: Call, name: str, number: int, amount: int) -> str:
    unique = call.flag("UniqueSuffix") and amount > 1
    sequence = _SEQUENCE.fullmatch(name)
    if sequence:
        prefix, numbers, suffix = sequence.groups()
        name = f"{prefix}{_counted(numbers, number)}{suffix}"
        # A number at the end is suffix enough.
        unique = unique and bool(suffix)
    return f"{name}{number + 1:03}" if unique else name


def _counted(numbers: str, number: int) -> str:
    match = _NUMBERS.fullmatch(numbers)
    if match is None:
        raise ApiError(
            "InvalidInstanceName.CustomMalformed",
            "Customized section of instance or host name is invalid, please use valid format: [], [,], [m,], [,n],"
            " [m,n].",
        )
    begin, bits = match[1] or "0", int(match[2] or _BITS)
    return f"{int(begin) + number:0{bits if len(begin) <= bits else _BITS}}"
