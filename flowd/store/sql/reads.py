"""Questions about events and runs. Lists go by `seq`, so that they stay right while rows are added."""

from collections.abc import Sequence
from typing import Literal

from flowd.domain import definition as definitions
from flowd.domain.definition import Definition
from flowd.domain.errors import InvalidParamsError
from flowd.domain.queueing import LeftRunning
from flowd.domain.run import BAD_RESULTS, Attempt, Run
from flowd.domain.stored import Counts, Output, StoredEvent
from flowd.store.sql import places, rows
from flowd.store.sql.connection import Connection

MAX_PAGE_BYTES = 4 * 1024 * 1024
"""Bodies of events in one page, which shows each twice (payload and raw); a page that would be larger ends early and its cursor goes on."""

NEWEST = 1 << 62
"""Beyond all places."""

COUNTED = 2_000
"""So many of the newest runs of each bad result are counted: whoever asks for the status each second pays for it."""

_AT_ONCE = 500
"""Values in one statement; SQLite takes some more."""


def event(db: Connection, event_id: str) -> StoredEvent | None:
    """One event with the ids of all its runs."""
    row = db.execute(f"SELECT {rows.EVENT_COLUMNS} FROM events WHERE id = ?", (event_id,)).fetchone()
    return None if row is None else rows.event(row, run_ids_by_event(db, [row[0]]).get(row[0], ()))


def run(db: Connection, run_id: str) -> Run | None:
    """One run with its attempts."""
    row = db.execute(f"{rows.RUNS} WHERE r.id = ?", (run_id,)).fetchone()
    if row is None:
        return None
    return places.known(db, [row], [rows.run(row, attempts_by_run(db, [row]).get(row[0], ()))])[0]


def runs_by_seq(db: Connection, seqs: Sequence[int]) -> list[Run]:
    """These runs with their attempts, in the order of their numbers."""
    found: list[Run] = []
    for start in range(0, len(seqs), _AT_ONCE):
        part = seqs[start : start + _AT_ONCE]
        marks = rows.marks(part)
        these = db.execute(f"{rows.RUNS} WHERE r.seq IN ({marks}) ORDER BY r.seq", part).fetchall()
        attempts = attempts_by_run(db, these)
        found += [rows.run(row, attempts.get(row[0], ())) for row in these]
    return found


def output(db: Connection, run_id: str, number: int) -> Output | None:
    """What a finished attempt printed; None while it runs or where there is no such attempt."""
    row = db.execute(
        "SELECT stdout, stderr, stdout_bytes, stderr_bytes, truncated, stream_order FROM attempts"
        " WHERE run_seq = (SELECT seq FROM runs WHERE id = ?) AND number = ? AND completed_at_ms IS NOT NULL",
        (run_id, number),
    ).fetchone()
    return None if row is None else Output(row[0], row[1], row[2], row[3], bool(row[4]), row[5])


def left_running(db: Connection) -> list[LeftRunning]:
    """Running runs, oldest first, each with its last attempt."""
    found = db.execute(
        f"{rows.RUNS} WHERE r.status = 'running' AND r.status IN ('queued', 'running') ORDER BY r.seq"
    ).fetchall()
    attempts = attempts_by_run(db, found)
    return [
        LeftRunning(run=rows.run(row), attempt=attempts[row[0]][-1], definition=_definition_of_last_attempt(db, row[0]))
        for row in found
    ]


def _definition_of_last_attempt(db: Connection, run_seq: int) -> Definition:
    (body,) = db.execute(
        "SELECT d.body FROM attempts a JOIN definitions d ON d.id = a.definition_id WHERE a.run_seq = ?"
        " ORDER BY a.number DESC LIMIT 1",
        (run_seq,),
    ).fetchone()
    return definitions.parse(body)


def ids(db: Connection, of: Literal["run", "event"], prefix: str, limit: int) -> list[str]:
    """Those that begin so, see `flowd.ports.records.Records.ids`."""
    table = {"run": "runs", "event": "events"}[of]
    sql = f"SELECT id FROM {table} WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
    return [id_ for (id_,) in db.execute(sql, (prefix, prefix + "\U0010ffff", limit))]


def definition(db: Connection, run_id: str) -> Definition | None:
    """What the last attempt of a run was made with, see `flowd.ports.Store.definition`."""
    row = db.execute(
        "SELECT d.body FROM runs r JOIN attempts a ON a.run_seq = r.seq JOIN definitions d ON d.id = a.definition_id"
        " WHERE r.id = ? ORDER BY a.number DESC LIMIT 1",
        (run_id,),
    ).fetchone()
    return None if row is None else definitions.parse(row[0])


def all_definitions(db: Connection) -> list[Definition]:
    """Every definition that an attempt was made with."""
    return [definitions.parse(body) for (body,) in db.execute("SELECT body FROM definitions")]


def counts(db: Connection, free_bytes: int) -> Counts:
    """How many there are."""
    found = dict(db.execute("SELECT name, n FROM counts").fetchall())
    waiting = found.pop("waiting")
    said, uncounted = _said(db)
    return Counts(found.pop("events"), found, free_bytes, waiting, said, uncounted)


def _said(db: Connection) -> tuple[dict[str, int], tuple[str, ...]]:
    """How many completed runs count as each of the bad results, and of which there may be more."""
    said, uncounted = {}, []
    for status in BAD_RESULTS:
        looked_at, said[status] = db.execute(
            "SELECT count(*), count(CASE WHEN l.status = 'completed' THEN 1 END) FROM (SELECT r.status FROM runs r"
            f" INDEXED BY runs_by_result WHERE r.result_status = '{status}' ORDER BY r.seq DESC LIMIT {COUNTED}) l"
        ).fetchone()
        if looked_at == COUNTED:
            uncounted.append(status)
    return said, tuple(uncounted)


def position(cursor: str | None, kind: str, *, first: int = NEWEST) -> int:
    """The place that a cursor of a list names; ``first`` where there is none.

    Raises:
        InvalidParamsError: It is no cursor of this kind of list.
    """
    if cursor is None:
        return first
    place = cursor[1:]
    digits = place.removeprefix("-")  # what was imported has places below zero
    if cursor[:1] == kind and digits.isascii() and digits.isdigit() and len(cursor) < 20:
        return int(place)
    raise InvalidParamsError(
        f"The cursor {cursor[:40]!r} is none that this list gave. Start without one.", param="cursor"
    )


def attempts_by_run(db: Connection, runs_: Sequence[rows.Row]) -> dict[int, list[Attempt]]:
    """Attempts of these rows of `rows.RUNS`, by the run's seq."""
    names = {row[0]: row[1] for row in runs_}
    found: dict[int, list[Attempt]] = {}
    marks = rows.marks(names)
    for row in db.execute(
        f"SELECT {rows.ATTEMPT_COLUMNS} FROM attempts WHERE run_seq IN ({marks}) ORDER BY run_seq, number", list(names)
    ):
        found.setdefault(row[0], []).append(rows.attempt(row, names[row[0]]))
    return found


def run_ids_by_event(db: Connection, event_seqs: Sequence[int]) -> dict[int, list[str]]:
    """Ids of the runs of these events, by the event's seq."""
    found: dict[int, list[str]] = {}
    marks = rows.marks(event_seqs)
    for event_seq, run_id in db.execute(
        f"SELECT event_seq, id FROM runs WHERE event_seq IN ({marks}) ORDER BY event_seq, seq", list(event_seqs)
    ):
        found.setdefault(event_seq, []).append(run_id)
    return found
