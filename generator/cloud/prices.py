"""What instances cost, by ECS's own pricing API. It prices no EIPs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from generator.cloud.client import Cloud
from generator.cloud.instances import Disk

# DescribePrice prices so many instances at once; the price of more is that of one, multiplied.
MOST = 1000


@dataclass(frozen=True)
class Price:
    """Money for an hour, in the account's currency."""

    amount: float
    currency: str


def instances(
    cloud: Cloud,
    *,
    kind: str,
    zone: str,
    image: str,
    system_disk: Disk,
    data_disks: Sequence[Disk] = (),
    spot: str = "NoSpot",
    amount: int = 1,
) -> Price | None:
    """Return what `amount` pay-as-you-go instances with their disks cost an hour, None when the API names no price."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.DescribePriceRequest(
        region_id=cloud.region,
        resource_type="instance",
        instance_type=kind,
        zone_id=zone,
        image_id=image,
        amount=1,
        price_unit="Hour",
        spot_strategy=spot if spot != "NoSpot" else None,
        system_disk=models.DescribePriceRequestSystemDisk(
            category=system_disk.category,
            size=system_disk.size or None,
            performance_level=system_disk.level or None,
        ),
        data_disk=[
            models.DescribePriceRequestDataDisk(
                category=disk.category, size=disk.size or None, performance_level=disk.level or None
            )
            for disk in data_disks
        ]
        or None,
    )
    body = cloud.ecs.call(cloud.ecs.client.describe_price_with_options, request)
    price = body.price_info.price if body.price_info else None
    if price is None or price.trade_price is None:
        return None
    return Price(round(price.trade_price * amount, 4), price.currency or "")
