"""What a region offers: instance types with their limits, stock, and prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from generator.cloud.client import Cloud
from generator.cloud.records import wrapped

# DescribeInstanceTypes takes so many types.
MOST_TYPES = 10


@dataclass(frozen=True)
class InstanceType:
    """What an instance type can hold; `eni_ips` is private IPv4 addresses of an ENI, the primary one included."""

    id: str
    cpus: int
    memory: float
    enis: int
    eni_ips: int
    architecture: str
    queues: int = 0
    secondary_queues: int = 0
    total_queues: int = 0
    nvme: str = ""
    boot_modes: tuple[str, ...] = ()


def instance_types(cloud: Cloud, ids: Sequence[str]) -> list[InstanceType]:
    """Return instance types; those that the region does not know are left out."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    found = []
    for start in range(0, len(ids), MOST_TYPES):
        request = models.DescribeInstanceTypesRequest(instance_types=list(ids[start : start + MOST_TYPES]))
        body = cloud.ecs.call(cloud.ecs.client.describe_instance_types_with_options, request)
        found += [
            InstanceType(
                id=one.instance_type_id,
                cpus=one.cpu_core_count or 0,
                memory=one.memory_size or 0.0,
                enis=one.eni_quantity or 0,
                eni_ips=one.eni_private_ip_address_quantity or 0,
                architecture=one.cpu_architecture or "",
                queues=one.primary_eni_queue_number or 0,
                secondary_queues=one.secondary_eni_queue_number or 0,
                total_queues=one.total_eni_queue_quantity or 0,
                nvme=one.nvme_support or "",
                boot_modes=tuple(wrapped(one.supported_boot_modes, "supported_boot_mode")),
            )
            for one in wrapped(body.instance_types, "instance_type")
        ]
    return found


def in_stock(cloud: Cloud, kind: str, zone: str) -> bool:
    """Return whether a zone has instances of a type to sell now. How many, the API does not say."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.DescribeAvailableResourceRequest(
        region_id=cloud.region,
        destination_resource="InstanceType",
        instance_type=kind,
        zone_id=zone,
        instance_charge_type="PostPaid",
    )
    body = cloud.ecs.call(cloud.ecs.client.describe_available_resource_with_options, request)
    return any(
        offer.value == kind and offer.status == "Available"
        for place in wrapped(body.available_zones, "available_zone")
        for resource in wrapped(place.available_resources, "available_resource")
        for offer in wrapped(resource.supported_resources, "supported_resource")
    )
