"""Every EIP answers again, both ways and by the right ENI, after each disturbance and soon enough."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lab.candidates import RcLocal
from tests.lab.conftest import NewLab
from tests.lab.disturbances import BY_KEY, DISTURBANCES, Disturbance
from tests.lab.lab import Lab
from tests.lab.layout import THREE_IN_ONE


@pytest.mark.parametrize("disturbance", DISTURBANCES, ids=lambda disturbance: disturbance.key)
def test_all_eips_answer_again_after(
    disturbance: Disturbance,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    if disturbance.fresh:
        lab = request.getfixturevalue("new_lab")(renew=disturbance.renew)
    else:
        lab = request.getfixturevalue("lab")
    also = disturbance.strike(lab)
    repair = lab.watch(disturbance.limit, also=also or list)
    record_property("repaired", str(repair))
    print(f"{disturbance.key}: {repair}")
    assert repair.after is not None, lab.report(disturbance.says, repair.problems)
    assert repair.after <= disturbance.limit
    assert_no_strays(lab)
    disturbance.restore(lab)


def test_three_enis_in_one_vswitch_answer_each_for_its_own(new_lab: NewLab) -> None:
    lab = new_lab(THREE_IN_ONE)
    lab.boot()
    repair = lab.watch(BY_KEY["boot"].limit)
    assert repair.after is not None, lab.report("boot", repair.problems)
    lab.run("for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 > $file; done")
    repair = lab.watch(5)
    assert repair.after is not None, lab.report("strict rp_filter", repair.problems)
    assert_no_strays(lab)


def test_the_judge_sees_the_vendors_recipe_lose_its_routes(new_lab: NewLab) -> None:
    lab = new_lab(of=RcLocal())
    lab.boot()
    assert lab.watch(BY_KEY["boot"].limit).after is not None
    before = lab.strays()
    BY_KEY["up-eth1"].strike(lab)
    repair = lab.watch(2)
    assert repair.after is None
    assert {line.split()[0] for line in repair.problems} == {"in:", "out:"}
    assert all("eni-1lab0000" in line for line in repair.problems)
    assert lab.strays() != before


def assert_no_strays(lab: Lab) -> None:
    """What the ENI may not send is not sent once all is well."""
    before = lab.strays()
    assert lab.problems() == []
    assert lab.strays() == before
