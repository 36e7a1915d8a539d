"""The seam to the data plane: what the control plane changed, in order, and who makes it true.

The control plane decides everything; a plane follows. It is called in the server's thread after the change was
committed, and must not block: a plane with slow work queues it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from generator.sandbox.region.model import CommandResult, Eip, Eni, Image, Instance, Invocation, Vpc, VSwitch


@dataclass(frozen=True, slots=True)
class VpcCreated:
    """A VPC is there."""

    vpc: Vpc


@dataclass(frozen=True, slots=True)
class VSwitchCreated:
    """A vSwitch is there."""

    vswitch: VSwitch


@dataclass(frozen=True, slots=True)
class VpcDeleted:
    """A VPC is gone, and its vSwitches were before it."""

    vpc: Vpc


@dataclass(frozen=True, slots=True)
class VSwitchDeleted:
    """A vSwitch is gone."""

    vswitch: VSwitch


@dataclass(frozen=True, slots=True)
class InstanceStarted:
    """An instance has power; `enis` are those it has now, the primary one first, and `public_key` its key pair's."""

    instance: Instance
    enis: tuple[Eni, ...]
    public_key: str


@dataclass(frozen=True, slots=True)
class InstanceStopped:
    """An instance has lost power; it keeps its disk and its ENIs."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class InstanceRebooted:
    """An instance starts again."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class InstanceDeleted:
    """An instance is gone, its disk too; what becomes of its ENIs is said before."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class InstanceChanged:
    """What the metadata service says of an instance changed: tokens, endpoint, name."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class EniAttached:
    """An instance that exists already got one more ENI."""

    eni: Eni
    instance: Instance


@dataclass(frozen=True, slots=True)
class EniDetached:
    """An instance lost an ENI, which may live on."""

    eni: Eni
    instance_id: str


@dataclass(frozen=True, slots=True)
class EniAddressesChanged:
    """An ENI, plugged or not, has other private IPs."""

    before: Eni
    after: Eni


@dataclass(frozen=True, slots=True)
class EniDeleted:
    """An ENI is gone."""

    eni: Eni


@dataclass(frozen=True, slots=True)
class EipAssociated:
    """An EIP maps to a private IP from now on."""

    eip: Eip
    eni: Eni


@dataclass(frozen=True, slots=True)
class EipUnassociated:
    """An EIP maps to nothing any more; `eip` is as it was while it did."""

    eip: Eip


@dataclass(frozen=True, slots=True)
class ImageCopied:
    """An image is made of what another one, in whatever region, is made of; both by id."""

    source: str
    image: str


@dataclass(frozen=True, slots=True)
class ImageDeleted:
    """An image is gone."""

    image: Image


Event = (
    VpcCreated
    | VSwitchCreated
    | VpcDeleted
    | VSwitchDeleted
    | InstanceStarted
    | InstanceStopped
    | InstanceRebooted
    | InstanceDeleted
    | InstanceChanged
    | EniAttached
    | EniDetached
    | EniAddressesChanged
    | EniDeleted
    | EipAssociated
    | EipUnassociated
    | ImageCopied
    | ImageDeleted
)


class Plane(Protocol):
    """What carries the packets and runs the instances."""

    def apply(self, region: str, event: Event) -> None:
        """Make an event true."""
        ...

    def capture(self, region: str, image: Image, instance: Instance) -> bool:
        """Make an image of an instance's disk.

        True if it will be told to `Account.finish_image` later, False to have the image ready after the usual delay.
        """
        ...

    def execute(self, region: str, invocation: Invocation) -> CommandResult | None:
        """Run a command in an instance; None if its result will be told to `Account.finish_command` later."""
        ...


class NullPlane:
    """No data plane: the API only. Every command ends at once, with nothing said."""

    def apply(self, region: str, event: Event) -> None:
        """Do nothing."""

    def capture(self, region: str, image: Image, instance: Instance) -> bool:
        """Leave it to the delay."""
        return False

    def execute(self, region: str, invocation: Invocation) -> CommandResult | None:
        """Report success."""
        return CommandResult()
