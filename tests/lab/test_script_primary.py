"""What the primary ENI has from DHCP comes back when somebody takes it away behind NetworkManager's back."""

from __future__ import annotations

import pytest

from tests.lab.disturbances import TIMER
from tests.lab.lab import Lab


@pytest.mark.parametrize(
    "command",
    [
        "ip route del default",
        "ip route flush table main",
        "ip -4 address flush dev eth0",
        # Once more: NetworkManager remembers what it lost, and a reapply does not bring it back a second time.
        "ip -4 address flush dev eth0; ip rule flush",
    ],
    ids=["default route", "main table", "addresses", "addresses and rules"],
)
def test_the_primary_eni_gets_back_what_it_lost(lab: Lab, command: str) -> None:
    lab.run(command)
    repair = lab.watch(TIMER)
    assert repair.broken
    assert repair.after is not None, lab.report(command, repair.problems)


def test_all_is_mended_while_networkmanager_is_stopped(lab: Lab) -> None:
    lab.run("systemctl stop NetworkManager; ip rule flush; ip -4 address flush dev eth1; ip -4 address flush dev eth0")
    repair = lab.watch(TIMER)
    lab.run("systemctl start NetworkManager")
    assert repair.after is not None, lab.report("NetworkManager stopped", repair.problems)
    assert lab.watch(TIMER).after is not None
