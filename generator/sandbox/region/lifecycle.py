"""What happens when the time of a step comes: the status that it brings, and what follows from that.

Everything works on a region within a transaction, and knows no parameters of calls.
"""

from __future__ import annotations

from dataclasses import replace

from generator.sandbox.region import plane
from generator.sandbox.region.model import (
    GONE,
    VANISHED,
    Eip,
    Eni,
    HistoryEvent,
    Image,
    Instance,
    Invocation,
    KeyPair,
    Snapshot,
    Vpc,
    VSwitch,
)
from generator.sandbox.region.region import Region

Transient = Instance | Eni | Eip | Image | Snapshot | Invocation


def advance(region: Region, record: Transient) -> None:
    """Take the next step of a record; the rest of its steps stay."""
    (moment, status), *rest = record.steps
    after = replace(record, steps=tuple(rest))
    match after:
        case Instance():
            _instance(region, after, status, moment)
        case Eni():
            _eni(region, after, status)
        case Eip():
            _eip(region, after, status)
        case Invocation():
            region.put(replace(after, status=status, finished=moment))
        case Image() | Snapshot():
            region.put(replace(after, status=status))


def _instance(region: Region, instance: Instance, status: str, moment: float) -> None:
    if status in (GONE, VANISHED):
        if status == VANISHED:
            region.put(
                HistoryEvent(f"e-{instance.id[2:]}", instance.id, "SystemFailure.Delete", "Executed", "NoStock", moment)
            )
        release_instance(region, instance)
        return
    running = status == "Running"
    instance = region.put(replace(instance, status=status, started=moment if running else instance.started))
    if running:
        key = region.find(KeyPair, instance.key_pair)
        enis = tuple(eni for eni in region.enis_of(instance.id) if eni.status == "InUse")
        region.events.append(plane.InstanceStarted(instance, enis, key.public_key if key else ""))
    elif status == "Stopped" and instance.started:
        region.events.append(plane.InstanceStopped(instance))


def _eni(region: Region, eni: Eni, status: str) -> None:
    if status == GONE:
        delete_eni(region, eni)
    elif status == "Available":
        owner = eni.instance
        detached = region.put(replace(eni, status=status, instance="", attached=0.0))
        region.events.append(plane.EniDetached(detached, owner))
    else:
        eni = region.put(replace(eni, status=status))
        region.events.append(plane.EniAttached(eni, region.get(Instance, eni.instance)))


def _eip(region: Region, eip: Eip, status: str) -> None:
    if status == "Available":
        unbind(region, eip)
    else:
        eip = region.put(replace(eip, status=status))
        region.events.append(plane.EipAssociated(eip, region.get(Eni, eip.eni)))


def unbind(region: Region, eip: Eip) -> None:
    """End the binding of an EIP at once."""
    if eip.status != "Associating":
        region.events.append(plane.EipUnassociated(eip))
    region.put(replace(eip, status="Available", eni="", private_ip="", bound_as="", steps=()))


def delete_eni(region: Region, eni: Eni) -> None:
    """Remove an ENI; its EIPs live on, bound to nothing."""
    for eip in region.eips_of(eni.id):
        unbind(region, eip)
    if eni.instance:
        region.events.append(plane.EniDetached(eni, eni.instance))
    region.drop(eni)
    region.events.append(plane.EniDeleted(eni))


def release_instance(region: Region, instance: Instance) -> None:
    """Remove an instance, with the ENIs and disks that are released with it; the others become Available."""
    for eni in region.enis_of(instance.id):
        if eni.type == "Primary" or eni.delete_on_release:
            delete_eni(region, eni)
        else:
            detached = region.put(replace(eni, status="Available", instance="", attached=0.0, steps=()))
            region.events.append(plane.EniDetached(detached, instance.id))
    for disk in region.disks_of(instance.id):
        if disk.delete_with_instance:
            region.drop(disk)
        else:
            region.put(replace(disk, instance="", device=""))
    region.drop(instance)
    region.events.append(plane.InstanceDeleted(instance))


def as_it_stands(region: Region) -> list[plane.Event]:
    """Return the events that bring a new plane to where the region is."""
    events: list[plane.Event] = [plane.VpcCreated(vpc) for vpc in region.all(Vpc)]
    events += [plane.VSwitchCreated(vswitch) for vswitch in region.all(VSwitch)]
    for instance in region.all(Instance):
        if instance.status in ("Running", "Stopping"):
            key = region.find(KeyPair, instance.key_pair)
            enis = tuple(eni for eni in region.enis_of(instance.id) if eni.status in ("InUse", "Detaching"))
            events.append(plane.InstanceStarted(instance, enis, key.public_key if key else ""))
    for eip in region.all(Eip):
        if eip.status in ("InUse", "Unassociating"):
            events.append(plane.EipAssociated(eip, region.get(Eni, eip.eni)))
    return events
