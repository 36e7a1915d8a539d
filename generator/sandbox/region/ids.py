"""Names that nobody chose: ids, MACs, public addresses. The same seed gives the same ones in the same order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network

# The range for measuring networks (RFC 2544): no host on the internet has it, so no guest can miss one.
EIPS = IPv4Network("198.18.0.0/16")
SEGMENTS = IPv4Network("198.19.0.0/16")
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
# Odd, so that counting through it visits each of the 2**24 numbers once; chosen for no other reason.
_STRIDE = 0x9E3779


class Ids:
    """Counts, and makes what it counted into names; `serial` is where it is."""

    def __init__(self, seed: int, serial: int = 0) -> None:
        self.seed = seed
        self.serial = serial

    def new(self, prefix: str) -> str:
        """Return an id as the cloud's: `i-bp1` and 17 letters or digits."""
        self.serial += 1
        number = int.from_bytes(hashlib.sha256(f"{self.seed}:{prefix}:{self.serial}".encode()).digest()[:12])
        letters = []
        for _ in range(17):
            number, rest = divmod(number, 36)
            letters.append(_ALPHABET[rest])
        return f"{prefix}-bp1{''.join(letters)}"

    def mac(self) -> str:
        """Return the MAC of a new ENI, in the OUI that ECS uses."""
        self.serial += 1
        tail = f"{self.serial * _STRIDE % 2**24:06x}"
        return f"00:16:3e:{tail[:2]}:{tail[2:4]}:{tail[4:]}"


def free_eip(is_taken: Callable[[str], bool], hint: int) -> IPv4Address | None:
    """Return a public address that nobody has, looking from `hint` on, so that one just released is not the next."""
    usable = EIPS.num_addresses - 2
    for offset in range(usable):
        address = EIPS[1 + (hint + offset) % usable]
        if not is_taken(str(address)):
            return address
    return None


def free_segment(is_taken: Callable[[str], bool], mask: int) -> IPv4Network | None:
    """Return a contiguous segment of public addresses, none of them in use."""
    for network in SEGMENTS.subnets(new_prefix=mask):
        if not any(is_taken(str(address)) for address in network):
            return network
    return None
