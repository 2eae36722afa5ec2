"""``flowd runs -f``: runs as they change."""

from flowd.cli import following, printing
from flowd.cli.session import Session
from flowd_client.views.update import UpdateView


def follow(
    session: Session, *, event_id: str | None, status: str | None, flow: str | None, after: str | None, as_json: bool
) -> None:
    """Print each change of a run's status, until Ctrl-C. ``status`` is a process status or an effective one."""

    def wants(update: UpdateView) -> bool:
        run = update.run
        if run is None:
            return False
        return flow in (None, run.flow_name) and status in (None, update.status, _effective(update))

    following.follow(session, "run", event_id=event_id, after=after, as_json=as_json, wants=wants, draw=_draw)


def _draw(update: UpdateView) -> str:
    run = update.run
    if run is None:
        return update.kind
    status = _effective(update)
    parts = [following.clock(update), printing.status(status.ljust(9)), run.id, f"{run.flow_name}/{run.step_name}"]
    parts.append(run.event_id or "-")
    if update.status == run.process_status and run.is_final:
        parts.append(printing.took(run.duration_ms))
        if run.reason:
            parts.append(f"({run.reason})")
    return "  ".join(parts)


def _effective(update: UpdateView) -> str:
    """What counts: what the step said, if this update is about the run's end and that still stands."""
    run = update.run
    if run is not None and update.status == run.process_status and run.is_final:
        return run.effective_status
    return update.status or "unknown"
