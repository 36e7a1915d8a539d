"""Protocols that an EIP in NAT mode breaks, since its NAT has no gateway for their payload (ALG).

H.323, SIP, DNS and RTSP: https://www.alibabacloud.com/help/en/eip/product-overview/limits ("NAT mode"); FTP and TFTP
carry or choose ports for a second connection in the same way.
"""

from __future__ import annotations

ALG_PORTS = {
    ("tcp", 21): "FTP",
    ("tcp", 53): "DNS",
    ("tcp", 554): "RTSP",
    ("tcp", 1720): "H.323",
    ("tcp", 5060): "SIP",
    ("tcp", 5061): "SIP",
    ("udp", 53): "DNS",
    ("udp", 69): "TFTP",
    ("udp", 554): "RTSP",
    ("udp", 5060): "SIP",
}
# A range this wide lets everything in and suggests no protocol.
_NARROW = 100


def needing_alg(protocol: str, ports: str) -> tuple[str, ...]:
    """Return the protocols that need an ALG among `ports` (`443`, `8000-8080`), each once; none of a wide range."""
    first, _, last = ports.partition("-")
    if int(last or first) - int(first) > _NARROW:
        return ()
    found = (
        name for (which, port), name in ALG_PORTS.items()
        if which == protocol and int(first) <= port <= int(last or first)
    )  # fmt: skip
    return tuple(dict.fromkeys(found))
