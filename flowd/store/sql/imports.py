"""Writes imported history. It gets places before everything that is there: lists go by place, newest first.

The journal is left out: it tells subscribers what happens now.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flowd.domain.ids import longer_run_id
from flowd.domain.outcome import Outcome
from flowd.domain.run import ATTENTION, Attempt
from flowd.domain.stored import NewEvent, Output
from flowd.store.sql import rows
from flowd.store.sql.connection import Connection


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run that is over.

    Attributes:
        attempt: None when it never started.
    """

    id: str
    event_id: str
    flow_name: str
    flow_version: int | float
    step_name: str
    runner: str
    package_hash: str
    replay_of: str | None
    outcome: Outcome
    created_at_ms: int
    updated_at_ms: int
    started_at_ms: int | None
    completed_at_ms: int | None
    attempt: Attempt | None
    output: Output


@dataclass(frozen=True, slots=True)
class PastEvent:
    """An event with its runs, the newest first."""

    new: NewEvent
    created_at_ms: int
    runs: Sequence[PastRun]


_FIRST = "SELECT coalesce((SELECT min(seq) FROM {0}), 1), coalesce((SELECT min({1}) FROM journal WHERE {1} < 1), 1)"


class Places:
    """Where the events and runs of one import go: each before the one that was given out before it."""

    def __init__(self, db: Connection, run_ids: Sequence[str]) -> None:
        """``run_ids`` are all that will be written, the newest first."""
        # The journal may name imported runs that are forgotten by now: their places must not be given again.
        self._event: int = min(1, *db.execute(_FIRST.format("events", "event_seq")).fetchone())
        first: int = min(1, *db.execute(_FIRST.format("runs", "run_seq")).fetchone())
        self._runs: dict[str, int] = {run_id: first - 1 - rank for rank, run_id in enumerate(run_ids)}

    def next_event(self) -> int:
        """The place of the next older event."""
        self._event -= 1
        return self._event

    def of_run(self, run_id: str) -> int:
        """The place of a run."""
        return self._runs[run_id]


def write(db: Connection, event: PastEvent, places: Places) -> tuple[bool, list[PastRun]]:
    """Write an event and its runs, less what is there already, inside the caller's transaction.

    Returns:
        Whether the event is new, and the runs that are.
    """
    found = db.execute("SELECT seq FROM events WHERE id = ?", (event.new.id,)).fetchone()
    event_seq = places.next_event() if found is None else found[0]
    if found is None:
        new = event.new
        db.execute(
            "INSERT INTO events (seq, id, type, source, occurred_at, received_at, created_at_ms, fingerprint, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                event_seq,
                new.id,
                new.type,
                new.source,
                new.occurred_at,
                new.received_at,
                event.created_at_ms,
                new.fingerprint,
                new.body.decode(),
            ),
        )
    new_runs = []
    for run in event.runs:
        place = places.of_run(run.id)
        of_event = _event_of(db, run.id)
        if of_event not in (None, event_seq):  # two events, one id
            run = replace(run, id=longer_run_id(run.id, event.new.id, run.flow_name, run.step_name))  # noqa: PLW2901
            of_event = _event_of(db, run.id)
        if of_event is None:
            _write_run(db, run, place, event_seq)
            new_runs.append(run)
    return found is None, new_runs


def _event_of(db: Connection, run_id: str) -> int | None:
    """The number of the event that a run is of; None where there is no such run."""
    found = db.execute("SELECT event_seq FROM runs WHERE id = ?", (run_id,)).fetchone()
    return None if found is None else int(found[0])


def _write_run(db: Connection, run: PastRun, seq: int, event_seq: int) -> None:
    outcome = run.outcome
    result, reported = outcome.result, outcome.reported_result
    members = {
        "seq": seq,
        "id": run.id,
        "event_seq": event_seq,
        "flow_name": run.flow_name,
        "flow_version": run.flow_version,
        "step_name": run.step_name,
        "runner": run.runner,
        "package_hash": run.package_hash,
        "replay_of": run.replay_of,
        "status": outcome.status,
        "attempt_count": int(run.attempt is not None),
        "created_at_ms": run.created_at_ms,
        "updated_at_ms": run.updated_at_ms,
        "started_at_ms": run.started_at_ms,
        "completed_at_ms": run.completed_at_ms,
        "reason": outcome.reason,
        "result_status": result.status if result else None,
        "result": result.text if result else None,
        "wants_person": int(result is not None and result.status in ATTENTION),
        "reported_status": reported.status if reported else None,
        "reported_result": reported.text if reported else None,
        "error": outcome.error,
    }
    _insert(db, "runs", members)
    if run.attempt is not None:
        _write_attempt(db, run.attempt, run.output, seq)


def _write_attempt(db: Connection, attempt: Attempt, output: Output, run_seq: int) -> None:
    members = {
        "run_seq": run_seq,
        "number": attempt.number,
        "status": attempt.status,
        "worker_id": attempt.worker_id,
        "boot_id": attempt.boot_id,
        "started_at_ms": attempt.started_at_ms,
        "completed_at_ms": attempt.completed_at_ms,
        "reason": attempt.reason,
        "error": attempt.error,
        "command": rows.strings(attempt.command),
        "stdout_bytes": output.stdout_bytes,
        "stderr_bytes": output.stderr_bytes,
        "stdout": output.stdout,
        "stderr": output.stderr,
    }
    _insert(db, "attempts", members)


def _insert(db: Connection, table: str, members: dict[str, object]) -> None:
    places = ", ".join("?" * len(members))
    db.execute(f"INSERT INTO {table} ({', '.join(members)}) VALUES ({places})", tuple(members.values()))
