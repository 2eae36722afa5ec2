"""The log of runs' lives: queued, started, ended, each with the same fields, so that one run can be followed."""

import logging
from dataclasses import replace

from flowd.domain.exit import Exit
from flowd.domain.outcome import Outcome
from flowd.domain.run import ATTENTION, ProcessStatus, Run, effective_status
from flowd.domain.stored import Accepted, NewEvent, Output, StoredEvent

LOGGER = "flowd.runs"

_WANT_SOMEBODY = ATTENTION | {"failed"}

log = logging.getLogger(LOGGER)
_engine_log = logging.getLogger("flowd.engine")


def tell(level: int, event: str, run: Run, **more: object) -> None:
    """Log what happened to a run. Costs nothing to speak of where nobody listens at this level."""
    if log.isEnabledFor(level):
        fields = {"run_id": run.id, "event_id": run.event_id, "flow": run.flow_name, "step": run.step_name, **more}
        # Made here: the logger would walk the stack for who called it, which nobody is shown.
        log.handle(log.makeRecord(LOGGER, level, __file__, 0, event, (), None, extra=fields))


def tell_accepted(accepted: Accepted, caused_by: str | None) -> None:
    """Log the new runs of an event, whose share of it was not run, and whether the run that sent it caused it."""
    if not accepted.is_duplicate:
        for run in accepted.runs:
            tell(logging.DEBUG, "run queued", run)
        tell_left_out(accepted.event)
    if accepted.is_conflict and caused_by is not None:
        _engine_log.warning("event not caused", extra={"event_id": accepted.event.id, "cause": caused_by})
    if accepted.is_cause_idle:
        _engine_log.warning("cause not running", extra={"event_id": accepted.event.id, "cause": caused_by})


def tell_attempt_ended(run: Run, outcome: Outcome, attempt: int, *, retry_in_ms: int | None) -> None:
    """Log how an attempt ended; ``result`` is what the step said where that is more than how its process ended."""
    status, said = outcome.status.value, outcome.result
    more: dict[str, object] = {}
    if said is not None and said.status != status:
        more["result"] = said.status
    if retry_in_ms is not None:
        more["retry_in_ms"] = retry_in_ms
    level = _level(effective_status(status, said.status if said else None), outcome.status)
    tell(level, "run ended", run, status=status, reason=outcome.reason, attempt=attempt, **more)


def tell_ended_unstarted(run: Run) -> None:
    """Log that a run ended, and no attempt of it."""
    tell(_level(run.effective_status, run.status), "run ended", run, status=run.effective_status, reason=run.reason)


def _level(effective: str, process: ProcessStatus) -> int:
    """Failures and questions are warnings: they want somebody. In a burst the journal drops lines by level, and one of
    many good ends must not cost a bad one its line."""
    return logging.WARNING if effective in _WANT_SOMEBODY or process is ProcessStatus.FAILED else logging.INFO


def tell_conflict(run: Run) -> None:
    """Log that a run which ended well caused less than its result says, if it did."""
    if run.error is not None:
        tell(logging.WARNING, "event not caused", run, why=run.error.partition("\n")[0])


def tell_left_out(event: StoredEvent | NewEvent) -> None:
    """Log whose share of an event was not run."""
    for share in event.left_out:
        log.warning("event left out", extra={"event_id": event.id, "flow": share.label, "why": share.why})


def told_losses(run_id: str, exit_: Exit, output: Output) -> Output:
    """The output of an attempt, as truncated where its exit tells of losses; these are logged."""
    if exit_.unwritten_bytes:
        _engine_log.warning("output lost", extra={"run": run_id, "bytes": exit_.unwritten_bytes, "why": "not writable"})
    if exit_.shrunk:
        _engine_log.warning("output shrank", extra={"run": run_id, "streams": exit_.shrunk})
    return replace(output, is_truncated=True) if exit_.unwritten_bytes or exit_.shrunk else output
