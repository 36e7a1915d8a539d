"""What instances cost here: figures that the sandbox made up, so that clients which read prices read some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from generator.sandbox.api import lookup
from generator.sandbox.api.call import Body, Call, action, between, one_of
from generator.sandbox.api.ecs.disks import CATEGORIES, LEVELS, level_of
from generator.sandbox.api.errors import invalid, missing, not_found
from generator.sandbox.region.seeding import TYPES, zones

# An hour, in the currency of the region.
_PER_CPU, _PER_GIB_OF_MEMORY = 0.1, 0.02
_PER_GIB_OF_DISK = {"": 0.0005, "PL0": 0.0005, "PL1": 0.001, "PL2": 0.002, "PL3": 0.004}
_SPOT = 0.3
_CATEGORY = one_of(*CATEGORIES, code="InvalidDiskCategory.ValueNotSupported")
_LEVEL = one_of(*LEVELS, code="InvalidPerformanceLevel.Malformed")


@action(
    "ecs",
    "DescribePrice",
    required="RegionId",
    takes="ResourceType InstanceType Amount ZoneId ImageId PriceUnit Period SpotStrategy SpotDuration"
    " SystemDisk.Category SystemDisk.Size SystemDisk.PerformanceLevel DataDisk.Category DataDisk.Size"
    " DataDisk.PerformanceLevel",
    ignores="InstanceNetworkType IoOptimized InternetChargeType Platform",
    limits={
        "ResourceType": one_of("instance"),
        "Amount": between(1, 1000),
        "PriceUnit": one_of("Hour"),
        "Period": between(1, 1),
        "SpotStrategy": one_of("NoSpot", "SpotWithPriceLimit", "SpotAsPriceGo", code="InvalidSpotStrategy"),
        "SpotDuration": between(0, 1, "InvalidSpotDuration"),
        "SystemDisk.Category": _CATEGORY,
        "SystemDisk.PerformanceLevel": _LEVEL,
        "SystemDisk.Size": between(1, 2048, "InvalidSystemDiskSize.ValueNotSupported"),
        "DataDisk.Category": _CATEGORY,
        "DataDisk.PerformanceLevel": _LEVEL,
        "DataDisk.Size": between(1, 65_536, "InvalidDataDiskSize.ValueNotSupported"),
    },
)
def describe_price(call: Call) -> Body:
    """Show what pay-as-you-go instances cost an hour, with their disks."""
    if not call.text("InstanceType"):
        raise missing("InstanceType")
    kind = TYPES.get(call.text("InstanceType"))
    if kind is None:
        raise invalid("InstanceType", code="InvalidInstanceType.ValueNotSupported")
    if call.text("ZoneId", zones(call.region.name)[0]) not in zones(call.region.name):
        raise not_found("InvalidZoneId", "ZoneId")
    size = lookup.image(call, call.text("ImageId")).size if call.text("ImageId") else 0
    of_type = kind.cpus * _PER_CPU + kind.memory * _PER_GIB_OF_MEMORY
    if call.text("SpotStrategy", "NoSpot") != "NoSpot":
        of_type *= _SPOT
    system = {"Size": max(40, size), **call.parameters.get("SystemDisk", {})}
    details = {
        "instanceType": of_type,
        "systemDisk": _of_disk(system),
        "dataDisk": sum(_of_disk(disk) for disk in call.items("DataDisk")),
    }
    amount = call.number("Amount", 1)
    parts = {name: round(price * amount, 6) for name, price in details.items()}
    shown = [{"Resource": name, **_price(price)} for name, price in parts.items()]
    currency = "CNY" if call.region.name.startswith("cn-") else "USD"
    total = round(sum(parts.values()), 6)
    return {"PriceInfo": {"Price": {**_price(total), "Currency": currency, "DetailInfos": shown}, "Rules": []}}


def _of_disk(disk: Mapping[str, Any]) -> float:
    return int(disk.get("Size", 20)) * _PER_GIB_OF_DISK[level_of(disk)]


def _price(amount: float) -> dict[str, float]:
    return {"OriginalPrice": amount, "TradePrice": amount, "DiscountPrice": 0.0}
