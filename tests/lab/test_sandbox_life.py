"""A sandbox with instances is started, killed and ended: what was made comes back, and what it needed goes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.lab.sandboxes import GoldenSandbox, left, machine, traces

NewSandbox = Callable[[str], GoldenSandbox]


def test_what_ran_runs_again_with_what_it_wrote(new_sandbox: NewSandbox) -> None:
    sandbox = new_sandbox("sandbox")
    sandbox.begin()
    region = sandbox.region()
    instance, eips = region.boot_with_eips(more=1, enis=1)
    region.said(instance, "echo kept > /root/written; sync")
    first = sandbox.status()
    for end in (sandbox.kill, sandbox.down):
        end()
        again = sandbox.up()
        assert (again["url"], again["instances"]) == (first["url"], first["instances"])
        region.assert_answers(eips)
        assert region.said(instance, "cat /root/written") == "kept\n"
        assert region.seen_as(instance, eips) == eips
    assert sandbox.up()["pid"] == sandbox.status()["pid"]


@pytest.mark.parametrize("verbs", [["down"], ["kill", "down"], ["kill", "up", "down"]], ids=" ".join)
def test_down_leaves_nothing_on_the_machine(new_sandbox: NewSandbox, verbs: list[str]) -> None:
    before = machine()
    # What an overlay's options and a command line would trip over.
    sandbox = new_sandbox("sand box,'é")
    sandbox.begin()
    region = sandbox.region()
    (instance,) = region.boot()
    eips = region.give_eips(instance)
    if verbs == ["down"]:
        # The others are met while they boot.
        region.assert_answers(eips)
    assert traces(sandbox.home)
    assert machine() == before
    for verb in verbs:
        getattr(sandbox, verb)()
    assert left(sandbox.home) == set()
    assert machine() == before


def test_the_end_of_one_is_not_the_end_of_another(new_sandbox: NewSandbox) -> None:
    one, other = new_sandbox("one"), new_sandbox("other")
    one.begin()
    region = one.region()
    _, eips = region.boot_with_eips()
    before = traces(one.home)
    for end in (other.down, other.kill):
        other.up()
        # The same EIP is another one there: nobody has it.
        assert not other.region().answers(next(iter(eips.values())))
        end()
    other.down()
    assert {trace for trace in before if "/run/netns" in trace} <= traces(one.home)
    region.assert_answers(eips)
