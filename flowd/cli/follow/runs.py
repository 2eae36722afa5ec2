"""``flowd runs -f``: prints what is running and queued, then each change of a run."""

import time
from collections.abc import Iterable
from datetime import datetime

from flowd.cli import printing, run_words
from flowd.cli.filters import Filters
from flowd.cli.follow import events as follow_events
from flowd.cli.run_words import why
from flowd.cli.session import Session
from flowd_client.client import FlowClient
from flowd_client.views.run import RunView
from flowd_client.views.update import UpdateView, read_update

_MAX_STANDING = 100
"""Of the running, and of the queued runs, that are shown first."""

_OVERLAP_S = 5.0
"""Updates of before the look at what stands are there already, and come at once."""

_ORDER = {"queued": 0, "running": 1}
"""Of changes in the same millisecond; an end is always news."""


def follow(session: Session, *, event_id: str | None, filters: Filters, after: str | None, as_json: bool) -> None:
    """Print what is running and queued, unless behind ``after``, then each change of a run's status, until Ctrl-C.
    Of the filters all count that a run has: not its time, nor text.
    """
    standing = _Standing(session, event_id=event_id, filters=filters)

    def wants(update: UpdateView) -> bool:
        run = update.run
        if run is None or standing.has_told(update) or _is_progress(update):
            return False
        return filters.status in (None, update.status, _effective(update)) and _fits(run, filters)

    follow_events.follow(
        session, "run", event_id=event_id, after=after, as_json=as_json, wants=wants, draw=_draw, begin=standing.look
    )


def _is_progress(update: UpdateView) -> bool:
    """Whether a running step says how far it is: its run's status is as it was."""
    return update.status == "running" and update.attempt is None


class _Standing:
    """The runs that are running or queued when following begins, each as an update.

    The updates were subscribed to before, so that none is missed; those that the look has in it already are known by
    their instants. A run that was over by then, and began after the subscription, is told behind what stands.
    """

    def __init__(self, session: Session, *, event_id: str | None, filters: Filters) -> None:
        self._session = session
        self._event_id = event_id
        self._filters = filters
        self._told: dict[str, tuple[datetime, int]] = {}
        self._looked_s = 0.0

    def look(self, client: FlowClient, cursor: str) -> Iterable[UpdateView]:
        """Running and queued runs, the one that changed last at the end."""
        found: dict[str, RunView] = {}
        for status in ("queued", "running"):  # in the order in which runs go through them
            asked = self._filters._replace(status=status)
            page = client.list_runs(event_id=self._event_id, limit=_MAX_STANDING, **asked._asdict())
            found |= {run.id: run for run in page}
            if page.next_cursor:
                more = self._session.typed("runs", event=self._event_id, **asked.typed())
                printing.note(f"flowd: the newest {_MAX_STANDING} {status} runs; more: {more}")
        yield from sorted(
            (read_update(_as_update(run, cursor)) for run in found.values()), key=lambda one: one.raw["at"]
        )
        self._told = {run.id: told for run in found.values() if (told := _instant(run.updated_at, run.process_status))}
        self._looked_s = time.monotonic()

    def has_told(self, update: UpdateView) -> bool:
        """Whether `look` has shown this update already."""
        told = self._told.get(update.run_id or "")
        if told is None or time.monotonic() > self._looked_s + _OVERLAP_S:
            return False
        happened = _instant(update.at, update.status)
        return happened is not None and happened <= told


def _fits(run: RunView, filters: Filters) -> bool:
    labels = filters.labels or {}
    return (
        filters.flow in (None, run.flow_name)
        and filters.step in (None, run.step_name)
        and filters.reason in (None, run.reason)
        and labels.items() <= run.labels.items()
    )


def _as_update(run: RunView, cursor: str) -> dict[str, object]:
    at, status = run.raw["updatedAt"], run.process_status
    update = {"cursor": cursor, "kind": "run", "at": at, "status": status, "run": run.raw}
    return update if status != "running" else {**update, "attempt": run.attempt_count}


def _instant(at: datetime | None, status: str | None) -> tuple[datetime, int] | None:
    return None if at is None else (at, _ORDER.get(status or "", 2))


def _draw(update: UpdateView) -> str:
    run = update.run
    if run is None:
        return update.kind
    status = _effective(update)
    parts = [follow_events.clock(update), printing.status(status.ljust(9)), run.id, f"{run.flow_name}/{run.step_name}"]
    parts.append(run.event_id or "-")
    if update.status == run.process_status and run.is_final:
        parts.append(printing.took(run.duration_ms))
        if said := why(run) or run.reason:
            parts.append(said)
    elif update.status == run.process_status and (waits := run_words.waiting(run)):
        parts.append(f"({waits})")
    return "  ".join(parts)


def _effective(update: UpdateView) -> str:
    """The effective status: the step's own result counts once the run has ended."""
    run = update.run
    if run is not None and update.status == run.process_status and run.is_final:
        return run.effective_status
    return update.status or "unknown"
