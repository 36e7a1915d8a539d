"""Cloud Assistant: run a script in instances, and read what it said."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from generator.cloud.client import Cloud
from generator.cloud.records import wrapped

# RunCommand takes so many instances and so many bytes of a script; DescribeInvocationResults gives so many on a page.
MOST = 100
MOST_SCRIPT = 18 * 1024
PAGE = 50

_ENDED = {"Success", "Failed", "Timeout", "Stopped", "Error", "Aborted", "Cancelled", "Terminated", "Invalid"}


@dataclass(frozen=True)
class Result:
    """What a script gave in one instance: `output` is at most 24 KB of it, `error` ECS's words for how it failed."""

    instance: str
    status: str
    exit_code: int | None
    output: str
    error: str

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.status in _ENDED

    @property
    def why(self) -> str:
        """Why it failed, in a line: what the script said last, else ECS's words; empty for one that did not."""
        if self.exit_code == 0:
            return ""
        return " ".join(self.output.split())[-300:] or self.error or f"exit code {self.exit_code}"


def run(cloud: Cloud, ids: Sequence[str], script: str, *, name: str, timeout: int, token: str) -> str:
    """Run a shell script as root in up to 100 running instances, and return the id of the run. `timeout` in seconds."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.RunCommandRequest(
        region_id=cloud.region,
        client_token=token,
        type="RunShellScript",
        name=name,
        content_encoding="Base64",
        command_content=base64.b64encode(script.encode()).decode(),
        instance_id=list(ids),
        timeout=timeout,
    )
    body = cloud.ecs.call(cloud.ecs.client.run_command_with_options, request)
    return str(body.invoke_id)


def results(cloud: Cloud, invocation: str) -> list[Result]:
    """Return what a run gave so far, one of each instance."""
    from alibabacloud_ecs20140526 import models  # noqa: PLC0415

    request = models.DescribeInvocationResultsRequest(
        region_id=cloud.region, invoke_id=invocation, content_encoding="Base64", max_results=PAGE
    )
    return list(_pages(cloud, request))


def _pages(cloud: Cloud, request: Any) -> Iterator[Result]:
    while True:
        body = cloud.ecs.call(cloud.ecs.client.describe_invocation_results_with_options, request)
        for one in wrapped(body.invocation.invocation_results if body.invocation else None, "invocation_result"):
            yield Result(
                instance=one.instance_id,
                status=one.invocation_status or one.invoke_record_status or "",
                exit_code=one.exit_code,
                output=base64.b64decode(one.output or "").decode(errors="replace"),
                error=" ".join(part for part in (one.error_code, one.error_info) if part),
            )
        request.next_token = body.invocation.next_token if body.invocation else None
        if not request.next_token:
            return
