"""YAML as plain data, with the place of every key and value.

Specs are plain data: what JSON can hold, keys that are text, one document. Whatever else YAML allows is a
finding. The data is built from parser events rather than by PyYAML's composer, so that depth and the number of
values are bounded while reading: a nest of brackets or a bomb of aliases ends as a finding as well.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from generator.spec.findings import Finding, Loc, Problem

MAX_BYTES = 1 << 20
MAX_DEPTH = 40
MAX_VALUES = 50_000
# Past 64 bits a number is a mistake, and what is not a number is no JSON. NaN fails this comparison as well.
_HUGE = 1 << 63

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER: Any = Resolver()
_CONSTRUCTOR = SafeConstructor()
_TAG = "tag:yaml.org,2002:"
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_NOT_JSON = {"timestamp": "a date", "binary": "binary data", "set": "a set", "omap": "an ordered mapping"}

Position = tuple[int, int]


@dataclass(frozen=True)
class Mark:
    """Where a value stands, and its key (in a list: the value again); `text` is a plain scalar as written."""

    key: Position
    value: Position
    text: str | None = None
    literal: bool = False


@dataclass(frozen=True)
class Document:
    """One mapping read from a file. `aliases` leads from a value that is written elsewhere to where it is."""

    path: str
    data: dict[str, Any]
    marks: dict[Loc, Mark]
    aliases: dict[Loc, Loc]

    def mark(self, loc: Loc) -> Mark:
        """Return the mark of a value, or of the nearest thing around it that is in the file."""
        known: Loc = ()
        for part in loc:
            step = self._home((*known, part))
            if step not in self.marks:
                break
            known = step
        return self.marks[known]

    def has(self, loc: Loc) -> bool:
        """Tell whether the file has a value there."""
        return self._home(loc) in self.marks

    def finding(self, problem: Problem) -> Finding:
        """Put a problem at its place."""
        mark = self.mark(problem.loc)
        line, column = mark.key if problem.on_key else mark.value
        if problem.line_offset and mark.literal:
            line, column = line + problem.line_offset, 1
        return Finding(self.path, line, column, problem.rule, problem.message, problem.remedy, problem.severity)

    def _home(self, loc: Loc) -> Loc:
        known: Loc = ()
        for part in loc:
            step = (*known, part)
            # An alias always leads backwards in the file, so this ends.
            known = self._home(self.aliases[step]) if step in self.aliases else step
        return known


class _StopError(Exception):
    """The document cannot be read any further."""

    def __init__(self, position: Position, rule: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.details = (*position, rule, message, remedy)


@dataclass
class _Builder:
    """Turns parser events into data, marks and findings."""

    path: str
    events: Iterator[Any]
    marks: dict[Loc, Mark] = field(default_factory=dict)
    aliases: dict[Loc, Loc] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    # anchor -> its value, where it stands, and how many values it holds
    anchors: dict[str, tuple[Any, Loc, int]] = field(default_factory=dict)
    values: int = 0

    def note(self, position: Position, rule: str, message: str, remedy: str) -> None:
        self.findings.append(Finding(self.path, *position, rule, message, remedy))

    def build(self, event: Any, loc: Loc, key: Position | None) -> Any:
        """Return the data that begins with this event, and remember where everything stands."""
        position = _position(event.start_mark)
        if len(loc) > MAX_DEPTH:
            raise _StopError(position, "too-deep", f"values are nested more than {MAX_DEPTH} deep", "flatten them")
        self._count(1, position)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, loc, key, position)
        before = self.values - 1
        literal = getattr(event, "style", None) == "|"
        text = event.value if isinstance(event, yaml.ScalarEvent) and not event.style else None
        self.marks[loc] = Mark(key or position, key if key and text == "" else position, text, literal)
        data = self._data(event, loc, position)
        if event.anchor is not None:
            self.anchors[event.anchor] = (data, loc, self.values - before)
        return data

    def _data(self, event: Any, loc: Loc, position: Position) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, position)
        if event.tag not in (None, "!", f"{_TAG}map", f"{_TAG}seq"):
            self._tag(event.tag, position)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(loc)
        return [self.build(item, (*loc, n), None) for n, item in enumerate(self._until(yaml.SequenceEndEvent))]

    def _mapping(self, loc: Loc) -> dict[str, Any]:
        data: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for event in self._until(yaml.MappingEndEvent):
            position = _position(event.start_mark)
            key = self._key(event, loc, position)
            value = next(self.events)
            if key is None or key in data:
                if key is not None:
                    first = self.marks[(*loc, key)].key[0]
                    self.note(position, "duplicate-key", f"{shown(key)} is given twice", f"line {first} has the first")
                # What hangs below a key that is refused is read for its own mistakes, and kept nowhere.
                self.build(value, (*loc, f"\0{len(self.marks)}"), position)
            elif key == "<<" and not event.style:
                merged |= self._merge(self.build(value, (*loc, "<<"), position), loc, position)
            else:
                data[key] = self.build(value, (*loc, key), position)
        return self._merged(data, merged, loc)

    def _merged(self, data: dict[str, Any], merged: dict[str, Any], loc: Loc) -> dict[str, Any]:
        extra = {key: value for key, value in merged.items() if key not in data}
        for key in merged.keys() & data.keys():
            self.aliases.pop((*loc, key), None)
        return data | extra

    def _merge(self, value: Any, loc: Loc, position: Position) -> dict[str, Any]:
        """Return what `<<` brings in, the first of several mappings winning, as YAML 1.1 has it."""
        parts = value if isinstance(value, list) else [value]
        merged: dict[str, Any] = {}
        for index, part in enumerate(parts):
            if not isinstance(part, dict):
                self.note(position, "merge", "`<<` takes a mapping or a list of mappings", "name an anchor of one")
                continue
            at: Loc = (*loc, "<<", index) if isinstance(value, list) else (*loc, "<<")
            for key in part.keys() - merged.keys():
                merged[key] = part[key]
                self.aliases[(*loc, key)] = (*at, key)
        return merged

    def _key(self, event: Any, loc: Loc, position: Position) -> str | None:
        if isinstance(event, yaml.ScalarEvent):
            tag = _tag_of(event)
            if tag in ("str", "merge", "value"):
                return str(event.value)
            quoted = f'write it in quotes: "{event.value}"' if event.value else "give it a name"
            self.note(position, "key-type", f"the key {shown(event.value)} is not text in YAML", quoted)
            return None
        self.build(event, (*loc, f"\0{len(self.marks)}"), position)
        self.note(position, "key-type", "a key is a list, a mapping or an alias", "write the key as text")
        return None

    def _scalar(self, event: Any, position: Position) -> Any:
        tag = _tag_of(event)
        if tag in _NOT_JSON:
            self.note(
                position,
                "type",
                f"{shown(event.value)} is {_NOT_JSON[tag]} in YAML",
                "write it in quotes to make it text",
            )
            return event.value
        if tag not in ("str", "int", "float", "bool", "null", "merge", "value"):
            self._tag(event.tag, position)
            return event.value
        if tag in ("str", "merge", "value"):
            return event.value
        try:
            value = getattr(_CONSTRUCTOR, f"construct_yaml_{tag}")(yaml.ScalarNode(f"{_TAG}{tag}", event.value))
        except (ValueError, KeyError, IndexError, OverflowError):
            value = math.nan
        if isinstance(value, int | float) and not abs(value) < _HUGE:
            self.note(position, "type", f"{shown(event.value)} is no usable {tag} value", "give another, or quote it")
            return event.value
        return value

    def _alias(self, event: Any, loc: Loc, key: Position | None, position: Position) -> Any:
        if event.anchor not in self.anchors:
            raise _StopError(
                position,
                "alias",
                f"*{event.anchor} names no anchor that is complete before it",
                f"write &{event.anchor} at an earlier value",
            )
        data, home, size = self.anchors[event.anchor]
        self._count(size, position)
        self.aliases[loc] = home
        return data

    def _count(self, size: int, position: Position) -> None:
        self.values += size
        if self.values > MAX_VALUES:
            raise _StopError(position, "too-large", f"it holds more than {MAX_VALUES} values", "use fewer aliases")

    def _tag(self, tag: str, position: Position) -> None:
        self.note(position, "tag", f"the YAML tag {shown(tag)} is not used in specs", "remove the tag")

    def _until(self, end: type[Any]) -> Iterator[Any]:
        for event in self.events:
            if isinstance(event, end):
                return
            yield event


def read(path: Path, shown_as: str | None = None) -> tuple[Document | None, tuple[Finding, ...]]:
    """Read a spec file: its document, or None when it cannot be read, and what is wrong with its YAML."""
    name = shown_as or str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        return None, (Finding(name, 0, 0, "file", f"cannot be read: {reason}", "check the name and rights"),)
    if len(raw) > MAX_BYTES:
        return None, (Finding(name, 0, 0, "too-large", "it is above 1 MiB", "a spec is a few KiB; split it"),)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", "replace")
        finding = Finding(
            name, *_end(before), "encoding", f"byte 0x{raw[error.start]:02x} is not UTF-8", "save it as UTF-8"
        )
        return None, (finding,)
    return parse(text, name)


def parse(text: str, path: str) -> tuple[Document | None, tuple[Finding, ...]]:
    """Read a spec from text: its document, or None when there is none, and what is wrong with its YAML."""
    bad = _UNPRINTABLE.search(text)
    if bad:
        finding = Finding(
            path,
            *_end(text[: bad.start()]),
            "yaml",
            f"the character U+{ord(bad[0]):04X} is not allowed in YAML",
            "remove it, or write it as an escape in double quotes",
        )
        return None, (finding,)
    builder = _Builder(path, iter(()))
    try:
        data = _document(text, builder)
    except _StopError as stop:
        line, column, rule, message, remedy = stop.details
        builder.note(_within((line, column), text), rule, message, remedy)
        return None, tuple(builder.findings)
    except yaml.YAMLError as error:
        builder.note(*_syntax(error, text))
        return None, tuple(builder.findings)
    return Document(path, data, builder.marks, builder.aliases), tuple(builder.findings)


def _document(text: str, builder: _Builder) -> dict[str, Any]:
    """Return the one mapping that the text is."""
    loader = _LOADER(text)
    try:
        builder.events = events = iter(loader.get_event, None)
        next(events)
        start = next(events)
        if isinstance(start, yaml.StreamEndEvent):
            raise _StopError((1, 1), "empty", "the file is empty", "begin with `version: 1`")
        top = next(events)
        data = builder.build(top, (), None)
        next(events)
        after = next(events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise _StopError(
                _position(after.start_mark), "documents", "a second document begins here", "use one file a spec"
            )
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        what = "empty" if data is None else f"{kind(data)} at the top"
        raise _StopError(
            _position(top.start_mark), "empty" if data is None else "type", f"the file is {what}",
            "begin with `version: 1`",
        )  # fmt: skip
    return data


def _syntax(error: yaml.YAMLError, text: str) -> tuple[Position, str, str, str]:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    position = _within(_position(mark), text) if mark else (1, 1)
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    line = text.splitlines()[position[0] - 1 : position[0]]
    if line and "\t" in line[0][: len(line[0]) - len(line[0].lstrip())]:
        return position, "tab", "a tab indents this line, which YAML does not allow", "indent with spaces"
    return position, "yaml", f"not YAML: {problem}", "check indentation, brackets and quotes here"


def _tag_of(event: Any) -> str:
    tag = event.tag
    if tag is None or tag == "!":
        tag = _RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit)
    return str(tag).removeprefix(_TAG)


def _position(mark: Any) -> Position:
    return mark.line + 1, mark.column + 1


def _end(text: str) -> Position:
    """Return the place after the last character of a text."""
    lines = (text + "\0").splitlines()
    return len(lines), len(lines[-1])


def _within(position: Position, text: str) -> Position:
    """Return the place, or the last one of the text when it is beyond (an error at the end of a file)."""
    lines = text.splitlines() or [""]
    if position[0] > len(lines):
        return len(lines), len(lines[-1]) + 1
    return position[0], min(position[1], len(lines[position[0] - 1]) + 1)


def kind(value: Any) -> str:
    """Say what kind of thing a value is, as a person would."""
    kinds = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return kinds.get(type(value), "a number")


def shown(value: Any) -> str:
    """Return a value for a message: quoted, on one line, and not too long."""
    if isinstance(value, str):
        text = value if len(value) <= 60 else f"{value[:57]}..."
        return "'" + "".join(c if c.isprintable() else repr(c)[1:-1] for c in text) + "'"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        text = str(value)
        return text if len(text) <= 30 else f"{text[:27]}..."
    return kind(value)
