"""What people say of runs that asked. Each function runs inside the writer's transaction, or in a reader's."""

from collections.abc import Sequence
from dataclasses import replace

from flowd.domain import questions
from flowd.domain.errors import RunNotFoundError
from flowd.domain.filters import RunFilter
from flowd.domain.people import Answer, Resolution
from flowd.domain.questions import Question
from flowd.domain.queueing import QueueBounds
from flowd.domain.run import Run
from flowd.domain.stored import NewEventRuns, Page
from flowd.domain.trees import TreeBounds
from flowd.store.sql import called_off, causing, gates, key_reads, reads, resolutions, retries, rows, trees, ways
from flowd.store.sql.connection import Connection

_ASKS = "r.wants_person = 1 AND r.seq > ?"
_ASKING = f"{rows.runs_along('runs_wanting')} WHERE {_ASKS} AND r.seq <= ?"
_BEHIND = (
    "WITH RECURSIVE behind (seq) AS (SELECT run_seq FROM needs WHERE need_seq = ?"
    " UNION SELECT n.run_seq FROM needs n JOIN behind b ON n.need_seq = b.seq)"
    " SELECT r.step_name FROM runs r JOIN behind b ON b.seq = r.seq WHERE r.status = 'queued' ORDER BY r.seq"
)
_MAX_NAMED = 20
"""Of the steps, and of the events, that wait for one answer."""


def asking(db: Connection, run_id: str, attempt: int | None) -> Run:
    """The run, if it asks; see `flowd.domain.questions.refusal`.

    Raises:
        RunNotFoundError: No such run.
        FlowdError: It does not ask, or somebody has answered.
    """
    row = db.execute(f"{rows.RUNS} WHERE r.id = ?", (run_id,)).fetchone()
    if row is None:
        raise RunNotFoundError(run_id)
    run = rows.run(row)
    closed = called_off.closing(db, run_id) if run.needs_attention else None
    refusal = questions.refusal(run if closed is None else replace(run, resolution=closed), attempt)
    if refusal is not None:
        raise refusal
    return run


def resolve(
    db: Connection,
    run_id: str,
    attempt: int | None,
    resolution: Resolution,
    *,
    follows: Sequence[NewEventRuns],
    within: TreeBounds,
) -> Run:
    """Let a person's word stand in the place of the run's question, let go of what waited for it, and store what its
    result causes; nothing where somebody had asked to cancel it. See `asking`.

    Raises:
        ChainLimitError: It would cause too much.
    """
    said = asking(db, run_id, attempt).result
    assert said is not None  # what asks has said so
    cause = trees.cause(db, run_id)
    if cause.is_canceled:
        follows = ()
    known = causing.known(db, follows)
    if follows:
        trees.check(db, cause, follows, known, within)
    resolutions.write(db, cause.run_seq, said, resolution)
    gates.resolved(db, cause.run_seq, at_ms=resolution.at_ms)
    causing.cause_all(db, cause, follows, known, at_ms=resolution.at_ms)
    run = reads.run(db, run_id)
    assert run is not None
    return run


def answer(db: Connection, run_id: str, attempt: int | None, said: Answer, *, within: QueueBounds) -> Run:
    """Final → queued for a run that asks, with what a person answered. See `asking`."""
    asking(db, run_id, attempt)
    queued = retries.retry(db, run_id, at_ms=said.at_ms, within=within, answer=said)
    assert queued is not None  # what asks has ended
    return queued


def open_questions(db: Connection, where: RunFilter, *, limit: int, cursor: str | None) -> Page[Question]:
    """Runs that ask, in the order of their acceptance, and what waits for each."""
    after = reads.position(cursor, "q", first=-reads.NEWEST)
    fits, values = ways.conditions(where)
    last = ways.last_looked_at(db, f"FROM runs r WHERE {_ASKS}", after) if fits else None
    until = reads.NEWEST if last is None else last
    found = db.execute(f"{_ASKING}{fits} ORDER BY r.seq LIMIT ?", (after, until, *values, limit + 1)).fetchall()
    page = found[:limit]
    attempts = reads.attempts_by_run(db, page)
    items = tuple(_question(db, rows.run(row, attempts.get(row[0], ())), row) for row in page)
    more = page[-1][0] if len(found) > limit else last
    return Page(items, None if more is None else f"q{more}")


def count_open(db: Connection) -> int:
    """How many runs ask."""
    (count,) = db.execute("SELECT count(*) FROM runs WHERE wants_person = 1").fetchone()
    return int(count)


def _question(db: Connection, run: Run, row: rows.Row) -> Question:
    found = [step for (step,) in db.execute(_BEHIND, (row[rows.SEQ],))]
    since_ms = run.completed_at_ms if run.completed_at_ms is not None else run.updated_at_ms
    rounds = key_reads.rounds_behind(db, row[rows.ROUND_SEQ])
    behind = key_reads.events_behind(db, row[rows.ROUND_SEQ], limit=_MAX_NAMED) if rounds else ()
    return Question(run, since_ms, tuple(found[:_MAX_NAMED]), len(found), rounds, tuple(behind))
