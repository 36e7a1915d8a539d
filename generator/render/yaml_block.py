"""YAML that a person can read and every loader reads back as it was.

Mappings in block style, text of several lines literal, lists of words (an argv, packages) on one line.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from generator.render.escape import Escaped

if TYPE_CHECKING:
    import yaml

# Line breaks of YAML other than "\n", which a literal block would turn into "\n", and the byte order mark.
_BREAKS = re.compile("[\r\x85\u2028\u2029\ufeff]")


class Items(list[Any]):
    """A list of which each item stands on lines of its own, whatever it is."""


def dump(value: Any) -> Escaped:
    """Return a value as YAML in block style, ending in a line break; keys stay in their order."""
    import yaml  # noqa: PLC0415 - 20 ms that only rendering pays

    text = yaml.dump(value, Dumper=_dumper(), sort_keys=False, default_flow_style=False, allow_unicode=True, width=110)
    return Escaped(text)


@cache
def _dumper() -> type[yaml.SafeDumper]:
    import yaml  # noqa: PLC0415

    class BlockDumper(yaml.SafeDumper):
        """PyYAML's safe dumper, without anchors, and with the style of each text chosen here."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        style = '"' if _BREAKS.search(text) else "|" if "\n" in text else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    def represent_list(dumper: yaml.SafeDumper, items: list[Any] | tuple[Any, ...]) -> yaml.SequenceNode:
        words = all(isinstance(item, str) and "\n" not in item for item in items)
        return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=words)

    def represent_items(dumper: yaml.SafeDumper, items: Items) -> yaml.SequenceNode:
        return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=False)

    BlockDumper.add_representer(Items, represent_items)
    BlockDumper.add_representer(str, represent_text)
    BlockDumper.add_representer(list, represent_list)
    BlockDumper.add_representer(tuple, represent_list)
    return BlockDumper
