"""The account: its regions, its clock, its quotas, and the one way in which state changes."""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from generator.errors import UsageError
from generator.sandbox.region import lifecycle, seeding
from generator.sandbox.region.behaviour import OTHER_WINDOW, Behaviour
from generator.sandbox.region.clock import Clock
from generator.sandbox.region.faults import Faults
from generator.sandbox.region.ids import Ids
from generator.sandbox.region.model import CommandResult, Image, Instance, Invocation, Snapshot
from generator.sandbox.region.plane import NullPlane, Plane
from generator.sandbox.region.region import Region
from generator.sandbox.region.store import Store

OWNER_ID = "1234567890123456"


class Account:
    """Everything behind the API. One thread uses it at a time.

    `folder` keeps the state, None for a state that ends with the process; `seed` decides all names. A state that was
    kept goes on with its own seed and home region.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        home: str = "cn-hangzhou",
        seed: int = 0,
        clock: Clock | None = None,
        behaviour: Behaviour | None = None,
        plane: Plane | None = None,
    ) -> None:
        if home not in seeding.REGIONS:
            raise UsageError(f"no region {home}", hint=f"the sandbox has {', '.join(seeding.REGIONS)}")
        self.clock = clock or Clock()
        self.behaviour = behaviour or Behaviour()
        self.plane: Plane = plane or NullPlane()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._store = Store(folder / "region.sqlite3" if folder else None)
        kept = self._store.settings()
        self.clock.not_before(float(kept.get("now", 0)))
        self.home = str(kept.get("home", home))
        self.ids = Ids(int(kept.get("seed", seed)), int(kept.get("serial", 0)))
        self.faults = Faults(self.ids.seed)
        self.regions = {name: Region(name) for name in seeding.REGIONS}
        self._due: list[tuple[float, int, str, type, str]] = []
        self._scheduled = 0
        self._counted: dict[tuple[str, str], tuple[int, int]] = {}
        self._open(seeded=bool(kept))

    def _open(self, *, seeded: bool) -> None:
        if seeded:
            for name, position, record in self._store.load():
                self.regions[name].restore(record, position)
                self._schedule(name, record)
            for name, region in self.regions.items():
                for event in lifecycle.as_it_stands(region):
                    self.plane.apply(name, event)
            return
        with self.transaction():
            for region in self.regions.values():
                seeding.seed(region, self.ids, self.clock.now(), home=region.name == self.home)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the state's file."""
        self._store.close()

    # Changes

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what the block changes all happen, and be kept, or, if it raises, nothing of it."""
        serial = self.ids.serial
        try:
            yield
        except BaseException:
            self.ids.serial = serial
            for region in self.regions.values():
                region.undo()
            raise
        self._commit()

    def _commit(self) -> None:
        changes = [change for region in self.regions.values() for change in region.changes()]
        if not changes:
            return
        settings = {"now": self.clock.now(), "serial": self.ids.serial, "seed": self.ids.seed, "home": self.home}
        self._store.commit(changes, settings)
        for name, region in self.regions.items():
            for record in region.touched():
                self._schedule(name, record)
            for event in region.settle():
                self.plane.apply(name, event)

    def _schedule(self, region: str, record: Any) -> None:
        if steps := getattr(record, "steps", ()):
            self._scheduled += 1
            heapq.heappush(self._due, (steps[0][0], self._scheduled, region, type(record), record.id))

    def settle(self) -> float | None:
        """Take every step whose time has come, and return the moment of the next one, None without any."""
        while self._due and self._due[0][0] <= self.clock.now():
            moment, _, name, kind, key = heapq.heappop(self._due)
            record = self.regions[name].find(kind, key)
            # A record that changed since has been scheduled anew, at another moment or for nothing.
            if record is not None and record.steps and record.steps[0][0] == moment:
                with self.transaction():
                    lifecycle.advance(self.regions[name], record)
        return self._due[0][0] if self._due else None

    def add_public_image(self, image: Image) -> None:
        """Show an image of this machine as a public one of the home region; one with its id is replaced."""
        with self.transaction():
            self.regions[self.home].put(replace(image, owner="system"))

    def keep_public_images(self, ids: Container[str]) -> None:
        """Show no other public images than these, in whatever region: those that something can boot."""
        with self.transaction():
            for region in self.regions.values():
                for image in region.all(Image):
                    if image.owner == "system" and image.id not in ids:
                        region.drop(image)

    def add_own_image(self, name: str, family: str, size: int, imds: str = "v1", *, ready: bool = True) -> str:
        """Show a disk of this machine as an image of the account's own in the home region; return its id.

        `size` is in GiB, `imds` what its system knows of the metadata service. One that is not `ready` waits for
        `finish_image` or `drop_image`.
        """
        now, region = self.clock.now(), self.regions[self.home]
        if any(image.name == name and image.status != "CreateFailed" for image in region.all(Image)):
            raise UsageError(f"there is an image {name} already", hint="pass another --name, or delete that one")
        with self.transaction():
            image, snapshot = self.ids.new("m"), self.ids.new("s")
            region.put(
                Snapshot(
                    snapshot, f"SnapshotForImage-{image}", "", "", size, "accomplished" if ready else "progressing", now
                )
            )
            region.put(
                Image(
                    id=image,
                    name=name,
                    description="",
                    family=family,
                    owner="self",
                    os_name="Others Linux",
                    platform="Others Linux",
                    architecture="x86_64",
                    boot_mode="BIOS",
                    size=size,
                    snapshot=snapshot,
                    status="Available" if ready else "Creating",
                    created=now,
                    imds=imds,
                )
            )
        return image

    def drop_image(self, region: str, image: str) -> None:
        """Show an image no more of which nothing became."""
        where = self.regions[region]
        with self.transaction():
            if found := where.find(Image, image):
                where.drop(found)
                if snapshot := where.find(Snapshot, found.snapshot):
                    where.drop(snapshot)

    # What a plane reports

    def abandon(self) -> None:
        """Give up what a plane was at when the process before this one ended: it will report nothing any more."""
        for name, region in self.regions.items():
            for image in region.all(Image):
                if image.status == "Creating" and not image.steps:
                    self.finish_image(name, image.id, failed=True)
            for invocation in region.all(Invocation):
                if invocation.status == "Running" and not invocation.steps:
                    lost = CommandResult(exit_code=None, error="the sandbox was stopped while it ran")
                    self.finish_command(name, invocation.id, lost)

    def finish_image(self, region: str, image: str, *, failed: bool = False) -> None:
        """Say that an image which the plane captured is ready, or that it failed."""
        where = self.regions[region]
        with self.transaction():
            if found := where.find(Image, image):
                where.put(replace(found, status="CreateFailed" if failed else "Available", steps=()))
                if snapshot := where.find(Snapshot, found.snapshot):
                    where.put(replace(snapshot, status="failed" if failed else "accomplished", steps=()))

    def finish_command(self, region: str, invocation: str, result: CommandResult) -> None:
        """Say what a command gave that the plane ran."""
        where = self.regions[region]
        with self.transaction():
            if found := where.find(Invocation, invocation):
                now = self.clock.now()
                where.put(replace(found, status=outcome(result), finished=now, result=result, steps=()))

    def power_lost(self, region: str, instance: str) -> None:
        """Say that an instance powered itself off; one that was told to do something else goes on with that."""
        where = self.regions[region]
        with self.transaction():
            found = where.find(Instance, instance)
            if found and found.status == "Running" and not found.steps:
                where.put(replace(found, status="Stopped"))

    # Quotas

    def is_public(self, address: str) -> bool:
        """Return whether some EIP of the account, in whatever region, has a public address."""
        return any(address in region.public for region in self.regions.values())

    def admit(self, region: str, action: str) -> bool:
        """Count a call of an action, and return whether the window of this minute still had room for it."""
        windows = self.behaviour.windows
        if windows is None:
            return True
        window = int(self.clock.now() // 60)
        seen, count = self._counted.get((region, action), (window, 0))
        count = count + 1 if seen == window else 1
        self._counted[region, action] = (window, count)
        return count <= windows.get(action, OTHER_WINDOW)


def outcome(result: CommandResult) -> str:
    """Return the status of an invocation with this result."""
    if result.timed_out:
        return "Timeout"
    if result.exit_code is None:
        return "Error"
    return "Failed" if result.exit_code else "Success"
