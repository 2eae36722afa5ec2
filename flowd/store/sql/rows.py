"""Reads rows of the database into domain objects, and says which columns each kind of row needs."""

import json
from collections.abc import Sequence, Sized
from functools import lru_cache
from typing import Any

from flowd.domain.definition import Definition
from flowd.domain.ids import attempt_id
from flowd.domain.labels import Label
from flowd.domain.matching import LeftOut
from flowd.domain.progress import Progress
from flowd.domain.result import FlowResult
from flowd.domain.run import Attempt, ProcessStatus, Reason, Run
from flowd.domain.stored import StoredEvent
from flowd.domain.trees import CausedBy
from flowd.domain.waiting import KeyWait, NeedsWait, PackageWait, PauseWait, PersonWait, TimeWait, WaitingFor
from flowd.store.sql import lanes, words

Row = Sequence[Any]

_STATUSES = {status.value: status for status in ProcessStatus}  # calling the enum costs ten times a look-up

IS_QUESTION = "q.wants_person = 1"
"""Whether the run ``q`` has ended and asks a person, and nobody has answered."""

RUN_COLUMNS = """
    r.seq, r.id, e.id, r.flow_name, r.flow_version, r.step_name, r.runner, r.package_hash, r.status, r.created_at_ms,
    r.updated_at_ms, r.started_at_ms, r.completed_at_ms, r.attempt_count, r.result_status, r.result, r.reported_status,
    r.reported_result, r.reason, r.error, r.exit_code, r.signal, r.replay_of, r.cancel_requested, r.waits_for, r.wait_why,
    r.not_before_ms, r.wait_ms, r.event_seq, r.round, r.round_seq, r.run_when, CASE r.waits_for
        WHEN 'needs' THEN (SELECT coalesce(CAST(json_group_array(step_name) AS TEXT), '[]') FROM (SELECT q.step_name FROM needs n
            JOIN runs q ON q.seq = n.need_seq WHERE n.run_seq = r.seq AND q.status IN ('queued', 'running') ORDER BY n.place) AS open)
        WHEN 'question' THEN (SELECT q.id FROM needs n JOIN runs q ON q.seq = n.need_seq WHERE n.run_seq = r.seq
            AND IS_QUESTION ORDER BY n.place LIMIT 1)
        WHEN 'key' THEN CAST(KEY_WAIT AS TEXT)
        WHEN 'pause' THEN r.waits_on
    END, r.resolution, r.answer, r.attempts_before, r.step_key, r.labels, r.progress, r.bound_to
""".replace("IS_QUESTION", IS_QUESTION).replace("KEY_WAIT", lanes.WAIT)
SEQ, FLOW_NAME, STEP_NAME, CANCEL_REQUESTED, WAITS_FOR, EVENT_SEQ, ROUND_SEQ, RUN_WHEN = 0, 3, 5, 23, 24, 28, 30, 31
_WAITS_ON, RESOLUTION, ANSWER, ATTEMPTS_BEFORE, STEP_KEY, LABELS, _PROGRESS, _BOUND_TO = 32, 33, 34, 35, 36, 37, 38, 39
_REASON, _SIGNAL = 18, 21
_FLOW_VERSION, _RUNNER, _PACKAGE_HASH, _STATUS, _UPDATED_AT, _STARTED_AT, _ATTEMPT_COUNT = 4, 6, 7, 8, 10, 11, 13
RETURNING_RUN = RUN_COLUMNS.replace("e.id", "(SELECT id FROM events WHERE seq = event_seq)").replace("r.", "runs.")
"""The same columns of a run that is updated: what is written is read in one statement."""
RUNS = f"SELECT {RUN_COLUMNS} FROM runs r JOIN events e ON e.seq = r.event_seq"

ATTEMPT_COLUMNS = """
    run_seq, number, status, worker_id, started_at_ms, completed_at_ms, reason, error, exit_code, signal, pid, command,
    cwd, leftovers, survivors, stdout_bytes, stderr_bytes, truncated, max_rss_bytes, cpu_ms, boot_id, package_hash,
    duration_ms, result_status, result, resolution, answer, host
"""

EVENT_COLUMNS = (
    "seq, id, type, source, occurred_at, received_at, body, created_at_ms, fingerprint, left_out,"
    " cause_run_id, cause_event_id, root_id, depth, traceparent"
)


def runs_along(index: str) -> str:
    """`RUNS` along one index, whatever else is asked of them: SQLite does not know how few are in it."""
    return RUNS.replace("FROM runs r JOIN", f"FROM runs r INDEXED BY {index} CROSS JOIN")


def marks(values: Sized) -> str:
    """The places of so many values, for IN; of none, what nothing is in."""
    return ",".join("?" * len(values)) or "NULL"


def run(row: Row, attempts: Sequence[Attempt] = ()) -> Run:
    """A run from `RUN_COLUMNS`."""
    return Run(
        id=row[1],
        event_id=row[2],
        flow_name=row[3],
        flow_version=row[4],
        step_name=row[5],
        runner=row[6],
        package_hash=row[7],
        status=_STATUSES[row[8]],
        created_at_ms=row[9],
        updated_at_ms=row[10],
        started_at_ms=row[11],
        completed_at_ms=row[12],
        attempt_count=row[13],
        result=_result(row[14], row[15]),
        reported_result=_result(row[16], row[17]),
        reason=None if row[18] is None else Reason(row[18]),
        error=row[19],
        exit_code=row[20],
        signal=row[21],
        replay_of=row[22],
        cancel_requested=bool(row[23]),
        waiting_for=None if row[24] is None else _wait(row),
        round=row[29],
        is_linked=row[ROUND_SEQ] is not None or row[STEP_KEY] is not None,
        resolution=None if row[RESOLUTION] is None else words.read_resolution(row[RESOLUTION]),
        answer=None if row[ANSWER] is None else words.read_answer(row[ANSWER]),
        attempts_before=row[ATTEMPTS_BEFORE],
        labels=read_labels(row[LABELS]) if row[LABELS] else (),
        progress=None if row[_PROGRESS] is None else Progress(**json.loads(row[_PROGRESS])),
        bound_to=row[_BOUND_TO] or None,
        attempts=tuple(attempts),
    )


def started(row: Row, definition: Definition, at_ms: int) -> Run:
    """A queued run from `RUN_COLUMNS` as it is once its next attempt is marked running."""
    columns = list(row)
    columns[_STATUS] = ProcessStatus.RUNNING
    columns[_FLOW_VERSION], columns[_RUNNER] = definition.flow_version, definition.runner
    columns[_PACKAGE_HASH] = definition.package_hash
    columns[_UPDATED_AT] = at_ms
    columns[_STARTED_AT] = at_ms if columns[_STARTED_AT] is None else columns[_STARTED_AT]
    columns[_ATTEMPT_COUNT] += 1
    columns[_PROGRESS] = None
    columns[_REASON : _SIGNAL + 1] = [None] * (_SIGNAL + 1 - _REASON)  # how the last attempt ended, that one says
    return run(columns)


def _wait(row: Row) -> WaitingFor:
    if row[24] == "package":
        return PackageWait(row[FLOW_NAME])
    if row[24] == "person":
        return PersonWait()
    if row[24] == "needs":
        return NeedsWait(tuple(json.loads(row[_WAITS_ON])))
    if row[24] == "pause":
        return PauseWait(row[_WAITS_ON])
    if row[24] == "question":
        return PersonWait(row[_WAITS_ON])
    if row[24] == "key":
        return _key_wait(row[_WAITS_ON])
    # 'time' or 'instant'
    why, _, max_attempts = row[25].partition(" ")
    return TimeWait(row[26], row[27], why, int(max_attempts) if max_attempts else None)


def _key_wait(text: str | None) -> KeyWait:
    # There is nothing to read while it is on its way to the key, in the transaction that accepts it.
    group, key, holder, ahead, asks = json.loads(text) if text else ("", "[]", None, 0, None)
    return KeyWait(group, key, holder, ahead if ahead <= lanes.MAX_AHEAD else None, asks)


def attempt(row: Row, run_id: str) -> Attempt:
    """An attempt from `ATTEMPT_COLUMNS`."""
    return Attempt(
        id=attempt_id(run_id, row[1]),
        run_id=run_id,
        number=row[1],
        status=_STATUSES[row[2]],
        worker_id=row[3],
        started_at_ms=row[4],
        completed_at_ms=row[5],
        reason=None if row[6] is None else Reason(row[6]),
        error=row[7],
        exit_code=row[8],
        signal=row[9],
        pid=row[10],
        command=_strings(row[11]),
        cwd=row[12],
        leftovers=_strings(row[13]),
        survivors=_strings(row[14]),
        stdout_bytes=row[15],
        stderr_bytes=row[16],
        output_truncated=bool(row[17]),
        max_rss_bytes=row[18],
        cpu_ms=row[19],
        boot_id=row[20],
        package_hash=row[21],
        measured_ms=row[22],
        result=_result(row[23], row[24]),
        resolution=None if row[25] is None else words.read_resolution(row[25]),
        answer=None if row[26] is None else words.read_answer(row[26]),
        host=row[27],
    )


def event(row: Row, run_ids: Sequence[str] = ()) -> StoredEvent:
    """An event from `EVENT_COLUMNS`."""
    return StoredEvent(
        id=row[1],
        type=row[2],
        source=row[3],
        occurred_at=row[4],
        received_at=row[5],
        body=row[6].encode(),
        created_at_ms=row[7],
        run_ids=tuple(run_ids),
        left_out=_left_out(row[9]),
        caused_by=None if row[10] is None else CausedBy(row[10], row[11]),
        root_event_id=row[12],
        depth=row[13],
        traceparent=row[14],
    )


@lru_cache(maxsize=1024)
def left_out(shares: tuple[LeftOut, ...]) -> str | None:
    """Shares of an event as they are stored; None for none."""
    return json.dumps([(share.flow, share.step, share.why) for share in shares]) if shares else None


@lru_cache(maxsize=1024)  # A package that is broken is left out of many events.
def _left_out(text: str | None) -> tuple[LeftOut, ...]:
    return tuple(LeftOut(flow, why, step) for flow, step, why in json.loads(text)) if text else ()


@lru_cache(maxsize=1024)  # The runs of one step share their command.
def strings(values: tuple[str, ...]) -> str | None:
    """A list of strings as it is stored; None for an empty one."""
    return json.dumps(list(values), ensure_ascii=False) if values else None


@lru_cache(maxsize=1024)  # The runs of one step share their command.
def _strings(text: str | None) -> tuple[str, ...]:
    return tuple(json.loads(text)) if text else ()


def labels(found: tuple[Label, ...]) -> str | None:
    """Labels as they are stored; None for none."""
    return json.dumps(dict(found), ensure_ascii=False) if found else None


@lru_cache(maxsize=1024)  # Many runs have the same.
def read_labels(text: str) -> tuple[Label, ...]:
    """Labels as they were stored."""
    return tuple(json.loads(text).items())


def _result(status: str | None, text: str | None) -> FlowResult | None:
    return FlowResult(status, text) if status is not None and text is not None else None
