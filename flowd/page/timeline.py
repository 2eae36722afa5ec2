"""When the runs of a round waited, ran and asked, as bars on one axis."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from flowd.page.words import took

Kind = Literal["waits", "runs", "asks"]

_TICKS = 6
_S, _MIN, _H, _D = 1000, 60_000, 3_600_000, 86_400_000
_STEPS_MS = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500, _S, 2 * _S, 5 * _S, 10 * _S, 15 * _S, 30 * _S),
    *(_MIN, 2 * _MIN, 5 * _MIN, 10 * _MIN, 15 * _MIN, 30 * _MIN, _H, 2 * _H, 3 * _H, 6 * _H, 12 * _H),
    *(_D, 2 * _D, 7 * _D, 14 * _D, 28 * _D, 91 * _D, 365 * _D),
)
_SOON_MS = 30_000
"""Between the end of a round and the beginning of one that is shown with it, at least."""
_LEAST_PERCENT = 0.3
"""So wide is a bar at least, or nobody sees it."""


class Bar(NamedTuple):
    """A part of a row: where it begins and how wide it is, in percent of the axis; ``status`` is a class."""

    left: float
    width: float
    kind: Kind
    status: str
    title: str


class Tick(NamedTuple):
    """A mark on the axis: where, in percent, and how long after its beginning."""

    left: float
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """A run and its bars."""

    run: Mapping[str, Any]
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Rows on one axis, which begins at ``begins_at`` (as views have instants)."""

    begins_at: str
    ticks: Sequence[Tick]
    rows: Sequence[Row]


class _Span(NamedTuple):
    begin_ms: int
    end_ms: int
    kind: Kind
    status: str
    title: str


def timeline(runs: Sequence[Mapping[str, Any]], now_ms: int) -> Timeline | None:
    """The runs, which are views, in the order in which they started; None without any.

    A clock that was set back between two instants makes a bar short, never one that goes backwards.
    """
    if not runs:
        return None
    ordered = sorted(runs, key=lambda run: (run.get("startedAt") or "9", run["createdAt"]))
    spans = [list(_spans(run, now_ms)) for run in ordered]
    begin_ms = min(_ms(run["createdAt"]) for run in ordered)
    end_ms = max((span.end_ms for row in spans for span in row), default=begin_ms)
    length_ms = max(end_ms - begin_ms, 1)
    rows = [
        Row(run, [_bar(span, begin_ms, length_ms) for span in row]) for run, row in zip(ordered, spans, strict=True)
    ]
    return Timeline(min(run["createdAt"] for run in ordered), _ticks(length_ms), rows)


def on_one_axis(rounds: Sequence[Sequence[Mapping[str, Any]]], now_ms: int) -> list[list[Sequence[Mapping[str, Any]]]]:
    """Rounds by the axis that they share, oldest first: what a round causes follows soon, and is shown with it; what is
    replayed much later would make both too small to be seen."""
    found: list[list[Sequence[Mapping[str, Any]]]] = []
    begin_ms = end_ms = 0
    for round_ in sorted(rounds, key=_begin_ms):
        own_begin_ms = _begin_ms(round_)
        spans = (span for run in round_ for span in _spans(run, now_ms))
        own_end_ms = max((span.end_ms for span in spans if span.kind == "runs"), default=own_begin_ms)
        if found and own_begin_ms <= end_ms + max(_SOON_MS, end_ms - begin_ms):
            found[-1].append(round_)
            end_ms = max(end_ms, own_end_ms)
        else:
            found.append([round_])
            begin_ms, end_ms = own_begin_ms, own_end_ms
    return found


def _begin_ms(runs: Sequence[Mapping[str, Any]]) -> int:
    return min(_ms(run["createdAt"]) for run in runs)


def _spans(run: Mapping[str, Any], now_ms: int) -> Iterator[_Span]:
    at_ms = _ms(run["createdAt"])
    attempts = run["attempts"]
    for attempt in attempts:
        started_ms = _ms(attempt["startedAt"])
        if started_ms > at_ms:
            yield _Span(at_ms, started_ms, "waits", "", f"waited {took(started_ms - at_ms)}")
        ended = attempt.get("completedAt")
        end_ms = max(started_ms, now_ms if ended is None else _end_ms(attempt))
        status = _status_of(run, attempt, is_last=attempt is attempts[-1])
        word = "runs for" if ended is None else f"{status} after"
        number = f"attempt {attempt['attemptNumber']}: " if len(attempts) > 1 else ""
        yield _Span(started_ms, end_ms, "runs", status, f"{number}{word} {took(end_ms - started_ms)}")
        at_ms = end_ms
    if run["status"] == "queued" and now_ms > at_ms:
        yield _Span(at_ms, now_ms, "waits", "", f"waits for {took(now_ms - at_ms)}")
    asked_until = run["resolution"]["at"] if run.get("resolution") else None
    if attempts and (run["needsAttention"] or asked_until):
        end_ms = max(at_ms, _ms(asked_until) if asked_until else now_ms)
        yield _Span(at_ms, end_ms, "asks", "asks", f"{'asked' if asked_until else 'asks'} for {took(end_ms - at_ms)}")


def _end_ms(attempt: Mapping[str, Any]) -> int:
    """When the process of an attempt ended: its end may have been noted later, after a restart hours later."""
    noted_ms = _ms(attempt["completedAt"])
    duration_ms = attempt.get("durationMs")
    return noted_ms if duration_ms is None else min(noted_ms, _ms(attempt["startedAt"]) + int(duration_ms))


def _status_of(run: Mapping[str, Any], attempt: Mapping[str, Any], *, is_last: bool) -> str:
    if attempt.get("completedAt") is None:
        return "running"
    if is_last and run["status"] not in ("queued", "running"):
        said = (run.get("reportedResult") or {}).get("status") or run["effectiveStatus"]
    else:
        said = attempt.get("resultStatus") or attempt["status"]
    return "asks" if said == "needs_intervention" else str(said)


def _bar(span: _Span, begin_ms: int, length_ms: int) -> Bar:
    left = 100 * max(0, span.begin_ms - begin_ms) / length_ms
    width = 100 * max(0, span.end_ms - max(begin_ms, span.begin_ms)) / length_ms
    left, width = min(left, 100 - _LEAST_PERCENT), max(width, _LEAST_PERCENT)
    return Bar(round(left, 2), round(min(width, 100 - left), 2), span.kind, span.status, span.title)


def _ticks(length_ms: int) -> list[Tick]:
    """Marks at round times, as many as fit.

    >>> [tick.text for tick in _ticks(25_000)], _ticks(25_000)[1]
    (['0', '5 s', '10 s', '15 s', '20 s'], Tick(left=20.0, text='5 s'))
    """
    step_ms = next((step for step in _STEPS_MS if length_ms / step <= _TICKS), length_ms)
    marks = range(0, int(length_ms * 0.97) + 1, max(1, step_ms))
    return [Tick(round(100 * at / length_ms, 2), _short(at) if at else "0") for at in marks]


def _short(at_ms: int) -> str:
    """A round time, without what is nought: ``5 s``, not ``5.0 s``."""
    return took(at_ms).replace(".0 s", " s")


def _ms(instant: str) -> int:
    """Unix milliseconds.

    >>> _ms("1970-01-01T00:00:01.500Z")
    1500
    """
    return round(datetime.fromisoformat(instant).timestamp() * 1000)
