"""What a replay copies of the ends of steps that are not replayed. Each function runs inside the writer's transaction."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from flowd.domain.errors import InvalidParamsError, NeedsActiveError
from flowd.domain.needs import NeedEnd
from flowd.domain.queueing import NewRun
from flowd.domain.run import ProcessStatus, Reason, effective_status
from flowd.store.sql import rows
from flowd.store.sql.connection import Connection

Copies = Mapping[tuple[str, str], NeedEnd]
"""By the names of flow and step."""

_NEWEST = (
    f"SELECT q.id, q.status, q.result_status, q.reason, q.result, q.failed_above, {rows.IS_QUESTION} FROM runs q"
    " WHERE q.event_seq = ? AND q.flow_name = ? AND q.step_name = ? ORDER BY q.seq DESC LIMIT 1"
)


def instead(runs: Sequence[NewRun]) -> list[NewRun]:
    """The same runs; what they need of steps that have none here is to be copied."""
    names = {(run.definition.flow_name, run.definition.step_name) for run in runs}
    return [_with_copies(run, names) for run in runs]


def _with_copies(run: NewRun, names: Collection[tuple[str, str]]) -> NewRun:
    missing = tuple(need for need in run.needs if (run.definition.flow_name, need) not in names)
    if not missing:
        return run
    needs = tuple(need for need in run.needs if need not in missing)
    return replace(run, needs=needs, copied=(*run.copied, *missing))


def read(db: Connection, event_seq: int, event_id: str, runs: Sequence[NewRun]) -> Copies:
    """How the newest runs of the steps have ended that these runs need and that are not replayed with them.

    Raises:
        InvalidParamsError: One has no run.
        NeedsActiveError: One has not ended, or asks a person.
    """
    found: dict[tuple[str, str], NeedEnd] = {}
    for run in runs:
        flow = run.definition.flow_name
        for need in run.copied:
            if (flow, need) not in found:
                found[flow, need] = _newest(db, event_seq, event_id, run, need)
    return found


def write(db: Connection, runs: Iterable[tuple[NewRun, int]], copies: Copies) -> None:
    """Give these runs, by their numbers, what they need."""
    for run, seq in runs:
        for need in run.copied:
            end = copies[run.definition.flow_name, need]
            values = end.run_id, end.status, end.reason, end.result, end.failed_above, not run.is_named
            db.execute(
                "INSERT INTO frozen (run_seq, need, run_id, status, reason, result, failed_above, is_asked)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (seq, need, *values),
            )


def _newest(db: Connection, event_seq: int, event_id: str, run: NewRun, need: str) -> NeedEnd:
    step = run.definition
    found = db.execute(_NEWEST, (event_seq, step.flow_name, need)).fetchone()
    if found is None:
        raise InvalidParamsError(
            f"Step {step.label} needs {need}, which has no run for event {event_id[:200]}. Replay from {need}.",
            param="steps",
        )
    run_id, status, said, reason, result, failed_above, is_question = found
    if not ProcessStatus(status).is_final or is_question:
        state = f"asks a person ({said}); answer it first" if is_question else f"is {status}; wait for its end"
        raise NeedsActiveError(
            f"Step {step.label} needs {need}, whose run {run_id} {state}, or replay from {need}.",
            runId=run_id,
            step=need,
        )
    end = None if reason is None else Reason(reason)
    return NeedEnd(need, run_id, effective_status(status, said), end, result, bool(failed_above))
