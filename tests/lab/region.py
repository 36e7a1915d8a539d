"""A sandbox that runs, as its clients see it: the official SDK on loopback, and packets from its internet."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from generator.sandbox import local
from generator.sandbox.fabric.netns import Namespace
from generator.sandbox.settings import Home
from tests.sandbox.region import REGION, call, clients

# Seconds until an instance that boots answers, on a machine that may be busy.
LOCAL = 60.0
# For each address of ours, how the internet's echo sees a connection that is bound to it.
_ASK = """
import json, socket, sys
seen = {}
for address in sys.argv[1:]:
    with socket.create_connection(("203.0.113.1", 7), 5, (address, 0)) as echo:
        seen[address] = echo.makefile().readline().strip()
print(json.dumps(seen))
"""


def multieip(*arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    argv = [sys.executable, "-m", "generator", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout)


class Region:
    """The sandbox in a folder. A context manager that deletes the instances it ran and the EIPs it allocated."""

    def __init__(self, folder: Path) -> None:
        running = local.need(Home(folder))
        self.ecs, self.vpc = clients(running["url"])
        self.internet = Namespace(running["internet"])
        self._instances: list[str] = []
        self._eips: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._instances:
            self.do("DeleteInstances", instance_id=self._instances, force=True)
            ids = json.dumps(self._instances)
            self._until(lambda: not self.do("DescribeInstances", instance_ids=ids).instances.instance)
        for eip in self._eips:
            call(self.vpc, "ReleaseEipAddress", {"region_id": REGION, "allocation_id": eip})

    def do(self, name: str, /, **parameters: Any) -> Any:
        """Call ECS."""
        return call(self.ecs, name, {"region_id": REGION, **parameters})

    def run(self, **parameters: Any) -> list[str]:
        """Run instances, and wait until they are Running."""
        ids = list(self.do("RunInstances", **parameters).instance_id_sets.instance_id_set)
        self._instances += ids
        asked = json.dumps(ids)

        def statuses() -> set[str]:
            return {one.status for one in self.do("DescribeInstances", instance_ids=asked).instances.instance}

        self._until(lambda: statuses() == {"Running"})
        return ids

    def enis(self, instance: str) -> list[Any]:
        """Return an instance's ENIs."""
        found = self.do("DescribeNetworkInterfaces", instance_id=instance)
        return list(found.network_interface_sets.network_interface_set)

    def give_eips(self, instance: str) -> dict[str, str]:
        """Give each private IP of an instance an EIP; return the EIPs by private IP."""
        given = {}
        for eni in self.enis(instance):
            for private in eni.private_ip_sets.private_ip_set:
                eip, public = self.allocate()
                self.bind(eip, eni.network_interface_id, private.private_ip_address)
                given[private.private_ip_address] = public
        return given

    def allocate(self) -> tuple[str, str]:
        """Allocate an EIP; return its id and its address."""
        made = call(self.vpc, "AllocateEipAddress", {"region_id": REGION})
        self._eips.append(made.allocation_id)
        return made.allocation_id, made.eip_address

    def bind(self, eip: str, eni: str, address: str) -> None:
        """Associate an EIP with a private IP of an ENI, and wait for it."""
        asked = {"region_id": REGION, "allocation_id": eip, "instance_id": eni, "instance_type": "NetworkInterface"}
        call(self.vpc, "AssociateEipAddress", {**asked, "private_ip_address": address})

        def bound() -> bool:
            found = call(self.vpc, "DescribeEipAddresses", {"region_id": REGION, "allocation_id": eip})
            return bool(found.eip_addresses.eip_address[0].status == "InUse")

        self._until(bound)

    def wait_for_answers(self, eips: dict[str, str], limit: float) -> dict[str, str]:
        """Wait until an SSH server answers on each EIP; return those that do not in time."""
        end, left = time.monotonic() + limit, dict(eips)
        while left and time.monotonic() < end:
            left = {private: eip for private, eip in left.items() if not self.answers(eip)}
            time.sleep(0.1)
        return left

    def answers(self, eip: str, port: int = 22) -> bool:
        """Tell whether SSH answers on an EIP, from the sandbox's internet."""

        def ask() -> bool:
            try:
                with socket.create_connection((eip, port), timeout=1) as connection:
                    connection.settimeout(2)
                    return connection.recv(4) == b"SSH-"
            except OSError:
                return False

        return self.internet.call(ask)

    def command(self, instance: str, content: str) -> tuple[int | None, str]:
        """Run a command by Cloud Assistant; return its exit code and output."""
        asked = {"type": "RunShellScript", "command_content": content, "instance_id": [instance]}
        invoke = self.do("RunCommand", **asked).invoke_id

        def result() -> Any:
            return self.do(
                "DescribeInvocationResults", invoke_id=invoke
            ).invocation.invocation_results.invocation_result[0]

        self._until(lambda: result().invocation_status != "Running")
        done = result()
        return done.exit_code, base64.b64decode(done.output or "").decode()

    def seen_as(self, instance: str, private: dict[str, str]) -> dict[str, str]:
        """Return as what the internet sees connections from private IPs of an instance."""
        code, said = self.command(
            instance, f"#!/usr/bin/env -S python3\n{_ASK}".replace("sys.argv[1:]", repr(list(private)))
        )
        assert code == 0, said
        seen: dict[str, str] = json.loads(said)
        return seen

    def tags_of_image(self, image: str) -> Any:
        """Return an image's tags."""
        (found,) = self.do("DescribeImages", image_id=image).images.image
        return found.tags.tag

    def left_by_packer(self) -> dict[str, int]:
        """Count what a build makes for its time."""
        instances = self.do("DescribeInstances").instances.instance
        return {
            "instances": len([one for one in instances if one.instance_id not in self._instances]),
            "key pairs": self.do("DescribeKeyPairs").total_count,
            "groups": self.do("DescribeSecurityGroups").total_count,
            "vpcs": len(call(self.vpc, "DescribeVpcs", {"region_id": REGION}).vpcs.vpc),
        }

    @staticmethod
    def _until(holds: Any, limit: float = LOCAL) -> None:
        end = time.monotonic() + limit
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.05)
