"""How those steps ended that a run needs. Runs inside any transaction."""

from flowd.domain.needs import NeedEnd
from flowd.domain.run import Reason, effective_status
from flowd.store.sql.connection import Connection

_IN_ROUND = (
    "SELECT q.step_name, q.id, q.status, q.result_status, q.reason, q.result, q.failed_above FROM needs n"
    " JOIN runs q ON q.seq = n.need_seq WHERE n.run_seq = ? ORDER BY n.place"
)
_COPIED = (
    "SELECT need, run_id, status, reason, result, failed_above, is_asked FROM frozen WHERE run_seq = ? ORDER BY need"
)


def of_run(db: Connection, run_seq: int) -> list[NeedEnd]:
    """What a run needs, all of which has ended: in its round, in the order of its step's needs, then what was copied."""
    found = [
        NeedEnd(step, run_id, effective_status(status, said), _reason(reason), result, bool(failed_above))
        for step, run_id, status, said, reason, result, failed_above in db.execute(_IN_ROUND, (run_seq,))
    ]
    for step, run_id, status, reason, result, failed_above, is_asked in db.execute(_COPIED, (run_seq,)):
        found.append(NeedEnd(step, run_id, status, _reason(reason), result, bool(failed_above), bool(is_asked)))
    return found


def _reason(text: str | None) -> Reason | None:
    return None if text is None else Reason(text)
