"""Waiting for workflows: whoever waits is woken, and nobody waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from generator.cloud.client import StoppedError
from generator.fleet.waiting import Waiting

# Longer than any test takes: who is woken in time was not woken by it.
LONG = 60.0


class Engine:
    """Workflows by id, of which some have an end."""

    def __init__(self) -> None:
        self.over: set[str] = set()
        self.looks: list[set[str]] = []
        self.looked = threading.Event()

    def __call__(self, workflows: Collection[str]) -> Collection[str]:
        self.looks.append(set(workflows))
        self.looked.set()
        return set(workflows) - self.over


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    stop = threading.Event()
    yield stop
    stop.set()


def test_what_is_over_already_is_not_waited_for(stop: threading.Event) -> None:
    engine = Engine()
    engine.over = {"one", "two"}
    waiting = Waiting(engine, LONG, stop)
    for workflow in ("one", "two"):
        waiting.until_over(workflow)
    assert [look for look in engine.looks if look] == [{"one"}, {"two"}]


def test_one_look_is_for_all_who_wait(stop: threading.Event) -> None:
    engine = Engine()
    waiting = Waiting(engine, 0.05, stop)
    with ThreadPoolExecutor(20) as pool:
        waits = [pool.submit(waiting.until_over, str(number)) for number in range(20)]
        while len(engine.looks[-1] if engine.looks else ()) < 20:
            assert engine.looked.wait(10)
        engine.over = {str(number) for number in range(20)}
        for wait in waits:
            wait.result(10)
    # One for each that came, at most, and those with all of them.
    assert sum(len(look) < 20 for look in engine.looks) <= 21


def test_all_waits_end_with_the_process(stop: threading.Event) -> None:
    engine = Engine()
    waiting = Waiting(engine, LONG, stop)
    with ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(waiting.until_over, name) for name in ("one", "two")]
        assert engine.looked.wait(10)
        stop.set()
        waiting.close()
        for wait in waits:
            assert isinstance(wait.exception(10), StoppedError)
    with pytest.raises(StoppedError):
        waiting.until_over("three")


def test_a_database_that_does_not_answer_leaves_it_to_those_who_wait(stop: threading.Event) -> None:
    def broken(workflows: Collection[str]) -> Collection[str]:
        raise ConnectionError

    Waiting(broken, LONG, stop).until_over("one")
