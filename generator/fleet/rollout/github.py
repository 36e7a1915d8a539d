"""What went wrong in a rollout as annotations of GitHub Actions. Pure.

https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from generator.fleet.rollout.mishaps import BLOCKER, CRITICAL, MAJOR, MINOR, Mishap, SpecFile

_COMMANDS = {BLOCKER: "error", CRITICAL: "error", MAJOR: "error", MINOR: "warning"}


def commands(found: Iterable[Mishap], file: SpecFile) -> Iterator[str]:
    """Yield mishaps as workflow commands, a line each. GitHub shows the first ten of a kind."""
    for one in found:
        place = f"file={_property(file.path)},line={one.line},title={_property(one.title)}"
        yield f"::{_COMMANDS.get(one.severity, 'notice')} {place}::{_data(one.text)}"


def plain(line: str) -> str:
    """Return a line without the older form of commands, which a runner looks for anywhere in it: `##[error]…`."""
    return line.replace("##[", "# #[")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
