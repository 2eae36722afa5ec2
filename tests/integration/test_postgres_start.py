"""Who makes the schema of a shared store, and what a daemon says that cannot use one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import postgres_rig
import pytest

from flowd.store.postgres.schema import known

BAD_STATE, NOT_YET = 78, 75


class Place:
    """A workspace, and a database that is there for one test."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.server = postgres_rig.server()
        self.url = self.server.address(name)

    def flowd(self, *words: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "FLOWD_STORE": url or self.url}
        argv = [sys.executable, "-m", "flowd", *words, "-w", str(self.folder)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, env=environ)

    def says(self, *words: str, code: int, url: str | None = None) -> str:
        done = self.flowd(*words, url=url)
        assert done.returncode == code, done.stdout + done.stderr
        return " ".join((done.stdout + done.stderr).split())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path, "made_by_hand")
    (tmp_path / ".codex").mkdir()
    made.server.execute(f"DROP DATABASE IF EXISTS {made.name} WITH (FORCE)", f"CREATE DATABASE {made.name}")
    yield made
    made.server.execute(f"DROP DATABASE {made.name} WITH (FORCE)")


def test_the_schema_is_made_once_by_a_command_and_never_by_a_daemon(place: Place) -> None:
    assert "has no flowd schema. Make it once: flowd store init" in place.says("serve", code=BAD_STATE)
    assert "Make it once: flowd store init" in place.says("store", "upgrade", code=5)
    assert f"schema {known()} is made" in place.says("store", "init", code=0)
    assert f"schema {known()} is there already" in place.says("store", "init", code=0)
    assert f"schema {known()} is there already" in place.says("store", "upgrade", code=0)
    assert place.server.execute("SELECT version FROM flowd.schema_version", database=place.name) == [(known(),)]


def test_a_role_for_hosts_may_read_and_write_rows_and_no_more(place: Place) -> None:
    place.server.execute("DROP ROLE IF EXISTS host_of_test", "CREATE ROLE host_of_test LOGIN")
    as_host = place.url.replace("postgres@", "host_of_test@")
    try:
        assert "may not use the database" in place.says("store", "init", code=5, url=as_host)
        assert "host_of_test may read and write its rows" in place.says(
            "store", "init", "--host-role", "host_of_test", code=0
        )
        assert "may read and write rows, and no more" in place.says("store", "check", code=0, url=as_host)
        assert "may change the schema itself" in place.says("store", "check", code=0)
    finally:
        place.server.execute("DROP OWNED BY host_of_test", "DROP ROLE host_of_test", database=place.name)


def test_a_schema_that_this_flowd_does_not_know_is_refused_unless_it_says_otherwise(place: Place) -> None:
    place.says("store", "init", code=0)
    newer = "UPDATE flowd.schema_version SET version = 9, changed_by = '9.0'"
    place.server.execute(f"{newer}, min_reader = 8", database=place.name)
    assert f"is 9, of flowd 9.0: this one knows {known()}. Install that version" in place.says("serve", code=BAD_STATE)
    assert "of a newer flowd (9.0)" in place.says("store", "upgrade", code=5)
    place.server.execute(f"{newer}, min_reader = 1", database=place.name)
    assert "flowd, version 9" in place.says("store", "check", code=0)


def test_a_server_that_is_not_there_may_come_and_a_wrong_name_does_not(place: Place) -> None:
    assert "cannot be reached" in place.says("serve", code=NOT_YET, url="postgresql://127.0.0.1:1/x?connect_timeout=2")
    nowhere = place.url.replace(place.name, "no_such_database")
    assert 'database "no_such_database" does not exist' in place.says("serve", code=BAD_STATE, url=nowhere)
    stranger = place.url.replace("postgres@", "nobody:hidden-word@")
    said = place.says("serve", code=BAD_STATE, url=stranger)
    assert 'role "nobody" does not exist' in said
    assert "hidden-word" not in said


def test_the_doctor_looks_at_the_shared_database(place: Place) -> None:
    place.says("store", "init", code=0)
    said = place.says("doctor", code=0)
    for what in ("server", "link", "schema", "rights", "durability", "clock", "listening"):
        assert f"database.{what}" in said
    assert "database.reached" in place.says("doctor", code=1, url="postgresql://127.0.0.1:1/x?connect_timeout=2")
