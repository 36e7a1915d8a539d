"""How the region behaves where the cloud's own behaviour depends on load, on luck or on the account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Calls per minute, account and region. EIPs: https://www.alibabacloud.com/help/en/eip/quotas (2025-12) and
# api.aliyun.com. ECS publishes none outside the Quota Center; these are the defaults of Terway's own limiter
# (https://github.com/AliyunContainerService/terway, ratelimit.go): a strong hint, not a contract.
WINDOWS: Mapping[str, int] = {
    "AllocateEipAddress": 120,
    "AssociateEipAddress": 120,
    "UnassociateEipAddress": 120,
    "AssociateEipAddressBatch": 30,
    "DescribeEipAddresses": 600,
    "ReleaseEipAddress": 600,
    "AttachNetworkInterface": 500,
    "CreateNetworkInterface": 500,
    "DeleteNetworkInterface": 500,
    "DetachNetworkInterface": 400,
    "AssignPrivateIpAddresses": 400,
    "UnassignPrivateIpAddresses": 400,
    "DescribeNetworkInterfaces": 800,
    "DescribeInstanceTypes": 400,
    "DescribeVSwitches": 300,
}
OTHER_WINDOW = 500


@dataclass(frozen=True)
class Delays:
    """How long the region takes, in seconds of its clock. The cloud takes longer; this is for people who wait.

    `visible` is how long Describe calls do not show what RunInstances made; `vanish` when an instance goes that
    lost the race for stock.
    """

    pending: float = 0.1
    starting: float = 0.2
    stopping: float = 0.2
    releasing: float = 0.2
    attaching: float = 0.2
    detaching: float = 0.2
    deleting: float = 0.1
    associating: float = 0.1
    unassociating: float = 0.1
    imaging: float = 0.5
    copying: float = 1.0
    command: float = 0.2
    visible: float = 0.1
    vanish: float = 1.0


@dataclass(frozen=True)
class Behaviour:
    """Delays and quotas of the account.

    `windows` None ends throttling. `stock` bounds how many instances of (zone, type) exist at once; what is not
    listed is plenty. `serial_binding` refuses to bind a second EIP to an ENI while one is under way (TaskConflict).
    """

    delays: Delays = field(default_factory=Delays)
    windows: Mapping[str, int] | None = field(default_factory=lambda: WINDOWS)
    eips: int = 20
    # In a region: of pay-as-you-go and of spot instances each, and of all ENIs.
    vcpus: int = 100_000
    enis: int = 50_000
    stock: Mapping[tuple[str, str], int] = field(default_factory=dict)
    serial_binding: bool = True
