"""The account's limits of calls a minute, and how a launch shares them out.

A limit counts calls of one API in one region, of everybody in the account. The durable engine limits how many
workflows of a queue start in a window, so a workflow is a batch of calls: one for each call needs several times the
CPU (`make bench` measures both).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from generator.errors import UsageError

CLOCK = "MULTIEIP_CLOCK"
ACCOUNT = "MULTIEIP_QUOTAS"
# Seconds of the cloud's clock. A call that is throttled in one minute is answered in the next.
WINDOW = 60.0
BATCH = 10
# A minute's worth of EIP calls is 12 batches.
AT_ONCE = 12


@dataclass(frozen=True)
class Quota:
    """Calls of an API in a minute; `batch` of them make one workflow, and a process does `at_once` such workflows."""

    calls: int
    batch: int = BATCH
    at_once: int = AT_ONCE

    @property
    def batches(self) -> int:
        """How many batches may start in a minute."""
        return max(1, self.calls // self.batch)


# EIPs: https://www.alibabacloud.com/help/en/eip/quotas and api.aliyun.com. ECS publishes none outside the Quota
# Center; these are the defaults of Terway's own limiter (AliyunContainerService/terway, ratelimit.go). The account's
# may be higher, and not all of them for us: MULTIEIP_QUOTAS says so.
QUOTAS = {
    # Each waits until its instances run, which takes far longer than the call: as many at once as groups are replaced.
    "RunInstances": Quota(500, 1, 24),
    "AllocateEipAddress": Quota(120),
    "AssociateEipAddress": Quota(120),
    "UnassociateEipAddress": Quota(120),
    "ReleaseEipAddress": Quota(600),
    "AttachNetworkInterface": Quota(500),
    # A batch is what is away together while ENIs move. Each waits for seconds, not calls, so there are more at once.
    "DetachNetworkInterface": Quota(400, 5, 40),
    "AssignPrivateIpAddresses": Quota(400),
    "DeleteNetworkInterface": Quota(500),
}


def known() -> Mapping[str, Quota]:
    """Return the quotas: the defaults, and what MULTIEIP_QUOTAS says (`AllocateEipAddress=600,RunInstances=60`)."""
    found = dict(QUOTAS)
    for part in filter(None, os.environ.get(ACCOUNT, "").replace(" ", "").split(",")):
        api, _, calls = part.partition("=")
        if api not in found or not re.fullmatch(r"[1-9][0-9]{0,5}", calls):
            raise UsageError(
                f"{ACCOUNT} has {part!r}: it must be API=CALLS, calls a minute",
                hint=f"known are {', '.join(sorted(found))}",
            )
        # A batch is never more than the minute has room for.
        found[api] = replace(found[api], calls=int(calls), batch=min(found[api].batch, int(calls)))
    return found


def queue(api: str, region: str) -> str:
    """Return the name of what an API's calls in a region share: their limit, and so the queue and the turns."""
    return f"{api}@{region}"


def minutes(calls: int, api: str) -> float:
    """Return how many minutes so many calls of an API take at least: each minute but the last is used up."""
    quota = known()[api]
    return max(0, -(-calls // quota.calls) - 1)


def clock() -> float:
    """Return how many times as fast as ours the cloud's clock runs: 1, or what a sandbox was told."""
    text = os.environ.get(CLOCK, "") or "1"
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor <= 10_000:
        raise UsageError(f"{CLOCK} must be a number above 0", hint="it is for a sandbox whose clock runs faster")
    return factor
