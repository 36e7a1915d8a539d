"""Inventories are what Ansible and ssh themselves read, and name each instance that can be reached."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from generator.fleet.inventory import ansible, ssh, to_json
from generator.fleet.picture import Picture, picture
from tests.unit.fleets import desired, instance, observed


def seen() -> Picture:
    return picture(desired(), observed(1, 2))


def test_ansible_has_a_group_of_the_fleet_and_one_for_each_zone() -> None:
    children = yaml.safe_load(ansible(seen(), user="admin"))["all"]["children"]
    assert list(children) == ["web", "cn_hangzhou_h"]
    assert children["web"]["hosts"]["web-002"] == {
        "ansible_host": "198.18.2.1",
        "ansible_user": "admin",
        "ecs_instance_id": "i-2",
        "ecs_zone": "cn-hangzhou-h",
        "private_ip": "10.0.2.1",
        "eips": {"10.0.2.1": "198.18.2.1", "10.0.2.2": "198.18.2.2"},
    }
    assert list(children["cn_hangzhou_h"]["hosts"]) == ["web-001", "web-002"]


def test_instances_can_be_reached_at_their_private_ips() -> None:
    hosts = yaml.safe_load(ansible(seen(), private=True))["all"]["children"]["web"]["hosts"]
    assert [host["ansible_host"] for host in hosts.values()] == ["10.0.1.1", "10.0.2.1"]


@pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed: apt-get install openssh-client")
def test_ssh_reads_where_an_instance_is_and_whose_host_key_it_has(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(ssh(seen(), user="root"))
    asked = subprocess.run(["ssh", "-G", "-F", config, "web-002"], capture_output=True, text=True, check=True)
    found = dict(line.split(" ", 1) for line in asked.stdout.splitlines() if " " in line)
    assert (found["hostname"], found["hostkeyalias"], found["user"]) == ("198.18.2.1", "i-2", "root")


def test_json_has_every_eip_with_its_place() -> None:
    found = to_json(seen())
    assert json.loads(json.dumps(found)) == found
    assert found["instances"][0]["eips"] == [
        {"eip": "198.18.1.1", "id": "eip-1-0", "private_ip": "10.0.1.1", "eni": "eni-1-0", "eni_index": 0},
        {"eip": "198.18.1.2", "id": "eip-1-1", "private_ip": "10.0.1.2", "eni": "eni-1-1", "eni_index": 1},
    ]


def test_an_instance_that_is_not_there_is_in_no_inventory() -> None:
    one = picture(desired(), observed(1))
    assert len(one.machines) == 2
    assert [machine["name"] for machine in to_json(one)["instances"]] == ["web-001"]
    assert "web-002" not in ansible(one) + ssh(one)


def test_a_name_from_the_console_cannot_write_configuration() -> None:
    renamed = replace(observed(1), instances=(instance(1, name="web-001\n    ProxyCommand rm"),))
    hostile = picture(desired(), renamed)
    assert hostile.machines[0].name == "web-001\n    ProxyCommand rm"
    assert ssh(hostile) == ""
    assert "ProxyCommand" not in ansible(hostile)
