"""Pages: by a token that stays right while resources come and go, or by number."""

from __future__ import annotations

import base64
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, TypeVar

from generator.sandbox.api.call import Call
from generator.sandbox.api.errors import invalid

R = TypeVar("R")


def by_token(call: Call, records: Sequence[R], *, default: int, size: str = "MaxResults") -> tuple[list[R], str]:
    """Return a page and the token of the next one, empty on the last; records are in the order they were made in.

    A token says after which record to go on, so that one deleted in between shifts nothing.
    """
    most = call.number(size, default)
    rest = records
    if token := call.text("NextToken"):
        rest = records[bisect_right(records, _position(token), key=call.region.position) :]
    page = list(rest[:most])
    more = len(rest) > most
    return page, base64.urlsafe_b64encode(str(call.region.position(page[-1])).encode()).decode() if more else ""


def _position(token: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(token))
    except ValueError:
        raise invalid("NextToken") from None


def by_number(call: Call, records: Sequence[R], *, default: int = 10) -> tuple[list[R], dict[str, Any]]:
    """Return a page and the fields that say which it is."""
    number, size = call.number("PageNumber", 1), call.number("PageSize", default)
    start = (number - 1) * size
    return list(records[start : start + size]), {
        "PageNumber": number,
        "PageSize": size,
        "TotalCount": len(records),
    }


def either(call: Call, records: Sequence[R], *, default: int = 10) -> tuple[list[R], dict[str, Any]]:
    """Return a page of a call that has both ways: the one that the client's parameters ask for."""
    if "MaxResults" in call.parameters or "NextToken" in call.parameters:
        page, token = by_token(call, records, default=default)
        return page, {"NextToken": token, "TotalCount": len(records)}
    return by_number(call, records, default=default)
