"""ENIs and their private IPs. What is done twice is no error: writes have a token, or are judged by what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from generator.cloud.client import Cloud
from generator.cloud.faults import ApiRefusedError, Fault
from generator.cloud.records import Tags, tags_of, wrapped

# DescribeNetworkInterfaces takes so many ids, and gives so many ENIs on a page.
MOST = 100
PAGE = 500


@dataclass(frozen=True)
class Address:
    """A private IP, with the EIP that the API shows on it: its id, empty without one, and its address."""

    ip: str
    eip: str = ""
    public: str = ""


@dataclass(frozen=True)
class Eni:
    """One ENI as DescribeNetworkInterfaces shows it; `addresses` has the primary private IP first."""

    id: str
    name: str
    description: str
    primary: bool
    status: str
    instance: str
    vpc: str
    vswitch: str
    zone: str
    groups: tuple[str, ...]
    addresses: tuple[Address, ...]
    created: str
    delete_on_release: bool = False
    queues: int = 0
    tags: Tags = ()


def describe(
    cloud: Cloud,
    *,
    ids: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    name: str = "",
    instance: str = "",
    status: str = "",
) -> list[Eni]:
    """Return ENIs that meet all that is given; ids that nobody knows are left out."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    wanted = [
        models.DescribeNetworkInterfacesRequestTag(key=key, value=value or None) for key, value in (tags or {}).items()
    ]
    found: list[Eni] = []
    for start in range(0, len(ids), MOST) if ids else (0,):
        request = models.DescribeNetworkInterfacesRequest(
            region_id=cloud.region,
            network_interface_id=list(ids[start : start + MOST]) or None,
            tag=wanted or None,
            network_interface_name=name or None,
            instance_id=instance or None,
            status=status or None,
            max_results=PAGE,
        )
        while True:
            body = cloud.ecs.call(cloud.ecs.client.describe_network_interfaces_with_options, request)
            found += [_eni(one) for one in wrapped(body.network_interface_sets, "network_interface_set")]
            if not body.next_token:
                break
            request.next_token = body.next_token
    return found


@dataclass(frozen=True)
class NewEni:
    """A secondary ENI to be made: `addresses` themselves, the primary one first, or `private_ips` of them."""

    vswitch: str
    groups: tuple[str, ...]
    name: str
    private_ips: int = 1
    addresses: tuple[str, ...] = ()
    queues: int = 0
    description: str = ""
    resource_group: str = ""
    tags: Tags = ()


def create(cloud: Cloud, new: NewEni, *, token: str) -> str:
    """Make a secondary ENI that outlives the instances it is attached to, and return its id."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    count = new.private_ips - 1 if not new.addresses else 0
    request = models.CreateNetworkInterfaceRequest(
        region_id=cloud.region,
        client_token=token,
        v_switch_id=new.vswitch,
        security_group_ids=list(new.groups),
        network_interface_name=new.name,
        description=new.description or None,
        primary_ip_address=new.addresses[0] if new.addresses else None,
        private_ip_address=list(new.addresses[1:]) or None,
        secondary_private_ip_address_count=count or None,
        queue_number=new.queues or None,
        resource_group_id=new.resource_group or None,
        delete_on_release=False,
        tag=[models.CreateNetworkInterfaceRequestTag(key=key, value=value) for key, value in new.tags],
    )
    body = cloud.ecs.call(cloud.ecs.client.create_network_interface_with_options, request)
    return str(body.network_interface_id)


def attach(cloud: Cloud, eni: str, instance: str, *, patience: float | None = None) -> None:
    """Begin to attach an ENI; `describe` shows InUse when it is. One that is on the instance already is no error.

    A state that does not allow it is waited for, `patience` seconds of the cloud's clock if given.
    """
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.AttachNetworkInterfaceRequest(
        region_id=cloud.region, network_interface_id=eni, instance_id=instance
    )
    # AttachNetworkInterface has no client token. A lost answer leaves the ENI Attaching or InUse, which the API
    # calls a wrong state, as it does one that is still leaving another instance: only a look tells them apart.
    _until(
        cloud,
        lambda: cloud.ecs.call(cloud.ecs.client.attach_network_interface_with_options, request, _ANSWERED),
        lambda: any(one.instance == instance for one in describe(cloud, ids=[eni])),
        patience,
    )


def detach(cloud: Cloud, eni: str, instance: str) -> None:
    """Begin to detach an ENI; `describe` shows Available when it is. One that is on no instance is no error."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.DetachNetworkInterfaceRequest(
        region_id=cloud.region, network_interface_id=eni, instance_id=instance
    )
    _until(
        cloud,
        lambda: cloud.ecs.call(cloud.ecs.client.detach_network_interface_with_options, request, _ANSWERED),
        lambda: all(one.instance != instance for one in describe(cloud, ids=[eni])),
    )


def delete(cloud: Cloud, eni: str) -> None:
    """Delete an ENI that is attached to nothing; one that is gone is no error."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.DeleteNetworkInterfaceRequest(region_id=cloud.region, network_interface_id=eni)
    _until(
        cloud,
        lambda: cloud.ecs.call(cloud.ecs.client.delete_network_interface_with_options, request, _ANSWERED),
        lambda: all(one.status == "Deleting" for one in describe(cloud, ids=[eni])),
    )


def assign(cloud: Cloud, eni: str, *, count: int = 0, addresses: Sequence[str] = (), token: str) -> tuple[str, ...]:
    """Give an ENI more secondary private IPs, these or so many, and return them."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.AssignPrivateIpAddressesRequest(
        region_id=cloud.region,
        network_interface_id=eni,
        client_token=token,
        private_ip_address=list(addresses) or None,
        secondary_private_ip_address_count=count or None,
    )
    body = cloud.ecs.call(cloud.ecs.client.assign_private_ip_addresses_with_options, request)
    return tuple(wrapped(body.assigned_private_ip_addresses_set.private_ip_set, "private_ip_address"))


def unassign(cloud: Cloud, eni: str, addresses: Sequence[str]) -> None:
    """Take secondary private IPs from an ENI; ones that it does not have are no error."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.UnassignPrivateIpAddressesRequest(
        region_id=cloud.region, network_interface_id=eni, private_ip_address=list(addresses)
    )
    try:
        cloud.ecs.call(cloud.ecs.client.unassign_private_ip_addresses_with_options, request)
    except ApiRefusedError as refusal:
        if refusal.fault is not Fault.DONE:
            raise


_ANSWERED = frozenset((Fault.THROTTLE, Fault.TRANSIENT))


def _until(cloud: Cloud, call: Any, is_so: Any, patience: float | None = None) -> None:
    """Make a call that has no client token until it is carried out, or what it is for is so anyhow."""
    patience = cloud.pace.busy if patience is None else patience
    waited, delay = 0.0, 1.0
    while True:
        try:
            call()
            return
        except ApiRefusedError as refusal:
            if refusal.fault is Fault.DONE and is_so():
                return
            if refusal.fault is not Fault.STATE or is_so():
                if refusal.fault is Fault.STATE:
                    return
                raise
            if waited >= patience:
                raise
        cloud.sleep(delay)
        waited, delay = waited + delay, min(2 * delay, cloud.pace.longest)


def _eni(one: Any) -> Eni:
    shown = wrapped(one.private_ip_sets, "private_ip_set")
    shown.sort(key=lambda address: not address.primary)
    return Eni(
        id=one.network_interface_id,
        name=one.network_interface_name or "",
        description=one.description or "",
        primary=one.type == "Primary",
        status=one.status or "",
        instance=one.instance_id or "",
        vpc=one.vpc_id or "",
        vswitch=one.v_switch_id or "",
        zone=one.zone_id or "",
        groups=tuple(wrapped(one.security_group_ids, "security_group_id")),
        addresses=tuple(_address(address) for address in shown),
        created=one.creation_time or "",
        delete_on_release=bool(one.delete_on_release),
        queues=one.queue_number or 0,
        tags=tags_of(wrapped(one.tags, "tag")),
    )


def _address(one: Any) -> Address:
    public = one.associated_public_ip
    return Address(
        ip=one.private_ip_address,
        eip=(public.allocation_id or "") if public else "",
        public=(public.public_ip_address or "") if public else "",
    )
