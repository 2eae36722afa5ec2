"""How far running steps say that they are: one object in each run's row, until its attempt ends."""

import json
from dataclasses import asdict

from flowd.domain.progress import Progress
from flowd.domain.run import Attempt, ProcessStatus
from flowd.store.sql import journal
from flowd.store.sql.connection import Connection


def note(db: Connection, attempt: Attempt, progress: Progress, at_ms: int) -> None:
    """Remember it, unless the attempt is over."""
    changed = db.execute(
        "UPDATE runs SET progress = ?, updated_at_ms = ? WHERE id = ? AND attempt_count = ? AND status = 'running'"
        " RETURNING seq, event_seq",
        (json.dumps(asdict(progress), ensure_ascii=False), at_ms, attempt.run_id, attempt.number),
    ).fetchone()
    if changed is not None:
        journal.add_run(db, at_ms, changed[1], changed[0], ProcessStatus.RUNNING)
