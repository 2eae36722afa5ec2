"""What becomes of a database that came from elsewhere: its runs are history, and none starts before a person says so."""

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from flowd.domain.exit import Exit
from flowd.domain.outcome import Outcome
from flowd.domain.run import ProcessStatus, Reason
from flowd.domain.stored import Output
from flowd.state import place
from flowd.state.folder import DATABASE
from flowd.store.sql import lanes, outbox, reads, writes
from flowd.store.sqlite.connection import open_writer, translate

log = logging.getLogger("flowd.store")

REMEDY = "`flowd resume` starts what waits; `flowd cancel` ends it"
_ERROR = "It ran where this state was copied from; what became of it is not known here"


def set_aside(database: Path, *, sizes: Callable[[str], tuple[int, int]], at_ms: int) -> tuple[int, int]:
    """End what ran elsewhere as interrupted, without a retry, let what is queued wait for a person, and tell nobody
    what was to be told there.

    May be repeated. The caller holds the daemon's lock.

    Args:
        sizes: Of an attempt's output files, by its id.

    Returns:
        How many runs were ended, and how many wait.

    Raises:
        StateError: The database cannot be opened.
        RefusedError: It cannot be written; nothing has changed.
    """
    with closing(open_writer(database)) as db:
        try:
            db.execute("BEGIN IMMEDIATE")
            running = reads.left_running(db)
            outcome = Outcome(ProcessStatus.FAILED, Reason.INTERRUPTED, _ERROR)
            for left in running:
                stdout_bytes, stderr_bytes = sizes(left.attempt.id)
                output = Output(None, None, stdout_bytes, stderr_bytes)
                writes.finish(db, left.attempt, outcome, Exit(), output, at_ms=at_ms, wait=None)
            held = db.execute(
                "UPDATE runs SET waits_for = 'person', wait_why = NULL, not_before_ms = 0, wait_ms = 0,"
                " expires_at_ms = NULL, queue_left_ms = NULL"
                " WHERE status = 'queued' AND coalesce(waits_for, '') NOT IN ('needs', 'question')"
            ).rowcount
            outbox.set_aside(db, at_ms=at_ms)
            lanes.clear(db)  # each comes to its keys again when it goes on
            db.execute("COMMIT")
        except sqlite3.Error as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise translate(error) from error
    return len(running), held


def take_possession(folder: Path, workspace: Path, *, sizes: Callable[[str], tuple[int, int]], at_ms: int) -> None:
    """Make a state folder this place's own, and the workspace's. What was copied from elsewhere becomes history first, see `set_aside`; no
    process that it speaks of is looked for or signalled. The caller holds the daemon's lock.

    Raises:
        OSError: The folder cannot be written.
        StateError: The database cannot be opened.
        RefusedError: It cannot be written.
    """
    origin = place.foreign_origin(folder)
    if origin is not None:
        place.leave_behind(folder)
        ended, held = 0, 0
        if (folder / DATABASE).exists():
            ended, held = set_aside(folder / DATABASE, sizes=sizes, at_ms=at_ms)
        facts = {"state": str(folder), "because": origin, "ended_unseen": ended, "waiting_for_a_person": held}
        log.warning("this state is another's history", extra=facts | ({"remedy": REMEDY} if held else {}))
    place.record(folder, workspace)
