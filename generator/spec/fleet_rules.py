"""Rules between the keys of a fleet spec (see `rules` for how they work)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from generator.spec import cloud_config, secrets
from generator.spec.alg import needing_alg
from generator.spec.findings import Loc, Problem
from generator.spec.rules import Part, as_list, is_int, one_of, twice
from generator.spec.source import shown

# PL0 is left out: what is wrong with its size is wrong with the disk's (RunInstances, DataDisk.N.Size).
_LEAST_GIB = {"PL2": 461, "PL3": 1261}
# AllocateEipAddress, Bandwidth.
_MOST_BY_TRAFFIC = 200
# AllocateEipSegmentAddress gives up to 4 EIPs fewer than the block has.
_SEGMENT_LACKS = 4


def one_image(part: Part) -> Iterator[Problem]:
    """`image` names one image."""
    yield from one_of(part, "image", "name", "id", "family")


def one_group(part: Part) -> Iterator[Problem]:
    """`security_group` is one that is there, or one to be made."""
    yield from one_of(part, "security_group", "id", "rules")


def ports_of_protocol(part: Part) -> Iterator[Problem]:
    """tcp and udp have ports, icmp has none."""
    protocol, ports = part.get("protocol"), part["ports"]
    if protocol in ("tcp", "udp") and ports is None:
        yield Problem((), "together", f"a rule for {protocol} names its ports", "add ports", on_key=True)
    if protocol == "icmp" and ports is not None:
        yield Problem(("ports",), "together", "icmp has no ports", "remove ports", on_key=True)


def size_of_level(part: Part) -> Iterator[Problem]:
    """Performance levels are for cloud_essd, and the higher ones for large disks."""
    level, size = part["performance_level"], part.get("size_gib")
    if level is None:
        return
    if part["category"] != "cloud_essd":
        yield Problem(
            ("performance_level",), "together", "only cloud_essd has performance levels", "remove it", on_key=True
        )
    least = _LEAST_GIB.get(level, 0) if isinstance(level, str) else 0
    if is_int(size) and size < least:
        yield Problem(("size_gib",), "range", f"{level} takes disks from {least} GiB", "raise size_gib")


def price_of_spot(part: Part) -> Iterator[Problem]:
    """ECS takes prices of up to three decimal places."""
    price = part["price_limit"]
    if isinstance(price, float) and price > 0.001 and round(price, 3) != price:
        yield Problem(("price_limit",), "range", "a price has up to three decimal places", "round it")


def addresses_or_count(part: Part) -> Iterator[Problem]:
    """Private IPs are counted or listed, and each is listed once."""
    addresses = as_list(part["addresses"])
    if addresses and part["private_ips"] is not None and part["private_ips"] != len(addresses):
        yield Problem(
            ("private_ips",), "together", f"`addresses` has {len(addresses)} private IPs", "remove private_ips"
        )
    yield from twice("addresses", addresses)


def eips_fit(part: Part) -> Iterator[Problem]:
    """In NAT mode an ENI takes as many EIPs as it has private IPs."""
    eips, private_ips = part["eips"], _ip_count(part)
    if is_int(eips) and eips > private_ips:
        yield Problem(
            ("eips",),
            "eips",
            f"{eips} EIPs for {private_ips} private {'IP' if private_ips == 1 else 'IPs'}: each takes one of its own",
            "raise private_ips, or lower eips",
        )


def existing_eni_as_it_is(part: Part) -> Iterator[Problem]:
    """What an ENI is made with cannot be chosen for one that is there already."""
    for key in ("vswitch", "queues", "name") if part["id"] is not None else ():
        if part[key] is not None:
            yield Problem(
                (key,), "together", f"`{key}` of an ENI that is there already is left", "remove it", on_key=True
            )


def bandwidth_of_charge(part: Part) -> Iterator[Problem]:
    """Traffic that is paid by volume has a lower limit."""
    bandwidth = part["bandwidth_mbps"]
    if part["internet_charge_type"] == "PayByTraffic" and is_int(bandwidth) and bandwidth > _MOST_BY_TRAFFIC:
        yield Problem(
            ("bandwidth_mbps",),
            "range",
            f"PayByTraffic takes up to {_MOST_BY_TRAFFIC} Mbit/s",
            "lower it, or use PayByBandwidth",
        )


def existing_as_they_are(part: Part) -> Iterator[Problem]:
    """EIPs that are there already are taken as they are, and each once."""
    ids = as_list(part["ids"])
    yield from twice("ids", ids)
    for key in ("segment", "pool") if ids else ():
        if part[key] is not None:
            yield Problem(
                (key,),
                "together",
                f"`{key}` is for EIPs that are allocated, and `ids` names EIPs that are there already",
                f"remove {key} or ids",
                on_key=True,
            )


def segment_is_plain(part: Part) -> Iterator[Problem]:
    """A contiguous block is not taken from a pool of one's own."""
    if part["segment"] is not None and part["pool"] is not None and not part["ids"]:
        yield Problem(
            ("pool",), "together", "a contiguous block comes from no `pool`", "remove pool or segment", on_key=True
        )


def port_of_probe(part: Part) -> Iterator[Problem]:
    """A ping has no port."""
    if part["protocol"] == "icmp" and part["port"] is not None:
        yield Problem(("port",), "together", "icmp has no port", "remove port, or probe with tcp", on_key=True)


def listed_once(part: Part) -> Iterator[Problem]:
    """Types and vSwitches are named once."""
    for key in ("instance_types", "vswitches"):
        yield from twice(key, as_list(part.get(key)))


def primary_is_made(part: Part) -> Iterator[Problem]:
    """RunInstances makes the primary ENI, in the instance's vSwitch."""
    primary = next(iter(_enis(part)), {})
    for key, remedy in (("id", "give it to a secondary ENI"), ("vswitch", "name it in vswitches")):
        if primary.get(key) is not None:
            yield Problem(
                ("enis", 0, key),
                "primary",
                f"`{key}`: the primary ENI is made with its instance, in its vSwitch",
                remedy,
                on_key=True,
            )


def single_instance_only(part: Part) -> Iterator[Problem]:
    """An ENI that is there, and addresses, can be had by one instance."""
    count = part["count"]
    if not is_int(count) or count == 1:
        return
    for index, eni in enumerate(_enis(part)):
        for key in ("id", "addresses"):
            if eni.get(key):
                yield Problem(
                    ("enis", index, key),
                    "single",
                    f"`{key}` can be had by one instance, and count is {count}",
                    "set count to 1, or use private_ips",
                    on_key=True,
                )


def addresses_once(part: Part) -> Iterator[Problem]:
    """No ENI has an address or an id of another."""
    for key in ("addresses", "id"):
        seen: list[Any] = []
        for index, eni in enumerate(_enis(part)):
            value = eni.get(key)
            for number, item in enumerate(as_list(value) if key == "addresses" else [value]):
                if isinstance(item, str) and item in seen:
                    loc: Loc = ("enis", index, key, number) if key == "addresses" else ("enis", index, key)
                    yield Problem(loc, "duplicate", f"another ENI has {shown(item)} too", "remove one")
            seen += as_list(value) if key == "addresses" else [value]


def vswitches_of_enis(part: Part) -> Iterator[Problem]:
    """A secondary ENI is in the zone of its instance."""
    if len(as_list(part.get("vswitches"))) < 2:
        return
    for index, eni in enumerate(_enis(part)):
        if index and eni.get("vswitch") is not None:
            yield Problem(
                ("enis", index, "vswitch"),
                "zone",
                "an ENI is in the zone of its instance, and `vswitches` names several vSwitches",
                "name vSwitches of one zone only, or leave vswitch out",
                "warning",
            )


def as_many_eips(part: Part) -> Iterator[Problem]:
    """EIPs that are there already are as many as there are places for them."""
    ids, total = as_list(_part(part, "eips").get("ids")), _total_eips(part)
    if ids and len(ids) != total:
        yield Problem(
            ("eips", "ids"), "eips", f"{len(ids)} ids for the {total} EIPs of the fleet", "name as many", on_key=True
        )


def segment_fits(part: Part) -> Iterator[Problem]:
    """A contiguous block has EIPs for all, and not many more."""
    mask, total = _part(part, "eips").get("segment"), _total_eips(part)
    if not is_int(mask) or not 24 <= mask <= 28:
        return
    size = 2 ** (32 - mask)
    loc: Loc = ("eips", "segment")
    if total > size:
        yield Problem(loc, "segment", f"a /{mask} has {size} EIPs, the fleet takes {total}", "take a larger block")
    elif total > size - _SEGMENT_LACKS:
        message = f"a /{mask} may come with {size - _SEGMENT_LACKS} EIPs, and the fleet takes {total}"
        yield Problem(loc, "segment", message, "take a larger block, or fewer EIPs", "warning")
    elif mask < 28 and total <= size // 2 - _SEGMENT_LACKS:
        message = f"a /{mask} has {size} EIPs, which are all billed, and the fleet takes {total}"
        yield Problem(loc, "segment", message, f"take a /{mask + 1}", "warning")


def user_data_of_image(part: Part) -> Iterator[Problem]:
    """User-data is rendered from an image spec, and in the form that the image needs."""
    image, data = _part(part, "image"), _part(part, "user_data")
    form, named = data.get("form", "golden"), image.get("name") is not None
    stock = image.get("id") is not None or image.get("family") is not None
    if form in ("golden", "standalone") and stock and not named and data.get("image_spec") is None:
        yield Problem(
            ("user_data", "image_spec") if data else ("image",),
            "user-data",
            f"{form} user-data is rendered from an image spec, and no key names one",
            "add user_data.image_spec, or set user_data.form to none",
            on_key=True,
        )
    if form == "standalone" and named:
        yield Problem(
            ("user_data", "form"),
            "user-data",
            "standalone user-data is for a stock image, and `image.name` is one that multieip built",
            "use golden, or name the stock image by family or id",
        )
    for key in ("image_spec", "cloud_config") if form == "none" else ():
        if data.get(key):
            yield Problem(
                ("user_data", key), "together", f"`{key}` without user-data", f"remove {key} or form", on_key=True
            )


def spot_is_unprotected(part: Part) -> Iterator[Problem]:
    """ECS protects no spot instance against deletion (RunInstances, InvalidChargeType.ValueNotSupported)."""
    if part["deletion_protection"] is True and part.get("spot") is not None:
        yield Problem(
            ("deletion_protection",),
            "together",
            "ECS refuses `deletion_protection` for spot instances",
            "remove deletion_protection or spot",
            on_key=True,
        )


def protected_are_there(part: Part) -> Iterator[Problem]:
    """Protected instances are some of the fleet's."""
    count, protected = part["count"], as_list(_part(part, "strategy").get("protected"))
    for index, number in enumerate(protected):
        loc: Loc = ("strategy", "protected", index)
        if is_int(number) and is_int(count) and number > count:
            yield Problem(loc, "protected", f"there is no instance {number}, count is {count}", "remove it")
        elif number in protected[:index]:
            yield Problem(loc, "duplicate", f"{shown(number)} is given twice", "remove one")


def probe_is_let_in(part: Part) -> Iterator[Problem]:
    """The security group that is made lets the probe in."""
    rules = [rule for rule in as_list(_part(part, "security_group").get("rules")) if isinstance(rule, Mapping)]
    probe = _part(part, "probe")
    protocol, port = probe.get("protocol", "tcp"), probe.get("port") or 22
    if not rules or protocol not in ("tcp", "icmp") or any(_lets_in(rule, protocol, port) for rule in rules):
        return
    what = f"tcp port {port}" if protocol == "tcp" else "icmp"
    yield Problem(
        ("security_group", "rules"),
        "probe",
        f"no rule lets {what} in, by which EIPs are probed",
        f"add a rule for {what}, or change probe",
        "warning",
        on_key=True,
    )


def without_alg(part: Part) -> Iterator[Problem]:
    """Protocols that carry addresses in their payload do not pass an EIP in NAT mode."""
    for index, rule in enumerate(as_list(_part(part, "security_group").get("rules"))):
        ports = _ports(rule) if isinstance(rule, Mapping) else None
        for name in needing_alg(str(rule.get("protocol")), "{}-{}".format(*ports)) if ports else ():
            yield Problem(
                ("security_group", "rules", index, "ports"),
                "alg",
                f"{name} may fail: an EIP in NAT mode does not translate addresses in its payload",
                "give the instance's software its EIP to announce, or ignore this when it needs none",
                "warning",
            )


def beyond_models(data: dict[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with the parts of a spec's raw data that no model knows."""
    yield from _cloud_config(data)
    for problem in secrets.problems(data.get("strategy"), ("strategy",)):
        message = problem.message.replace(secrets.IN_USER_DATA, "that everyone can read who can read this file")
        yield replace(problem, message=message, remedy="let the command or script fetch it where it runs")


def _cloud_config(data: dict[str, Any]) -> Iterator[Problem]:
    """Judge extra cloud-config as that of an image spec."""
    from generator.spec.image import examine, resolve  # noqa: PLC0415 - images know nothing of fleets, and need not

    image, given = _part(data, "image"), _part(data, "user_data")
    name, distro = given.get("image_spec") or image.get("name"), None
    if given.get("form", "golden") in ("golden", "standalone") and isinstance(name, str):
        loc: Loc = ("user_data", "image_spec") if given.get("image_spec") else ("image", "name")
        spec, findings = examine(name) if _is_there(resolve, name) else (None, ())
        distro = spec.distro if spec else None
        errors = sum(finding.severity == "error" for finding in findings)
        if errors:
            message = f"the image spec {shown(name)} has errors ({errors})"
            yield Problem(loc, "image-spec", message, f"see multieip check {name}")
        elif spec is None:
            message = f"there is no image spec {shown(name)}, which user-data is rendered from"
            yield Problem(loc, "image-spec", message, "name one, or a path to it, in user_data.image_spec")
    config = given.get("cloud_config")
    for problem in cloud_config.problems({"cloud_config": config, "distro": distro}):
        yield replace(problem, loc=("user_data", *problem.loc))


def _is_there(resolve: Callable[[str], Path], name: str) -> bool:
    try:
        return resolve(name).is_file()
    except OSError:
        return False


def _part(part: Part, key: str) -> Part:
    """Return a mapping of the spec; an empty one for what is none, which is another rule's business."""
    value = part.get(key)
    return value if isinstance(value, Mapping) else {}


def _enis(part: Part) -> list[Part]:
    return [eni if isinstance(eni, Mapping) else {} for eni in as_list(part.get("enis"))]


def _ip_count(eni: Part) -> int:
    given = eni.get("private_ips")
    return given if is_int(given) else len(as_list(eni.get("addresses"))) or 1


def _total_eips(part: Part) -> int:
    counts = ((eni.get("eips"), _ip_count(eni)) for eni in _enis(part))
    each = sum(eips if is_int(eips) else private_ips for eips, private_ips in counts)
    return each * (part["count"] if is_int(part["count"]) else 1)


def _ports(rule: Part) -> tuple[int, int] | None:
    """Return the first and last port of a security group's rule; None for what is wrong in other ways."""
    first, _, last = str(rule.get("ports")).partition("-")
    if not (first.isdecimal() and (last or first).isdecimal() and max(len(first), len(last)) <= 5):
        return None
    return int(first), int(last or first)


def _lets_in(rule: Part, protocol: str, port: int) -> bool:
    if rule.get("protocol") != protocol:
        return False
    ports = _ports(rule)
    return protocol == "icmp" or (ports is not None and is_int(port) and ports[0] <= port <= ports[1])
