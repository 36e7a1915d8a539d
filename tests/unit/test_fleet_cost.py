"""Costs are what the API said, added up; what it did not say is called unknown, and is in no sum."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from generator.cloud.eips import NewEip
from generator.cloud.prices import Price
from generator.fleet.cost import Estimate, Item, items
from generator.fleet.orphans import age
from tests.unit.fleets import desired


def test_what_the_api_prices_is_counted_and_eips_are_not_guessed() -> None:
    found = items(desired(), Price(0.82, "CNY"))
    assert [(item.what, item.count, item.hourly) for item in found.items] == [
        ("ecs.g7.large", 2, 0.82),
        ("EIP (PayByTraffic)", 4, None),
    ]
    assert found.known == {"CNY": 0.82}
    assert not found.is_complete
    assert "traffic by the GB" in found.items[1].note


def test_without_a_price_nothing_is_known_and_the_reason_is_said() -> None:
    found = items(desired(), None, "the API refused to tell (Forbidden.RAM)")
    assert found.items[0].hourly is None
    assert found.items[0].note == "the API refused to tell (Forbidden.RAM)"
    assert found.known == {}


def test_what_eips_are_billed_by_follows_the_file() -> None:
    by_bandwidth = items(desired(eip=NewEip(bandwidth=20, charge="PayByBandwidth")), None)
    assert "20 Mbit/s each" in by_bandwidth.items[1].note
    packed = items(desired(package="cbwp-1"), None)
    assert "the bandwidth of cbwp-1" in packed.items[1].note


def test_sums_are_by_currency() -> None:
    both = Estimate((Item("a", 1, 0.1, "CNY"), Item("b", 1, 0.2, "CNY"), Item("c", 1, 1.0, "USD")))
    assert both.known == {"CNY": 0.3, "USD": 1.0}
    assert both.is_complete


@pytest.mark.parametrize(
    ("created", "shown"),
    [
        ("2026-11-25T11:59Z", "1 min"),
        ("2026-11-25T08:00:00Z", "4 h"),
        ("2026-11-20T12:00Z", "5 d"),
        ("2026-11-25T12:05Z", "0 min"),
        ("yesterday", "not known"),
    ],
)
def test_the_age_of_what_is_left_behind(created: str, shown: str) -> None:
    assert age(created, datetime(2026, 11, 25, 12, tzinfo=UTC)) == shown
