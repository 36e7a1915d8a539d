"""The rules of a plan: facts of the region and the account against what a fleet's file asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from generator.cloud.offers import InstanceType
from generator.cloud.traits import Traits
from generator.fleet.actions import Actions
from generator.fleet.desired import Desired
from generator.fleet.observe import Observed
from generator.fleet.preflight import Facts, uses
from generator.spec.alg import needing_alg
from generator.spec.findings import Loc, Problem, Severity
from generator.spec.fleet import FleetSpec
from generator.spec.limits import ECS_LIMIT

# What a new account may have (https://www.alibabacloud.com/help/en/eip/quotas); no API tells what this one may.
USUAL_EIPS = 20
# Boot modes of an instance type by those of an image; an image that prefers UEFI boots either way.
_BOOTS = {"BIOS": {"BIOS"}, "UEFI": {"UEFI"}, "UEFI-Preferred": {"BIOS", "UEFI"}}
_ARCHITECTURES = {"X86": ("x86_64", "i386"), "ARM": ("arm64",)}


def standing(spec: FleetSpec, facts: Facts) -> Iterator[Problem]:
    """Judge what the fleet names: without it nothing can be compared, let alone launched."""
    if facts.image is None:
        yield Problem(
            ("image",), "image", facts.no_image or "the image is not there", "build it, or name another", on_key=True
        )
    found = {one.id: one for one in facts.vswitches}
    vpcs = {one.vpc for one in facts.vswitches}
    for number, vswitch in enumerate(spec.vswitches):
        if vswitch not in found:
            yield Problem(("vswitches", number), "vswitch", f"no vSwitch {vswitch} in {spec.region}", "see its id")
    for number, eni in enumerate(spec.enis):
        if eni.vswitch and eni.vswitch not in found:
            loc = ("enis", number, "vswitch")
            yield Problem(loc, "vswitch", f"no vSwitch {eni.vswitch} in {spec.region}", "see its id")
    if len(vpcs) > 1:
        yield Problem(("vswitches",), "vpc", "the vSwitches are of several VPCs", "a fleet has one VPC", on_key=True)
    group = spec.security_group.id
    if group and facts.group is None:
        yield Problem(("security_group", "id"), "group", f"no security group {group} in {spec.region}", "see its id")
    elif facts.group and vpcs and facts.group.vpc not in vpcs:
        message = f"{group} is of {facts.group.vpc}, the vSwitches are of {', '.join(sorted(vpcs))}"
        yield Problem(("security_group", "id"), "group", message, "name a group in the VPC of the vSwitches")
    yield from _given(spec, facts)
    if spec.key_pair and not facts.key_pair:
        message = f"no key pair {spec.key_pair} in {spec.region}"
        yield Problem(("key_pair",), "key-pair", message, "import it, or name another")


def _given(spec: FleetSpec, facts: Facts) -> Iterator[Problem]:
    """Judge whether EIPs and ENIs that the file names by id are there."""
    eips, enis = ({one.id for one in found} for found in (facts.given_eips, facts.given_enis))
    for number, eip in enumerate(spec.eips.ids):
        if eip not in eips:
            yield Problem(("eips", "ids", number), "eip", f"no EIP {eip} in {spec.region}", "see its id")
    for number, eni in enumerate(spec.enis):
        if eni.id and eni.id not in enis:
            yield Problem(("enis", number, "id"), "eni", f"no ENI {eni.id} in {spec.region}", "see its id")


def problems(
    spec: FleetSpec, observed: Observed, desired: Desired, actions: Actions, facts: Facts
) -> Iterator[Problem]:
    """Judge everything else, by what is still to be made."""
    yield from _types(spec, facts)
    if actions.create or actions.revive:
        if facts.image:
            yield from _image(spec, facts.image, facts)
        yield from _stock(spec, facts)
    yield from _room(spec, desired, actions, facts)
    yield from _quotas(spec, desired, actions, facts)
    yield from _taken(spec, observed, desired, facts)
    yield from _way_out(spec, facts)
    yield from _group(spec, facts)
    if facts.user_data > ECS_LIMIT:
        message = f"user-data has {facts.user_data:,} bytes, ECS takes {ECS_LIMIT:,}"
        loc = _loc(spec, "user_data")
        yield Problem(loc, "user-data-size", message, "bake large files into the image", on_key=True)
    if spec.enis[0].addresses and spec.strategy.surge(spec.count):
        message = (
            "a replacement cannot have the primary private IPs of the instance that it replaces while that is there"
        )
        yield Problem(
            ("enis", 0, "addresses"), "surge", message, "set strategy.max_surge to 0, or list no addresses", "warning"
        )


def _loc(spec: FleetSpec, *loc: str | int) -> Loc:
    """Return a place, or that of `image`, which every file has, when the file leaves the key to its default."""
    return loc if str(loc[0]) in spec.model_fields_set else ("image",)


# Instance types and images


def _types(spec: FleetSpec, facts: Facts) -> Iterator[Problem]:
    known = {one.id: one for one in facts.types}
    for number, name in enumerate(spec.instance_types):
        loc = ("instance_types", number)
        kind = known.get(name)
        if kind is None:
            yield Problem(loc, "instance-type", f"{spec.region} has no instance type {name}", "name another")
            continue
        if len(spec.enis) > kind.enis:
            message = f"{name} takes {kind.enis} ENIs, the fleet has {len(spec.enis)}"
            yield Problem(loc, "eni-limit", message, "name a larger type, or fewer ENIs")
        yield from _ips(spec, kind)


def _ips(spec: FleetSpec, kind: InstanceType) -> Iterator[Problem]:
    for number, eni in enumerate(spec.enis):
        if eni.ip_count > kind.eni_ips:
            key = "private_ips" if eni.private_ips else "addresses"
            message = f"{kind.id} takes {kind.eni_ips} private IPs on an ENI, this one has {eni.ip_count}"
            yield Problem(("enis", number, key), "ip-limit", message, "name a larger type, or more ENIs")
        most = kind.queues if number == 0 else kind.secondary_queues
        if eni.queues and most and eni.queues > most:
            message = f"{kind.id} gives this ENI {most} queues, the file asks for {eni.queues}"
            yield Problem(("enis", number, "queues"), "queues", message, "lower it", "warning")


def _image(spec: FleetSpec, image: Traits, facts: Facts) -> Iterator[Problem]:
    where = ("image",)
    if image.status == "Deprecated":
        yield Problem(where, "image", f"{image.id} is deprecated", "name another", "warning", on_key=True)
    elif image.status != "Available":
        yield Problem(where, "image", f"{image.id} is {image.status}", "wait, or name another", on_key=True)
    for kind in facts.types:
        if why := misfit(image, kind):
            yield Problem(
                where, "image-fit", f"{image.id} does not boot on {kind.id}: {why}", "name another", on_key=True
            )
    if spec.metadata.tokens == "required" and image.imds != "v2":
        message = f"{image.id} does not say that it works with metadata tokens (ImdsSupport=v2)"
        severity: Severity = "error" if image.imds else "warning"
        loc = _loc(spec, "metadata", "tokens")
        yield Problem(loc, "imds", message, _remedy_of_imds(spec), severity, on_key=True)
    if spec.user_data.form != "none" and not image.cloud_init:
        loc = _loc(spec, "user_data")
        yield Problem(loc, "cloud-init", f"{image.id} has no cloud-init", "name another image", on_key=True)
    if spec.system_disk.size_gib and spec.system_disk.size_gib < image.size:
        message = f"{image.id} has {image.size} GiB"
        yield Problem(("system_disk", "size_gib"), "disk", message, f"set size_gib to {image.size} at least")


def _remedy_of_imds(spec: FleetSpec) -> str:
    return "publish it with `multieip image build`" if spec.image.name else "take another image, or tokens: optional"


def misfit(image: Traits, kind: InstanceType) -> str:
    """Return why an image does not boot on an instance type, or nothing. What the API leaves out is no reason."""
    fitting = _ARCHITECTURES.get(kind.architecture, ())
    if fitting and image.architecture and image.architecture not in fitting:
        return f"it is {image.architecture}, the type {kind.architecture}"
    modes = _BOOTS.get(image.boot_mode, set())
    if modes and kind.boot_modes and modes.isdisjoint(kind.boot_modes):
        return f"it boots by {image.boot_mode}, the type by {', '.join(kind.boot_modes)}"
    if kind.nvme == "required" and image.nvme == "unsupported":
        return "the type has NVMe disks only, and the image no driver for them"
    return ""


# What the region and the account have


def _stock(spec: FleetSpec, facts: Facts) -> Iterator[Problem]:
    zones = {one.zone for one in facts.vswitches if one.id in spec.vswitches}
    if not facts.stock:
        kinds = ", ".join(spec.instance_types)
        message = f"no stock of {kinds} in {', '.join(sorted(zones))} now"
        yield Problem(("instance_types",), "stock", message, "name more types or vSwitches, or wait", on_key=True)
        return
    for number, kind in enumerate(spec.instance_types):
        sold_out = sorted(zone for zone in zones if (kind, zone) not in facts.stock)
        if sold_out:
            message = f"no stock of {kind} in {', '.join(sold_out)} now"
            yield Problem(("instance_types", number), "stock", message, "the next type or zone is taken", "warning")


def _quotas(spec: FleetSpec, desired: Desired, actions: Actions, facts: Facts) -> Iterator[Problem]:
    for use in uses(spec, desired, actions, facts):
        if use.is_exceeded:
            in_use = f"{use.in_use or 0:,} in use"
            message = f"{use.more:,} more {use.what} beside {in_use} are more than the {use.limit:,} allowed"
            yield Problem(("enis",), "quota", message, "raise the quota in the Quota Center", on_key=True)
    new = len(actions.allocate)
    if facts.eips_in_use is not None and new and facts.eips_in_use + new > USUAL_EIPS:
        message = (
            f"{new:,} new EIPs beside {facts.eips_in_use:,} are more than the {USUAL_EIPS} that a new account may have"
        )
        yield Problem(
            ("enis",), "eip-quota", message, "see in the Quota Center what this one may have", "warning", on_key=True
        )


def _taken(spec: FleetSpec, observed: Observed, desired: Desired, facts: Facts) -> Iterator[Problem]:
    """Judge whether EIPs and ENIs that the file names are free, or the fleet's already."""
    ours = {eni.id for eni in observed.enis}
    for number, key in enumerate(spec.eips.ids):
        eip = next((one for one in facts.given_eips if one.id == key), None)
        if eip and eip.target and eip.target not in ours:
            message = f"{key} ({eip.address}) is on {eip.target}, which is none of the fleet's ENIs"
            yield Problem(("eips", "ids", number), "eip", message, "unassociate it, or name another")
    instances, zones = {one.id for one in observed.instances}, {place.zone for place in desired.places}
    for number, wanted in enumerate(spec.enis):
        eni = next((one for one in facts.given_enis if one.id == wanted.id), None)
        loc = ("enis", number, "id")
        if eni and eni.primary:
            yield Problem(loc, "eni", f"{eni.id} is the primary ENI of {eni.instance}", "name a secondary one")
        elif eni and eni.instance and eni.instance not in instances:
            yield Problem(loc, "eni", f"{eni.id} is on {eni.instance}, which is none of the fleet's", "detach it")
        elif eni and eni.zone not in zones:
            message = f"{eni.id} is in {eni.zone}, the vSwitches are in {', '.join(sorted(zones))}"
            yield Problem(loc, "eni", message, "an instance takes ENIs of its own zone")


def _room(spec: FleetSpec, desired: Desired, actions: Actions, facts: Facts) -> Iterator[Problem]:
    free = {one.id: one.free for one in facts.vswitches}
    wanted, movable = _needed(spec, desired, actions)
    for number, eni in enumerate(spec.enis):
        if eni.vswitch and wanted.get(eni.vswitch, 0) > free.get(eni.vswitch, 0):
            message = (
                f"{eni.vswitch} has {free.get(eni.vswitch, 0):,} free addresses, {wanted[eni.vswitch]:,} are needed"
            )
            yield Problem(("enis", number, "vswitch"), "addresses", message, "name a larger vSwitch")
    left = [max(0, free.get(place.vswitch, 0) - wanted.get(place.vswitch, 0)) for place in desired.places]
    if movable > sum(left):
        message = f"the vSwitches have {sum(left):,} free addresses, {movable:,} are needed"
        yield Problem(("vswitches",), "addresses", message, "add a vSwitch, or lower count", on_key=True)
    elif movable > left[0] and not spec.spread:
        message = f"{desired.places[0].vswitch} has {left[0]:,} free addresses, {movable:,} are needed"
        yield Problem(("vswitches", 0), "addresses", message, "the rest goes to the next vSwitch", "warning")


def _needed(spec: FleetSpec, desired: Desired, actions: Actions) -> tuple[Mapping[str, int], int]:
    """Return the private IPs to be made: in vSwitches that ENIs name, and in whichever the instances go to."""
    fixed: dict[str, int] = {}
    movable = 0
    for eni in spec.enis:
        new = len(actions.create) * (0 if eni.id else eni.ip_count)
        if eni.vswitch:
            fixed[eni.vswitch] = fixed.get(eni.vswitch, 0) + new
        else:
            movable += new
    # A revived instance needs its primary ENI and those that it lost.
    movable += sum(
        eni.private_ips
        for one in actions.revive
        for index, eni in enumerate(desired.enis)
        if index not in dict(one.enis)
    )
    movable += sum(desired.enis[one.index].private_ips for one in actions.add_enis if not one.existing)
    movable += sum(one.count for one in actions.add_ips)
    return fixed, movable


def _way_out(spec: FleetSpec, facts: Facts) -> Iterator[Problem]:
    if facts.gateway is None or not facts.gateway.enabled:
        return
    for number, vswitch in enumerate(spec.vswitches):
        if vswitch not in facts.routed and any(one.id == vswitch for one in facts.vswitches):
            message = f"the VPC has the IPv4 gateway {facts.gateway.id}, and {vswitch} no default route to it"
            yield Problem(("vswitches", number), "gateway", message, "add the route: EIPs answer by it alone")


def _group(spec: FleetSpec, facts: Facts) -> Iterator[Problem]:
    """Judge a security group that is there by its rules; those in the file are judged by `check`."""
    if facts.group is None:
        return
    loc = ("security_group", "id")
    names: dict[str, None] = {}
    for rule in facts.group_rules:
        if rule.ports not in ("-1/-1", ""):
            found = needing_alg(rule.protocol.lower(), "-".join(dict.fromkeys(rule.ports.split("/"))))
            names |= dict.fromkeys(found)
    if names:
        message = f"{facts.group.id} lets in {', '.join(names)}, which NAT mode breaks (no ALG)"
        yield Problem(loc, "alg", message, "use another protocol, or a single EIP in another mode", "warning")
    if not any(_admits(spec, rule.protocol, rule.ports) for rule in facts.group_rules):
        what = "ping" if spec.probe.protocol == "icmp" else f"TCP port {spec.probe.tcp_port}"
        message = f"{facts.group.id} lets nobody in for the probe ({what})"
        yield Problem(loc, "probe", message, "add a rule to it, or probe another port", "warning")


def _admits(spec: FleetSpec, protocol: str, ports: str) -> bool:
    if protocol == "ALL":
        return True
    if spec.probe.protocol == "icmp":
        return protocol == "ICMP"
    first, _, last = ports.partition("/")
    return protocol == "TCP" and (ports == "-1/-1" or int(first) <= spec.probe.tcp_port <= int(last or first))
