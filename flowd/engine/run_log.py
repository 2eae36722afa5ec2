"""The log of runs' lives: queued, started, ended, each with the same fields, so that one run can be followed."""

import logging

from flowd.domain.run import Run
from flowd.domain.stored import NewEvent, StoredEvent

LOGGER = "flowd.runs"

log = logging.getLogger(LOGGER)


def tell(level: int, event: str, run: Run, **more: object) -> None:
    """Log what happened to a run. Costs nothing to speak of where nobody listens at this level."""
    if log.isEnabledFor(level):
        fields = {"run_id": run.id, "event_id": run.event_id, "flow": run.flow_name, "step": run.step_name, **more}
        # Made here: the logger would walk the stack for who called it, which nobody is shown.
        log.handle(log.makeRecord(LOGGER, level, __file__, 0, event, (), None, extra=fields))


def tell_conflict(run: Run) -> None:
    """Log that a run which ended well caused less than its result says, if it did."""
    if run.error is not None:
        tell(logging.WARNING, "event not caused", run, why=run.error.partition("\n")[0])


def tell_left_out(event: StoredEvent | NewEvent) -> None:
    """Log whose share of an event was not run."""
    for share in event.left_out:
        log.warning("event left out", extra={"event_id": event.id, "flow": share.label, "why": share.why})
