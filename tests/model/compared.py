"""What is compared of a run on both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from model.model import Model
from model.records import UNFINISHED, Event, Lane
from model.records import Run as ModelRun

from flowd.domain.run import Run
from flowd.domain.stored import StoredEvent
from flowd.domain.waiting import (
    KeyWait,
    NeedsWait,
    PackageWait,
    PauseWait,
    PersonWait,
    PlaceWait,
    TimeWait,
    WaitingFor,
)


def place_of(event: StoredEvent, label: Callable[[str], str]) -> tuple[object, ...]:
    """What is compared of an event: its place in its tree. ``label`` names the run of an id."""
    cause = event.caused_by
    return event.id, cause and (label(cause.run_id), cause.event_id), event.root_event_id, event.depth


def model_place_of(event: Event) -> tuple[object, ...]:
    """As `place_of`."""
    cause = event.cause
    root = None if cause is None else event.root.id
    return event.id, cause and (str(cause), cause.round.event.id), root, event.depth


def state_of(run: Run, label: Callable[[str], str]) -> tuple[object, ...]:
    """What is compared of a run. ``label`` names the run of an id."""
    has_ended = run.status.is_final
    return (
        f"{run.event_id}#{run.round}.{run.flow_name}/{run.step_name}",
        run.status.value,
        run.effective_status if has_ended else None,
        run.reason.value if has_ended and run.reason is not None else None,
        run.attempt_count,
        run.flow_version,
        _wait_of(run.waiting_for, label),
    )


def _wait_of(wait: WaitingFor | None, label: Callable[[str], str]) -> object:
    match wait:
        case None:
            return None
        case TimeWait():
            return "time", wait.why, wait.until_ms
        case NeedsWait():
            return "needs", wait.names
        case PersonWait():
            return "person", label(wait.run_id or "")
        case PauseWait():
            return "pause", wait.what
        case KeyWait():
            return "key", wait.group, label(wait.holder or ""), wait.behind
        case PlaceWait():
            return "place", wait.place
        case PackageWait():
            return "package"
        case _:
            assert_never(wait)


def model_state_of(model: Model, run: ModelRun) -> tuple[object, ...]:
    """As `state_of`."""
    has_ended = run.status not in UNFINISHED
    return (
        str(run),
        run.status,
        run.effective if has_ended else None,
        run.reason if has_ended else None,
        run.attempts,
        run.shown,
        _model_wait_of(model, run) if run.status == "queued" else None,
    )


def _model_wait_of(model: Model, run: ModelRun) -> object:
    wait = run.waits
    if wait is None:
        return "place", model.ready().index(run) + 1
    match wait.kind:
        case "time" | "instant":
            return "time", wait.what, wait.until_ms
        case "person":
            return "person", str(wait.what)
        case "key":
            assert isinstance(wait.what, Lane)
            return "key", *wait.what.told_to(run)
        case "package":
            return "package"
        case _:
            return wait.kind, wait.what
