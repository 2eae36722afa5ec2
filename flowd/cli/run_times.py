"""When a run began and ended, and how long it took, as lists and views tell it."""

from datetime import datetime

from flowd.cli import printing
from flowd_client.views.run import RunView


def started_at(item: RunView) -> datetime | None:
    """When its last attempt began, whose end is the run's; None where it was never started."""
    return item.attempts[-1].started_at if item.attempts else item.started_at


def ended_unstarted_at(item: RunView) -> datetime | None:
    """When a run ended of which no attempt began: skipped, or canceled before. None for all others."""
    return ended_at(item) if item.is_final and started_at(item) is None else None


def ended_at(item: RunView) -> datetime | None:
    """When a run that has ended did so."""
    return item.completed_at or item.updated_at  # one that was canceled before it began has only the latter


def began_or_ended(item: RunView) -> str:
    """When its last attempt began; for one that never began, when it ended, with that word."""
    ended = ended_unstarted_at(item)
    return printing.when(started_at(item)) if ended is None else f"ended {printing.when(ended)}"


def duration_ms(item: RunView) -> int | None:
    """How long a run took. None for one that was interrupted, unless that was measured: a daemon from before durations
    were measured counts the time until the next daemon found out (after a power cut, say)."""
    is_measured = any(attempt.duration_ms is not None for attempt in item.attempts)
    return None if item.reason == "interrupted" and not is_measured else item.duration_ms
