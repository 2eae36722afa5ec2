"""A PostgreSQL server to measure on, which syncs what it commits, and the floors that `pgbench` finds on it.

The rig of the tests makes it; `make bench-postgres` puts that on the path.
"""

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.subjects import Subject

_DURABLE = {
    "listen_addresses": "", "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
    "shared_buffers": "256MB", "max_wal_size": "4GB", "max_connections": "100", "log_min_messages": "fatal",
}  # fmt: skip
_FLOOR_S = 3
_TPS = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)


class Server:
    """A server with a folder of its own."""

    def __init__(self) -> None:
        from postgres_rig import Server as Rig  # noqa: PLC0415 - only on the path of `make bench-postgres`
        from postgres_rig import binaries  # noqa: PLC0415

        found = binaries()
        if found is None:
            raise RuntimeError("PostgreSQL's server is not here (apt install postgresql)")
        self._programs = found
        self._rig: Any = Rig(found, _DURABLE)
        self._databases = 0

    def database(self, subject: Subject) -> str:
        """The address of a new database with the schema of this flowd."""
        self._databases += 1
        name = f"bench_{self._databases}"
        self._rig.execute(f"CREATE DATABASE {name}")
        address: str = self._rig.address(name)
        made = subprocess.run(
            [subject.flowd, "store", "init"],
            env={**os.environ, "FLOWD_STORE": address},
            cwd=Path(subject.flowd).parent,
            capture_output=True,
            text=True,
        )
        if made.returncode:
            raise RuntimeError(made.stderr.strip())
        return address

    def execute(self, address: str, *statements: str) -> list[Any]:
        """Execute statements in a database; the rows of the last one."""
        rows: list[Any] = self._rig.execute(*statements, database=_name(address))
        return rows

    def transactions(self, address: str) -> int:
        """How many transactions a database has ended so far."""
        asked = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = "
        return int(self.execute(address, f"{asked}'{_name(address)}'")[0][0])

    @cached_property
    def _floor(self) -> str:
        self._rig.execute("CREATE DATABASE floor")
        self._rig.execute("CREATE TABLE floor (id BIGSERIAL PRIMARY KEY, body TEXT NOT NULL)", database="floor")
        script = self._rig.folder / "floor.sql"
        script.write_text("INSERT INTO floor (body) VALUES (repeat('x', 200));\n", encoding="utf-8")
        return str(script)

    def floor(self, clients: int) -> float:
        """Rows a second that `pgbench` inserts, each in a transaction of its own."""
        argv = [
            str(self._programs / "pgbench"), "-n", "-h", str(self._rig.folder), "-U", "postgres", "-f", self._floor,
            "-M", "prepared", "-T", str(_FLOOR_S), "-c", str(clients), "-j", str(min(2, clients)), "floor",
        ]  # fmt: skip
        said = subprocess.run(argv, capture_output=True, text=True)
        found = _TPS.search(said.stdout)
        if found is None:
            raise RuntimeError(said.stderr.strip())
        return float(found[1])

    def close(self) -> None:
        """Stop it, and forget what it kept."""
        self._rig.remove()


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server, for as long as it is measured. Its files are in TMPDIR, which should be a disk."""
    server = Server()
    try:
        yield server
    finally:
        server.close()


def _name(address: str) -> str:
    return address.rpartition("@/")[2].partition("?")[0]


def settle(server: Server, address: str) -> None:
    """Let the planner know what is there, as autovacuum does a minute later."""
    server.execute(address, "VACUUM ANALYZE")
    time.sleep(0.2)
