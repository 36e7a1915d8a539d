"""Shorthands for ENIs in tests of the sandbox's API."""

from __future__ import annotations

from typing import Any

from tests.sandbox.region import GROUP, REGION, VSWITCH, Cloud


def create(cloud: Cloud, **changes: Any) -> Any:
    """Make an ENI and return the answer's body."""
    parameters = {"region_id": REGION, "v_switch_id": VSWITCH, "security_group_id": GROUP, **changes}
    return cloud.do("CreateNetworkInterface", **{key: value for key, value in parameters.items() if value})


def eni(cloud: Cloud, key: str) -> Any:
    """Return what is shown of an ENI, None if it is not."""
    body = cloud.do("DescribeNetworkInterfaces", region_id=REGION, network_interface_id=[key])
    return next(iter(body.network_interface_sets.network_interface_set), None)


def attach(cloud: Cloud, key: str, instance: str) -> None:
    """Attach an ENI, and wait until it is."""
    cloud.do("AttachNetworkInterface", region_id=REGION, network_interface_id=key, instance_id=instance)
    cloud.until(lambda: eni(cloud, key).status == "InUse")


def addresses(cloud: Cloud, key: str) -> list[str]:
    """Return the private IPs of an ENI, the primary one first."""
    return [one.private_ip_address for one in eni(cloud, key).private_ip_sets.private_ip_set]
