"""Rules between the keys of `strategy` (see `rules` for how they work)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from generator.spec.findings import Problem
from generator.spec.rules import Part, as_list, one_of
from generator.spec.source import shown

_NOTHING = ("0", "0%", "00", "00%", "000%")


def one_way(part: Part) -> Iterator[Problem]:
    """A hook or gate does one thing."""
    yield from one_of(part, "a hook or gate", "command", "url", "assistant")


def bounds(part: Part) -> Iterator[Problem]:
    """Bounds leave room, and a pointer is of use with a URL and a bound only."""
    above, below = part["above"], part["below"]
    if _is_number(above) and _is_number(below) and above >= below:
        yield Problem(("above",), "bounds", f"no number is above {above} and below {below}", "leave room between them")
    if part["pointer"] is None:
        return
    if part["url"] is None or (above is None and below is None):
        yield Problem(
            ("pointer",),
            "together",
            "`pointer` finds a number for `above` or `below` in what `url` returns",
            "add both, or remove it",
            on_key=True,
        )


def waves_run_no_script(part: Part) -> Iterator[Problem]:
    """A wave is no instance that a script could run on."""
    for key in ("before_wave", "after_wave"):
        hook = part[key]
        if isinstance(hook, Mapping) and hook.get("assistant") is not None:
            yield Problem(
                (key, "assistant"),
                "together",
                f"`{key}` belongs to a wave, and a script runs on an instance",
                "use command or url, or a hook of an instance",
                on_key=True,
            )


def some_room(part: Part) -> Iterator[Problem]:
    """A rollout needs an instance more, or one less."""
    if _is_nothing(part["max_surge"]) and _is_nothing(part["max_unavailable"]):
        yield Problem(
            ("max_unavailable",),
            "no-room",
            "with max_surge 0 and max_unavailable 0 no instance could be replaced",
            "raise one of them",
        )


def waves_of_some(part: Part) -> Iterator[Problem]:
    """A wave has instances."""
    for index, wave in enumerate(as_list(part["waves"])):
        if _is_nothing(wave):
            yield Problem(("waves", index), "range", "a wave of no instances would never end", "give 1 or more")


def gates_once(part: Part) -> Iterator[Problem]:
    """Each gate has a name of its own."""
    seen: list[Any] = []
    for index, gate in enumerate(as_list(part["gates"])):
        name = gate.get("name") if isinstance(gate, Mapping) else None
        if isinstance(name, str) and name in seen:
            yield Problem(("gates", index, "name"), "duplicate", f"{shown(name)} is given twice", "rename one")
        seen.append(name)


def _is_nothing(share: Any) -> bool:
    return not isinstance(share, bool) and str(share) in _NOTHING


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
