"""What is known of the rounds that events have had, for very many events or steps at once."""

from collections.abc import Iterable, Mapping
from typing import Any

from flowd.store.sql import rows
from flowd.store.sql.connection import Connection

_AT_ONCE = 500
"""Events in a statement."""

_FEW = 8
"""Flows or steps of an event for which its index is asked each. For more all its runs are read once: to ask for each would
look at all of them each time."""

Step = tuple[int, str, str]
"""Of an event, by its number and the names of flow and step."""

_FIRST = (
    "(SELECT r.id FROM runs r INDEXED BY runs_by_event WHERE r.event_seq = e.seq AND r.flow_name = ? AND r.step_name = ?"
    " AND r.replay_of IS NULL ORDER BY r.seq LIMIT 1)"
)
_NEWEST = (
    "(SELECT r.round FROM runs r INDEXED BY runs_by_event WHERE r.event_seq = e.seq AND r.flow_name = ?"
    " ORDER BY r.seq DESC LIMIT 1)"
)


def first_runs(db: Connection, steps: Iterable[Step]) -> dict[Step, str]:
    """The ids of the first runs of these steps; those that have none are not in it."""
    wanted = _by_event((event_seq, (flow, step)) for event_seq, flow, step in steps)
    found: dict[Step, str] = {(seq, flow, step): run_id for seq, (flow, step), run_id in _of_few(db, _FIRST, wanted)}
    for event_seq in _with_many(wanted):
        sql = "SELECT flow_name, step_name, id FROM runs WHERE event_seq = ? AND replay_of IS NULL ORDER BY seq DESC"
        found |= {(event_seq, flow, step): run_id for flow, step, run_id in db.execute(sql, (event_seq,)).fetchall()}
    return found


def newest_numbers(db: Connection, flows: Iterable[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """The numbers of the newest rounds of events, by these and the names of flows; where there is none, it is not in it."""
    wanted = _by_event((event_seq, (flow,)) for event_seq, flow in flows)
    found: dict[tuple[int, str], int] = {(seq, flow): number for seq, (flow,), number in _of_few(db, _NEWEST, wanted)}
    for event_seq in _with_many(wanted):
        sql = "SELECT flow_name, max(round) FROM runs WHERE event_seq = ? GROUP BY flow_name"
        found |= {(event_seq, flow): number for flow, number in db.execute(sql, (event_seq,)).fetchall()}
    return found


_Names = tuple[str, ...]


def _by_event(pairs: Iterable[tuple[int, _Names]]) -> dict[int, dict[_Names, None]]:
    """Each once, in their order."""
    wanted: dict[int, dict[_Names, None]] = {}
    for event_seq, names in pairs:
        wanted.setdefault(event_seq, {})[names] = None
    return wanted


def _with_many(wanted: Mapping[int, dict[_Names, None]]) -> list[int]:
    return [event_seq for event_seq, names in wanted.items() if len(names) > _FEW]


def _of_few(db: Connection, answer: str, wanted: Mapping[int, dict[_Names, None]]) -> Iterable[tuple[int, _Names, Any]]:
    """The answers for events of which little is wanted."""
    events: dict[_Names, list[int]] = {}
    for event_seq, all_names in wanted.items():
        if len(all_names) <= _FEW:
            for names in all_names:
                events.setdefault(names, []).append(event_seq)
    for names, seqs in events.items():
        for first in range(0, len(seqs), _AT_ONCE):
            some = seqs[first : first + _AT_ONCE]
            sql = f"SELECT e.seq, {answer} FROM events e WHERE e.seq IN ({rows.marks(some)})"
            for event_seq, found in db.execute(sql, (*names, *some)).fetchall():
                if found is not None:
                    yield event_seq, names, found
