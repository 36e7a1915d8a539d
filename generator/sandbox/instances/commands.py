"""Commands of Cloud Assistant, for every kind of instance: how one is run inside, and what its end means."""

from __future__ import annotations

from generator.run import Result
from generator.sandbox.region.model import CommandResult, Invocation

# The exit code of timeout(1), and the seconds until a command that goes on is killed.
_TIMED_OUT, _GRACE = 124, 5
# Cloud Assistant stores a command in a file, which its first line may give to another interpreter than the shell.
_RUNNER = """
set -eu
file=$(mktemp /var/tmp/multieip-command.XXXXXX)
trap 'rm -f "$file"' EXIT
cat > "$file"
chmod 755 "$file"
chown "$1" "$file"
cd "$(getent passwd "$1" | cut -d: -f6)" 2>/dev/null || cd /
rc=0
timeout --kill-after="$3" "$2" runuser -u "$1" -- "$file" 2>&1 || rc=$?
exit "$rc"
"""
NOT_UP = CommandResult(exit_code=None, error="the instance does not run, or has not booted")


def words(invocation: Invocation) -> list[str]:
    """Return what to run in the instance as root, with the command on its standard input."""
    return ["sh", "-c", _RUNNER, "sh", invocation.user, str(invocation.timeout), str(_GRACE)]


def patience(invocation: Invocation) -> float:
    """Return the seconds after which it must have ended, by itself or by its own limit."""
    return invocation.timeout + 2 * _GRACE


def result(done: Result, invocation: Invocation) -> CommandResult:
    """Return what the command gave."""
    if done.returncode == _TIMED_OUT:
        return CommandResult(done.stdout, None, f"it did not end within {invocation.timeout} s", timed_out=True)
    return CommandResult(done.stdout, done.returncode, done.stderr.strip())
