"""The data plane: makes a region's events true on the fabric, and runs its instances.

Events come in order and must not block, so one thread follows them and tells the fabric, which takes milliseconds.
Each instance has a thread of its own besides, for what takes seconds: booting, shutting down, commands, captures.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Protocol

from generator.errors import MultieipError
from generator.sandbox.fabric import model as wire
from generator.sandbox.fabric.container import Power, wake
from generator.sandbox.fabric.fabric import Fabric
from generator.sandbox.instances.guest import Backend, Guest, Place
from generator.sandbox.instances.images import ImageStore, Layers
from generator.sandbox.region import plane as told
from generator.sandbox.region.model import CommandResult, Eni, Image, Instance, Invocation

LOG = logging.getLogger("multieip.sandbox")

# Seconds between two looks at what instances did by themselves.
_LOOK = 0.2


class Reports(Protocol):
    """Who is told what became of long work; `Account` is one, reached in the server's thread."""

    def finish_image(self, region: str, image: str, *, failed: bool = False) -> None:
        """An image that was captured is ready, or failed."""
        ...

    def finish_command(self, region: str, invocation: str, result: CommandResult) -> None:
        """A command ended."""
        ...

    def power_lost(self, region: str, instance: str) -> None:
        """An instance powered itself off."""
        ...


@dataclass
class _Held:
    """An instance: its guest, and the thread in which all of its slow work is done in order."""

    guest: Guest
    worker: ThreadPoolExecutor
    region: str
    commands: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, "command"))
    # Whether what its guest did by itself is in its thread's work already.
    noticed: bool = False


class DataPlane:
    """Carries a region's packets and runs its instances, as a `region.plane.Plane`.

    `later` has a function called in the server's thread, and `reports` is who is told there; both are set before
    the first command or capture.
    """

    def __init__(self, fabric: Fabric, backend: Backend, images: ImageStore) -> None:
        self.fabric = fabric
        self.images = images
        self._backend = backend
        self._wiring = threading.RLock()
        self._events = ThreadPoolExecutor(1, "events")
        self._switches: dict[str, tuple[str, wire.VSwitch]] = {}
        self._enis: dict[str, wire.Eni] = {}
        self._held: dict[str, _Held] = {}
        self.reports: Reports | None = None
        self.later: Callable[[Callable[[], None]], object] | None = None
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="power", daemon=True)
        self._watcher.start()

    # What a region tells

    def apply(self, region: str, event: told.Event) -> None:
        """Make an event true, soon."""
        self._submit(self._events, f"{type(event).__name__} in {region}", lambda: self._follow(region, event))

    def capture(self, region: str, image: Image, instance: Instance) -> bool:
        """Make an image of what an instance has written."""
        below = self.images.use(instance.id, instance.image)
        if not self.images.has_run(instance.id):
            self.images.add(image.id, below)
            return False
        held = self._held.get(instance.id)
        guest = held.guest if held else self._backend.guest(self._place(identity(region, instance, {}), below))

        def work() -> None:
            failed = True
            try:
                with self.images.capture(image.id, below) as target:
                    guest.capture(target)
                failed = False
            finally:
                self._report(lambda reports: reports.finish_image(region, image.id, failed=failed))

        self._submit(held.worker if held else self._events, f"capturing {image.id}", work)
        return True

    def execute(self, region: str, invocation: Invocation) -> CommandResult | None:
        """Run a command in an instance, once what was told before is true; then beside whatever else happens to it."""
        self._submit(self._events, f"command {invocation.id}", lambda: self._execute(region, invocation))
        return None

    def _execute(self, region: str, invocation: Invocation) -> None:
        held = self._held.get(invocation.instance)
        if held is None:
            self._ran(region, invocation, CommandResult(exit_code=None, error="the instance does not run"))
            return
        before = held.worker.submit(lambda: None)

        def work() -> None:
            result = CommandResult(exit_code=None, error="the command could not be run")
            try:
                before.result()
                result = held.guest.execute(invocation)
            except MultieipError as failure:
                result = CommandResult(exit_code=None, error=failure.message)
            except CancelledError:
                result = CommandResult(exit_code=None, error="the sandbox was stopped before it ran")
            finally:
                self._ran(region, invocation, result)

        self._submit(held.commands, f"command {invocation.id}", work)

    def _ran(self, region: str, invocation: Invocation, result: CommandResult) -> None:
        self._report(lambda reports: reports.finish_command(region, invocation.id, result))

    def publish(self, image: str, layers: Layers) -> None:
        """Have a public image be made of a system of this machine."""
        self.images.add(image, self._backend.public(layers, self.images.layers_folder))

    def adopt(self, image: str, disk: Path) -> None:
        """Have an image be made of a qcow2 disk that boots by itself; it takes a while, in whatever thread."""
        with self.images.capture(image, ()) as target:
            self._backend.adopt(disk, target)

    # What a person asks

    def guest(self, instance: str) -> Guest | None:
        """Return the guest of an instance, None where it has never run."""
        held = self._held.get(instance)
        return held.guest if held else None

    def close(self) -> None:
        """Pull every instance's plug, and take the fabric down; disks stay."""
        self._closing.set()
        self._watcher.join()
        self._events.shutdown(cancel_futures=True)
        for held in self._held.values():
            held.worker.shutdown(wait=False, cancel_futures=True)
            held.commands.shutdown(wait=False, cancel_futures=True)
        for held in self._held.values():
            # Killed, it answers whoever waits for it in its own thread.
            held.guest.kill()
            held.worker.shutdown()
        self.fabric.close()

    # Following events, in order, in one thread

    def _follow(self, region: str, event: told.Event) -> None:
        with self._wiring:
            match event:
                case told.EipAssociated() | told.EipUnassociated():
                    self._follow_eip(event)
                case told.EniAddressesChanged() | told.EniDeleted() | told.EniAttached() | told.EniDetached():
                    self._follow_eni(event)
                case told.ImageCopied(source, image):
                    self.images.copy(source, image)
                case told.ImageDeleted(image):
                    self.images.forget(image.id)
                case told.InstanceStarted(instance, enis, public_key):
                    self._start(region, instance, enis, public_key)
                case told.InstanceDeleted(instance):
                    self._delete(instance.id)
                case told.InstanceStopped() | told.InstanceRebooted() | told.InstanceChanged():
                    self._follow_instance(region, event)
                case _:
                    self._follow_network(event)

    def _follow_network(
        self, event: told.VpcCreated | told.VSwitchCreated | told.VSwitchDeleted | told.VpcDeleted
    ) -> None:
        match event:
            case told.VpcCreated(vpc):
                self.fabric.add_vpc(wire.Vpc(vpc.id, IPv4Network(vpc.cidr)))
            case told.VSwitchCreated(vswitch):
                made = wire.VSwitch(vswitch.id, IPv4Network(vswitch.cidr))
                self._switches[vswitch.id] = (vswitch.vpc, made)
                self.fabric.add_vswitch(vswitch.vpc, made)
            case told.VSwitchDeleted(vswitch):
                self.fabric.remove_vswitch(vswitch.vpc, vswitch.id)
                del self._switches[vswitch.id]
            case told.VpcDeleted(vpc):
                self.fabric.remove_vpc(vpc.id)

    def _follow_eip(self, event: told.EipAssociated | told.EipUnassociated) -> None:
        address = IPv4Address(event.eip.address)
        if isinstance(event, told.EipAssociated):
            self._add_eni(event.eni)
            self.fabric.associate({address: (event.eni.id, IPv4Address(event.eip.private_ip))})
        else:
            self.fabric.unassociate([address])

    def _follow_eni(
        self, event: told.EniAddressesChanged | told.EniDeleted | told.EniAttached | told.EniDetached
    ) -> None:
        match event:
            case told.EniAddressesChanged(_, after):
                if after.id in self._enis:
                    self._add_eni(after)
            case told.EniDeleted(eni):
                if self._enis.pop(eni.id, None):
                    self.fabric.remove_eni(eni.id)
            case told.EniAttached(eni, instance):
                self._add_eni(eni)
                if held := self._held.get(instance.id):
                    interface = self.fabric.plug(eni.id, instance.id)
                    self._submit(held.worker, f"plugging {eni.id}", partial(held.guest.plugged, interface))
            case told.EniDetached(eni, instance_id):
                held = self._held.get(instance_id)
                if held and (plugged := self.fabric.interface(eni.id)):
                    self.fabric.unplug(eni.id)
                    self._submit(held.worker, f"unplugging {eni.id}", partial(held.guest.unplugged, plugged))

    def _follow_instance(
        self, region: str, event: told.InstanceStopped | told.InstanceRebooted | told.InstanceChanged
    ) -> None:
        instance = event.instance
        held = self._held.get(instance.id)
        if held is None:
            return
        match event:
            case told.InstanceStopped():
                self._submit(held.worker, f"stopping {instance.id}", held.guest.stop)
            case told.InstanceRebooted():
                self._submit(held.worker, f"rebooting {instance.id}", partial(self._reboot, instance.id, held.guest))
            case told.InstanceChanged():
                known = self.fabric.identity(instance.id)
                self.fabric.update_guest(identity(region, instance, known.public_keys))

    def _add_eni(self, eni: Eni) -> None:
        """Have the fabric know an ENI as it is now; it may be told of one for the first time by anything it has."""
        vpc, vswitch = self._switches[eni.vswitch]
        made = wire.Eni(eni.id, eni.mac, vpc, vswitch, tuple(map(IPv4Address, eni.addresses)))
        if self._enis.get(eni.id) != made:
            self._enis[eni.id] = made
            self.fabric.add_eni(made)

    # Instances: in their own threads

    def _start(self, region: str, instance: Instance, enis: tuple[Eni, ...], public_key: str) -> None:
        keys = {instance.key_pair: public_key} if public_key else {}
        told_of = identity(region, instance, keys)
        held = self._held.get(instance.id)
        if held is not None:
            self.fabric.update_guest(told_of)
            self._submit(held.worker, f"starting {instance.id}", partial(self._start_again, told_of, held.guest))
            return
        layers = self.images.use(instance.id, instance.image)
        self.fabric.add_guest(told_of)
        for eni in enis:
            self._add_eni(eni)
            self.fabric.plug(eni.id, instance.id)
        front = self.fabric.router(self._switches[enis[0].vswitch][0]).space, IPv4Address(enis[0].addresses[0])
        place = replace(self._place(told_of, layers), front=front, disk=instance.disk_size << 30)
        held = _Held(self._backend.guest(place), ThreadPoolExecutor(1, instance.id), region)
        self._held[instance.id] = held
        self._submit(held.worker, f"starting {instance.id}", partial(held.guest.start, told_of))

    def _place(self, told_of: wire.Identity, layers: Layers) -> Place:
        return Place(told_of, self.fabric.space(told_of.id), self.images.folder_of(told_of.id), layers)

    def _start_again(self, told_of: wire.Identity, guest: Guest) -> None:
        guest.stop()
        with self._wiring:
            self.fabric.power_cycle(told_of.id)
        guest.start(told_of)

    def _reboot(self, instance: str, guest: Guest) -> None:
        with self._wiring:
            told_of = self.fabric.identity(instance)
        self._start_again(told_of, guest)

    def _delete(self, instance: str) -> None:
        held = self._held.pop(instance, None)
        if held is None:
            self.images.release(instance)
            return

        def work() -> None:
            held.guest.kill()
            with self._wiring:
                self.fabric.remove_guest(instance)
            self.images.release(instance)
            held.commands.shutdown(wait=False, cancel_futures=True)
            held.worker.shutdown(wait=False)

        self._submit(held.worker, f"deleting {instance}", work)

    # What instances do by themselves

    def _watch(self) -> None:
        while not self._closing.wait(_LOOK):
            wake()
            for instance, held in list(self._held.items()):
                if held.guest.ended and not held.noticed:
                    held.noticed = True
                    self._submit(held.worker, f"following {instance}", partial(self._follow_guest, instance, held))

    def _follow_guest(self, instance: str, held: _Held) -> None:
        try:
            if held.guest.ended is Power.OFF:
                held.guest.stop()
                self._report(lambda reports: reports.power_lost(held.region, instance))
            elif held.guest.ended is Power.REBOOT:
                self._reboot(instance, held.guest)
        finally:
            held.noticed = False

    # Work that must not fail in silence

    def _submit(self, worker: ThreadPoolExecutor, what: str, work: Callable[[], object]) -> None:
        def logged() -> None:
            try:
                work()
            except MultieipError as failure:
                LOG.error("%s: %s", what, failure.message)
            except Exception:
                LOG.exception("%s", what)

        try:
            _: Future[None] = worker.submit(logged)
        except RuntimeError:
            LOG.debug("%s: not done, the sandbox ends", what)

    def _report(self, tell: Callable[[Reports], None]) -> None:
        reports, later = self.reports, self.later
        if reports is not None and later is not None:
            # Its loop is closed once the sandbox ends, and nobody is there to be told.
            with contextlib.suppress(RuntimeError):
                later(lambda: tell(reports))


def identity(region: str, instance: Instance, public_keys: Mapping[str, str]) -> wire.Identity:
    """Return what the metadata service says of an instance."""
    return wire.Identity(
        id=instance.id,
        hostname=instance.hostname,
        region_id=region,
        zone_id=instance.zone,
        image_id=instance.image,
        instance_type=instance.type,
        user_data=base64.b64decode(instance.user_data) if instance.user_data else None,
        public_keys=public_keys,
        tokens_required=instance.http_tokens == "required",
        endpoint_enabled=instance.http_endpoint == "enabled",
    )
