"""EIPs in NAT mode: each maps to one private IP of an ENI. ECS's own copies of the calls serve clients of old."""

from __future__ import annotations

from dataclasses import replace

from generator.sandbox.api import lookup
from generator.sandbox.api.call import Body, Call, action, one_of
from generator.sandbox.api.errors import ApiError, missing, not_found
from generator.sandbox.api.vpc.gateways import reaches_internet
from generator.sandbox.region.model import Eip, Eni, Instance

BOUND_TO = one_of("EcsInstance", "NetworkInterface")


@action(
    "vpc",
    "AssociateEipAddress",
    required="AllocationId InstanceId",
    takes="InstanceType Mode PrivateIpAddress ClientToken",
    # It is for targets in another region, which the sandbox has none of.
    ignores="InstanceRegionId",
    limits={
        "InstanceType": BOUND_TO,
        "Mode": one_of("NAT", code="Mode.NotSupport"),
    },
)
def associate_eip_address(call: Call) -> Body:
    """Map an EIP to a private IP of an ENI, or to an instance's primary one."""
    if call.text("InstanceType") == "NetworkInterface" and not call.text("PrivateIpAddress"):
        raise missing("PrivateIpAddress")
    return _associate(call)


@action(
    "ecs",
    "AssociateEipAddress",
    required="AllocationId",
    takes="InstanceId InstanceType",
    limits={"InstanceType": BOUND_TO},
)
def associate_eip_address_of_old(call: Call) -> Body:
    """Map an EIP to a primary private IP, for clients of old, which cannot name others."""
    return _associate(call)


def _associate(call: Call) -> Body:
    eip = lookup.eip(call, call.text("AllocationId"))
    if eip.status == "InUse" and _is_bound_so(call, eip):
        raise ApiError("InvalidAssociation.Duplicated", "The specified EIP is associated with this target already.")
    if eip.status != "Available":
        raise ApiError("IncorrectEipStatus", "The current status of the EIP does not support this operation.")
    eni, address = _target(call)
    if call.account.behaviour.serial_binding and any(other.steps for other in call.region.eips_of(eni.id)):
        raise ApiError("TaskConflict", "The eip operate too frequent, TaskConflict.")
    if call.region.eip_at(eni.id, address):
        if call.text("InstanceType", "EcsInstance") == "EcsInstance":
            raise ApiError("InvalidAssociation.Duplicated", "Specified instance already is associated.")
        raise ApiError("ResourceAlreadyAssociated.IpAddress", "The private IP is associated with an EIP already.")
    if len(call.region.eips_of(eni.id)) >= len(eni.addresses):
        raise ApiError("InvalidEip.EipQuotaExceeded", "The number of eni assigned eip is more than privateIp.")
    if not reaches_internet(call, eni.vswitch):
        raise ApiError(
            "OperationFailed.Ipv4GatewayNotOpenedInVpc", "The vSwitch has no default route to the IPv4 gateway."
        )
    call.region.put(
        replace(
            eip,
            status="Associating",
            eni=eni.id,
            private_ip=address,
            bound_as=call.text("InstanceType", "EcsInstance"),
            steps=call.steps((call.delays.associating, "InUse")),
        )
    )
    return {}


def _target(call: Call) -> tuple[Eni, str]:
    if not call.text("InstanceId"):
        raise missing("InstanceId")
    if call.text("InstanceType", "EcsInstance") == "EcsInstance":
        instance = call.region.find(Instance, call.text("InstanceId"))
        if instance is None:
            # So it is spelled.
            raise not_found("InvalidInstanId", "InstanceId")
        if instance.status not in ("Running", "Stopped"):
            raise ApiError("IncorrectInstanceStatus", "The status of the instance does not support this operation.")
        eni = call.region.enis_of(instance.id)[0]
    else:
        found = call.region.find(Eni, call.text("InstanceId"))
        if found is None:
            raise ApiError("InvalidInstance.NotExist", "Bind instance data not exist.")
        eni = found
        if eni.status not in ("Available", "InUse"):
            raise ApiError(
                "InvalidStatus.EniStatusNotSupport", "The status of the ENI does not support this operation."
            )
        if eni.instance and call.region.get(Instance, eni.instance).status not in ("Running", "Stopped"):
            raise ApiError("InvalidStatus.EcsStatusNotSupport", "The status of the instance does not support it.")
    address = call.text("PrivateIpAddress", eni.addresses[0])
    if address not in eni.addresses:
        raise ApiError("InvalidPrivateIpAddress.NotFound", "The private IP is not one of the network interface's.", 404)
    return eni, address


def _is_bound_so(call: Call, eip: Eip) -> bool:
    owner = call.region.get(Eni, eip.eni)
    named = call.text("InstanceId") in (owner.id, owner.instance)
    return named and call.text("PrivateIpAddress", owner.addresses[0]) == eip.private_ip


@action(
    "vpc",
    "UnassociateEipAddress",
    required="AllocationId",
    takes="InstanceId InstanceType PrivateIpAddress ClientToken",
    ignores="Force",
    limits={"InstanceType": BOUND_TO},
)
@action(
    "ecs",
    "UnassociateEipAddress",
    required="AllocationId",
    takes="InstanceId InstanceType",
    limits={"InstanceType": BOUND_TO},
)
def unassociate_eip_address(call: Call) -> Body:
    """End the association of an EIP."""
    eip = lookup.eip(call, call.text("AllocationId"))
    if eip.status != "InUse":
        raise ApiError("IncorrectEipStatus", "The current status of the EIP does not support this operation.")
    eni = call.region.get(Eni, eip.eni)
    if call.text("InstanceId") not in ("", eni.id, eni.instance):
        raise ApiError("InvalidAssociation.NotExists", "The EIP is not associated with the specified instance.")
    if call.text("PrivateIpAddress", eip.private_ip) != eip.private_ip:
        raise ApiError("InvalidAssociation.NotExists", "The EIP is not associated with the specified private IP.")
    call.region.put(replace(eip, status="Unassociating", steps=call.steps((call.delays.unassociating, "Available"))))
    return {}
