"""The process of a sandbox: `python -m generator.sandbox.daemon FOLDER`, which `multieip sandbox up` starts."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.errors import MultieipError, UsageError
from generator.sandbox import control
from generator.sandbox.region.account import Account
from generator.sandbox.region.behaviour import WINDOWS, Behaviour
from generator.sandbox.region.clock import Clock
from generator.sandbox.region.faults import Fault, Kind
from generator.sandbox.region.model import Eip, Eni, Image, Instance
from generator.sandbox.server import Server
from generator.sandbox.settings import Home, Settings

if TYPE_CHECKING:
    from generator.sandbox.instances.guest import Backend
    from generator.sandbox.instances.plane import DataPlane

LOG = logging.getLogger("multieip.sandbox")


class Daemon:
    """A sandbox that runs: the account, its API, its data plane, and what the command line asks of them."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self.home = home
        self.settings = settings
        self.plane = _plane(home, settings)
        behaviour = Behaviour(windows=WINDOWS if settings.throttle else None, eips=settings.eips)
        try:
            self.account = Account(
                home.folder,
                home=settings.region,
                seed=settings.seed,
                clock=Clock(settings.speed),
                behaviour=behaviour,
                plane=self.plane,
            )
        except BaseException:
            if self.plane is not None:
                self.plane.close()
            raise
        self.server = Server(self.account, port=settings.port)
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, or until the command line says `down`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ended.set)
        try:
            if self.plane is not None:
                self._publish(self.plane)
                self.plane.reports, self.plane.later = self.account, loop.call_soon_threadsafe
                self.account.abandon()
            await self._start_server()
            if self.server.port != self.settings.port:
                # The next start serves there again, for clients that were told of it.
                self.settings = replace(self.settings, port=self.server.port)
                self.home.save(self.settings)
            if self.plane is not None:
                await self.server.listen(self.plane.fabric.internet.listen(self.server.port))
            verbs = {name.removeprefix("say_"): getattr(self, name) for name in dir(self) if name.startswith("say_")}
            controlled = await control.serve(self.home.socket, verbs)
            LOG.info("serving on %s", self.server.url)
            await self._ended.wait()
            controlled.close()
        finally:
            await self.server.stop()
            if self.plane is not None:
                await asyncio.to_thread(self.plane.close)
            self.account.close()
            self.home.socket.unlink(missing_ok=True)

    async def _start_server(self) -> None:
        try:
            await self.server.start()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            hint = "end what listens there, or pass another --port"
            raise MultieipError(f"port {self.settings.port} is in use", hint=hint) from error

    def _publish(self, plane: DataPlane) -> None:
        """Show the systems of this machine as public images, and no others: what is shown boots."""
        public = [image for image in self.account.regions[self.account.home].all(Image) if image.owner == "system"]
        shown = set()
        for wanted in self.settings.images:
            like = next((image for image in public if image.family == wanted.family), None)
            if like is None:
                like = replace(public[0], id=wanted.name, name=wanted.name, family=wanted.family)
            self.account.add_public_image(replace(like, imds=wanted.imds))
            plane.publish(like.id, tuple(map(Path, wanted.layers)))
            shown.add(like.id)
        self.account.keep_public_images(shown)

    # What the command line asks, each with the name of its verb

    def say_status(self, _: Mapping[str, Any]) -> Any:
        """Return what there is."""
        region = self.account.regions[self.account.home]
        return {
            "pid": os.getpid(),
            "url": self.server.url,
            "region": self.account.home,
            "backend": self.settings.backend,
            "internet": self.plane.fabric.internet.space.name if self.plane else "",
            "speed": self.settings.speed,
            "faults": [asdict(fault) for fault in self.account.faults.waiting()],
            "counts": {
                kind.__name__: sum(one.count(kind) for one in self.account.regions.values())
                for kind in (Instance, Eni, Eip, Image)
            },
            "instances": [self._instance(instance) for instance in region.all(Instance)],
        }

    def _instance(self, instance: Instance) -> Any:
        region = self.account.regions[self.account.home]
        enis = [
            {
                "id": eni.id,
                "type": eni.type,
                "addresses": {
                    address: bound.address if (bound := region.eip_at(eni.id, address)) else ""
                    for address in eni.addresses
                },
            }
            for eni in region.enis_of(instance.id)
        ]
        return {"id": instance.id, "name": instance.name, "status": instance.status, "enis": enis}

    def say_guest(self, asked: Mapping[str, Any]) -> Any:
        """Return how to get into an instance, by id or name, and where its console is."""
        wanted = asked["instance"]
        for region in self.account.regions.values():
            for instance in region.all(Instance):
                if wanted in (instance.id, instance.name):
                    guest = self.plane.guest(instance.id) if self.plane else None
                    if guest is None:
                        raise MultieipError(f"{wanted} does not run here", hint="start it, or see `sandbox status`")
                    # A container has no console to speak of, and a machine is not to be entered until it has booted.
                    journal = guest.enter if self.settings.backend == "container" else ()
                    return {"enter": list(guest.enter), "journal": list(journal), "console": str(guest.console)}
        raise UsageError(f"there is no instance {wanted}", hint="`multieip sandbox status` lists them")

    async def say_import(self, asked: Mapping[str, Any]) -> Any:
        """Make an image of the account's own of a disk of this machine; answer with its id when it is ready."""
        if self.plane is None:
            raise UsageError("nothing boots in this sandbox", hint="it was made with --api-only")
        home = self.account.home
        image = self.account.add_own_image(asked["name"], asked["family"], asked["size"], asked["imds"], ready=False)
        try:
            await asyncio.to_thread(self.plane.adopt, image, Path(asked["disk"]))
        except BaseException:
            self.account.drop_image(home, image)
            raise
        self.account.finish_image(home, image)
        return {"id": image, "name": asked["name"], "family": asked["family"], "region": home}

    def say_inject(self, asked: Mapping[str, Any]) -> Any:
        """Have something go wrong."""
        self.account.faults.add(Fault(**{**asked, "kind": Kind(asked["kind"])}))
        return len(self.account.faults.waiting())

    def say_clear(self, _: Mapping[str, Any]) -> Any:
        """Have nothing go wrong any more; return how many faults waited."""
        waiting = len(self.account.faults.waiting())
        self.account.faults.clear()
        return waiting

    def say_down(self, _: Mapping[str, Any]) -> Any:
        """End."""
        self._ended.set()
        return os.getpid()


def _plane(home: Home, settings: Settings) -> DataPlane | None:
    if settings.backend == "none":
        return None
    from generator.sandbox.fabric.fabric import Fabric  # noqa: PLC0415 - the API alone needs none of this
    from generator.sandbox.instances.images import ImageStore  # noqa: PLC0415
    from generator.sandbox.instances.plane import DataPlane  # noqa: PLC0415

    backend: Backend
    if settings.backend == "qemu":
        from generator.sandbox.instances.machines import Machines  # noqa: PLC0415

        backend = Machines(home.folder, settings.accelerator)
    else:
        from generator.sandbox.instances.containers import Containers  # noqa: PLC0415

        backend = Containers()
    images = ImageStore(home.folder, home.folder / "instances")
    return DataPlane(Fabric(home.prefix, uplink=settings.uplink), backend, images)


def main() -> None:
    """Serve the sandbox of the folder that the command line names."""
    home = Home(Path(sys.argv[1]))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = home.load()
        if settings is None:
            raise MultieipError(f"{home.folder} has no settings")
        asyncio.run(_serve(home, settings))
    except MultieipError as failure:
        LOG.error("%s%s", failure.message, f" → {failure.hint}" if failure.hint else "")
        sys.exit(int(failure.exit_code))


async def _serve(home: Home, settings: Settings) -> None:
    await Daemon(home, settings).run()


if __name__ == "__main__":
    main()
