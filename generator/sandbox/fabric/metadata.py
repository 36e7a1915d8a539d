"""What the metadata service of ECS says about an instance, as a tree of keys. Pure.

Shapes are those of https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata and of what
cloud-init's AliYun datasource and Terway read: `private-ipv4s` is JSON, `ipv6s` only looks like it, a key without
a value is absent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address

from generator.sandbox.fabric.dhcp import RESOLVERS
from generator.sandbox.fabric.model import Eni, Identity, Vpc

Document = Mapping[str, "str | Document"]

# https://github.com/canonical/cloud-init, DataSourceAliYun: both are in use.
VERSIONS = ("2016-01-01", "latest")


def document(
    identity: Identity,
    enis: Sequence[tuple[Eni, Vpc]],
    eips: Mapping[tuple[str, IPv4Address], IPv4Address],
) -> Document:
    """Return everything below `meta-data/`; the first ENI is the primary one.

    `eips` maps (ENI id, private IP) to its EIP. Only that of the primary private IP is known to the guest:
    ECS tells of no other.
    """
    primary, vpc = enis[0]
    eip = eips.get((primary.id, primary.addresses[0]))
    more = primary.addresses[1:]
    return {
        "dns-conf": {"nameservers": "\r\n".join(RESOLVERS)},
        **({"eipv4": str(eip)} if eip else {}),
        "hostname": identity.hostname,
        "image-id": identity.image_id,
        "instance": {
            "instance-name": identity.hostname,
            "instance-type": identity.instance_type,
            "virtualization-solution": "ECS Virt",
        },
        "instance-id": identity.id,
        "mac": primary.mac,
        "network": {"interfaces": {"macs": {eni.mac: _interface(eni, of) for eni, of in enis}}},
        "network-type": "vpc",
        "ntp-conf": {"ntp-servers": "ntp1.cloud.aliyuncs.com\r\nntp2.cloud.aliyuncs.com"},
        "owner-account-id": identity.owner_id,
        "private-ipv4": str(primary.addresses[0]),
        **({"public-keys": _public_keys(identity.public_keys)} if identity.public_keys else {}),
        "region-id": identity.region_id,
        "serial-number": identity.id,
        "source-address": "http://mirrors.cloud.aliyuncs.com",
        **({"sub-private-ipv4-list": "\n".join(map(str, more))} if more else {}),
        "vpc-cidr-block": str(vpc.cidr),
        "vpc-id": vpc.id,
        "vswitch-cidr-block": str(primary.vswitch.cidr),
        "vswitch-id": primary.vswitch.id,
        "zone-id": identity.zone_id,
    }


def _interface(eni: Eni, vpc: Vpc) -> Document:
    switch = eni.vswitch
    six: dict[str, str] = {}
    if eni.addresses6 and switch.cidr6 is not None:
        six = {
            "ipv6-gateway": str(switch.gateway6),
            "ipv6s": _bare_list(eni.addresses6),
            "vswitch-ipv6-cidr-block": str(switch.cidr6),
            "vpc-ipv6-cidr-blocks": _bare_list([vpc.cidr6 or switch.cidr6]),
        }
    return {
        "gateway": str(switch.gateway),
        "netmask": str(switch.cidr.netmask),
        "network-interface-id": eni.id,
        "primary-ip-address": str(eni.addresses[0]),
        "private-ipv4s": json.dumps([str(address) for address in eni.addresses], separators=(",", ":")),
        "vpc-cidr-block": str(vpc.cidr),
        "vpc-id": vpc.id,
        "vswitch-cidr-block": str(switch.cidr),
        "vswitch-id": switch.id,
        **six,
    }


def _bare_list(values: Sequence[object]) -> str:
    return "[" + ",".join(str(value) for value in values) + "]"


def _public_keys(keys: Mapping[str, str]) -> Document:
    return {name: {"openssh-key": key} for name, key in keys.items()}


def look_up(tree: Document, path: str) -> str | None:
    """Return the body for a path below `meta-data/`, or None where the service answers 404.

    A folder lists its keys, one a line, folders among them with a trailing slash; `all` is everything as JSON.
    """
    if path.strip("/") == "all":
        return json.dumps(tree)
    node: str | Document = tree
    for key in (part for part in path.split("/") if part):
        if isinstance(node, str) or key not in node:
            return None
        node = node[key]
    if isinstance(node, str):
        return None if path.endswith("/") else node
    return "\n".join(name if isinstance(value, str) else f"{name}/" for name, value in node.items())
