"""Who makes the schema of a shared store, and what a daemon says that cannot use one."""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import postgres_rig
import pytest
from command_copy import run_flowd
from store_rig import STEP, claim, new_event

from flowd.domain.queueing import NewRun
from flowd.store.postgres.address import Address
from flowd.store.postgres.schema import known
from flowd.store.postgres.store import PostgresStore

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
        return run_flowd(*words, "-w", self.folder, env=environ)

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


HOSTS = """
SET search_path = flowd;
INSERT INTO hosts (name, host_id, session, version, labels, since_ms, seen_at_ms, wanted, clock_offset_ms)
VALUES ('anna', 'a', 'a', '1', '[]', 0, server_ms(), 'ready', 2500),
       ('bert', 'b', 'b', '1', '[]', 0, server_ms() - 300000, 'ready', 9000),
       ('carl', 'c', 'c', '1', '[]', 0, server_ms(), 'draining', 10);
INSERT INTO host_packages (host, flow_name, hash)
VALUES ('anna', 'photo', '1'), ('carl', 'photo', '2'), ('bert', 'other', '1'), ('anna', 'other', '2');
INSERT INTO host_abilities (host, flow_name, step_name)
VALUES ('anna', 'photo', 'look'), ('carl', 'photo', 'render'), ('bert', 'photo', 'send');
"""


def test_the_doctor_tells_of_hosts_that_are_away_and_of_runs_that_none_starts(place: Place) -> None:
    place.says("store", "init", code=0)
    assert "none has begun yet" in place.says("doctor", code=0)
    steps = ("look", "render", "send")
    runs = [NewRun(f"run-{name}", replace(STEP, flow_name="photo", step_name=name)) for name in steps]

    async def fill() -> None:
        store = PostgresStore(Address(place.url, place.url, "flowd"), max_queued=10)
        await store.accept(new_event("e"), runs, at_ms=1)
        (held,) = (await store.claim(claim(1))).started
        await store.close()
        assert held.run.id == "run-look"

    asyncio.run(fill())
    holds = "UPDATE flowd.attempts SET host = 'bert', session = 'b'"
    bound = "UPDATE flowd.runs SET bound_to = 'bert' WHERE id = 'run-send'"
    place.server.execute(HOSTS, holds, bound, database=place.name)
    told: dict[str, list[str]] = {}
    for finding in json.loads(place.flowd("doctor", "--json").stdout)["findings"]:
        told.setdefault(finding["check"], []).append(f"{finding['level']}: {finding['found']}")
    unserved = [found.partition(" cannot start: ") for found in told.pop("hosts.runs")]
    assert {name: found for name, found in told.items() if name.startswith("hosts")} == {
        "hosts": ["ok: 2 of 3 are heard of"],
        "hosts.clock": ["warn: the clock of host anna is 2.5 s ahead of the database's"],
        "hosts.away": ["warn: host bert was not heard of for 5 min, and holds 1 run"],
        "hosts.packages": ["warn: flow photo is not the same on anna and carl"],
    }
    assert [what for what, _, _ in unserved] == ["warn: 1 run of photo/render", "warn: 1 run of photo/send"]
    assert unserved[0][2].startswith("every host that can run it is draining")
    assert unserved[1][2].startswith("host bert, which has the folder of its round, is not there")
