"""A rollout in Markdown, for the summary of a CI job, a merge request or a chat. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from generator.fleet.rollout.report import Event, Row, Shown
from generator.fleet.topology import printable

# Of what a gate said. The page and JUnit have all of it.
_MOST = 300
# Bytes of the rows of a table. GitHub refuses all of a summary of more than 1 MiB.
_ROOM = 300_000


def summary(events: Sequence[Event]) -> str:
    """Return waves, instances and gates that do not pass, with the longest outage of all."""
    shown = Shown.of(events)
    replaced = sum(row.state == "replaced" for row in shown.rows)
    worst = max((one["outage"] for one in shown.moves if one["outage"] is not None), default=None)
    told = [
        f"{replaced} of {len(shown.rows)} instances replaced",
        f"{shown.seconds:.0f} s",
        *([] if worst is None else [f"longest outage of an EIP {worst:.2f} s"]),
    ]
    waves = [(str(wave["wave"]), "passed" if wave["passed"] else f"stops: {wave['why']}") for wave in shown.waves]
    failed = [(gate["name"], gate["gate"], gate["detail"]) for gate in shown.gates if not gate["passed"]]
    return "\n".join(
        [
            f"### Rollout of {_safe(shown.fleet)}: {_safe(shown.state)}",
            "",
            f"{', '.join(told)} ({_safe(shown.run)})",
            "",
            *_table(("wave", "verdict"), waves),
            *_table(("instance", "result", "old", "new", "longest outage"), map(_cells, shown.rows)),
            *_table(("instance", "gate that does not pass", "why"), failed),
        ]
    )


def _cells(row: Row) -> tuple[str, ...]:
    state = f"{row.state}: {row.why}" if row.why else row.state
    return row.name, state, row.old, row.new, row.outage


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a table, as long as there is room for it, and nothing for one without rows."""
    lines = [f"| {' | '.join(map(_safe, row))} |" for row in rows]
    if not lines:
        return
    yield from (f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}")
    ends = accumulate(len(line.encode()) + 1 for line in lines)
    shown = sum(end <= _ROOM for end in ends)
    yield from lines[:shown]
    if shown < len(lines):
        yield f"| … and {len(lines) - shown} more |{' |' * (len(columns) - 1)}"
    yield ""


def _safe(text: str) -> str:
    """Return text in one line, with all that Markdown or HTML could take for syntax as entities."""
    line = printable(" ".join(text.split()))
    cut = line if len(line) <= _MOST else f"{line[:_MOST]}…"
    return re.sub(r"[^\w\s.,:;?/=%+()…→-]|_|:(?=//)", lambda found: f"&#{ord(found[0])};", cut)
