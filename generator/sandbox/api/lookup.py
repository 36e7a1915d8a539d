"""Resources that a call names: found in its region, or refused with the code that says which is missing."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import islice

from generator.sandbox.api.call import Call
from generator.sandbox.api.errors import ApiError, invalid, not_found
from generator.sandbox.region.model import Eip, Eni, Image, Instance, KeyPair, SecurityGroup, Snapshot, Vpc, VSwitch
from generator.sandbox.region.region import Region

# https://www.alibabacloud.com/help/en/vpc: the first address of a vSwitch and the last three are the system's.
RESERVED_FIRST, RESERVED_LAST = 1, 3


def vpc(call: Call, key: str) -> Vpc:
    """Return a VPC."""
    found = call.region.find(Vpc, key)
    if found is None:
        raise not_found("InvalidVpcId", "VpcId")
    return found


def vswitch(call: Call, key: str) -> VSwitch:
    """Return a vSwitch."""
    found = call.region.find(VSwitch, key)
    if found is None:
        raise not_found("InvalidVSwitchId", "VSwitchId")
    return found


def groups(call: Call, keys: list[str], in_vpc: str, *, of_launch: bool = False) -> tuple[str, ...]:
    """Return security groups, which all must be of one VPC; RunInstances says otherwise that they are not."""
    if len(set(keys)) != len(keys):
        raise invalid("SecurityGroupIds", "It has one twice.", "InvalidParameter.SecurityGroupIdRepeated")
    for key in keys:
        found = call.region.find(SecurityGroup, key)
        if found is None:
            raise not_found("InvalidSecurityGroupId", "SecurityGroupId")
        if found.vpc != in_vpc:
            why = "The specified security group and the specified virtual switch are not in the same VPC."
            raise (
                ApiError("InvalidParameter.Mismatch", why)
                if of_launch
                else ApiError("InvalidOperation.VpcMismatch", why, 403)
            )
    return tuple(keys)


def instance(call: Call, key: str) -> Instance:
    """Return an instance, one that no Describe call shows yet included."""
    found = call.region.find(Instance, key)
    if found is None:
        raise not_found("InvalidInstanceId", "InstanceId")
    return found


def eni(call: Call, key: str) -> Eni:
    """Return an ENI."""
    found = call.region.find(Eni, key)
    if found is None:
        raise not_found("InvalidEniId", "network interface")
    return found


def eip(call: Call, key: str) -> Eip:
    """Return an EIP."""
    found = call.region.find(Eip, key)
    if found is None:
        raise not_found("InvalidAllocationId", "AllocationId")
    return found


def image(call: Call, key: str) -> Image:
    """Return an image, in whatever state."""
    found = call.region.find(Image, key)
    if found is None:
        raise not_found("InvalidImageId", "ImageId")
    return found


def snapshot(call: Call, key: str) -> Snapshot:
    """Return a snapshot, finished or not."""
    found = call.region.find(Snapshot, key)
    if found is None:
        raise not_found("InvalidSnapshotId", "SnapshotId")
    return found


def key_pair(call: Call, key: str, *, code: str = "InvalidKeyPair") -> KeyPair:
    """Return a key pair by its name."""
    found = call.region.find(KeyPair, key)
    if found is None:
        raise not_found(code, "KeyPairName")
    return found


def usable(where: VSwitch) -> tuple[IPv4Address, int]:
    """Return the first address of a vSwitch that an ENI may have, and how many there are."""
    network = IPv4Network(where.cidr)
    return network[RESERVED_FIRST], network.num_addresses - RESERVED_FIRST - RESERVED_LAST


def available(region: Region, where: VSwitch) -> int:
    """Return how many private IPs of a vSwitch are free."""
    return usable(where)[1] - len(region.taken(where.id))


def free_addresses(region: Region, where: VSwitch, count: int, avoid: frozenset[str] = frozenset()) -> list[str]:
    """Return private IPs of a vSwitch that nobody has, the lowest first."""
    free = region.free(where.id, *usable(where))
    found = list(islice((address for address in free if address not in avoid), count))
    if len(found) < count:
        raise ApiError(
            "InvalidVSwitchId.IpNotEnough", "The specified VSwitch has not enough IP addresses left for this request."
        )
    return found


@dataclass(frozen=True)
class AddressCodes:
    """How a family of calls says that a private IP cannot be had: malformed, not of the vSwitch, in use."""

    malformed: str
    foreign: str
    taken: str
    status: int


# The error tables of RunInstances, and of CreateNetworkInterface and AssignPrivateIpAddresses.
LAUNCH_CODES = AddressCodes(
    "InvalidPrivateIpAddress.Malformed", "InvalidPrivateIpAddress", "InvalidPrivateIpAddress.Duplicated", 400
)
ENI_CODES = AddressCodes("InvalidIp.Address", "InvalidVSwitchId.IpInvalid", "InvalidIp.IpAssigned", 403)


def asked_address(region: Region, where: VSwitch, text: str, codes: AddressCodes = ENI_CODES) -> str:
    """Return a private IP that a client asks for, or raise why it cannot have it."""
    try:
        address = IPv4Address(text)
    except ValueError:
        raise ApiError(codes.malformed, f"{text} is not an IPv4 address.", codes.status) from None
    first, total = usable(where)
    if not 0 <= int(address) - int(first) < total:
        raise ApiError(codes.foreign, f"{text} is not an address of the vSwitch that can be assigned.", codes.status)
    if str(address) in region.taken(where.id):
        raise ApiError(codes.taken, f"The specified private IP {text} is in use already.", codes.status)
    return str(address)
