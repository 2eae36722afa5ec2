"""The gate of pauses: what people have paused waits until they let it go. Each function runs inside the writer's
transaction, or in a reader's.
"""

from collections.abc import Callable

from flowd.domain.definition import Definition
from flowd.domain.pauses import Pause, Paused
from flowd.domain.run import ProcessStatus
from flowd.store.sql import clocks, expiring, journal, words
from flowd.store.sql.connection import Connection, WriteNotes
from flowd.store.sql.passing import Passing

NAME = "CASE WHEN p.flow_name = '' THEN '*' WHEN p.step_name = '' THEN p.flow_name ELSE p.flow_name || '/' || p.step_name END"
"""How the runs that a pause ``p`` keeps name it."""

KEEPING = """(SELECT NAME
    FROM pauses p WHERE p.is_over = 0 AND (p.flow_name, p.step_name) IN (('', ''), ({flow}, ''), ({flow}, {step}))
    ORDER BY p.flow_name, p.step_name LIMIT 1)""".replace("NAME", NAME)
"""What keeps a step's runs, as an expression; NULL where nothing does. To be formatted with the names of flow and step."""

_KEEPING_RUN = (
    f"SELECT {KEEPING.format(flow='r.flow_name', step='r.step_name')}, r.waits_for FROM runs r WHERE r.seq = ?"
)
_PAUSES = "SELECT flow_name, step_name, said_by, at_ms FROM pauses"


def look(db: Connection, run_seq: int, event_seq: int, at_ms: int) -> Passing:
    """Whether a run may go on; else it waits. A `gates.Gate`."""
    if not is_any(db):
        return Passing.FREE
    what, before = db.execute(_KEEPING_RUN, (run_seq,)).fetchone()
    if what is None:
        return Passing.FREE
    db.execute(
        f"UPDATE runs SET waits_for = 'pause', waits_on = ?, updated_at_ms = ?, {expiring.HOLD} WHERE seq = ?",
        (what, at_ms, clocks.steady_ms(db, at_ms), run_seq),
    )
    if before != "pause":
        journal.add_run(db, at_ms, event_seq, run_seq, ProcessStatus.QUEUED)
    return Passing.KEPT


def keeping(db: Connection) -> Callable[[Definition], str | None] | None:
    """Tells of a step which pause keeps its runs; None where nothing is paused."""
    if not is_any(db):
        return None
    names = {str(pause.what) for pause in in_force(db)}

    def keep(step: Definition) -> str | None:
        return next((name for name in ("*", step.flow_name, step.label) if name in names), None)

    return keep


def is_any(db: Connection) -> bool:
    """Whether anything is paused. The connection that writes looks for it once, and again after each pause."""
    if isinstance(db, WriteNotes) and not db.may_be_paused:
        return False
    found = db.execute("SELECT 1 FROM pauses LIMIT 1").fetchone() is not None
    if isinstance(db, WriteNotes):
        db.may_be_paused = found
    return found


def in_force(db: Connection) -> list[Pause]:
    """The pauses that keep runs, that of all flows first."""
    return [_pause(row) for row in db.execute(f"{_PAUSES} WHERE is_over = 0 ORDER BY flow_name, step_name")]


def ending(db: Connection) -> list[Pause]:
    """The pauses that are over, and may have kept runs that are to be let go."""
    return [_pause(row) for row in db.execute(f"{_PAUSES} WHERE is_over = 1 ORDER BY flow_name, step_name")]


def _pause(row: tuple[str, str, str, int]) -> Pause:
    return Pause(Paused(row[0] or None, row[1] or None), words.read_person(row[2]), row[3])
