"""What is wrong with the extra cloud-config of a spec, found without cloud-init and without a network.

The schemas in `schemas/` are cloud-init's own (see NOTICE): the newest release says what is right, and the one
of the distribution, where it is much older, what an instance will not understand.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from generator.spec import secrets, source
from generator.spec.distro import TRAITS, Distro
from generator.spec.explain import name, unknown_key
from generator.spec.findings import Finding, Loc, Problem, Severity
from generator.spec.limits import AUTO_SCALING_LIMIT, ECS_LIMIT
from generator.spec.source import kind, shown

TOP: Loc = ("cloud_config",)
NEWEST = "26.2"

_REFUSED = {
    "network": (
        "user-data cannot change an instance's network, cloud-init ignores it there",
        "remove it: the image's own files hand the network to NetworkManager",
    ),
    "cloud_init_modules": ("it would replace the modules that multieip's own parts need", "remove it"),
    "cloud_config_modules": ("it would replace the modules that multieip's own parts need", "remove it"),
    "cloud_final_modules": ("it would replace the modules that multieip's own parts need", "remove it"),
    "merge_how": ("multieip merges its own parts with yours before cloud-init sees them", "remove it"),
    "merge_type": ("multieip merges its own parts with yours before cloud-init sees them", "remove it"),
}
# What multieip writes carries its name, but for the override; drop-ins to its units are the user's to write.
_OURS = re.compile(
    r"/etc/cloud/cloud\.cfg\.d/99-disable-network-config\.cfg$|.*/(\d\d-)?multieip(?!-policy-routing\.\w+\.d/)"
)
_RIVALS = ("/etc/netplan/", "/etc/network/interfaces", "/etc/systemd/network/", "/etc/sysconfig/network-scripts/")


def problems(data: dict[str, Any]) -> Iterator[Problem]:
    """Yield every problem of `cloud_config` in a spec's raw data."""
    config = data.get("cloud_config")
    if not isinstance(config, dict) or not config:
        return
    yield from _collisions(config)
    rest = {key: value for key, value in config.items() if key not in _REFUSED}
    newest = list(_schema_problems(rest, NEWEST))
    yield from newest
    yield from _too_new(rest, data.get("distro"), {problem.loc for problem in newest})
    yield from secrets.problems(config, TOP)


def size_findings(path: str, golden: int, standalone: int) -> tuple[Finding, ...]:
    """Judge the sizes of both forms of user-data in bytes, before Base64; `path` is the spec they came from.

    Golden images are what production launches, also by Auto Scaling; the standalone form is for ECS alone, and a
    spec that is too large for it can still be used through its image.
    """
    problems = []
    if golden > ECS_LIMIT:
        problems.append(_size(f"golden user-data has {golden:,} bytes, ECS takes {ECS_LIMIT:,}", "error"))
    elif golden > AUTO_SCALING_LIMIT:
        message = f"golden user-data has {golden:,} bytes, Auto Scaling takes {AUTO_SCALING_LIMIT:,}"
        problems.append(_size(message, "warning"))
    if standalone > ECS_LIMIT:
        message = f"standalone user-data has {standalone:,} bytes, ECS takes {ECS_LIMIT:,}"
        problems.append(_size(message, "warning"))
    document = source.read(Path(path))[0] if problems else None
    return tuple(map(document.finding, problems)) if document else ()


def _size(message: str, severity: Severity) -> Problem:
    remedy = "bake large files into the image, or compress write_files with encoding: gz+b64"
    return Problem(TOP, "user-data-size", message, remedy, severity, on_key=True)


def _collisions(config: dict[str, Any]) -> Iterator[Problem]:
    for key, (message, remedy) in _REFUSED.items():
        if key in config:
            yield Problem((*TOP, key), "collision", f"`{key}`: {message}", remedy, on_key=True)
    if "power_state" in config:
        yield Problem(
            (*TOP, "power_state"),
            "collision",
            "`power_state` replaces the reboot by which the standalone form takes over the network",
            "launch from the golden image, or leave the reboot to multieip",
            "warning",
            on_key=True,
        )
    files = config.get("write_files")
    for index, file in enumerate(files if isinstance(files, list) else ()):
        path = file.get("path") if isinstance(file, dict) else None
        if not isinstance(path, str):
            continue
        loc = (*TOP, "write_files", index, "path")
        target = posixpath.normpath(f"/{path.lstrip('/')}")
        if _OURS.match(target):
            yield Problem(
                loc, "collision", f"{shown(path)} is multieip's own file", "use the keys of `network` instead"
            )
        elif target.startswith(_RIVALS):
            yield Problem(
                loc,
                "collision",
                f"{shown(path)} configures a network manager that is off in the image",
                "use NetworkManager profiles for interfaces that `network.leave_alone` names",
                "warning",
            )


def _too_new(config: dict[str, Any], distro: Any, known: set[Loc]) -> Iterator[Problem]:
    """Yield a warning for what the distribution's older cloud-init does not take."""
    version = TRAITS[Distro(distro)].cloud_init if distro in list(Distro) else ""
    if not version:
        return
    which = f"cloud-init {version} of {distro}"
    understood = _top_keys(version)
    for key in config.keys() - understood:
        if (*TOP, key) not in known:
            yield Problem(
                (*TOP, key),
                "cloud-init-version",
                f"{which} does not know `{key}` and ignores it",
                "use another way, or another distro",
                "warning",
                on_key=True,
            )
    for problem in _schema_problems(config, version):
        if problem.loc not in known:
            yield Problem(
                problem.loc,
                "cloud-init-version",
                f"{which} does not take this: {problem.message}",
                problem.remedy,
                "warning",
                problem.on_key,
            )


@cache
def _schema(version: str) -> dict[str, Any]:
    path = Path(__file__).with_name("schemas") / f"cloud-init-{version}.json"
    schema: dict[str, Any] = json.loads(path.read_bytes())
    return schema


@cache
def _top_keys(version: str) -> frozenset[str]:
    schema = _schema(version)
    modules = (schema["$defs"][part["$ref"].rpartition("/")[2]] for part in schema["allOf"])
    return frozenset(key for module in modules for key in module.get("properties", ()))


def _schema_problems(config: dict[str, Any], version: str) -> Iterator[Problem]:
    import jsonschema  # noqa: PLC0415 - 80 ms that only a spec with cloud_config needs to pay

    seen = set()
    for error in jsonschema.Draft4Validator(_schema(version)).iter_errors(config):
        for problem in _problems_of(error, version):
            if (problem.loc, problem.rule) not in seen:
                seen.add((problem.loc, problem.rule))
                yield problem


def _problems_of(error: Any, version: str) -> Iterator[Problem]:
    """Yield what is wrong, never with the value itself in the message: it may be a secret."""
    loc: Loc = (*TOP, *error.absolute_path)
    value, wanted = error.instance, error.validator_value
    match error.validator:
        case "anyOf" | "oneOf" if error.context:
            for cause in _nearest_branch(error):
                yield from _problems_of(cause, version)
        case "additionalProperties":
            known = set(error.schema.get("properties", ()))
            for key in (key for key in value if key not in known):
                at = "cloud-config" if loc == TOP else ""
                yield unknown_key((*loc, key), known or _top_keys(version), at)
        case "required":
            for key in (key for key in wanted if key not in value):
                message = f"{name(loc)} has no `{key}`"
                yield Problem((*loc, key), "cloud-config", message, f"add {key}", on_key=True)
        case "type":
            types = [wanted] if isinstance(wanted, str) else wanted
            remedy = f"cloud-init wants {' or '.join(_TYPES[one] for one in types)}"
            if isinstance(value, int | float) and "string" in types:
                remedy = f"write it in quotes; {remedy}"
            yield Problem(loc, "cloud-config", f"{name(loc)} is {kind(value)}", remedy)
        case "enum":
            choices = ", ".join(str(choice) for choice in wanted)
            message = f"{name(loc)} is not one of its values"
            yield Problem(loc, "cloud-config", message, f"give one of {choices}")
        case rule:
            yield Problem(loc, "cloud-config", f"{name(loc)} {_says(rule, wanted)}", _REFERENCE)


_REFERENCE = "see cloud-init's module reference for this key"
_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "nothing",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}


def _says(rule: str, wanted: Any) -> str:
    """Say in words what a rule of JSON Schema asks for."""
    phrases = {
        "pattern": f"does not have the form {wanted}",
        "minItems": f"holds fewer than {wanted}",
        "minLength": f"is shorter than {wanted}",
        "minProperties": f"holds fewer than {wanted} keys",
        "minimum": f"is below {wanted}",
        "maximum": f"is above {wanted}",
        "uniqueItems": "holds a value twice",
        "oneOf": "takes one of several forms, and fits more than one",
    }
    return phrases.get(rule, f"breaks the rule {rule}")


def _nearest_branch(error: Any) -> list[Any]:
    """Return the errors of the form that a value comes nearest to: right in its type, with fewest errors."""
    branches: dict[Any, list[Any]] = {}
    for cause in error.context:
        branches.setdefault(cause.relative_schema_path[0], []).append(cause)

    def distance(causes: list[Any]) -> tuple[bool, int]:
        wrong_type = any(cause.validator == "type" and not cause.relative_path for cause in causes)
        return wrong_type, len(causes)

    return min(branches.values(), key=distance)
