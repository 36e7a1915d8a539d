"""Instances: run, show, delete. Writes take a client token: the same token means the same call."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generator.cloud.client import AGAIN, Cloud
from generator.cloud.faults import ApiRefusedError, Fault
from generator.cloud.records import Tags, tags_of, wrapped

if TYPE_CHECKING:
    from alibabacloud_ecs20140526 import models

# RunInstances, DeleteInstances and DescribeInstances take so many at once; TagResources so many resources.
MOST = 100
MOST_TAGGED = 50


@dataclass(frozen=True)
class Instance:
    """One instance as DescribeInstances shows it; `enis` has the primary ENI first."""

    id: str
    name: str
    status: str
    type: str
    image: str
    vpc: str
    vswitch: str
    zone: str
    groups: tuple[str, ...]
    enis: tuple[str, ...]
    created: str
    key_pair: str = ""
    http_tokens: str = ""
    deletion_protection: bool = False
    tags: Tags = ()


@dataclass(frozen=True)
class Nic:
    """An ENI that RunInstances makes; the first of an order is the primary one. `existing` is attached instead."""

    private_ips: int = 1
    address: str = ""
    vswitch: str = ""
    queues: int = 0
    name: str = ""
    description: str = ""
    existing: str = ""


@dataclass(frozen=True)
class Disk:
    """A disk of each instance; `size` in GiB, 0 for the image's."""

    category: str
    size: int = 0
    level: str = ""
    name: str = ""
    encrypted: bool = False


@dataclass(frozen=True)
class Order:
    """What `run` makes. `names` is the name of each instance, consecutive numbers, as ECS forms them: `web-[7,3]`."""

    image: str
    vpc: str
    groups: tuple[str, ...]
    nics: tuple[Nic, ...]
    system_disk: Disk
    name: str
    data_disks: tuple[Disk, ...] = ()
    key_pair: str = ""
    ram_role: str = ""
    resource_group: str = ""
    user_data: bytes = b""
    http_tokens: str = "required"
    spot: str = "NoSpot"
    spot_price: float = 0.0
    spot_hours: int = 1
    spot_interruption: str = ""
    deletion_protection: bool = False
    tags: Tags = ()


def run(cloud: Cloud, order: Order, *, kind: str, vswitch: str, amount: int, token: str) -> tuple[str, ...]:
    """Run up to `amount` instances of a type in a vSwitch, at least one, and return their ids.

    ECS answers before it has made them: an instance may vanish again. Secondary ENIs are made so that they outlive
    their instance, since their EIPs are what the world knows. Raises `ApiRefusedError`, with CAPACITY when there is
    none of the type or no address here.
    """
    request = _request(cloud, order, kind=kind, vswitch=vswitch, amount=amount, token=token)
    body = cloud.ecs.call(cloud.ecs.client.run_instances_with_options, request)
    return tuple(wrapped(body.instance_id_sets, "instance_id_set"))


def check(cloud: Cloud, order: Order, *, kind: str, vswitch: str, amount: int) -> None:
    """Have ECS check an order without carrying it out; raises what `run` would raise."""
    request = _request(cloud, order, kind=kind, vswitch=vswitch, amount=amount, token="")
    request.dry_run, request.client_token = True, None
    try:
        cloud.ecs.call(cloud.ecs.client.run_instances_with_options, request, AGAIN)
    except ApiRefusedError as refusal:
        if refusal.code != "DryRunOperation":
            raise


def _request(
    cloud: Cloud, order: Order, *, kind: str, vswitch: str, amount: int, token: str
) -> models.RunInstancesRequest:
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    spot = order.spot != "NoSpot"
    return models.RunInstancesRequest(
        region_id=cloud.region,
        client_token=token,
        image_id=order.image,
        instance_type=kind,
        amount=amount,
        # Fewer than asked for are welcome: the rest is of the next type or in the next vSwitch.
        min_amount=1,
        instance_name=order.name,
        host_name=order.name,
        network_interface=[_nic(order, nic, vswitch, primary=number == 0) for number, nic in enumerate(order.nics)],
        system_disk=models.RunInstancesRequestSystemDisk(
            category=order.system_disk.category,
            size=str(order.system_disk.size) if order.system_disk.size else None,
            performance_level=order.system_disk.level or None,
        ),
        data_disk=[_data_disk(disk) for disk in order.data_disks] or None,
        key_pair_name=order.key_pair or None,
        ram_role_name=order.ram_role or None,
        resource_group_id=order.resource_group or None,
        user_data=base64.b64encode(order.user_data).decode() if order.user_data else None,
        http_endpoint="enabled",
        http_tokens=order.http_tokens,
        spot_strategy=order.spot if spot else None,
        spot_price_limit=order.spot_price if order.spot == "SpotWithPriceLimit" else None,
        spot_duration=order.spot_hours if spot else None,
        spot_interruption_behavior=order.spot_interruption or None,
        deletion_protection=order.deletion_protection or None,
        tag=[models.RunInstancesRequestTag(key=key, value=value) for key, value in order.tags],
    )


def _nic(order: Order, nic: Nic, vswitch: str, *, primary: bool) -> models.RunInstancesRequestNetworkInterface:
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    if nic.existing:
        return models.RunInstancesRequestNetworkInterface(
            instance_type="Secondary", network_interface_id=nic.existing, delete_on_release=False
        )
    return models.RunInstancesRequestNetworkInterface(
        instance_type="Primary" if primary else "Secondary",
        v_switch_id=(not primary and nic.vswitch) or vswitch,
        security_group_ids=list(order.groups),
        primary_ip_address=nic.address or None,
        secondary_private_ip_address_count=nic.private_ips - 1 or None,
        queue_number=nic.queues or None,
        # ECS ignores both for a primary ENI.
        network_interface_name=None if primary else nic.name or None,
        description=None if primary else nic.description or None,
        delete_on_release=None if primary else False,
    )


def _data_disk(disk: Disk) -> models.RunInstancesRequestDataDisk:
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    return models.RunInstancesRequestDataDisk(
        category=disk.category,
        size=disk.size,
        performance_level=disk.level or None,
        disk_name=disk.name or None,
        encrypted="true" if disk.encrypted else None,
        delete_with_instance=True,
    )


def describe(cloud: Cloud, *, ids: Sequence[str] = (), tags: Mapping[str, str] | None = None) -> list[Instance]:
    """Return instances by their ids or by tags (an empty value is any); those that nobody knows are left out."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    wanted = [models.DescribeInstancesRequestTag(key=key, value=value or None) for key, value in (tags or {}).items()]
    found: list[Instance] = []
    for part in _parts(ids) if ids or not wanted else ([],):
        request = models.DescribeInstancesRequest(
            region_id=cloud.region, instance_ids=json.dumps(part) if part else None, tag=wanted or None
        )
        request.max_results = MOST
        while True:
            body = cloud.ecs.call(cloud.ecs.client.describe_instances_with_options, request)
            found += [_instance(one) for one in wrapped(body.instances, "instance")]
            if not body.next_token:
                break
            request.next_token = body.next_token
    return found


def vanished(cloud: Cloud, ids: Sequence[str]) -> frozenset[str]:
    """Return those of these instances that ECS deleted by itself after RunInstances had answered: no stock."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    gone: set[str] = set()
    for part in _parts(ids):
        request = models.DescribeInstanceHistoryEventsRequest(
            region_id=cloud.region,
            resource_type="instance",
            resource_id=part,
            instance_event_type=["SystemFailure.Delete"],
            max_results=100,
        )
        body = cloud.ecs.call(cloud.ecs.client.describe_instance_history_events_with_options, request)
        gone.update(
            event.instance_id for event in wrapped(body.instance_system_event_set, "instance_system_event_type")
        )
    return frozenset(gone)


def delete(cloud: Cloud, ids: Sequence[str], *, token: str) -> None:
    """Delete up to 100 instances, running ones too; ones that are gone are no error.

    DeleteInstances is all or nothing, so those that are gone are left out and the rest is asked for once more.
    """
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    left = list(ids)
    while left:
        request = models.DeleteInstancesRequest(
            region_id=cloud.region, instance_id=left, force=True, client_token=token if left == list(ids) else None
        )
        try:
            cloud.ecs.call(cloud.ecs.client.delete_instances_with_options, request)
            return
        except ApiRefusedError as refusal:
            if refusal.fault is not Fault.DONE:
                raise
            known = {one.id for one in describe(cloud, ids=left)}
            if len(known) == len(left):
                raise
            left = [one for one in left if one in known]


def stop(cloud: Cloud, instance: str) -> None:
    """Begin to stop a running instance; `describe` shows Stopped when it is. What it is on stays reserved for it."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.StopInstanceRequest(instance_id=instance, stopped_mode="KeepCharging")
    cloud.ecs.call(cloud.ecs.client.stop_instance_with_options, request)


def start(cloud: Cloud, instance: str) -> None:
    """Begin to start an instance that is stopped; `describe` shows Running when it is."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.StartInstanceRequest(instance_id=instance)
    cloud.ecs.call(cloud.ecs.client.start_instance_with_options, request)


def unprotect(cloud: Cloud, instance: str) -> None:
    """Take an instance's protection against deletion back; one that is gone is no error."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.ModifyInstanceAttributeRequest(instance_id=instance, deletion_protection=False)
    try:
        cloud.ecs.call(cloud.ecs.client.modify_instance_attribute_with_options, request)
    except ApiRefusedError as refusal:
        if refusal.fault is not Fault.DONE:
            raise


def tag(cloud: Cloud, kind: str, ids: Sequence[str], tags: Tags) -> None:
    """Put tags on resources of ECS (`kind`: instance, eni, disk, securitygroup), 50 a call; others stay."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    pairs = [models.TagResourcesRequestTag(key=key, value=value) for key, value in tags]
    for start in range(0, len(ids), MOST_TAGGED):
        request = models.TagResourcesRequest(
            region_id=cloud.region, resource_type=kind, resource_id=list(ids[start : start + MOST_TAGGED]), tag=pairs
        )
        cloud.ecs.call(cloud.ecs.client.tag_resources_with_options, request)


def _parts(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), MOST):
        yield list(ids[start : start + MOST])


def _instance(one: Any) -> Instance:
    enis = wrapped(one.network_interfaces, "network_interface")
    enis.sort(key=lambda eni: eni.type != "Primary")
    place, options = one.vpc_attributes, one.metadata_options
    return Instance(
        id=one.instance_id,
        name=one.instance_name or "",
        status=one.status or "",
        type=one.instance_type or "",
        image=one.image_id or "",
        vpc=(place.vpc_id or "") if place else "",
        vswitch=(place.v_switch_id or "") if place else "",
        zone=one.zone_id or "",
        groups=tuple(wrapped(one.security_group_ids, "security_group_id")),
        enis=tuple(eni.network_interface_id for eni in enis),
        created=one.creation_time or "",
        key_pair=one.key_pair_name or "",
        http_tokens=(options.http_tokens or "") if options else "",
        deletion_protection=bool(one.deletion_protection),
        tags=tags_of(wrapped(one.tags, "tag")),
    )
