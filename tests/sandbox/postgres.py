"""A PostgreSQL of its own for a test: Debian's package, started by the test, on a socket that nobody else has."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

# Where Debian and PostgreSQL's own packages have the server's programs.
_PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


def why_not() -> str:
    """Return why there is none on this machine, empty when there can be one."""
    if not _PLACES or not (_PLACES[-1] / "initdb").exists():
        return "PostgreSQL is not installed (apt-get install postgresql)"
    if os.geteuid() != 0:
        return "the user postgres starts PostgreSQL, and only root becomes that"
    return ""


def database(server: str) -> str:
    """Make a new database on a server, and return its URL; `server` is the URL that `serving` yields."""
    import psycopg
    from psycopg.sql import SQL, Identifier

    name = f"test_{os.urandom(6).hex()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    return urlsplit(server)._replace(path=f"/{name}").geturl()


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a new database until the block ends, and yield its URL; `database` makes more of them."""
    # The server refuses root, and its user reaches no test's folder.
    home = Path(f"/var/tmp/multieip-postgres-{os.getpid()}-{os.urandom(3).hex()}")
    home.mkdir(mode=0o755)
    shutil.chown(home, "postgres", "postgres")
    data, binaries = home / "data", _PLACES[-1]

    def run(program: str, *arguments: str) -> None:
        argv = ["runuser", "-u", "postgres", "--", str(binaries / program), *arguments]
        done = subprocess.run(argv, cwd="/", capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        run("initdb", "-D", str(data), "-A", "trust", "--no-sync", "-U", "postgres")
        options = f"-k {home} -c listen_addresses= -c fsync=off -c max_connections=300"
        run("pg_ctl", "-D", str(data), "-w", "-l", str(home / "log"), "-o", options, "start")
        try:
            yield f"postgresql://postgres@/postgres?host={home}"
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)
