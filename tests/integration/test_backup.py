"""Backups: what one has, what is refused, and what is left where it does not come to an end."""

import json
import os
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path

import postgres_rig
import pytest
from store_rig import DONE, OPENERS, Stores, accept, begin

from flowd.copies import archive, backup, restore
from flowd.copies.archive import BackupError, Header, Writer
from flowd.copies.backup import Made
from flowd.copies.between import Telling
from flowd.copies.restore import Restored
from flowd.domain.errors import StateError
from flowd.domain.exit import Exit
from flowd.domain.stored import Output
from flowd.ports import OpenStore
from flowd.settings import sources
from flowd.settings.values import Settings
from flowd.state import folder as state_folder
from flowd.store.sqlite.connection import open_writer
from flowd.store.sqlite.schema import known_schema, migrations

SILENT = Telling(lambda _: None, lambda _what, _more: None)
PRINTED = b"".join(b"%07d\n" % number for number in range(20_000))


class Place:
    """A workspace whose daemon is stopped."""

    def __init__(self, path: Path, **variables: str) -> None:
        path.mkdir(exist_ok=True)
        self.path = path
        self.settings: Settings = sources.load(workspace=path, environ={"FLOWD_HOST": "anna", **variables}, home=path)
        state_folder.prepare(self.state, path)

    @property
    def state(self) -> Path:
        return self.settings.state_dir

    def fill(self) -> None:
        """A run that has ended, whose output is a file; one that runs; and one that waits."""

        async def fill(store: OpenStore) -> None:
            await accept(store, "a")
            started = await begin(store)
            (self.state / "output/run-a.stdout").write_bytes(PRINTED)
            await store.finish(
                started.attempt, DONE, Exit(), Output(None, b"", len(PRINTED), 0), at_ms=5, wait=None, claim=None
            )
            await accept(store, "b")
            await begin(store, "run-b")
            await accept(store, "c")

        Stores(OPENERS["sqlite"], self.state).use(fill)

    def back_up(self, path: Path, *, is_forced: bool = False) -> Made:
        return backup.to_file(self.settings, path, is_forced=is_forced, telling=SILENT)

    def restore(self, path: Path, *, replaces: bool = False) -> Restored:
        with path.open("rb") as file:
            return restore.restore(self.settings, path.name, file, replaces=replaces, telling=SILENT)

    def runs(self) -> dict[str, str]:
        with closing(sqlite3.connect(self.state / "flowd.db")) as db:
            return dict(db.execute("SELECT id, status FROM runs").fetchall())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    it = Place(tmp_path / "here")
    it.fill()
    return it


@pytest.fixture
def made(place: Place, tmp_path: Path) -> Path:
    """A backup of it."""
    path = tmp_path / "backup.tar"
    place.back_up(path)
    return path


RUNS = {"run-a": "completed", "run-b": "running", "run-c": "queued"}


def test_a_backup_is_restored_into_an_empty_folder_with_its_output(place: Place, made: Path, tmp_path: Path) -> None:
    assert made.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar", "here"]
    there = Place(tmp_path / "there")
    restored = there.restore(made)
    assert (restored.running, restored.queued, restored.aside) == (1, 1, None)
    assert there.runs() == place.runs() == RUNS
    assert (there.state / "output/run-a.stdout").read_bytes() == PRINTED
    assert not os.path.lexists(there.state / "draft")
    with closing(sqlite3.connect(there.state / "flowd.db")) as db:
        # Nobody takes the attempt for one of a keeper that forgot it, and so for one that never began.
        assert db.execute("SELECT DISTINCT boot_id FROM attempts WHERE status = 'running'").fetchall() == [
            ("restored",)
        ]


def test_a_backup_is_a_tar_archive_with_a_database_of_sqlite(made: Path, tmp_path: Path) -> None:
    with tarfile.open(made) as tar:
        assert tar.getnames() == ["flowd-backup.json", "output/run-a.stdout", "flowd.db", "manifest.json"]
        database = tar.extractfile("flowd.db")
        assert database is not None
        (tmp_path / "copy.db").write_bytes(database.read())
    with closing(sqlite3.connect(tmp_path / "copy.db")) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (3,)


def test_what_is_there_is_replaced_only_when_asked_and_then_moved_aside(place: Place, made: Path) -> None:
    async def more(store: OpenStore) -> None:
        await accept(store, "later")

    Stores(OPENERS["sqlite"], place.state).use(more)
    with pytest.raises(StateError, match=r"4 events.*--replace"):
        place.restore(made)
    restored = place.restore(made, replaces=True)
    assert place.runs() == RUNS
    assert restored.aside is not None
    with closing(sqlite3.connect(restored.aside / "flowd.db")) as db:
        assert db.execute("SELECT count(*) FROM events").fetchone() == (4,)
    assert (restored.aside / "output/run-a.stdout").read_bytes() == PRINTED


def test_a_file_is_written_over_only_when_asked(place: Place, made: Path) -> None:
    before = made.read_bytes()
    with pytest.raises(StateError, match="--force"):
        place.back_up(made)
    assert made.read_bytes() == before
    place.back_up(made, is_forced=True)
    assert made.read_bytes() != before
    with pytest.raises(StateError, match="There is no folder"):
        place.back_up(made.parent / "none/b.tar")
    with pytest.raises(StateError, match="is a folder"):
        place.back_up(made.parent)


def test_of_an_attempt_that_was_pruned_meanwhile_no_file_is_restored(place: Place, tmp_path: Path) -> None:
    def forget(_what: str, _more: int) -> None:
        with closing(open_writer(place.state / "flowd.db")) as db:
            db.execute("DELETE FROM attempts WHERE run_seq = (SELECT seq FROM runs WHERE id = 'run-a')")

    path = tmp_path / "pruned.tar"
    made = backup.to_file(place.settings, path, is_forced=False, telling=Telling(lambda _: None, forget))
    assert made.manifest.outputs == 1
    there = Place(tmp_path / "there")
    there.restore(path)
    assert list((there.state / "output").iterdir()) == []


def test_output_that_somebody_has_removed_is_told(place: Place, tmp_path: Path) -> None:
    (place.state / "output/run-a.stdout").unlink()
    assert place.back_up(tmp_path / "b.tar").manifest.missing == ["run-a.stdout"]


# --- what is refused


def verify(path: Path) -> Made:
    with path.open("rb") as file:
        return backup.verify(path, file, done=lambda _: None)


def refusal_of(place: Place, path: Path) -> str:
    """What both who verify it and who restore it are told; and nothing is changed."""
    there = Place(place.path.parent / "there")
    with pytest.raises(BackupError) as verified:
        verify(path)
    with pytest.raises(BackupError) as restored:
        there.restore(path)
    assert not (there.state / "flowd.db").exists()
    assert not os.path.lexists(there.state / "draft")
    state_folder.prepare(there.state, there.path)  # a daemon would start
    assert restored.value.message.replace(path.name, "X") == verified.value.message.replace(str(path), "X")
    return restored.value.message


def test_a_backup_is_whole(made: Path) -> None:
    found = verify(made)
    assert (found.manifest.rows["runs"], found.manifest.outputs) == (3, 1)


@pytest.mark.parametrize("text", [b"", b"hello\n", b"\0" * 10_240, b"SQLite format 3\0" * 1000])
def test_a_file_that_is_no_backup_is_refused(place: Place, tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(text)
    assert "is not a backup of flowd" in refusal_of(place, path)


def test_another_archive_is_refused(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(place.state / "place.json", "place.json") if (place.state / "place.json").exists() else tar.add(
            place.state / "flowd.db", "flowd.db"
        )
    assert "is not a backup of flowd" in refusal_of(place, path)


@pytest.mark.parametrize("of_ten", range(1, 10))
def test_a_backup_that_was_cut_off_is_refused(place: Place, made: Path, of_ten: int) -> None:
    data = made.read_bytes()
    made.write_bytes(data[: len(data.rstrip(b"\0")) * of_ten // 10])
    assert "is damaged" in refusal_of(place, made)


@pytest.mark.parametrize("what", [b"0010000\n", b"SQLite format 3\0", b"run-c"])
def test_a_backup_in_which_a_byte_has_changed_is_refused(place: Place, made: Path, what: bytes) -> None:
    data = bytearray(made.read_bytes())
    data[data.index(what)] ^= 1
    made.write_bytes(data)
    assert "is damaged: " in refusal_of(place, made)


def altered(made: Path, *, header: Callable[[dict[str, object]], object] = lambda _: None, more: str = "") -> None:
    """The same backup with another header, or with a file more."""
    with tarfile.open(made) as tar:
        members = [(info, (tar.extractfile(info) or BytesIO()).read()) for info in tar]
    with tarfile.open(made, "w") as tar:
        for info, data in members:
            if info.name == "flowd-backup.json":
                told = json.loads(data)
                header(told)
                data = json.dumps(told).encode()  # noqa: PLW2901
                info.size = len(data)
            tar.addfile(info, BytesIO(data))
            if more and info.name == "flowd-backup.json":
                tar.addfile(tarfile.TarInfo(more), BytesIO())


def test_a_backup_of_a_newer_schema_is_refused_by_who_restores_it(place: Place, made: Path, tmp_path: Path) -> None:
    altered(made, header=lambda told: told.update(schema=known_schema() + 1, flowd="99.0"))
    with pytest.raises(BackupError, match=r"newer flowd \(99.0\).*Install that version"):
        Place(tmp_path / "there").restore(made)


def test_a_newer_format_is_refused(place: Place, made: Path) -> None:
    altered(made, header=lambda told: told.update(format=2, flowd="99.0"))
    assert "newer flowd (99.0)" in refusal_of(place, made)


@pytest.mark.parametrize(
    "name", ["output/../../x.stdout", "/etc/passwd", "output/a/b.stdout", "flowd.db-wal", "output/x"]
)
def test_what_has_no_place_in_a_backup_is_refused(place: Place, made: Path, name: str) -> None:
    altered(made, more=name)
    assert "is damaged: there is no place in it for" in refusal_of(place, made)


def test_a_link_in_an_archive_is_refused(place: Place, made: Path, tmp_path: Path) -> None:
    with tarfile.open(made) as tar:
        first = tar.getmembers()[0]
        data = (tar.extractfile(first) or BytesIO()).read()
    with tarfile.open(made, "w") as tar:
        tar.addfile(first, BytesIO(data))
        link = tarfile.TarInfo("output/run-a.stdout")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "elsewhere")
        tar.addfile(link)
    assert "is damaged" in refusal_of(place, made)


def test_an_older_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    old = Place(tmp_path / "old")
    with closing(sqlite3.connect(old.state / "flowd.db", isolation_level=None)) as db:
        for script in migrations()[:10]:
            db.executescript(script)
        db.execute("PRAGMA user_version = 10")
        db.execute(f"PRAGMA application_id = {0x666C6F77}")
        db.execute(
            "INSERT INTO events (id, type, received_at, created_at_ms, fingerprint, body)"
            " VALUES ('e', 't', '', 1, x'', '')"
        )
    path = tmp_path / "old.tar"
    assert old.back_up(path).header.schema == 10
    there = Place(tmp_path / "there")
    there.restore(path)
    with closing(sqlite3.connect(there.state / "flowd.db")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (known_schema(),)
        assert db.execute("SELECT id FROM events").fetchall() == [("e",)]
    assert [path.name for path in there.state.glob("*before-schema*")] == []


def test_nothing_is_backed_up_where_nothing_was_stored(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="nothing was stored yet"):
        Place(tmp_path / "empty").back_up(tmp_path / "x.tar")


# --- what is left


def test_a_file_that_cannot_grow_leaves_nothing_and_says_so(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
        "from flowd.cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, "backup", "-w", str(place.path), str(target / "b.tar")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (74, ""), done.stderr
    assert done.stderr.count("\n") == 1
    assert "Nothing of it is left" in done.stderr
    assert list(target.iterdir()) == []


def test_what_an_earlier_try_has_left_is_taken_over(place: Place, tmp_path: Path) -> None:
    for name in (".b.tar.draft", ".b.tar.draft.db", ".b.tar.draft.db-journal"):
        (tmp_path / name).write_bytes(b"x" * 5_000_000)
    place.back_up(tmp_path / "b.tar")
    verify(tmp_path / "b.tar")
    assert list(tmp_path.glob(".b*")) == []


def test_ctrl_c_leaves_nothing_of_a_backup(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    for stop_at in ("output", "database"):
        with pytest.raises(KeyboardInterrupt):
            backup.to_file(place.settings, target / "b.tar", is_forced=False, telling=interrupted_at(stop_at))
        assert list(target.iterdir()) == []


def test_ctrl_c_leaves_everything_as_it_was_of_a_restore(place: Place, made: Path) -> None:
    before = {path: path.stat().st_ino for path in place.state.rglob("*")}
    with pytest.raises(KeyboardInterrupt), made.open("rb") as file:
        restore.restore(place.settings, "b", file, replaces=True, telling=interrupted_at("from the backup"))
    assert {path: path.stat().st_ino for path in place.state.rglob("*")} == before


def interrupted_at(step: str) -> Telling:
    def done(what: str, _more: int) -> None:
        if what == step:
            raise KeyboardInterrupt

    return Telling(lambda _: None, done)


def test_two_at_once_do_not_write_the_same_file(place: Place, tmp_path: Path) -> None:
    refused = []

    def again(_what: str, _more: int) -> None:
        if not refused:
            with pytest.raises(StateError, match="Another backup"):
                place.back_up(tmp_path / "b.tar")
            refused.append(True)

    backup.to_file(place.settings, tmp_path / "b.tar", is_forced=False, telling=Telling(lambda _: None, again))
    assert refused
    verify(tmp_path / "b.tar")


# --- with the store that hosts share


@contextmanager
def shared(path: Path) -> Iterator[Place]:
    url = postgres_rig.workspace_store()
    try:
        yield Place(path, FLOWD_STORE=url)
    finally:
        postgres_rig.drop(url)


def test_a_backup_goes_to_a_shared_store_and_from_there_to_a_folder(made: Path, tmp_path: Path) -> None:
    with shared(tmp_path / "shared") as place:
        restored = place.restore(made)
        assert (restored.running, restored.queued) == (1, 1)
        assert (place.state / "output/run-a.stdout").read_bytes() == PRINTED
        assert not (place.state / "flowd.db").exists()
        with pytest.raises(StateError, match="3 events"):
            place.restore(made)
        assert place.settings.store is not None
        with postgres_rig.writing(place.settings.store.url) as db:
            found = db.execute("SELECT r.id, a.status, a.host, a.lease_until_ms > server_ms() FROM attempts a"
                               " JOIN runs r ON r.seq = a.run_seq ORDER BY r.id").fetchall()  # fmt: skip
            assert found == [("run-a", "completed", "anna", None), ("run-b", "running", "anna", True)]
            db.execute("INSERT INTO flows_told VALUES ('anna', 'f', 'ok', ''), ('bert', 'f', 'ok', '')")
        again = tmp_path / "again.tar"
        made_there = place.back_up(again)
        assert (made_there.header.store, made_there.manifest.outputs, made_there.manifest.missing) == ("shared", 1, [])
    verify(again)
    there = Place(tmp_path / "there")
    there.restore(again)
    assert there.runs() == RUNS
    assert (there.state / "output/run-a.stdout").read_bytes() == PRINTED
    with closing(sqlite3.connect(there.state / "flowd.db")) as db:
        assert db.execute("SELECT host, name FROM flows_told").fetchall() == [("", "f")]


def test_an_archive_tells_what_is_in_it(tmp_path: Path) -> None:
    file = BytesIO()
    writer = Writer(file, Header("1", 1, "file", "/w", "anna", 5))
    writer.add("flowd.db", 3, BytesIO(b"abcdef"))
    writer.add("output/x.stdout", 4, BytesIO(b"a"))  # it has become shorter
    written = writer.close()
    into: dict[str, BytesIO] = {}
    header, manifest = archive.read(
        BytesIO(file.getvalue()), "x", accept=lambda _: None, into=lambda _: None, done=lambda _: None
    )
    assert (header.host, manifest, into) == ("anna", written, {})
    assert manifest.members["output/x.stdout"].bytes == 4
