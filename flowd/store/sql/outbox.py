"""Notices on their way out of the outbox. Functions that write run inside the writer's transaction.

Instants that decide something (``now_ms``, ``due_ms``) are by the clock that tries go by; ``at_ms`` is the wall clock, for
the record.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

from flowd.domain.errors import NoticeNotFoundError, NotRetryableError
from flowd.domain.instants import instant
from flowd.domain.notices import GIVE_UP_MS, KEPT_MS, MAX_KEPT, ClaimedNotices, Notice, NoticeCounts, NoticeState
from flowd.domain.stored import Page
from flowd.store.sql import reads, rows
from flowd.store.sql.connection import Connection
from flowd.store.sql.rows import Row

_COLUMNS = (
    "seq, id, notifier, what, created_at_ms, told, state, failures, tries, first_try_ms, due_ms, ended_at_ms, error"
)
_DUE = (
    "SELECT seq FROM notices WHERE state = 'waiting' AND notifier = ? AND due_ms <= ? AND held_until_ms <= ?"
    " ORDER BY due_ms, seq LIMIT 1"
)
_HOLD = (
    "UPDATE notices SET held_by = ?, held_until_ms = ?, tries = tries + 1, first_try_ms = coalesce(first_try_ms, ?)"
    f" WHERE seq = ? RETURNING {_COLUMNS}"
)
_IS_HELD = "id = ? AND state = 'waiting' AND held_by = ? AND tries = ?"
_SWEPT = 500
"""Rows that go at once at most."""


def claim(db: Connection, names: Sequence[str], holder: str, *, now_ms: int, hold_ms: int) -> ClaimedNotices:
    """See `flowd.ports.notices.NoticeStore.claim_notices`."""
    claimed, others = [], []
    for name in names:
        due = db.execute(_DUE, (name, now_ms, now_ms)).fetchone()
        if due is None:
            others.append(name)
        else:
            claimed.append(_notice(db.execute(_HOLD, (holder, now_ms + hold_ms, now_ms, due[0])).fetchone()))
    (next_ms,) = db.execute(
        "SELECT min(CASE WHEN held_until_ms > due_ms THEN held_until_ms ELSE due_ms END) FROM notices"
        f" WHERE state = 'waiting' AND notifier IN ({rows.marks(others)})",
        others,
    ).fetchone()
    return ClaimedNotices(tuple(claimed), next_ms)


def sent(db: Connection, notice: Notice, holder: str, *, at_ms: int) -> bool:
    """See `flowd.ports.notices.NoticeStore.note_sent`."""
    done = db.execute(
        "UPDATE notices SET state = 'sent', ended_at_ms = ?, error = NULL, held_by = NULL, held_until_ms = 0"
        f" WHERE {_IS_HELD}",
        (at_ms, notice.id, holder, notice.tries),
    )
    return done.rowcount == 1


def not_sent(db: Connection, notice: Notice, holder: str, error: str, *, due_ms: int | None, at_ms: int) -> bool:
    """See `flowd.ports.notices.NoticeStore.note_not_sent`."""
    state = NoticeState.WAITING if due_ms is not None else NoticeState.FAILED
    done = db.execute(
        "UPDATE notices SET state = ?, due_ms = ?, ended_at_ms = ?, error = ?, held_by = NULL, held_until_ms = 0"
        f" WHERE {_IS_HELD}",
        (state, due_ms or 0, None if due_ms is not None else at_ms, error, notice.id, holder, notice.tries),
    )
    return done.rowcount == 1


def release(db: Connection, holder: str) -> None:
    """See `flowd.ports.notices.NoticeStore.release_notices`."""
    db.execute("UPDATE notices SET held_until_ms = 0 WHERE state = 'waiting' AND held_by = ?", (holder,))


def retry(db: Connection, notice_id: str) -> Notice:
    """See `flowd.ports.notices.NoticeStore.retry_notice`."""
    row = db.execute(f"SELECT {_COLUMNS} FROM notices WHERE id = ?", (notice_id,)).fetchone()
    if row is None:
        raise NoticeNotFoundError(notice_id)
    known = _notice(row)
    if known.state is NoticeState.SENT:
        at = "" if known.ended_at_ms is None else f" at {instant(known.ended_at_ms)}"
        raise NotRetryableError(f"Notice {notice_id} was sent{at}. Only what was not sent is tried again.")
    if known.state is NoticeState.FAILED:
        row = db.execute(
            "UPDATE notices SET state = 'waiting', due_ms = 0, ended_at_ms = NULL, tries = 0, first_try_ms = NULL"
            f" WHERE id = ? RETURNING {_COLUMNS}",
            (notice_id,),
        ).fetchone()
    else:
        row = db.execute(f"UPDATE notices SET due_ms = 0 WHERE id = ? RETURNING {_COLUMNS}", (notice_id,)).fetchone()
    return _notice(row)


def sweep(db: Connection, names: Sequence[str], *, now_ms: int, at_ms: int) -> int:
    """See `flowd.ports.notices.NoticeStore.sweep_notices`."""
    others = names or ("",)  # of no name there is no notifier
    # By wall clocks: a day in which nobody came to send them is long enough for that.
    given_up = db.execute(
        "UPDATE notices SET state = 'failed', ended_at_ms = ?, held_by = NULL, held_until_ms = 0,"
        " error = 'no daemon has a notifier of this name'"
        f" WHERE state = 'waiting' AND held_until_ms <= ? AND created_at_ms < ? AND notifier NOT IN ({rows.marks(others)})"
        " AND coalesce(first_try_ms, 0) < ?",
        (at_ms, now_ms, at_ms - GIVE_UP_MS, *others, now_ms - GIVE_UP_MS),
    ).rowcount
    return given_up + forget(db, before_ms=at_ms - KEPT_MS) + _forget_beyond(db, MAX_KEPT)


def _forget_beyond(db: Connection, kept: int) -> int:
    return db.execute(
        "DELETE FROM notices WHERE seq IN (SELECT seq FROM notices WHERE ended_at_ms IS NOT NULL"
        " ORDER BY ended_at_ms DESC, seq DESC LIMIT ? OFFSET ?)",
        (_SWEPT, kept),
    ).rowcount


def set_aside(db: Connection, *, at_ms: int) -> None:
    """Give up what waits: it was to be told of a state of which this one is a copy, and is told there."""
    db.execute(
        "UPDATE notices SET state = 'failed', ended_at_ms = ?, held_by = NULL, held_until_ms = 0,"
        " error = 'it waited when this state was copied from elsewhere' WHERE state = 'waiting'",
        (at_ms,),
    )


def forget(db: Connection, *, before_ms: int) -> int:
    """See `flowd.ports.notices.NoticeStore.forget_notices`."""
    return db.execute(
        "DELETE FROM notices WHERE seq IN"
        " (SELECT seq FROM notices WHERE ended_at_ms IS NOT NULL AND ended_at_ms < ? ORDER BY ended_at_ms LIMIT ?)",
        (before_ms, _SWEPT),
    ).rowcount


def notices(
    db: Connection, *, state: NoticeState | None, notifier: str | None, limit: int, cursor: str | None
) -> Page[Notice]:
    """See `flowd.ports.notices.NoticeStore.notices`."""
    before = reads.position(cursor, "n", first=reads.NEWEST)
    conditions = "seq < ?"
    values: list[int | str] = [before]
    for column, value in (("state", state), ("notifier", notifier)):
        if value is not None:
            conditions += f" AND {column} = ?"
            values.append(str(value))
    found = db.execute(
        f"SELECT {_COLUMNS} FROM notices WHERE {conditions} ORDER BY seq DESC LIMIT ?", (*values, limit + 1)
    ).fetchall()
    page = found[:limit]
    return Page(tuple(map(_notice, page)), f"n{page[-1][0]}" if len(found) > limit else None)


def counts(db: Connection, *, since_ms: int) -> dict[str, NoticeCounts]:
    """See `flowd.ports.notices.NoticeStore.count_notices`."""
    found: dict[str, NoticeCounts] = {}
    for notifier, waiting, troubled in db.execute(
        "SELECT notifier, count(*), count(error) FROM notices WHERE state = 'waiting' GROUP BY notifier"
    ):
        found[notifier] = NoticeCounts(waiting, troubled)
    for notifier, given_up in db.execute(
        "SELECT notifier, count(*) FROM notices WHERE state = 'failed' AND ended_at_ms >= ? GROUP BY notifier",
        (since_ms,),
    ):
        found[notifier] = replace(found.get(notifier, NoticeCounts()), given_up=given_up)
    return found


def _notice(row: Row) -> Notice:
    _, notice_id, notifier, what, created_ms, told, state, failures, tries, first_ms, due_ms, ended_ms, error = row
    return Notice(
        id=notice_id,
        notifier=notifier,
        what=what,
        created_at_ms=created_ms,
        told=json.loads(told),
        state=NoticeState(state),
        failures=failures,
        tries=tries,
        first_try_ms=first_ms,
        due_ms=due_ms,
        ended_at_ms=ended_ms,
        error=error,
    )
