"""A PostgreSQL server for the tests of one process, started when the first of them needs it, with a database a folder.

Debian's `postgresql` is enough; nothing of it has to run. The server listens on a socket alone, and syncs nothing: what
it keeps is gone at the end. It refuses to be root, so root's tests run it as the user postgres.
"""

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

_ABSENT: Final = "PostgreSQL, because its server is not here (apt install postgresql)"
_TEMPLATE: Final = "flowd_template"
_VACUUM_EVERY: Final = 20
_UP_WITHIN_S: Final = 60
_ENDS_WITH_US: Final = ("setpriv", "--pdeathsig", "INT") if shutil.which("setpriv") else ()
"""Also where a test process is killed, so that no server is left behind."""

OPTIONS: Final = {
    "listen_addresses": "", "fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB", "autovacuum": "off",
    "max_connections": "200", "log_min_messages": "fatal", "max_wal_size": "256MB",
}  # fmt: skip


def binaries() -> Path | None:
    """The folder of the server's programs; None where there are none."""
    asked = shutil.which("pg_config")
    said = subprocess.run([asked, "--bindir"], capture_output=True, text=True).stdout.strip() if asked else ""
    folders = [Path(said)] if said else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


class Server:
    """A server with a folder of its own.

    Attributes:
        folder: Of its socket, which is also the host in addresses.
    """

    def __init__(
        self, programs: Path, options: Mapping[str, str] = OPTIONS, *, follows: "Server | None" = None
    ) -> None:
        """Make its files and start it: as a server of its own, or as a standby of another one."""
        self._programs = programs
        self._options = options
        self._user = "postgres" if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="flowd-postgres-"))
        self._data = self.folder / "data"
        if self._user is not None:
            os.chmod(self.folder, 0o755)
            os.chown(self.folder, pwd.getpwnam(self._user).pw_uid, -1)
        if follows is None:
            self._call(["initdb", "-D", str(self._data), "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8",
                        "--locale=C.UTF-8"])  # fmt: skip
        else:
            self._call(["pg_basebackup", "-D", str(self._data), "-h", str(follows.folder), "-U", "postgres",
                        "--no-sync", "--checkpoint=fast", "--write-recovery-conf"])  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def _call(self, command: list[str]) -> None:
        done = subprocess.run(
            [str(self._programs / command[0]), *command[1:]], capture_output=True, text=True, cwd="/", **self._as_user()
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user, "group": pwd.getpwnam(self._user).pw_gid, "extra_groups": []}

    @property
    def pid(self) -> int:
        """Of the server's first process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = [word for name, value in self._options.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_ENDS_WITH_US, self._programs / "postgres", "-D", self._data, "-k", self.folder, *settings],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True, **self._as_user(),
            )  # fmt: skip
        deadline_s = time.monotonic() + _UP_WITHIN_S
        while True:
            try:
                self.execute("SELECT 1")
            except Exception:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline_s, (self.folder / "log").read_text()
                time.sleep(0.02)
            else:
                return

    def stop(self, how: str = "fast") -> None:
        """Stop it as ``pg_ctl stop -m`` does: fast, or immediate."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal({"fast": 2, "immediate": 3}[how])
            self._process.wait(_UP_WITHIN_S)
        self._process = None

    def remove(self) -> None:
        """Stop it, and forget what it kept."""
        self.stop("immediate")
        # By a process of its own: at the end of a test process there is no time for many files.
        subprocess.run(["sh", "-c", 'rm -rf "$0" &', self.folder], start_new_session=True)

    def execute(self, *statements: str, database: str = "postgres") -> list[Any]:
        """Execute statements as the superuser; the rows of the last one."""
        import psycopg  # noqa: PLC0415 - not every machine has it

        rows: list[Any] = []
        with psycopg.connect(host=str(self.folder), user="postgres", dbname=database, autocommit=True) as raw:
            for statement in statements:
                cursor = raw.execute(statement)
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def address(self, database: str) -> str:
        """Of a database."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def make_database(self, name: str) -> str:
        """A database with an empty schema of flowd; its address."""
        self._template()
        self.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} STRATEGY FILE_COPY")
        return self.address(name)

    @cache  # noqa: B019 - as long as the tests
    def _template(self) -> None:
        from flowd.store.postgres import owning  # noqa: PLC0415 - not every machine has its driver
        from flowd.store.postgres.address import Address  # noqa: PLC0415

        self.execute(f"CREATE DATABASE {_TEMPLATE}")
        url = self.address(_TEMPLATE)
        owning.bring_up_to_date(Address(url, url, "flowd"), is_new=True)


@cache
def programs() -> Path:
    """The folder of the server's programs. Skips the test where there are none; on a machine that decides, it fails."""
    found = binaries()
    if found is None and os.environ.get("CI"):
        pytest.fail(f"NOT TESTED: {_ABSENT}")
    if found is None:
        pytest.skip(f"NOT TESTED: {_ABSENT}")
    return found


@cache
def server() -> Server:
    """The server of this process."""
    made = Server(programs())
    atexit.register(made.remove)
    return made


class Database:
    """The one database of this process, for one folder after the other that tests keep their state in: it is emptied
    for each, which takes a twentieth of what a new one takes."""

    def __init__(self) -> None:
        self._address = ""
        self._folder: Path | None = None
        self._times = 0

    def address(self, folder: Path) -> str:
        """Its address. It is empty where the folder was not the last one that was asked for."""
        if not self._address:
            self._address = server().make_database("test")
        elif folder != self._folder:
            self._empty()
        self._folder = folder
        return self._address

    def _empty(self) -> None:
        tables = server().execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'flowd'::regnamespace AND relkind = 'r'"
            " AND relname NOT IN ('schema_version', 'tallies')",
            database="test",
        )
        server().execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'test' AND pid <> pg_backend_pid()",
            "SET search_path = flowd",
            "; ".join(f"DELETE FROM {name}" for (name,) in tables),
            "UPDATE tallies SET n = 0",
            database="test",
        )
        self._times += 1
        if self._times % _VACUUM_EVERY == 0:  # what was deleted slows down who comes by
            server().execute(f"VACUUM {', '.join(f'flowd.{name}' for (name,) in tables)}", database="test")


DATABASE: Final = Database()


@cache
def _numbers() -> "Iterator[int]":
    return count(1)


def workspace_store() -> str:
    """A database of its own for a workspace; its address."""
    return server().make_database(f"workspace_{next(_numbers())}")


def drop(url: str) -> None:
    """Forget a workspace's database."""
    name = url.partition("@/")[2].partition("?")[0]
    server().execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def writing(url: str) -> "Iterator[Any]":
    """The database of an address, as the store writes to it: in one transaction."""
    from flowd.store.postgres.address import Address  # noqa: PLC0415 - not every machine has its driver
    from flowd.store.postgres.connection import PostgresWriter  # noqa: PLC0415

    with closing(PostgresWriter(Address(url, url, "flowd"))) as db:
        db.begin()
        yield db
        db.commit()
