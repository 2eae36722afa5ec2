"""Which runs are ready, and in which order they start. Reads only."""

from collections.abc import Sequence
from dataclasses import replace

from flowd.domain.run import ProcessStatus, Run
from flowd.domain.waiting import MAX_PLACE, PlaceWait
from flowd.store.sql import rows
from flowd.store.sql.connection import Connection

READY = "FROM runs r INDEXED BY runs_ready WHERE r.status = 'queued' AND r.waits_for IS NULL AND r.called_off IS NULL"
IN_ORDER = "ORDER BY r.priority DESC, r.ready_seq"
_FIRST = f"SELECT r.seq {READY} {IN_ORDER} LIMIT {MAX_PLACE}"


def known(db: Connection, found: Sequence[rows.Row], runs: Sequence[Run]) -> list[Run]:
    """The same runs; those that are ready know their places, which costs nothing where there are none."""
    if not any(_is_ready(run) for run in runs):
        return list(runs)
    places = {seq: place for place, (seq,) in enumerate(db.execute(_FIRST), 1)}
    return [
        replace(run, waiting_for=PlaceWait(places.get(row[0], MAX_PLACE + 1))) if _is_ready(run) else run
        for row, run in zip(found, runs, strict=True)
    ]


def _is_ready(run: Run) -> bool:
    return run.status is ProcessStatus.QUEUED and run.waiting_for is None
