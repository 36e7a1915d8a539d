"""What exists in a region. Frozen records: a change is a new value.

`steps` of a record are what will become of it without anybody's doing: moments and the statuses that they bring.
Times are seconds since the epoch of the sandbox's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

Tags = tuple[tuple[str, str], ...]
Steps = tuple[tuple[float, str], ...]

# What a record is that is gone when the step comes.
GONE = "Gone"
# An instance for which stock ran out after RunInstances had answered: it goes, and an event says why.
VANISHED = "Vanished"


class Record(Protocol):
    """What every record has."""

    @property
    def id(self) -> str:
        """Unique in its region and kind."""
        ...


@dataclass(frozen=True, slots=True)
class Vpc:
    """A virtual private cloud."""

    id: str
    name: str
    cidr: str
    router: str
    route_table: str
    created: float
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class VSwitch:
    """A subnet of a VPC in one zone."""

    id: str
    name: str
    vpc: str
    zone: str
    cidr: str
    route_table: str
    created: float
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class RouteTable:
    """A table of routes; every VPC has one of type System."""

    id: str
    vpc: str
    created: float


@dataclass(frozen=True, slots=True)
class Route:
    """One route; `next_type` is local, Ipv4Gateway, Instance or NetworkInterface."""

    id: str
    table: str
    destination: str
    next_type: str
    next_id: str


@dataclass(frozen=True, slots=True)
class Ipv4Gateway:
    """A VPC's IPv4 gateway: once enabled, EIPs need a route to it."""

    id: str
    name: str
    vpc: str
    enabled: bool
    created: float


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a security group."""

    id: str
    direction: str
    protocol: str
    ports: str
    cidr: str
    policy: str
    priority: int
    description: str
    created: float


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """A security group of a VPC."""

    id: str
    name: str
    description: str
    vpc: str
    type: str
    created: float
    rules: tuple[Rule, ...] = ()
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key pair, known by its name; only the public half is kept."""

    id: str
    serial: str
    fingerprint: str
    public_key: str
    created: float
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot of a disk."""

    id: str
    name: str
    description: str
    disk: str
    size: int
    status: str
    created: float
    steps: Steps = ()
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class Image:
    """An image; `owner` is system, self or marketplace, `source` what a copy or a capture was made from."""

    id: str
    name: str
    description: str
    family: str
    owner: str
    os_name: str
    platform: str
    architecture: str
    boot_mode: str
    size: int
    snapshot: str
    status: str
    created: float
    version: str = ""
    imds: str = "v1"
    source: str = ""
    shared: tuple[str, ...] = ()
    steps: Steps = ()
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance. Its ENIs know it, it does not know them; `user_data` is Base64 as it was given.

    `visible` is the moment from which Describe calls show it.
    """

    id: str
    name: str
    hostname: str
    description: str
    image: str
    type: str
    vpc: str
    vswitch: str
    zone: str
    groups: tuple[str, ...]
    status: str
    created: float
    disk: str
    disk_size: int
    disk_category: str
    visible: float = 0.0
    started: float = 0.0
    key_pair: str = ""
    user_data: str = ""
    http_endpoint: str = "enabled"
    http_tokens: str = "optional"
    hop_limit: int = 1
    ram_role: str = ""
    spot_strategy: str = "NoSpot"
    spot_price: float = 0.0
    spot_hours: int = 1
    spot_interruption: str = "Terminate"
    resource_group: str = ""
    internet_out: int = 0
    deletion_protection: bool = False
    steps: Steps = ()
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class Eni:
    """An elastic network interface; the first address is its primary one. `queues` 0 is the instance type's number."""

    id: str
    name: str
    description: str
    type: str
    mac: str
    vpc: str
    vswitch: str
    zone: str
    groups: tuple[str, ...]
    addresses: tuple[str, ...]
    status: str
    created: float
    queues: int = 0
    instance: str = ""
    attached: float = 0.0
    delete_on_release: bool = True
    resource_group: str = ""
    steps: Steps = ()
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk of an instance, or one that an instance left behind; `size` in GiB, `type` system or data."""

    id: str
    name: str
    description: str
    type: str
    category: str
    level: str
    size: int
    zone: str
    image: str
    device: str
    instance: str
    encrypted: bool
    delete_with_instance: bool
    created: float
    resource_group: str = ""
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class BandwidthPackage:
    """An Internet Shared Bandwidth instance; its EIPs know it. `bandwidth` in Mbit/s."""

    id: str
    name: str
    description: str
    bandwidth: int
    charge: str
    isp: str
    created: float
    resource_group: str = ""
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class Eip:
    """An elastic IP; bound to one private IP (`private_ip`) of one ENI (`eni`), or to nothing.

    `bound_as` is what the client named: NetworkInterface or EcsInstance. `package` is the bandwidth package it is in.
    """

    id: str
    address: str
    name: str
    description: str
    bandwidth: str
    charge: str
    isp: str
    status: str
    created: float
    segment: str = ""
    eni: str = ""
    private_ip: str = ""
    bound_as: str = ""
    pool: str = ""
    protection: tuple[str, ...] = ()
    package: str = ""
    resource_group: str = ""
    steps: Steps = ()
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """Contiguous EIPs that were allocated at once."""

    id: str
    cidr: str
    count: int
    created: float


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """What happened to an instance."""

    id: str
    instance: str
    type: str
    status: str
    reason: str
    published: float


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command gave in an instance; `output` is text, `exit_code` None where it did not come to one."""

    output: str = ""
    exit_code: int | None = 0
    error: str = ""
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Invocation:
    """One run of a command in one instance; those of one RunCommand share `invoke`."""

    id: str
    invoke: str
    command: str
    name: str
    instance: str
    type: str
    content: str
    timeout: int
    user: str
    status: str
    created: float
    finished: float = 0.0
    result: CommandResult | None = None
    steps: Steps = ()


@dataclass(frozen=True, slots=True)
class Token:
    """A client token that was used, and what its call answered: JSON without RequestId."""

    id: str
    digest: str
    answer: str
    created: float


KINDS: tuple[type, ...] = (
    Vpc,
    VSwitch,
    RouteTable,
    Route,
    Ipv4Gateway,
    SecurityGroup,
    KeyPair,
    Snapshot,
    Image,
    Instance,
    Eni,
    Disk,
    Eip,
    BandwidthPackage,
    Segment,
    HistoryEvent,
    Invocation,
    Token,
)
