"""Protection against deletion: it is there to stop a removal, so it is never taken back unasked. Pure."""

from __future__ import annotations

from generator.errors import ExitCode
from generator.fleet.actions import Removal
from generator.fleet.calls import Failure

# So many instances are named; the rest is counted.
_NAMED = 10


def refusal(gone: Removal) -> Failure | None:
    """Return why a removal is not begun: some of its instances are protected. None when none is."""
    if not gone.protected:
        return None
    named = [f"{name} ({key})" for key, name in gone.protected[:_NAMED]]
    more = len(gone.protected) - len(named)
    what = "instance is" if len(gone.protected) == 1 else "instances are"
    return Failure(
        f"{len(gone.protected):,} {what} protected against deletion: {', '.join(named)}"
        f"{f' and {more:,} more' if more else ''}; nothing was removed",
        "--unprotect takes the protection back first (launch --remove, destroy and sweep have it)",
        int(ExitCode.FAILED),
        fatal=True,
    )
