"""PgBouncer between a daemon and the tests' PostgreSQL server."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import postgres_rig
import psycopg
import pytest

_UP_WITHIN_S = 30
_ABSENT = "a pooler, because there is no PgBouncer (apt install pgbouncer)"


@contextmanager
def pooler(mode: Literal["session", "transaction"], database: str) -> Iterator[str]:
    """The address of a database of the server, behind a pooler of its own."""
    postgres_rig.programs()
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None and os.environ.get("CI"):
        pytest.fail(f"NOT TESTED: {_ABSENT}")
    if program is None:
        pytest.skip(f"NOT TESTED: {_ABSENT}")
    server = postgres_rig.server()
    with tempfile.TemporaryDirectory(prefix="flowd-pooler-") as made:
        folder = Path(made)
        as_user: dict[str, Any] = {}
        if os.geteuid() == 0:  # which it refuses to be
            user = pwd.getpwnam("postgres")
            as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(folder, user.pw_uid, user.pw_gid)
        (folder / "ini").write_text(
            f"[databases]\n* = host={server.folder} user=postgres\n"
            f"[pgbouncer]\nunix_socket_dir = {folder}\nlisten_port = 5432\nauth_type = any\npool_mode = {mode}\n"
        )
        (folder / "ini").chmod(0o644)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, folder / "ini"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **as_user
            )
        url = f"postgresql://postgres@/{database}?host={folder}"
        try:
            _await(url, process, folder / "log")
            yield url
        finally:
            process.terminate()
            process.wait()


def _await(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline_s = time.monotonic() + _UP_WITHIN_S
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.02)
        else:
            return
