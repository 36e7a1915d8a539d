"""The small parts of the engine: names, tokens, quotas, stretches of instances, progress."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.cloud.client import Sent
from generator.errors import UsageError
from generator.fleet import names, quotas
from generator.fleet.actions import stretches
from generator.fleet.names import Place
from generator.fleet.progress import Progress
from generator.fleet.state import CallLog


def test_names_are_those_that_ecs_forms() -> None:
    assert names.numbered("web", 7, 1) == "web-007"
    assert names.numbered("web", 7, 3) == "web-[7,3]"
    assert names.numbered("web", 1000, 5) == "web-[1000,4]"


@pytest.mark.parametrize(
    ("name", "slot"),
    [("web-007", 7), ("web-1000", 1000), ("web-7", None), ("web-x-007", None), ("other-007", None), ("web", None)],
)
def test_a_number_is_read_from_names_of_the_fleet_alone(name: str, slot: int | None) -> None:
    assert names.slot_of(name, "web") == slot


@given(st.integers(1, 99_999), st.integers(0, 31), st.integers(0, 49))
def test_a_place_comes_back_from_its_tag(slot: int, eni: int, ip: int) -> None:
    place = Place(slot, eni, ip)
    assert names.place_of(((names.FLEET, "web"), (names.PLACE, str(place)))) == place


@pytest.mark.parametrize("value", ["", "1/2", "a/b/c", "1/2/3/4", "1/2/3 "])
def test_a_tag_that_somebody_changed_is_no_place(value: str) -> None:
    assert names.place_of(((names.PLACE, value),)) is None


@given(st.lists(st.text(max_size=8), max_size=4), st.lists(st.text(max_size=8), max_size=4))
def test_tokens_are_equal_only_for_equal_parts(one: list[str], other: list[str]) -> None:
    token = names.token(*one)
    assert len(token) == 64
    assert token.isascii()
    plain = not any("\0" in part for part in (*one, *other))
    if plain and one != other and (one or [""]) != (other or [""]):
        assert token != names.token(*other)


def test_quotas_of_the_account_are_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIEIP_QUOTAS", "AllocateEipAddress=600, RunInstances=60,AssociateEipAddress=7")
    found = quotas.known()
    assert (found["AllocateEipAddress"].calls, found["AllocateEipAddress"].batches) == (600, 60)
    assert (found["RunInstances"].calls, found["RunInstances"].batches) == (60, 60)
    assert (found["AssociateEipAddress"].batch, found["AssociateEipAddress"].batches) == (7, 1)
    assert found["ReleaseEipAddress"] == quotas.QUOTAS["ReleaseEipAddress"]
    assert quotas.minutes(601, "AllocateEipAddress") == 1


@pytest.mark.parametrize("value", ["Allocate=1", "AllocateEipAddress", "AllocateEipAddress=0", "RunInstances=-5"])
def test_quotas_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MULTIEIP_QUOTAS", value)
    with pytest.raises(UsageError, match="API=CALLS"):
        quotas.known()


@pytest.mark.parametrize("value", ["x", "0", "-1", "nan", "inf"])
def test_a_clock_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MULTIEIP_CLOCK", value)
    with pytest.raises(UsageError):
        quotas.clock()


def test_a_minute_has_room_for_a_whole_number_of_batches() -> None:
    for api, quota in quotas.QUOTAS.items():
        assert quota.batches * quota.batch <= quota.calls, api


@given(st.sets(st.integers(1, 2_500), min_size=1, max_size=400), st.integers(1, 4))
def test_stretches_cover_each_number_once_and_can_be_named_by_ecs(slots: set[int], ways: int) -> None:
    found = stretches(sorted(slots), ways)
    covered = [slot for first, amount in found for slot in range(first, first + amount)]
    assert sorted(covered) == sorted(slots)
    assert len(covered) == len(set(covered))
    for first, amount in found:
        assert 1 <= amount <= 100
        assert len(f"{first:03}") == len(f"{first + amount - 1:03}")


def test_requests_are_kept_a_line_each_and_counted(tmp_path: Path) -> None:
    log = CallLog(tmp_path / "calls.jsonl")
    for action, code in (
        ("AllocateEipAddress", ""),
        ("AllocateEipAddress", "Throttling.User"),
        ("ListTagResources", ""),
    ):
        log(Sent(action, "cn-hangzhou", "R-1", code, "t", 0.1))
    log.close()
    assert (log.writes, log.reads) == (1, 1)
    lines = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert [line["code"] for line in lines] == ["", "Throttling.User", ""]
    assert all(one["time"] <= other["time"] for one, other in pairwise(lines))


def test_progress_says_a_line_a_phase_when_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.begin("EIPs allocated", 2)
    progress.advance("EIPs allocated")
    progress.advance("nothing that began")
    assert progress.counts() == {"EIPs allocated": (1, 2)}
    progress.advance("EIPs allocated")
    progress.end("EIPs allocated")
    progress.end("EIPs allocated")
    progress.begin("empty", 0)
    progress.end("empty")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("✓ 2 EIPs allocated (0.0 s")
