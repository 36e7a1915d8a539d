"""The durable engine: one process for a fleet, going on after an interrupt, and giving up a run of another file."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from generator.errors import ExitCode, MultieipError
from generator.fleet import state
from generator.fleet.launch import default_settings, launch
from generator.fleet.quotas import QUOTAS, Quota
from generator.sandbox.region.behaviour import Behaviour
from generator.sandbox.region.clock import Clock
from generator.sandbox.region.model import Eip, Instance
from tests.sandbox.chaos import Job, Process
from tests.sandbox.fleets import assert_exact, region_of, spec_of
from tests.sandbox.region import Cloud, served

# At this speed a minute takes 6 s: a launch over the quota of one minute is long enough to be met in the middle.
SLOW = 10.0
LONG = spec_of(count=10, enis=[{"private_ips": 5}, {"private_ips": 6}, {"private_ips": 6}])


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with served(clock=Clock(SLOW), behaviour=Behaviour(eips=LONG.total_eips)) as cloud:
        monkeypatch.setenv("MULTIEIP_ENDPOINT", cloud.server.url)
        monkeypatch.setenv("MULTIEIP_CLOCK", str(SLOW))
        yield cloud


def job(cloud: Cloud, folder: Path) -> Job:
    return Job.of("launch", LONG, cloud.server.url, folder, SLOW)


def until_eips(cloud: Cloud, count: int) -> None:
    cloud.until(lambda: cloud.run(lambda: len(region_of(cloud).all(Eip))) >= count, 30)


def test_one_process_works_on_a_fleet_at_a_time(tmp_path: Path) -> None:
    first = state.home("web", tmp_path).lock()
    with pytest.raises(MultieipError, match=rf"another process works on the fleet web \(pid {os.getpid()}\)"):
        state.home("web", tmp_path).lock()
    state.home("other", tmp_path).lock().release()
    first.release()
    state.home("web", tmp_path).lock().release()


def test_another_process_is_turned_away_while_a_launch_runs(cloud: Cloud, tmp_path: Path) -> None:
    process = Process(job(cloud, tmp_path))
    try:
        until_eips(cloud, 1)
        with pytest.raises(MultieipError, match="another process works on the fleet web"):
            launch(LONG, folder=tmp_path, quiet=True)
    finally:
        process.kill()


def test_an_interrupt_says_what_there_is_and_the_next_launch_goes_on(cloud: Cloud, tmp_path: Path) -> None:
    process = Process(job(cloud, tmp_path))
    until_eips(cloud, 100)
    os.kill(process.pid, signal.SIGINT)
    begun = time.monotonic()
    process.join(15)
    assert process.exitcode == ExitCode.INTERRUPTED
    assert time.monotonic() - begun < 10
    assert "✗ interrupted: " in process.end.said
    assert "of 170 EIPs allocated" in process.end.said
    report = launch(LONG, folder=tmp_path, quiet=True)
    assert report.resumed
    assert_exact(cloud, LONG)


def test_a_run_goes_on_under_other_quotas_than_it_began_with(cloud: Cloud, tmp_path: Path) -> None:
    process = Process(job(cloud, tmp_path))
    until_eips(cloud, 20)
    process.kill()
    others = {api: Quota(quota.calls, 7) for api, quota in QUOTAS.items()}
    report = launch(LONG, folder=tmp_path, quiet=True, settings=default_settings(quotas=others))
    assert report.resumed
    assert_exact(cloud, LONG)


def test_a_run_of_another_file_is_given_up(cloud: Cloud, tmp_path: Path) -> None:
    process = Process(job(cloud, tmp_path))
    until_eips(cloud, 20)
    process.kill()
    smaller = spec_of(count=10, enis=[{"private_ips": 5}, {"private_ips": 6}, {"private_ips": 6, "eips": 1}])
    report = launch(smaller, folder=tmp_path, quiet=True, removal=True)
    assert not report.resumed
    assert_exact(cloud, smaller)


def test_a_state_that_is_broken_is_said_to_be(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "engine.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(MultieipError, match="state cannot be used") as failure:
        launch(spec_of(), folder=tmp_path, quiet=True)
    assert "remove" in failure.value.hint
    assert not region_of(cloud).all(Instance)


def test_progress_is_a_line_a_phase_for_a_pipe(
    cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launch(spec_of(), folder=tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        "✓ 3 instances run",
        "✓ 15 EIPs allocated",
        "✓ 15 EIPs associated",
    ]


def open_runs(folder: Path, fleet: str = "web") -> list[str]:
    """Return the names of workflows that have no end yet."""
    with sqlite3.connect(folder / fleet / "engine.sqlite") as database:
        found = database.execute("SELECT name FROM workflow_status WHERE status IN ('PENDING', 'ENQUEUED')")
        return [str(name) for (name,) in found]


def test_what_another_version_began_is_given_up(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(job(cloud, tmp_path))
    until_eips(cloud, 20)
    process.kill()
    assert "launch" in open_runs(tmp_path)
    monkeypatch.setattr("generator.fleet.engine.FORMAT", "another")
    report = launch(LONG, folder=tmp_path, quiet=True)
    assert not report.resumed
    assert_exact(cloud, LONG)
    assert open_runs(tmp_path) == []


def test_calls_that_ended_long_ago_are_forgotten_and_runs_are_not(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch(spec_of(count=1), folder=tmp_path, quiet=True)
    assert {"launch", "run-instances", "calls"} <= set(kept_runs(tmp_path))
    launch(spec_of(count=1), folder=tmp_path, quiet=True)
    assert "calls" in kept_runs(tmp_path)
    monkeypatch.setattr("generator.fleet.engine._KEPT", timedelta(0))
    launch(spec_of(count=1), folder=tmp_path, quiet=True)
    assert "calls" not in kept_runs(tmp_path)
    assert kept_runs(tmp_path).count("launch") == 3


def kept_runs(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "web" / "engine.sqlite") as database:
        return [str(name) for (name,) in database.execute("SELECT name FROM workflow_status")]
