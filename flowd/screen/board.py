"""What the screen shows: the runs of a daemon in four sections, each run as a row of words. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from flowd.cli import printing, run_words
from flowd.cli.run_times import ended_at
from flowd.cli.run_words import why
from flowd.screen.wanted import Wanted
from flowd_client.views.host import HostView
from flowd_client.views.question import QuestionView
from flowd_client.views.queue import QueueView
from flowd_client.views.run import RunView


class Section(StrEnum):
    """A part of the screen."""

    ATTENTION = "attention"
    RUNNING = "running"
    WAITING = "waiting"
    RECENT = "recent"


@dataclass(frozen=True)
class Row:
    """A run as the screen shows it.

    Attributes:
        since: From when its time is counted: since it began, or ended, or asks, or waits.
        said: What it asks, waits for, has come to, or is at.
    """

    run: RunView
    since: datetime | None
    said: str = ""

    @property
    def step(self) -> str:
        """``flow/step``."""
        return f"{self.run.flow_name}/{self.run.step_name}"


@dataclass(frozen=True)
class Answers:
    """What the daemon said to one look. ``hosts``: those that share its store; none where it has that for itself."""

    status: Mapping[str, Any] = field(default_factory=dict)
    questions: Sequence[QuestionView] = ()
    running: Sequence[RunView] = ()
    queue: QueueView | None = None
    ended: Sequence[RunView] = ()
    hosts: Sequence[HostView] = ()


@dataclass(frozen=True)
class Board:
    """What there is to see.

    Attributes:
        rows: Of each section, those that are wanted.
        totals: How many there are in a section, wanted or not; recent ones are not counted.
        pauses: What is paused: ``*``, flows, and ``flow/step``.
        hosts: Those that share the store; none where the daemon has it for itself.
    """

    status: Mapping[str, Any]
    rows: Mapping[Section, tuple[Row, ...]]
    totals: Mapping[Section, int]
    pauses: tuple[str, ...]
    hosts: tuple[HostView, ...] = ()


def board_of(answers: Answers, wanted: Wanted) -> Board:
    """The sections, made of what the daemon said."""
    queue = answers.queue
    rows = {
        Section.ATTENTION: [_asking(question) for question in answers.questions],
        Section.RUNNING: [Row(run, _begun(run), _progress(run)) for run in reversed(answers.running)],
        Section.WAITING: [Row(one.run, one.since, why(one.run) or "ready") for one in queue or ()],
        Section.RECENT: [Row(run, ended_at(run), _end(run)) for run in _newest(answers.ended)],
    }
    counts = answers.status.get("runs", {})
    return Board(
        status=answers.status,
        rows={section: _kept(found, wanted) for section, found in rows.items()},
        totals={
            Section.ATTENTION: (answers.status.get("attention") or {}).get("count", len(rows[Section.ATTENTION])),
            Section.RUNNING: counts.get("running", len(rows[Section.RUNNING])),
            Section.WAITING: 0 if queue is None else queue.ready + queue.waiting,
        },
        pauses=() if queue is None else tuple(pause.what for pause in queue.pauses),
        hosts=tuple(answers.hosts),
    )


def _kept(rows: Iterable[Row], wanted: Wanted) -> tuple[Row, ...]:
    return tuple(row for row in rows if wanted.fits(row.run, row.said))


def _asking(question: QuestionView) -> Row:
    behind = f" ({question.waiting} behind it)" if question.waiting else ""
    return Row(question.run, question.since, f"{question.message or 'It gives no message.'}{behind}")


def _begun(run: RunView) -> datetime | None:
    """When the attempt that is under way began."""
    return run.attempts[-1].started_at if run.attempts else run.started_at


def _progress(run: RunView) -> str:
    attempt = f"attempt {run.attempt_count}" if run.attempt_count > 1 else ""
    host = run.attempts[-1].host if run.attempts else None
    parts = (attempt, f"on {host}" if host else "", run_words.progress(run.progress))
    return " · ".join(part for part in parts if part)


def _newest(runs: Iterable[RunView]) -> list[RunView]:
    ended = {run.id: run for run in runs if run.is_final and not run.needs_attention}
    return sorted(ended.values(), key=lambda run: at.timestamp() if (at := ended_at(run)) else 0.0, reverse=True)


def _end(run: RunView) -> str:
    """How a run ended, in the words of `flowd runs`; what it says where that is well."""
    took = "" if run.duration_ms is None else printing.took(run.duration_ms)
    return "  ".join(filter(None, (took, why(run) or run.message or run.reason)))
