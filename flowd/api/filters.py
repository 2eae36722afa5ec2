"""Reads the filters of lists from their parameters."""

import time

from flowd.api.shapes.events import ListEvents
from flowd.api.shapes.runs import ListRuns
from flowd.domain import labels
from flowd.domain.errors import InvalidParamsError
from flowd.domain.filters import EventFilter, RunFilter
from flowd.domain.instants import read_instant
from flowd.domain.labels import Label
from flowd.domain.run import Reason


def of_runs(given: ListRuns) -> RunFilter:
    """What a list of runs is asked for.

    Raises:
        InvalidParamsError: A filter is none.
    """
    return RunFilter(
        event_id=given.event_id,
        status=given.status,
        flow=given.flow,
        step=given.step,
        reason=_reason(given.reason),
        since_ms=_instant(given.since, "since"),
        until_ms=_instant(given.until, "until"),
        labels=wanted_labels(given.label),
        host=given.host,
        text=given.text,
    )


def of_events(given: ListEvents) -> EventFilter:
    """What a list of events is asked for.

    Raises:
        InvalidParamsError: A filter is none.
    """
    return EventFilter(
        type=given.type,
        since_ms=_instant(given.since, "since"),
        until_ms=_instant(given.until, "until"),
        text=given.text,
        runs=RunFilter(
            status=given.status,
            flow=given.flow,
            step=given.step,
            reason=_reason(given.reason),
            labels=wanted_labels(given.label),
        ),
    )


def of_named(flow: str | None, step: str | None, label: list[str] | None) -> RunFilter:
    """What a list of runs is asked for that has an order of its own.

    Raises:
        InvalidParamsError: A label is none.
    """
    return RunFilter(flow=flow, step=step, labels=wanted_labels(label))


def wanted_labels(given: list[str] | None) -> tuple[Label, ...]:
    """Labels that are looked for, each ``name=value``.

    Raises:
        InvalidParamsError: One is no label.
    """
    return tuple(map(_label, given or ()))


def _label(text: str) -> Label:
    found = labels.read_wanted(text)
    if found is None:
        raise InvalidParamsError(f"{text[:80]!r} is no label: write name=value, as in repo=flowd.", param="label")
    return found


def _reason(given: str | None) -> str | None:
    if given is not None and given not in tuple(Reason):
        raise InvalidParamsError(f"Unknown reason {given[:40]!r}: it is one of {', '.join(Reason)}.", param="reason")
    return given


def _instant(given: str | None, param: str) -> int | None:
    """To the second where it is so long ago: pollers are given the same page then."""
    if given is None:
        return None
    now_ms = time.time_ns() // 1_000_000_000 * 1000  # runs and events are dated by the wall clock, too
    found = read_instant(given, now_ms=now_ms)
    if found is None:
        raise InvalidParamsError(
            f"{param} {given[:40]!r} is no instant: write 2026-01-31T12:00:00Z, or how long ago, as in 90s, 2h or 7d.",
            param=param,
        )
    return found
