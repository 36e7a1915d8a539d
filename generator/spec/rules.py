"""Rules between the keys of a spec: what no single field can break.

Each takes one mapping as it stands in the file, defaults filled in, so that it works beside errors in other
keys; a value of the wrong type is another rule's business and passes here. The models run the same rules on
themselves, so that a spec made in code is held to them too.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, TypeGuard

from generator.spec.distro import TRAITS, Distro
from generator.spec.findings import Problem, Severity
from generator.spec.source import shown

# The kernel's own routing tables (RT_TABLE_DEFAULT, _MAIN, _LOCAL in linux/rtnetlink.h).
KERNEL_TABLES = (253, 254, 255)
# More ENIs than any ECS instance type has; tables and priorities are reserved for them.
MAX_ENIS = 64

Part = Mapping[str, Any]


def family_or_id(part: Part) -> Iterator[Problem]:
    """`base.ecs` names one image."""
    yield from one_of(part, "base.ecs", "family", "id")


def suite_or_url(part: Part) -> Iterator[Problem]:
    """`base.local` says one way to a disk image, with what belongs to it."""
    yield from one_of(part, "base.local", "suite", "url")
    if part["url"] is not None and part["sha256"] is None:
        yield Problem(
            ("url",),
            "together",
            "`url` without `sha256` would trust whatever it returns",
            "add the digest that the distribution publishes",
            on_key=True,
        )
    for key in ("sha256",) if part["url"] is None else ():
        if part[key] is not None:
            yield Problem((key,), "together", f"`{key}` belongs to `url`", "add url or remove it", on_key=True)
    if part["suite"] is None and part["mirror"] is not None:
        yield Problem(("mirror",), "together", "`mirror` belongs to `suite`", "add suite or remove mirror", on_key=True)


def suite_of_distro(part: Part) -> Iterator[Problem]:
    """`base.local.suite` is the release that `distro` names."""
    base = part["base"]
    local = base.get("local") if isinstance(base, Mapping) else None
    suite = local.get("suite") if isinstance(local, Mapping) else None
    if not isinstance(suite, str) or part["distro"] not in list(Distro):
        return
    wanted = TRAITS[Distro(part["distro"])].suite
    if suite != wanted:
        yield Problem(
            ("base", "local", "suite"),
            "suite",
            f"{shown(suite)} is not a release of {Distro(part['distro'])}",
            f"write {wanted}" if wanted else "use url and sha256: it cannot be made from Debian's tools",
        )


def free_tables(part: Part) -> Iterator[Problem]:
    """The private tables of all ENIs keep clear of the kernel's."""
    first = part["table_base"]
    if is_int(first) and any(first <= table < first + MAX_ENIS for table in KERNEL_TABLES):
        yield Problem(
            ("table_base",),
            "range",
            f"tables {first} to {first + MAX_ENIS - 1} reach the kernel's own, 253 to 255",
            "choose a base above 255",
        )


def primary_first(part: Part) -> Iterator[Problem]:
    """The primary ENI's default route wins in the main table."""
    primary, secondary = part["primary_metric"], part["secondary_metric"]
    if is_int(primary) and is_int(secondary) and secondary <= primary:
        yield Problem(
            ("secondary_metric",),
            "metrics",
            f"secondary_metric {secondary} is not above primary_metric {primary}: a secondary ENI would be the way out",
            "raise secondary_metric",
        )


def primary_is_ours(part: Part) -> Iterator[Problem]:
    """`leave_alone` does not name the primary interface without meaning it."""
    for index, selector in enumerate(as_list(part["leave_alone"])):
        if isinstance(selector, str) and fnmatchcase(str(part["primary_interface"]), selector):
            yield Problem(
                ("leave_alone", index),
                "leave-alone",
                f"{shown(selector)} matches the primary interface too, whose EIPs then get no rules",
                "name the interface, MAC address or ENI id that is meant",
                "warning",
            )


def vpc_with_vswitch(part: Part) -> Iterator[Problem]:
    """Packer makes a new VPC when it is given a vSwitch alone."""
    for key, other in (("vpc_id", "vswitch_id"), ("vswitch_id", "vpc_id")):
        if part[key] is not None and part[other] is None:
            yield Problem(
                (key,),
                "together",
                f"`{key}` without `{other}`, and Packer would make a new VPC",
                f"add {other}, or remove {key}",
                on_key=True,
            )
    if part["security_group_id"] is not None and part["vpc_id"] is None and part["vswitch_id"] is None:
        yield Problem(
            ("security_group_id",),
            "together",
            "`security_group_id` belongs to a VPC",
            "add vpc_id and vswitch_id, or remove it",
            on_key=True,
        )


def zone_in_region(part: Part) -> Iterator[Problem]:
    """The zone is one of the region."""
    region, zone = part["region"], part["zone"]
    if isinstance(region, str) and isinstance(zone, str) and not zone.startswith(region):
        yield Problem(
            ("zone",), "zone", f"the zone {shown(zone)} is not in {shown(region)}", "give a zone of the region"
        )


def copies_elsewhere(part: Part) -> Iterator[Problem]:
    """Copies go to other regions, and to each once."""
    regions = as_list(part["copy_regions"])
    for index, region in enumerate(regions):
        if region == part["region"]:
            yield Problem(
                ("copy_regions", index), "duplicate", f"{shown(region)} is where the image is made", "remove it"
            )
    yield from twice("copy_regions", regions)


def shares_once(part: Part) -> Iterator[Problem]:
    """Each account is named once."""
    yield from twice("share_accounts", as_list(part["share_accounts"]))


def packages_once(part: Part) -> Iterator[Problem]:
    """Each package is named once."""
    yield from twice("packages", as_list(part["packages"]), "warning")


def one_of(part: Part, where: str, *keys: str) -> Iterator[Problem]:
    """Yield a problem unless just one of the keys is given."""
    if sum(part[key] not in (None, [], ()) for key in keys) != 1:
        choice = (
            f"either `{keys[0]}` or `{keys[1]}`"
            if len(keys) == 2
            else f"one of {', '.join(f'`{key}`' for key in keys)}"
        )
        yield Problem((), "one-of", f"{where} takes {choice}", "give one of them", on_key=True)


def twice(key: str, values: list[Any], severity: Severity = "error") -> Iterator[Problem]:
    """Yield a problem for each text or number of a list that is there before it."""
    seen = set()
    for index, value in enumerate(values):
        if not isinstance(value, Hashable):
            continue
        if value in seen:
            yield Problem((key, index), "duplicate", f"{shown(value)} is given twice", "remove one", severity)
        seen.add(value)


def as_list(value: Any) -> list[Any]:
    """Return a list's items; none of what is no list, which is another rule's business."""
    return list(value) if isinstance(value, list | tuple) else []


def is_int(value: Any) -> TypeGuard[int]:
    """Tell whether a value is a whole number, as YAML has it."""
    return isinstance(value, int) and not isinstance(value, bool)
