"""Inventories of a fleet for other tools: Ansible, SSH, and JSON for any. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from generator.fleet.picture import Machine, Picture

SCHEMA_VERSION = 1


def to_json(picture: Picture) -> dict[str, Any]:
    """Return the instances that are there with all their addresses, with stable keys."""
    return {
        "schema_version": SCHEMA_VERSION,
        "fleet": picture.fleet,
        "region": picture.region,
        "vpc": picture.vpc,
        "instances": [_machine(machine) for machine in picture.machines if machine.id],
    }


def _machine(machine: Machine) -> dict[str, Any]:
    return {
        "name": machine.name,
        "number": machine.slot,
        "id": machine.id,
        "status": machine.status,
        "type": machine.type,
        "image": machine.image,
        "zone": machine.zone,
        "vswitch": machine.vswitch,
        "private_ip": machine.private_ip,
        "eips": [
            {"eip": address.public, "id": address.eip, "private_ip": address.ip, "eni": nic.id, "eni_index": nic.index}
            for nic, address in machine.mapped()
        ],
    }


def reached_at(machine: Machine, *, private: bool) -> str:
    """Return the address to reach an instance at: its first EIP, or its primary private IP."""
    public = next((address.public for _, address in machine.mapped()), "")
    return machine.private_ip if private or not public else public


def ansible(picture: Picture, *, private: bool = False, user: str = "") -> str:
    """Return an Ansible inventory in YAML: a group of the fleet's name, and one for each zone."""
    hosts: dict[str, Any] = {}
    zones: dict[str, dict[str, Any]] = {}
    for machine in _there(picture):
        known = _machine(machine)
        hosts[machine.name] = {
            "ansible_host": reached_at(machine, private=private),
            **({"ansible_user": user} if user else {}),
            "ecs_instance_id": machine.id,
            "ecs_zone": machine.zone,
            "private_ip": machine.private_ip,
            "eips": {one["private_ip"]: one["eip"] for one in known["eips"]},
        }
        zones.setdefault(_group(machine.zone), {})[machine.name] = {}
    children = {zone: {"hosts": names} for zone, names in sorted(zones.items())}
    document = {"all": {"children": {_group(picture.fleet): {"hosts": hosts}, **children}}}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def _group(name: str) -> str:
    """Return a name as Ansible takes it for a group: letters, digits and underscores, no digit first."""
    found = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{found}" if found[:1].isdigit() else found


def ssh(picture: Picture, *, private: bool = False, user: str = "") -> str:
    """Return a configuration for ssh_config(5): a host for each instance.

    Host keys are kept by the instance's id: an EIP may belong to another instance tomorrow.
    """
    return "\n".join("\n".join(_host(machine, private=private, user=user)) + "\n" for machine in _there(picture))


def _host(machine: Machine, *, private: bool, user: str) -> Iterator[str]:
    yield f"Host {machine.name}"
    yield f"    HostName {reached_at(machine, private=private)}"
    yield f"    HostKeyAlias {machine.id}"
    if user:
        yield f"    User {user}"


def _there(picture: Picture) -> Iterator[Machine]:
    """Yield instances that can be named and reached: names may have been changed in the console."""
    for machine in picture.machines:
        if machine.id and machine.private_ip and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", machine.name):
            yield machine
