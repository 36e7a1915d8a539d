"""Starting, stopping, rebooting and deleting instances, one or many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from generator.sandbox.api import lookup
from generator.sandbox.api.call import Body, Call, action, at_most, one_of
from generator.sandbox.api.errors import ApiError
from generator.sandbox.region import plane
from generator.sandbox.region.model import GONE, Instance

_MANY = {"InstanceId": at_most(100), "StoppedMode": one_of("KeepCharging", "StopCharging", "Not-applicable")}
_MODES = {"StoppedMode": _MANY["StoppedMode"]}


def _refused(what: str) -> ApiError:
    return ApiError("IncorrectInstanceStatus", f"The current status of the resource does not support {what}.", 403)


def _start(call: Call, one: Instance) -> str:
    if one.status != "Stopped" or one.steps:
        raise _refused("starting")
    call.region.put(replace(one, status="Starting", steps=call.steps((call.delays.starting, "Running"))))
    return "Starting"


def _stop(call: Call, one: Instance) -> str:
    if one.status != "Running" or one.steps:
        raise _refused("stopping")
    call.region.put(replace(one, status="Stopping", steps=call.steps((call.delays.stopping, "Stopped"))))
    return "Stopping"


def _reboot(call: Call, one: Instance) -> str:
    if one.status != "Running" or one.steps:
        raise _refused("rebooting")
    call.region.events.append(plane.InstanceRebooted(one))
    call.region.put(replace(one, started=call.now))
    return "Running"


def _delete(call: Call, one: Instance) -> str:
    if one.deletion_protection:
        raise ApiError(
            "InvalidOperation.DeletionProtection", "The instance is protected against deletion by its attribute.", 403
        )
    if one.status == "Pending":
        raise ApiError("IncorrectInstanceStatus.Initializing", "The specified instance is initializing.", 403)
    # Deleting what is on its way out already is no error.
    if one.steps and one.steps[-1][1] == GONE:
        return one.status
    if one.status != "Stopped" and not call.flag("Force"):
        raise _refused("deleting without Force")
    status = "Stopped" if one.status == "Stopped" else "Stopping"
    call.region.put(replace(one, status=status, steps=call.steps((call.delays.releasing, GONE))))
    return status


@action("ecs", "StartInstance", required="InstanceId", takes="DryRun", ignores="InitLocalDisk")
def start_instance(call: Call) -> Body:
    """Start a stopped instance."""
    return _one(call, _start)


@action(
    "ecs",
    "StopInstance",
    required="InstanceId",
    takes="DryRun",
    ignores="ForceStop ConfirmStop StoppedMode",
    limits=_MODES,
)
def stop_instance(call: Call) -> Body:
    """Stop a running instance."""
    return _one(call, _stop)


@action("ecs", "RebootInstance", required="InstanceId", takes="DryRun", ignores="ForceStop")
def reboot_instance(call: Call) -> Body:
    """Reboot a running instance."""
    return _one(call, _reboot)


@action("ecs", "DeleteInstance", required="InstanceId", takes="Force DryRun", ignores="ForceStop TerminateSubscription")
def delete_instance(call: Call) -> Body:
    """Delete an instance: a stopped one, or with Force a running one."""
    return _one(call, _delete)


def _one(call: Call, transition: Callable[[Call, Instance], str]) -> Body:
    transition(call, lookup.instance(call, call.text("InstanceId")))
    return {}


@action("ecs", "StartInstances", required="RegionId InstanceId", takes="DryRun BatchOptimization", limits=_MANY)
def start_instances(call: Call) -> Body:
    """Start stopped instances."""
    return _many(call, _start)


@action(
    "ecs",
    "StopInstances",
    required="RegionId InstanceId",
    takes="DryRun BatchOptimization",
    ignores="ForceStop StoppedMode",
    limits=_MANY,
)
def stop_instances(call: Call) -> Body:
    """Stop running instances."""
    return _many(call, _stop)


@action(
    "ecs",
    "RebootInstances",
    required="RegionId InstanceId",
    takes="DryRun BatchOptimization",
    ignores="ForceReboot",
    limits=_MANY,
)
def reboot_instances(call: Call) -> Body:
    """Reboot running instances."""
    return _many(call, _reboot)


@action(
    "ecs",
    "DeleteInstances",
    required="RegionId InstanceId",
    takes="Force DryRun ClientToken",
    ignores="ForceStop TerminateSubscription",
    limits=_MANY,
)
def delete_instances(call: Call) -> Body:
    """Delete instances, all or none."""
    for one in _named(call):
        _delete(call, one)
    return {}


def _named(call: Call) -> list[Instance]:
    return [lookup.instance(call, key) for key in dict.fromkeys(call.items("InstanceId"))]


def _many(call: Call, transition: Callable[[Call, Instance], str]) -> Body:
    """Apply a transition to instances: all or none, or with BatchOptimization=SuccessFirst to those that allow it."""
    responses = []
    for one in _named(call):
        answer = {"InstanceId": one.id, "PreviousStatus": one.status, "CurrentStatus": one.status}
        try:
            answer |= {"CurrentStatus": transition(call, one), "Code": "200", "Message": "success"}
        except ApiError as refusal:
            if call.text("BatchOptimization") != "SuccessFirst":
                raise
            answer |= {"Code": refusal.code, "Message": refusal.message}
        responses.append(answer)
    return {"InstanceResponses": responses}
