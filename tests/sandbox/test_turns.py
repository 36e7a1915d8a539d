"""Turns: never more calls of an API in a minute than the account may make, whichever processes make them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from generator.cloud.client import StoppedError
from generator.errors import MultieipError
from generator.fleet.quotas import WINDOW, Quota
from generator.fleet.turns import FileLedger, Ledger, SharedLedger, Turns
from tests.sandbox import postgres

MOST = 6
# Seconds that a minute takes here.
MINUTE = 0.5
QUOTAS = {"AssociateEipAddress": Quota(MOST), "UnassociateEipAddress": Quota(MOST)}
REGION = "cn-hangzhou"
Opening = Callable[[], Turns]


def turns(ledger: Ledger) -> Turns:
    return Turns(ledger, QUOTAS, WINDOW / MINUTE, time.sleep)


@pytest.fixture(params=["file", "postgresql"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opening]:
    """Return how a process gets at the turns: those of a fleet's file, or those that processes share."""
    if request.param == "file":
        yield lambda: turns(FileLedger(tmp_path / "turns.sqlite"))
        return
    if why := postgres.why_not():
        pytest.skip(why)
    with postgres.serving(tmp_path) as url:
        yield lambda: turns(SharedLedger(url))


class Calls:
    """What a cloud sees: when each call was counted, some while after it was sent and before it is answered."""

    def __init__(self) -> None:
        self.counted: list[float] = []

    def make(self, one: Turns, delay: float = 0.0) -> None:
        with one.turn(REGION, "AssociateEipAddress"):
            time.sleep(delay)
            self.counted.append(time.time())
            time.sleep(delay / 2)

    def make_many(self, one: Turns, number: int) -> None:
        for _ in range(number):
            self.make(one)

    def most_in_a_minute(self) -> int:
        return max(sum(begun <= moment < begun + MINUTE for moment in self.counted) for begun in self.counted)


def test_there_are_never_more_calls_in_a_minute_than_allowed(opening: Opening) -> None:
    calls, processes = Calls(), [opening()]
    if isinstance(processes[0]._ledger, SharedLedger):
        processes.append(opening())
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda number: calls.make(processes[number % len(processes)], number % 3 * 0.02), range(30)))
    assert len(calls.counted) == 30
    assert calls.most_in_a_minute() <= MOST


def test_the_next_process_knows_what_the_one_before_it_did(opening: Opening) -> None:
    calls = Calls()
    for _ in range(2):
        process = opening()
        calls.make_many(process, MOST)
        process.close()
    assert calls.most_in_a_minute() == MOST


def test_calls_that_were_reserved_do_not_wait(opening: Opening) -> None:
    one, calls = opening(), Calls()
    with one.reserved(REGION, {"UnassociateEipAddress": 1, "AssociateEipAddress": 1}):
        others = threading.Thread(target=lambda: calls.make_many(one, MOST + 2))
        others.start()
        while len(calls.counted) < MOST - 1:
            time.sleep(0.001)
        begun = time.monotonic()
        with one.turn(REGION, "AssociateEipAddress"):
            assert time.monotonic() - begun < MINUTE / 2
    others.join()
    assert calls.most_in_a_minute() <= MOST


def test_what_was_reserved_in_vain_is_free_at_once(opening: Opening) -> None:
    one, calls = opening(), Calls()
    with pytest.raises(ZeroDivisionError), one.reserved(REGION, {"AssociateEipAddress": MOST}):
        raise ZeroDivisionError
    begun = time.monotonic()
    calls.make_many(one, MOST)
    assert time.monotonic() - begun < MINUTE


def test_a_turn_of_a_process_that_died_is_free_again(opening: Opening) -> None:
    died = opening()
    died._ledger.take(f"AssociateEipAddress@{REGION}", MOST, MOST, MINUTE)
    died.close()
    begun = time.monotonic()
    Calls().make(opening())
    assert MINUTE < time.monotonic() - begun < 10 * MINUTE


def test_more_than_a_minute_has_room_for_is_reserved_in_part(opening: Opening) -> None:
    one, calls = opening(), Calls()
    with one.reserved(REGION, {"AssociateEipAddress": 2 * MOST}):
        calls.make_many(one, 2 * MOST)
    assert calls.most_in_a_minute() == MOST


def test_apis_without_a_limit_take_no_turns(opening: Opening) -> None:
    one, begun = opening(), time.monotonic()
    with one.reserved(REGION, {"DescribeRegions": 100}):
        for _ in range(100):
            with one.turn(REGION, "DescribeRegions"):
                pass
    assert time.monotonic() - begun < MINUTE


def test_there_are_no_turns_after_the_end(opening: Opening) -> None:
    one = opening()
    one.close()
    with pytest.raises(StoppedError), one.turn(REGION, "AssociateEipAddress"):
        pass


@pytest.mark.skipif(bool(postgres.why_not()), reason=postgres.why_not() or "-")
def test_a_connection_that_is_lost_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    monkeypatch.setattr("generator.fleet.turns._AGAIN", 0.01)
    with postgres.serving(tmp_path) as url:
        one, calls = turns(SharedLedger(url)), Calls()
        calls.make(one)
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        calls.make(one)
    assert len(calls.counted) == 2


@pytest.mark.skipif(bool(postgres.why_not()), reason=postgres.why_not() or "-")
def test_a_user_who_may_not_make_tables_is_told_so(tmp_path: Path) -> None:
    import psycopg

    with postgres.serving(tmp_path) as url:
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("CREATE USER guest")
        with pytest.raises(MultieipError, match="database cannot be used") as raised:
            SharedLedger(url.replace("postgres@", "guest@", 1))
    assert "guest" not in str(raised.value)
