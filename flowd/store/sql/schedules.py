"""What is remembered of schedules. Functions that write run inside the writer's transaction."""

import json
from collections.abc import Collection, Iterator, Sequence

from flowd.domain.errors import SlotDecidedError, SlotEarlyError
from flowd.domain.queueing import Claim, NewRun, QueueBounds
from flowd.domain.run import effective_status
from flowd.domain.slots import REMEMBERED, Remembered, ScheduleKey, Slot, Span, Told, covered, is_in
from flowd.domain.stored import Accepted, NewEvent
from flowd.store.sql import inserting, rows, writes
from flowd.store.sql.connection import Connection

_AT_ONCE = 300

_Row = tuple[tuple[Span, ...], tuple[Told, ...]]


def begin(
    db: Connection, host: str, keys: Collection[ScheduleKey], *, broken: Collection[str], now_ms: int
) -> dict[ScheduleKey, Remembered]:
    """See `flowd.ports.schedules.ScheduleStore.begin_schedules`."""
    since = {
        ScheduleKey(*key): since_ms
        for *key, since_ms in db.execute(
            "SELECT flow_name, name, rule, since_ms FROM schedules_of_hosts WHERE host = ?", (host,)
        )
    }
    wanted = frozenset(keys)
    for gone in [key for key in since if key not in wanted and key.flow not in broken]:
        db.write(
            "DELETE FROM schedules_of_hosts WHERE host = ? AND flow_name = ? AND name = ? AND rule = ?", (host, *gone)
        )
    new = [key for key in keys if key not in since]
    inserting.insert(
        db,
        "schedules_of_hosts (host, flow_name, name, rule, since_ms)",
        [(host, *key, now_ms) for key in new],
    )
    since.update(dict.fromkeys(new, now_ms))
    if not keys:
        return {}
    known = _read(db, {key.flow for key in keys})
    _succeed(db, new, known, now_ms)
    return {key: Remembered(since[key], *known.get(key, ((), ()))) for key in keys}


def _succeed(db: Connection, new: Collection[ScheduleKey], known: dict[ScheduleKey, _Row], now_ms: int) -> None:
    """Let edited schedules take over what those of their names were told, and forget of these whom no host has."""
    names = {key[:2] for key in new if key not in known}
    earlier = [key for key in known if key[:2] in names]
    if not earlier:
        return
    inherited: dict[tuple[str, str], _Row] = {}
    for key in earlier:
        spans, last = inherited.get(key[:2], ((), ()))
        for span in known[key][0]:
            spans = covered(spans, span, now_ms=now_ms)
        inherited[key[:2]] = spans, _newest((*last, *known[key][1]))
    for key in new:
        if key not in known and key[:2] in inherited:
            known[key] = inherited[key[:2]]
            _write(db, key, known[key])
    for key in earlier:
        db.write(
            "DELETE FROM schedules WHERE flow_name = ? AND name = ? AND rule = ? AND NOT EXISTS (SELECT 1 FROM"
            " schedules_of_hosts h WHERE h.flow_name = ? AND h.name = ? AND h.rule = ?)",
            (*key, *key),
        )


def accept(
    db: Connection,
    slot: Slot,
    event: NewEvent,
    runs: Sequence[NewRun],
    *,
    at_ms: int,
    now_ms: int,
    within: QueueBounds,
    claim: Claim | None,
) -> Accepted:
    """Store the event of a slot as `writes.accept` does, and remember the slot.

    Raises:
        SlotEarlyError: It has not come yet, ``now_ms`` being the store's clock.
        SlotDecidedError: It counts already, and its event is forgotten.
    """
    if slot.slot_ms > now_ms:
        raise SlotEarlyError(f"Slot {slot.event_id} has not come yet.")
    of_name = _of_name(db, slot.key)
    spans, last = of_name.get(slot.key, ((), ()))
    is_decided = is_in(spans, slot.slot_ms) or any(
        told.slot_ms == slot.slot_ms for _, lasts in of_name.values() for told in lasts
    )
    if is_decided:
        _refuse_forgotten(db, slot)
    accepted = writes.accept(db, event, runs, at_ms=at_ms, within=within, claim=claim)
    spans = covered(spans, (slot.covers_from_ms, slot.slot_ms), now_ms=now_ms)
    if all(told.slot_ms != slot.slot_ms for told in last):
        last = (Told(slot.slot_ms, at_ms), *last)[:REMEMBERED]
    _write(db, slot.key, (spans, last))
    return accepted


def _refuse_forgotten(db: Connection, slot: Slot) -> None:
    if db.execute("SELECT 1 FROM events WHERE id = ?", (slot.event_id,)).fetchone() is None:
        raise SlotDecidedError(f"Slot {slot.event_id} counts already.")


def told_last(db: Connection, keys: Collection[ScheduleKey]) -> dict[ScheduleKey, tuple[Told, ...]]:
    """The slots that were told last of each of these."""
    known = _read(db, {key.flow for key in keys})
    return {key: known[key][1] for key in keys if key in known}


def ends(db: Connection, event_ids: Sequence[str]) -> dict[str, list[str]]:
    """The effective statuses of the newest runs of each step of these events; of events that are stored."""
    found: dict[str, dict[tuple[str, str], str]] = {}
    for part in _parts(event_ids):
        for event_id, flow, step, status, said in db.execute(
            "SELECT e.id, r.flow_name, r.step_name, r.status, r.result_status FROM events e"
            f" LEFT JOIN runs r ON r.event_seq = e.seq WHERE e.id IN ({rows.marks(part)}) ORDER BY r.seq",
            part,
        ).fetchall():
            steps = found.setdefault(event_id, {})
            if flow is not None:
                steps[flow, step] = effective_status(status, said)
    return {event_id: list(steps.values()) for event_id, steps in found.items()}


def _read(db: Connection, flows: Collection[str]) -> dict[ScheduleKey, _Row]:
    """All of these flows."""
    return {
        key: row for part in _parts(list(flows)) for key, row in _rows(db, f"flow_name IN ({rows.marks(part)})", part)
    }


def _of_name(db: Connection, key: ScheduleKey) -> dict[ScheduleKey, _Row]:
    """All rules of a name."""
    return dict(_rows(db, "flow_name = ? AND name = ?", key[:2]))


def _rows(db: Connection, where: str, values: Sequence[str]) -> Iterator[tuple[ScheduleKey, _Row]]:
    for *key, spans, last in db.execute(
        f"SELECT flow_name, name, rule, spans, last FROM schedules WHERE {where}", list(values)
    ).fetchall():
        spans_ = tuple((begin_ms, end_ms) for begin_ms, end_ms in json.loads(spans))
        yield ScheduleKey(*key), (spans_, tuple(Told(*told) for told in json.loads(last)))


def _parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[first : first + _AT_ONCE] for first in range(0, len(values), _AT_ONCE))


def _write(db: Connection, key: ScheduleKey, row: _Row) -> None:
    db.write(
        "INSERT INTO schedules (flow_name, name, rule, spans, last) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (flow_name, name, rule) DO UPDATE SET spans = excluded.spans, last = excluded.last",
        (*key, json.dumps(row[0]), json.dumps(row[1])),
    )


def _newest(told: Sequence[Told]) -> tuple[Told, ...]:
    by_slot = {one.slot_ms: one for one in told}
    return tuple(sorted(by_slot.values(), key=lambda one: -one.at_ms)[:REMEMBERED])
