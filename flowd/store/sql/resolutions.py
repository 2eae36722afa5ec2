"""Records how a run that asked counts from now on. The caller sees to what follows: see `gates.resolved`."""

from flowd.domain.people import Resolution
from flowd.domain.result import FlowResult
from flowd.domain.run import ProcessStatus
from flowd.store.sql import journal, words
from flowd.store.sql.connection import Connection


def write(db: Connection, seq: int, said: FlowResult, resolution: Resolution) -> None:
    """Let it stand in the place of what a run ``said`` that asks. Runs inside the writer's transaction."""
    result = resolution.result_of(said)
    event_seq, status = db.execute(
        "UPDATE runs SET resolution = ?, wants_person = 0, result_status = ?, result = ?, reported_status = ?,"
        " reported_result = ?, updated_at_ms = ? WHERE seq = ? AND wants_person = 1 RETURNING event_seq, status",
        (
            words.resolution(resolution),
            resolution.status,  # also where no result stands: it is what counts
            None if result is None else result.text,
            said.status,
            said.text,
            resolution.at_ms,
            seq,
        ),
    ).fetchone()
    journal.add_run(db, resolution.at_ms, event_seq, seq, ProcessStatus(status))
