"""A rollout on real packets: every EIP is asked from the sandbox's internet the whole time."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from generator.fleet.rollout.outage import longest_gap
from generator.sandbox import local
from generator.sandbox.fabric.netns import Namespace
from generator.sandbox.settings import PublicImage, Settings
from tests.lab.sandboxes import GOLDEN, GoldenSandbox, Machines
from tests.sandbox.commands import Done

# Six instances, replaced in waves, are two minutes.
pytestmark = pytest.mark.slow

# Seconds that an EIP may be away, and by which two probes of it may differ, on a machine that may be busy: the goal is
# 3 s on a quiet one.
LIMIT, APART = 6.0, 1.5
# Seconds that a probe waits: less than the second after which TCP asks again by itself.
PATIENCE = 0.8
FLEET = """\
version: 1
name: rolled
region: cn-hangzhou
image: {{family: {image}}}
user_data: {{form: none}}
metadata: {{tokens: optional}}
instance_types: [ecs.g7.large]
vswitches: [vsw-bp1sandboxh]
security_group: {{id: sg-bp1sandbox}}
count: 6
enis:
  - eips: 0
  - private_ips: 3
strategy: {{canary: 1, waves: [2, 3], max_surge: 3, bake: 1, rollback_window: 2, ready_timeout: {ready},
  on_failure: rollback}}
"""
_BROKEN = "usr/local/sbin/multieip-policy-routing"


class Probe:
    """Connects to EIPs from the internet, ten times a second each, independently of what is tested."""

    def __init__(self, internet: Namespace, eips: list[str]) -> None:
        self.asked: dict[str, list[tuple[float, bool]]] = {eip: [] for eip in eips}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=lambda eip=eip: internet.call(lambda: self._ask(eip))) for eip in eips]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, eip: str) -> None:
        while not self._stop.wait(0.1):
            begun = time.monotonic()
            try:
                socket.create_connection((eip, 22), PATIENCE).close()
                self.asked[eip].append((begun, True))
            except OSError:
                self.asked[eip].append((begun, False))

    def outages(self) -> dict[str, float | None]:
        """Return how long each EIP was away."""
        return {eip: longest_gap(asked) for eip, asked in self.asked.items()}


class Rolled:
    """A fleet of six instances in a sandbox that has its image, a newer one, and one whose check fails."""

    def __init__(self, sandbox: GoldenSandbox, folder: Path) -> None:
        self.sandbox, self.folder = sandbox, folder
        self.region = Machines(sandbox.folder)
        self.done("launch", GOLDEN)
        self.region.assert_answers({eip: eip for eip in self.mapping()})

    def do(self, verb: str, image: str, *arguments: str, ready: int = 120) -> Done:
        file = self.folder / "rolled.yaml"
        file.write_text(FLEET.format(image=image, ready=ready))
        words = [*verb.split(), str(file), *arguments, "--yes", "--state", str(self.folder)]
        return self.sandbox.run(sys.executable, "-m", "generator", *words, timeout=400)

    def done(self, verb: str, image: str, *arguments: str) -> str:
        done = self.do(verb, image, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def mapping(self) -> dict[str, tuple[str, str]]:
        """Return ENI and private IP of each EIP."""
        found = self.region.eip("DescribeEipAddresses", page_size=100).eip_addresses.eip_address
        return {one.ip_address: (one.instance_id, one.private_ip_address) for one in found}

    def images(self) -> dict[str, str]:
        found = self.region.do("DescribeInstances", max_results=100).instances.instance
        return {one.instance_id: one.image_id for one in found}

    def roll(self, image: str, *arguments: str, ready: int = 120) -> tuple[int, list[dict[str, Any]], Probe]:
        with Probe(self.region.internet, list(self.mapping())) as probe:
            done = self.do("rollout start", image, "--json", *arguments, ready=ready)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], probe


@pytest.fixture(scope="module")
def rolled(golden: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolled]:
    folder = tmp_path_factory.mktemp("rolled")
    broken = folder / "broken" / _BROKEN
    broken.parent.mkdir(parents=True)
    good = Path(golden[0], _BROKEN).read_text()
    first, rest = good.split("\n", 1)
    broken.write_text(f'{first}\n[ "${{1:-}}" != check ] || {{ echo "broken on purpose"; exit 1; }}\n{rest}')
    broken.chmod(0o755)
    sandbox = GoldenSandbox(folder / "sandbox", golden)
    images = (
        PublicImage(GOLDEN, GOLDEN, golden),
        PublicImage("newer", "newer", golden),
        PublicImage("bad", "bad", (str(folder / "broken"), *golden)),
    )
    local.up(sandbox.home, Settings(images=images, eips=100))
    try:
        yield Rolled(sandbox, folder)
    finally:
        sandbox.down()


def test_six_instances_are_replaced_in_waves_and_no_eip_is_away_for_long(rolled: Rolled) -> None:
    before, old = rolled.mapping(), rolled.images()
    assert len(before) == 18
    code, events, probe = rolled.roll("newer", "--html", str(rolled.folder / "report.html"))
    assert code == 0, events
    assert [len(wave) for wave in events[0]["waves"]] == [1, 2, 3]
    assert rolled.mapping() == before
    assert not set(old) & set(rolled.images())
    assert len(rolled.images()) == 6
    reported = {event["eip"]: event["outage"] for event in events if event["event"] == "moved"}
    seen = probe.outages()
    print({eip: (seen[eip], reported[eip]) for eip in before})
    assert set(reported) == set(before)
    for eip, outage in seen.items():
        assert outage is not None
        assert 0 < outage < LIMIT, (eip, outage)
        assert abs(reported[eip] - outage) < APART, (eip, outage, reported[eip])
    page = (rolled.folder / "report.html").read_text()
    assert all(eip in page for eip in before)


def test_an_image_whose_check_fails_stops_at_the_canary_and_goes_back(rolled: Rolled) -> None:
    before, old = rolled.mapping(), rolled.images()
    code, events, probe = rolled.roll("bad", ready=20)
    assert code == 1
    assert events[-1]["state"] == "rolled-back"
    assert "broken on purpose" in events[-1]["why"]
    assert rolled.mapping() == before
    assert rolled.images() == old
    assert [event["name"] for event in events if event["event"] == "instance"] == ["rolled-001"]
    # It failed before anything moved.
    assert set(probe.outages().values()) == {0.0}
