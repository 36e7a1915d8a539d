"""Fleets that are rolled forward in tests, and what must be true of them in the end."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from generator.fleet import names
from generator.fleet.launch import launch
from generator.fleet.rollout import rolling
from generator.fleet.rollout.rolling import Work
from generator.fleet.rollout.values import State
from generator.sandbox.region.model import Eip, Eni, Instance
from generator.spec.fleet import FleetSpec
from tests.sandbox.fleets import assert_exact, region_of, spec_of
from tests.sandbox.region import REGION, Cloud

OLD, NEW = "acs:debian_12_11_x64", "acs:ubuntu_24_04_x64"
# What a test does not want to wait for.
QUICK = {"bake": 0, "rollback_window": 0, "max_surge": "2", "ready_timeout": 60}


def fleet(image: str = OLD, strategy: dict[str, Any] | None = None, **more: Any) -> FleetSpec:
    """Return a fleet of 3 instances with EIPs on both ENIs, on an image of the region."""
    return spec_of(image={"family": image}, strategy={**QUICK, **(strategy or {})}, **more)


def mapping(cloud: Cloud) -> dict[str, tuple[str, str]]:
    """Return which secondary ENI and private IP EIPs are on; those of primary ENIs change both."""
    region = region_of(cloud)
    secondary = {eni.id for eni in region.all(Eni) if eni.type == "Secondary"}
    return {eip.address: (eip.eni, eip.private_ip) for eip in region.all(Eip) if eip.eni in secondary}


def places(cloud: Cloud) -> dict[str, tuple[str, int]]:
    """Return the name of the instance and the number of the private IP that each EIP of a primary ENI is on."""
    region = region_of(cloud)
    owners = {one.id: one.name for one in region.all(Instance)}
    return {
        eip.address: (owners[eni.instance], eni.addresses.index(eip.private_ip))
        for eni in region.all(Eni)
        if eni.type == "Primary"
        for eip in region.eips_of(eni.id)
    }


def images(cloud: Cloud) -> list[str]:
    """Return the image of each instance, by name."""
    return [one.image for one in sorted(region_of(cloud).all(Instance), key=lambda one: one.name)]


class Fleet:
    """A fleet that was launched from the old image, and what it was then."""

    def __init__(self, cloud: Cloud, folder: Path, *, launched: bool = False, **more: Any) -> None:
        self.cloud, self.folder, self.more = cloud, folder, more
        self.spec = fleet(**more)
        if not launched:
            launch(self.spec, folder=folder, quiet=True)
        self.before, self.places, self.images = mapping(cloud), places(cloud), images(cloud)
        self.instances = {one.id for one in region_of(cloud).all(Instance)}
        self.events: list[dict[str, Any]] = []

    @property
    def work(self) -> Work:
        """Where its rollouts are carried out."""
        return Work(self.spec.name, REGION, self.folder, told=self.events.extend)

    def roll(self, image: str = NEW, **order: Any) -> State:
        """Roll it to an image."""
        spec = fleet(image, **self.more)
        return rolling.start(spec, rolling.order_of(spec, **{"probing": False, **order}), self.work)

    def take_back(self) -> State:
        """Take its last rollout back, and return how that stands."""
        state = rolling.send(self.work, "rollback")
        assert state
        return state

    def assert_kept(self) -> None:
        """Check that all is there once, and that EIPs are where they were."""
        assert_exact(self.cloud, self.spec)
        assert mapping(self.cloud) == self.before
        assert places(self.cloud) == self.places
        assert {names.role_of(one.tags) for one in region_of(self.cloud).all(Instance)} == {names.CURRENT}


class Watcher:
    """Looks at a region the whole time: are more instances there than may be, does an EIP or an instance too many lack?

    An EIP may be between two places for the moment in which it moves.
    """

    def __init__(self, cloud: Cloud, fleet: Fleet) -> None:
        self.cloud, self.fleet, self.wrong = cloud, fleet, list[str]()
        strategy, count = fleet.spec.strategy, fleet.spec.count
        self.surge, self.unavailable = strategy.surge(count), strategy.unavailable(count)
        self.eips = {eip.id for eip in region_of(cloud).all(Eip)}
        self.instances: set[str] = set()
        self.most_instances = self.most_stopped = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            self.turn()

    def turn(self) -> None:
        """Look once."""
        self.wrong += self.cloud.run(self._look)

    def _look(self) -> list[str]:
        region, count = region_of(self.cloud), self.fleet.spec.count
        found = region.all(Instance)
        self.instances |= {one.id for one in found}
        self.most_instances = max(self.most_instances, len(found))
        wrong = []
        if {eip.id for eip in region.all(Eip)} != self.eips:
            wrong.append("an EIP came or went")
        new = [one for one in found if names.role_of(one.tags) == names.NEW]
        # Without a surge a new one takes the place of one that is gone.
        if len(new) > (self.surge or self.unavailable):
            wrong.append(f"{len(new)} new instances are beside the old ones, {self.surge} may be")
        running = {one.name for one in found if one.status == "Running"}
        self.most_stopped = max(self.most_stopped, count - len(running))
        if count - len(running) > self.unavailable:
            wrong.append(f"{count - len(running)} numbers serve nothing, {self.unavailable} may")
        # Of those that serve, at most the ones that move are without EIPs.
        serving = {one.name for one in found for eni in region.enis_of(one.id) if region.eips_of(eni.id)}
        if count - len(serving) > max(self.surge, self.unavailable):
            wrong.append(f"{count - len(serving)} numbers have no EIP at once")
        return wrong

    def assert_well(self) -> None:
        """Check that nothing was ever wrong."""
        assert not self.wrong, self.wrong[:5]
