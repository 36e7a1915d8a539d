"""Cloud Assistant: commands in instances, and what they gave. The data plane runs them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from generator.sandbox.api import lookup, paging
from generator.sandbox.api.call import Body, Call, action, at_most, between, matching, one_of
from generator.sandbox.api.errors import ApiError
from generator.sandbox.region.account import outcome
from generator.sandbox.region.clock import to_seconds
from generator.sandbox.region.model import CommandResult, Invocation

# What the SDK's documentation of RunCommand says: of the command before Base64, and of what is kept of its output.
MOST_CONTENT = 18 * 1024
MOST_OUTPUT = 24 * 1024
_PAGES = {"PageNumber": between(1, 10**6), "PageSize": between(1, 50), "MaxResults": between(1, 50)}


@action(
    "ecs",
    "RunCommand",
    required="RegionId Type CommandContent InstanceId",
    takes="ContentEncoding Timeout Username Name ClientToken",
    ignores="Description KeepCommand WorkingDir EnableParameter RepeatMode Timed TerminationMode Tag ResourceGroupId",
    limits={
        "Type": one_of("RunShellScript"),
        "ContentEncoding": one_of("PlainText", "Base64"),
        "InstanceId": at_most(100),
        "Timeout": between(10, 86400),
        "RepeatMode": one_of("Once"),
        "Username": matching(r"[A-Za-z0-9_.-]{1,255}"),
        "Name": matching(r".{1,128}"),
    },
)
def run_command(call: Call) -> Body:
    """Run a command in running instances; what it gives is asked for later."""
    content = _content(call)
    invoke, command = call.new("t"), call.new("c")
    for key in dict.fromkeys(call.items("InstanceId")):
        instance = lookup.instance(call, key)
        if instance.status != "Running":
            raise ApiError("InvalidInstance.NotRunning", f"The instance {key} is not running.", 403)
        invocation = Invocation(
            id=f"{invoke}:{key}",
            invoke=invoke,
            command=command,
            name=call.text("Name", command),
            instance=key,
            type=call.text("Type"),
            content=content,
            timeout=call.number("Timeout", 60),
            user=call.text("Username", "root"),
            status="Running",
            created=call.now,
        )
        result = call.account.plane.execute(call.region.name, invocation)
        if result is not None:
            steps = call.steps((call.delays.command, outcome(result)))
            invocation = replace(invocation, result=result, steps=steps)
        call.region.put(invocation)
    return {"CommandId": command, "InvokeId": invoke}


def _content(call: Call) -> str:
    text = call.text("CommandContent")
    raw = text.encode()
    if call.text("ContentEncoding", "PlainText") == "Base64":
        try:
            raw = base64.b64decode(text, validate=True)
            raw.decode()
        except (binascii.Error, UnicodeDecodeError):
            raise ApiError("InvalidParameter.CommandContent", "The CommandContent is not Base64 of text.") from None
    if len(raw) > MOST_CONTENT:
        raise ApiError("CmdContent.ExceedLimit", "The size of the command exceeds the limit.", 403)
    return raw.decode()


@action(
    "ecs",
    "DescribeInvocations",
    required="RegionId",
    takes="InvokeId CommandId InstanceId InvokeStatus IncludeOutput ContentEncoding PageNumber PageSize MaxResults"
    " NextToken",
    limits=_PAGES,
)
def describe_invocations(call: Call) -> Body:
    """Show runs of commands, each with its instances."""
    found: dict[str, list[Invocation]] = {}
    for one in _found(call):
        found.setdefault(one.invoke, []).append(one)
    runs = [run for run in found.values() if call.text("InvokeStatus", _overall(run)) == _overall(run)]
    page, fields = paging.either(call, [run[0] for run in runs])
    return {"Invocations": [_shown_run(call, found[one.invoke]) for one in page], **fields}


@action(
    "ecs",
    "DescribeInvocationResults",
    required="RegionId",
    takes="InvokeId CommandId InstanceId InvokeRecordStatus ContentEncoding PageNumber PageSize MaxResults NextToken",
    ignores="IncludeHistory",
    limits=_PAGES,
)
def describe_invocation_results(call: Call) -> Body:
    """Show what commands gave, one entry an instance."""
    wanted = call.text("InvokeRecordStatus")
    found = [one for one in _found(call) if not wanted or _record_status(one) == wanted]
    page, fields = paging.either(call, found)
    results = [
        {**_shown(call, one, output=True), "FinishedTime": _finished(one), "CommandId": one.command}
        | {"InvokeId": one.invoke, "InvokeRecordStatus": _record_status(one), "Username": one.user}
        for one in page
    ]
    return {"Invocation": {"InvocationResults": results, **fields}}


def _found(call: Call) -> list[Invocation]:
    return [
        one
        for one in call.region.all(Invocation)
        if call.text("InvokeId", one.invoke) == one.invoke
        and call.text("CommandId", one.command) == one.command
        and call.text("InstanceId", one.instance) == one.instance
    ]


def _record_status(one: Invocation) -> str:
    return {"Running": "Running", "Success": "Finished"}.get(one.status, "Failed")


def _overall(run: list[Invocation]) -> str:
    statuses = {_record_status(one) for one in run}
    if "Running" in statuses:
        return "Running"
    return statuses.pop() if len(statuses) == 1 else "PartialFailed"


def _finished(one: Invocation) -> str:
    return to_seconds(one.finished) if one.finished else ""


def _shown_run(call: Call, run: list[Invocation]) -> Mapping[str, Any]:
    first = run[0]
    instances = [
        {**_shown(call, one, output=call.flag("IncludeOutput")), "FinishTime": _finished(one)}
        | {"CreationTime": to_seconds(one.created), "InstanceInvokeStatus": _record_status(one), "Timed": False}
        for one in run
    ]
    return {
        "InvokeId": first.invoke,
        "CommandId": first.command,
        "CommandName": first.name,
        "CommandType": first.type,
        "CommandContent": _encoded(call, first.content),
        "CreationTime": to_seconds(first.created),
        "InvokeStatus": _overall(run),
        "InvocationStatus": first.status if len(run) == 1 else _overall(run),
        "RepeatMode": "Once",
        "Timed": False,
        "Timeout": first.timeout,
        "Username": first.user,
        "InvokeInstances": instances,
    }


def _shown(call: Call, one: Invocation, *, output: bool) -> dict[str, Any]:
    result = one.result if one.status != "Running" else None
    kept = (result.output if result else "").encode()[-MOST_OUTPUT:]
    dropped = max(0, len((result.output if result else "").encode()) - MOST_OUTPUT)
    return {
        "InstanceId": one.instance,
        "InvocationStatus": one.status,
        "StartTime": to_seconds(one.created),
        "ExitCode": result.exit_code if result else None,
        "ErrorCode": _error_code(result) if result else "",
        "ErrorInfo": result.error if result else "",
        "Output": _encoded(call, kept.decode(errors="replace")) if output else None,
        "Dropped": dropped,
        "Repeats": 1 if result else 0,
    }


def _error_code(result: CommandResult) -> str:
    if result.timed_out:
        return "ExecutionTimeout"
    if result.exit_code is None:
        return "ExecutionException"
    return "ExitCodeNonzero" if result.exit_code else ""


def _encoded(call: Call, text: str) -> str:
    # Base64 is what the cloud answers with unless plain text is asked for.
    return text if call.text("ContentEncoding") == "PlainText" else base64.b64encode(text.encode()).decode()
