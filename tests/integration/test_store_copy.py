"""A whole store, copied into another one: each table is, or is named with the reason why not; all or nothing."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import postgres_rig
import pytest
from store_rig import DONE, OPENERS, Stores, accept, begin

from flowd.copies import between
from flowd.copies.between import Copied, Telling
from flowd.domain.errors import StateError
from flowd.domain.exit import Exit
from flowd.domain.shelf import CHUNK_BYTES
from flowd.domain.stored import Output
from flowd.ports import OpenStore
from flowd.settings import sources
from flowd.settings.values import Settings
from flowd.state import folder as state_folder
from flowd.store.sql import bulk
from flowd.store.sql.bulk import Shape
from flowd.store.sqlite import bulk as sqlite_bulk
from flowd.store.sqlite.bulk import SqliteBulk
from flowd.store.sqlite.connection import open_writer


@contextmanager
def shared() -> Iterator[dict[str, Shape]]:
    from flowd.store.postgres.bulk import PostgresBulk  # noqa: PLC0415 - not every machine has its driver

    url = postgres_rig.workspace_store()
    try:
        with postgres_rig.writing(url) as db:
            yield PostgresBulk(db).shapes()
    finally:
        postgres_rig.drop(url)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Of a new database of each kind."""
    path: Path = tmp_path_factory.mktemp("shapes") / "flowd.db"
    with closing(sqlite_bulk.make(path)) as db, shared() as there:
        return SqliteBulk(db).shapes(), there


def test_every_table_of_both_databases_is_copied_or_named_with_a_reason(
    shapes: tuple[dict[str, Shape], dict[str, Shape]],
) -> None:
    here, there = shapes
    copied = bulk.plan(here, there).tables
    assert set(here) | set(there) == {*copied, *bulk.COUNTED, *bulk.LEFT_OUT}
    assert all(reason for reason in bulk.LEFT_OUT.values())
    assert {*bulk.COUNTED} <= set(here) & set(there)


def test_every_column_of_both_databases_is_copied_or_named_with_a_reason(
    shapes: tuple[dict[str, Shape], dict[str, Shape]],
) -> None:
    here, there = shapes
    copied = bulk.plan(here, there).tables
    alone = {
        (table, column)
        for table, columns in copied.items()
        for column in {*here[table].columns, *there[table].columns}.difference(columns)
    }
    assert alone == {*bulk.LEFT_OUT_COLUMNS}


def test_rows_are_told_by_the_same_key_on_both_sides(shapes: tuple[dict[str, Shape], dict[str, Shape]]) -> None:
    here, there = shapes
    copied = bulk.plan(here, there).tables
    keys = {table: (here[table].key, there[table].key) for table in copied if table != "lane_members"}
    assert {table: both for table, both in keys.items() if both[0] != both[1] or not both[0]} == {}


def test_what_is_copied_comes_after_what_triggers_make_of_it(shapes: tuple[dict[str, Shape], dict[str, Shape]]) -> None:
    for plan in (bulk.plan(*shapes), bulk.plan(*reversed(shapes))):
        assert list(plan.tables)[:2] == ["events", "runs"]


SILENT = Telling(lambda _: None, lambda _what, _more: None)


@dataclass
class Place:
    """A workspace whose settings name a shared store, beside what its state folder has."""

    settings: Settings
    url: str

    @property
    def output(self) -> Path:
        return self.settings.state_dir / "output"

    def filled(self, size: int) -> None:
        """A run that has ended, whose output of so many bytes is a file; and one that waits."""

        async def fill(store: OpenStore) -> None:
            await accept(store, "a")
            started = await begin(store)
            (self.output / "run-a.stdout").write_bytes(self.printed(size))
            await store.finish(
                started.attempt, DONE, Exit(), Output(None, b"", size, 0), at_ms=5, wait=None, claim=None
            )
            await accept(store, "b")

        Stores(OPENERS["sqlite"], self.settings.state_dir).use(fill)

    @staticmethod
    def printed(size: int) -> bytes:
        return b"".join(b"%07d\n" % number for number in range(size // 8))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    url = postgres_rig.workspace_store()
    monkeypatch.setenv("FLOWD_STORE", url)
    monkeypatch.setenv("FLOWD_HOST", "anna")
    monkeypatch.setenv("FLOWD_SHARED_OUTPUT_BYTES", str(4 * CHUNK_BYTES))
    settings = sources.load(workspace=tmp_path)
    state_folder.prepare(settings.state_dir, settings.workspace)
    yield Place(settings, url)
    postgres_rig.drop(url)


def to_shared(place: Place) -> Copied:
    return between.to_shared(place.settings, is_dry=False, telling=SILENT)


def to_folder(place: Place, *, replaces: bool = True) -> Copied:
    return between.to_folder(place.settings, is_dry=False, replaces=replaces, telling=SILENT)


def test_output_that_is_too_large_for_the_shelf_is_told_on_the_way_back_without_its_middle(place: Place) -> None:
    size = 10 * CHUNK_BYTES + 64
    place.filled(size)
    assert to_shared(place).output_bytes == size
    with postgres_rig.writing(place.url) as db:
        places = db.execute("SELECT at FROM output_chunks ORDER BY at").fetchall()
        assert [at // CHUNK_BYTES for (at,) in places] == [0, 1, 8, 9, 10]
    whole = (place.output / "run-a.stdout").read_bytes()
    assert to_folder(place).outputs == 1
    assert (place.output / "run-a.stdout").read_bytes() == whole  # what is there and longer stays
    (place.output / "run-a.stdout").unlink()
    to_folder(place)
    kept = (place.output / "run-a.stdout").read_bytes()
    told = b"\n[flowd: 393216 bytes, from 131072 on, were on the host that ran this alone]\n"
    assert kept == whole[: 2 * CHUNK_BYTES] + told + whole[8 * CHUNK_BYTES :]


def test_a_copy_that_fails_leaves_nothing_in_the_target(place: Place) -> None:
    place.filled(200_000)
    with postgres_rig.writing(place.url) as db:
        db.execute("ALTER TABLE runs ADD CONSTRAINT none_waits CHECK (status <> 'queued')")
    with pytest.raises(Exception, match="none_waits"):
        to_shared(place)
    with postgres_rig.writing(place.url) as db:
        for table in ("events", "runs", "output_chunks", "journal"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
        db.execute("ALTER TABLE runs DROP CONSTRAINT none_waits")
    assert to_shared(place).tables["runs"] == 2


def test_a_daemon_at_the_target_is_refused(place: Place) -> None:
    place.filled(0)
    with postgres_rig.writing(place.url) as db:
        db.execute(
            "INSERT INTO hosts (name, host_id, session, version, labels, since_ms, seen_at_ms)"
            " VALUES ('bert', '', '', '', '[]', 0, server_ms())"
        )
    with pytest.raises(StateError, match="bert"):
        to_shared(place)


def test_what_is_of_a_host_is_of_this_one_and_other_hosts_is_left_behind(place: Place) -> None:
    place.filled(0)
    told = [("", "flow")]
    with closing(open_writer(place.settings.state_dir / "flowd.db")) as db:
        db.execute("INSERT INTO flows_told (host, name, status, package_hash) VALUES ('', 'flow', 'ok', 'x')")
    to_shared(place)
    with postgres_rig.writing(place.url) as shared_db:
        assert shared_db.execute("SELECT host, name FROM flows_told").fetchall() == [("anna", "flow")]
        assert shared_db.execute("SELECT DISTINCT host FROM attempts").fetchall() == [("anna",)]
        shared_db.execute(
            "INSERT INTO flows_told (host, name, status, package_hash) VALUES ('bert', 'flow', 'ok', 'x')"
        )
        shared_db.execute("UPDATE runs SET bound_to = 'bert' WHERE id = 'run-b'")
    to_folder(place)
    with closing(open_writer(place.settings.state_dir / "flowd.db")) as db:
        assert db.execute("SELECT host, name FROM flows_told").fetchall() == told
        assert db.execute("SELECT DISTINCT bound_to FROM runs").fetchall() == [("",)]


def test_counts_and_numbers_go_on_where_they_were(place: Place) -> None:
    place.filled(0)
    to_shared(place)
    with postgres_rig.writing(place.url) as db:
        counts = dict(db.execute("SELECT name, n FROM counts").fetchall())
        assert counts == counts | {"events": 2, "completed": 1, "queued": 1, "running": 0, "waiting": 0}
        (cursor,) = db.execute("SELECT max(cursor) FROM journal").fetchone()
        db.execute("INSERT INTO journal (at_ms, kind) VALUES (1, 'flow')")
        assert db.execute("SELECT max(cursor) FROM journal").fetchone() == (cursor + 1,)


def test_no_daemon_starts_where_a_database_was_taken_away_and_the_new_one_is_not_there_yet(place: Place) -> None:
    place.filled(0)
    to_shared(place)
    state = place.settings.state_dir
    (state / "draft").mkdir()
    (state / "flowd.db").rename(state / "draft/flowd.db")
    with pytest.raises(StateError, match="cut off"):
        state_folder.prepare(state, place.settings.workspace)
    state_folder.prepare(state, place.settings.workspace, is_replaced=True)
    to_folder(place)
    state_folder.prepare(state, place.settings.workspace)
    assert not os.path.lexists(state / "draft")


@pytest.mark.parametrize("role", ["postgres", "copier"])
def test_keys_get_numbers_after_those_that_were_copied_whoever_copies(
    place: Place, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    """The second one is what a daemon is: it may read and write rows, and no more."""
    from flowd.store.postgres import owning  # noqa: PLC0415 - not every machine has its driver
    from flowd.store.postgres.address import Address  # noqa: PLC0415

    if role != "postgres":
        postgres_rig.server().execute(f"CREATE ROLE {role} LOGIN")
        owning.bring_up_to_date(Address(place.url, place.url, "flowd"), is_new=False, host_role=role)
    place.filled(0)
    with closing(open_writer(place.settings.state_dir / "flowd.db")) as db:
        db.execute("INSERT INTO lanes (id, kind, grp, key, lim, used) VALUES (7, 'step', 'g', '[]', 1, 1)")
    monkeypatch.setenv("FLOWD_STORE", place.url.replace("postgres@", f"{role}@"))
    to_shared(replace(place, settings=sources.load(workspace=place.settings.workspace)))
    with postgres_rig.writing(place.url) as db:
        (new,) = db.execute(
            "INSERT INTO lanes (kind, grp, key, lim) VALUES ('step', 'g', '[1]', 1) RETURNING id"
        ).fetchone()
    assert new > 7
