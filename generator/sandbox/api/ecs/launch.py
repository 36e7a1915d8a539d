"""RunInstances and CreateInstance: from a request to instances with their ENIs, all that fit or none."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace

from generator.sandbox.api import lookup
from generator.sandbox.api.call import RESOURCE_GROUP, TAGS, Body, Call, action, between, matching, one_of
from generator.sandbox.api.ecs import disks, names, nics
from generator.sandbox.api.ecs.images import newest_of_family
from generator.sandbox.api.ecs.places import stock, vcpus
from generator.sandbox.api.errors import ApiError, invalid, missing, not_emulated
from generator.sandbox.region.faults import Kind
from generator.sandbox.region.model import VANISHED, Image, Instance, Steps
from generator.sandbox.region.seeding import TYPES, InstanceType

# https://www.alibabacloud.com/help/en/ecs/user-guide/customize-the-initialization-configuration-for-an-instance
MOST_USER_DATA = 32 * 1024
DESCRIPTION = matching(r"(?!https?://).{2,256}", "InvalidDescription.Malformed")
_SINGLE_LIMITS = {
    "Description": DESCRIPTION,
    "HttpEndpoint": one_of("enabled", "disabled", code="InvalidHttpEndpoint.NotSupported"),
    "HttpTokens": one_of("optional", "required", code="InvalidHttpTokens.NotSupported"),
    "HttpPutResponseHopLimit": between(1, 64, "InvalidHttpPutResponseHopLimit.NotSupported"),
    "InternetMaxBandwidthOut": between(0, 100),
    "InternetChargeType": one_of("PayByTraffic", "PayByBandwidth", code="InvalidInternetChargeType.ValueNotSupported"),
    "InstanceChargeType": one_of("PostPaid"),
    "SpotStrategy": one_of("NoSpot", "SpotWithPriceLimit", "SpotAsPriceGo", code="InvalidSpotStrategy"),
    "SpotDuration": between(0, 1, "InvalidSpotDuration"),
    "SpotPriceLimit": between(0.001, 10**6, "InvalidSpotPriceLimit"),
    "SpotInterruptionBehavior": one_of("Terminate", "Stop", code="InvalidSpotInterruptionBehavior"),
    "ResourceGroupId": RESOURCE_GROUP,
    "Tag": TAGS,
    **disks.LIMITS,
}
_SINGLE = (
    "ImageId ImageFamily InstanceType VSwitchId SecurityGroupId ZoneId InstanceName HostName Description KeyPairName"
    " UserData HttpEndpoint HttpTokens HttpPutResponseHopLimit RamRoleName SpotStrategy SpotDuration SpotPriceLimit"
    " SpotInterruptionBehavior PrivateIpAddress InternetMaxBandwidthOut InternetChargeType InstanceChargeType"
    f" DeletionProtection ResourceGroupId Tag DryRun ClientToken {disks.TAKES}"
)
# What changes nothing that a client of this region could see.
_IGNORED = "IoOptimized SecurityEnhancementStrategy InternetMaxBandwidthIn CreditSpecification PasswordInherit Tenancy"


@action(
    "ecs",
    "RunInstances",
    required="RegionId InstanceType",
    takes=f"{_SINGLE} SystemDisk.Encrypted Amount MinAmount UniqueSuffix HostNames SecurityGroupIds"
    " NetworkInterface.InstanceType NetworkInterface.VSwitchId"
    " NetworkInterface.SecurityGroupId NetworkInterface.SecurityGroupIds"
    " NetworkInterface.PrimaryIpAddress NetworkInterface.SecondaryPrivateIpAddressCount"
    " NetworkInterface.NetworkInterfaceId NetworkInterface.NetworkInterfaceName NetworkInterface.Description"
    " NetworkInterface.DeleteOnRelease NetworkInterface.QueueNumber NetworkInterfaceQueueNumber",
    ignores=f"{_IGNORED} AutoReleaseTime NetworkInterface.NetworkInterfaceTrafficMode"
    " NetworkInterface.NetworkCardIndex",
    limits={
        **_SINGLE_LIMITS,
        "Amount": between(1, 100, "InvalidParam.Amount", 403),
        "MinAmount": between(1, 100, "InvalidMinAmount.Malformed"),
        "NetworkInterface.InstanceType": one_of("Primary", "Secondary"),
        "NetworkInterface.SecondaryPrivateIpAddressCount": between(1, 49),
        "NetworkInterface.QueueNumber": between(1, 2048),
        "NetworkInterfaceQueueNumber": between(1, 2048),
    },
)
def run_instances(call: Call) -> Body:
    """Make instances that start at once; `MinAmount` of them suffice when there is not stock for all."""
    if call.number("InternetMaxBandwidthOut", 0) > 0:
        raise not_emulated("a public IP of the instance's own (InternetMaxBandwidthOut): associate an EIP")
    amount = call.number("Amount", 1)
    least = call.number("MinAmount", amount)
    if least > amount:
        raise invalid("MinAmount", "It exceeds Amount.", "InvalidMinAmount.Malformed")
    batch = _batch(call, amount, call.steps((call.delays.pending, "Starting"), (call.delays.starting, "Running")))
    granted = _in_stock(call, batch.zone, batch.kind, amount, least)
    ids = [_instance(call, batch, number) for number in range(granted)]
    _have_some_vanish(call, ids)
    return {"InstanceIdSets": {"InstanceIdSet": ids}}


@action(
    "ecs",
    "CreateInstance",
    required="RegionId InstanceType",
    takes=_SINGLE,
    ignores=f"{_IGNORED} UseAdditionalService",
    limits={
        **_SINGLE_LIMITS,
        "InstanceName": matching(r"[^][]*", "InvalidInstanceName.Malformed"),
        "HostName": matching(r"[^][]*", "InvalidHostName.Malformed"),
    },
)
def create_instance(call: Call) -> Body:
    """Make one instance that does not start."""
    batch = _batch(call, 1, call.steps((call.delays.pending, "Stopped")))
    _in_stock(call, batch.zone, batch.kind, 1, 1)
    return {"InstanceId": _instance(call, batch, 0)}


def _instance_type(call: Call) -> InstanceType:
    kind = TYPES.get(call.text("InstanceType"))
    if kind is None:
        raise invalid("InstanceType", code="InvalidInstanceType.ValueNotSupported")
    return kind


def _image(call: Call, kind: InstanceType) -> Image:
    if call.text("ImageId") and call.text("ImageFamily"):
        raise ApiError("UnexpectedImageFamily.ImageIdSupplied", "ImageFamily must be null when ImageId is set.")
    if call.text("ImageId"):
        image = lookup.image(call, call.text("ImageId"))
    elif call.text("ImageFamily"):
        newest = newest_of_family(call, call.text("ImageFamily"))
        if newest is None:
            why = "There is no available image related to the specified image family."
            raise ApiError("InvalidImageFamily.MissingAvailableImage", why, 403)
        image = newest
    else:
        raise missing("ImageId")
    if image.status not in ("Available", "Deprecated"):
        raise ApiError("IncorrectImageStatus", "The current status of the image does not support this operation.", 403)
    if (image.architecture == "arm64") != (kind.architecture == "ARM"):
        raise ApiError(
            "ImageNotSupportInstanceType", "The specified image does not support the specified InstanceType.", 403
        )
    if call.text("HttpTokens") == "required" and image.imds != "v2":
        raise invalid("HttpTokens", "The image does not support it.", "InvalidParameter.HttpTokens")
    return image


def _in_stock(call: Call, zone: str, kind: InstanceType, amount: int, least: int) -> int:
    left = stock(call, zone, kind.id)
    if fault := call.account.faults.take("RunInstances", {Kind.NO_STOCK}):
        left = min(left, fault.amount)
    if min(amount, left) < least:
        raise ApiError("OperationDenied.NoStock", "The requested resource is sold out in the specified zone.", 403)
    granted = min(amount, left)
    spot = call.text("SpotStrategy", "NoSpot") != "NoSpot"
    if vcpus(call, spot=spot) + granted * kind.cpus > call.account.behaviour.vcpus:
        why = "The number of vCPUs assigned to the ECS instances has exceeded the quota in the zone."
        raise ApiError("QuotaExceed.ElasticQuota", why, 403)
    return granted


def _have_some_vanish(call: Call, ids: Sequence[str]) -> None:
    fault = call.account.faults.take("RunInstances", {Kind.VANISH})
    for key in ids[len(ids) - min(fault.amount, len(ids)) :] if fault else ():
        doomed = call.region.get(Instance, key)
        call.region.put(replace(doomed, steps=call.steps((call.delays.vanish, VANISHED))))


# Instances


@dataclass(frozen=True)
class _Batch:
    """What the instances of one call share; `amount` is how many were asked for."""

    kind: InstanceType
    image: Image
    nics: Sequence[nics.Nic]
    disks: Sequence[disks.NewDisk]
    amount: int
    steps: Steps

    @property
    def zone(self) -> str:
        """Where they are."""
        return self.nics[0].vswitch.zone


def _batch(call: Call, amount: int, steps: Steps) -> _Batch:
    kind = _instance_type(call)
    wanted = nics.asked(call, kind)
    image = _image(call, kind)
    if call.text("KeyPairName"):
        lookup.key_pair(call, call.text("KeyPairName"), code="InvalidKeyPairName")
    if call.text("SpotStrategy", "NoSpot") != "NoSpot" and call.flag("DeletionProtection"):
        why = "Deletion protection is only valid for postPaid instance, not for prePaid or spot instance."
        raise ApiError("InvalidChargeType.ValueNotSupported", why, 403)
    if call.text("SpotStrategy") == "SpotWithPriceLimit" and "SpotPriceLimit" not in call.parameters:
        raise invalid("SpotPriceLimit", "The strategy needs one.", "InvalidSpotPriceLimit")
    return _Batch(kind, image, wanted, disks.asked(call, image), amount, steps)


def _instance(call: Call, batch: _Batch, number: int) -> str:
    image, primary, key = batch.image, batch.nics[0], call.new("i")
    where, amount, system = primary.vswitch, batch.amount, batch.disks[0]
    instance = call.region.put(
        Instance(
            id=key,
            name=names.of_instance(call, key, number, amount),
            hostname=names.of_host(call, key, number, amount),
            description=call.text("Description"),
            image=image.id,
            type=batch.kind.id,
            vpc=where.vpc,
            vswitch=where.id,
            zone=where.zone,
            groups=primary.groups,
            status="Pending",
            created=call.now,
            disk=call.new("d"),
            disk_size=system.size,
            disk_category=system.category,
            visible=call.now + call.delays.visible,
            key_pair=call.text("KeyPairName"),
            user_data=user_data(call),
            http_endpoint=call.text("HttpEndpoint", "enabled"),
            http_tokens=call.text("HttpTokens", "optional"),
            hop_limit=call.number("HttpPutResponseHopLimit", 1),
            ram_role=call.text("RamRoleName"),
            spot_strategy=call.text("SpotStrategy", "NoSpot"),
            spot_price=float(call.parameters.get("SpotPriceLimit", 0.0)),
            spot_hours=call.number("SpotDuration", 1),
            spot_interruption=call.text("SpotInterruptionBehavior", "Terminate"),
            resource_group=call.text("ResourceGroupId"),
            internet_out=call.number("InternetMaxBandwidthOut", 0),
            deletion_protection=call.flag("DeletionProtection"),
            steps=batch.steps,
            tags=call.tags(),
        )
    )
    nics.plug(call, instance, batch.nics, number)
    disks.fill(call, instance, batch.disks, image)
    return key


def user_data(call: Call) -> str:
    """Return the user-data of a call as it was given, Base64, or raise what is wrong with it."""
    text = call.text("UserData")
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ApiError("InvalidUserData.Base64FormatInvalid", "The specified UserData is not Base64.") from None
    if len(raw) > MOST_USER_DATA:
        raise ApiError("InvalidUserData.SizeExceeded", "The size of the specified UserData exceeds 32 KB.")
    return text
