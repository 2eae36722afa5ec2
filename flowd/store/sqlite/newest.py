"""Reads the newest events of a flow from a store that no daemon has open."""

import json
import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

_LOOKED_AT = 50
"""Runs among which the newest events are found."""


class StoredRound(NamedTuple):
    """An event, and what the steps of a flow said in its newest round.

    Attributes:
        results: By step, as JSON objects with their effective status.
    """

    event: dict[str, Any]
    results: dict[str, dict[str, Any]]


def newest_events(database: Path, flow: str, steps: Collection[str], *, limit: int) -> list[StoredRound]:
    """The newest events that matched one of these steps, newest first. Changes nothing, and leaves no file behind.

    Raises:
        sqlite3.Error: It is no database of flowd's, or a daemon is changing it.
    """
    if not database.is_file() or database.is_symlink():
        return []
    # Without a log beside it the file is all there is; to read it as such makes none.
    how = "" if database.with_name(f"{database.name}-wal").exists() else "&immutable=1"
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro{how}", uri=True)) as db:
        marks = ", ".join("?" * len(steps))
        found = db.execute(
            f"SELECT event_seq FROM runs WHERE flow_name = ? AND step_name IN ({marks}) ORDER BY seq DESC LIMIT ?",
            (flow, *steps, _LOOKED_AT),
        )
        seqs = list(dict.fromkeys(seq for (seq,) in found))[:limit]
        return [_round(db, seq, flow) for seq in seqs]


def _round(db: sqlite3.Connection, event_seq: int, flow: str) -> StoredRound:
    (body,) = db.execute("SELECT body FROM events WHERE seq = ?", (event_seq,)).fetchone()
    runs = db.execute(
        "SELECT step_name, status, result FROM runs WHERE event_seq = ? AND flow_name = ?"
        " AND status NOT IN ('queued', 'running') ORDER BY seq",
        (event_seq, flow),
    )
    results = {step: {"status": status} if result is None else json.loads(result) for step, status, result in runs}
    return StoredRound(json.loads(body), results)
