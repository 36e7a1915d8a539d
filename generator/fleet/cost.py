"""What a fleet is billed for an hour, as far as the API tells; what it does not tell is named, and never guessed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from generator.cloud import prices
from generator.cloud.client import Cloud
from generator.cloud.prices import Price
from generator.fleet.desired import Desired
from generator.fleet.preflight import Unknown, told

# The API that tells what an EIP costs is another product's, billing's, with rights of its own; the page has the prices.
_EIP_PRICES = "https://www.alibabacloud.com/help/en/eip/product-overview/pay-as-you-go"


@dataclass(frozen=True)
class Item:
    """One thing that is billed: `hourly` is None where nobody tells, and `note` says why or what besides."""

    what: str
    count: int
    hourly: float | None
    currency: str
    note: str = ""


@dataclass(frozen=True)
class Estimate:
    """All that is billed by the hour."""

    items: tuple[Item, ...]

    @property
    def known(self) -> dict[str, float]:
        """The sum of what is known, by currency; an estimate with anything unknown is a lower bound."""
        sums: dict[str, float] = {}
        for item in self.items:
            if item.hourly is not None:
                sums[item.currency] = round(sums.get(item.currency, 0.0) + item.hourly, 4)
        return sums

    @property
    def is_complete(self) -> bool:
        """Whether all of it is known."""
        return all(item.hourly is not None for item in self.items)

    def to_json(self) -> dict[str, Any]:
        """Return the estimate with stable keys."""
        return {
            "items": [asdict(item) for item in self.items],
            "hourly_known": self.known,
            "complete": self.is_complete,
        }


def estimate(cloud: Cloud, desired: Desired) -> Estimate:
    """Return what the fleet as it is desired costs an hour. One call that changes nothing."""
    unknown: list[Unknown] = []
    price = told("the price of instances", lambda: _of_instances(cloud, desired), unknown)
    why = unknown[0].why if unknown else "" if price else "the API names no price"
    return items(desired, price, why)


def items(desired: Desired, price: Price | None, why: str = "") -> Estimate:
    """Return what is billed, given the price of all instances."""
    eips = desired.count * sum(eni.eips for eni in desired.enis)
    disks = f" with {1 + len(desired.data_disks)} disks" if desired.data_disks else ""
    instances = Item(
        f"{desired.types[0]}{disks}",
        desired.count,
        price.amount if price else None,
        price.currency if price else "",
        why or ("at the market's price now" if desired.spot != "NoSpot" else ""),
    )
    return Estimate((instances, *((_of_eips(desired, eips),) if eips else ())))


def _of_eips(desired: Desired, eips: int) -> Item:
    by = (
        "traffic by the GB"
        if desired.eip.charge == "PayByTraffic"
        else f"{desired.eip.bandwidth} Mbit/s each, by the day"
    )
    billed = f"the bandwidth of {desired.package}" if desired.package else by
    return Item(
        f"EIP ({desired.eip.charge})",
        eips,
        None,
        "",
        f"{billed}, and the address itself while it is on no instance: {_EIP_PRICES}",
    )


def _of_instances(cloud: Cloud, desired: Desired) -> Price | None:
    return prices.instances(
        cloud,
        kind=desired.types[0],
        zone=desired.places[0].zone,
        image=desired.image,
        system_disk=desired.system_disk,
        data_disks=desired.data_disks,
        spot=desired.spot,
        amount=desired.count,
    )
