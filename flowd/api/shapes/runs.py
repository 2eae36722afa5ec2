"""Runs and their attempts, as callers see them."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from flowd.api.json import instant
from flowd.api.params import Identifier, Labels, Limit, Milliseconds, Params, SearchText
from flowd.api.shapes import View
from flowd.api.shapes.definitions import DefinitionView
from flowd.api.shapes.output import OutputEntry
from flowd.api.shapes.people import AnswerView, ResolutionView, answer_view, resolution_view
from flowd.api.shapes.waiting import WaitingView, waiting_view
from flowd.domain import why
from flowd.domain.result import FlowResult
from flowd.domain.run import Attempt, ProcessStatus, Run

JsonObject = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]
"""JSON that is embedded as it was stored, without being parsed again."""


class RunId(Params):
    """Which run."""

    run_id: Identifier


class RetryRun(Params):
    """Which run. ``causedBy`` is the run whose step asks, and is going to wait for it: where it could not, nothing is
    done."""

    run_id: Identifier
    caused_by: Identifier | None = None


class GetRun(Params):
    """Which run; ``definition``: tell what its last attempt was made with, too."""

    run_id: Identifier
    definition: bool = False


class ListRuns(Params):
    """Which runs: those that are all of this. ``status`` is a process status or a result status; ``output: "tail"``
    adds the end of each stream.

    ``since`` (or later) and ``until`` (before) are instants of when a run was made, or so long ago, as in ``2h``;
    ``label`` is a list of ``name=value``, all of which it has; ``host`` is where it had an attempt. ``text`` is in its
    id, its event's id or type, its flow's or step's name, its error, or its result's message; the letters A to Z count
    in either case. With ``text``, or with several filters, a page may be short, or empty, and its ``nextCursor`` goes
    on.
    """

    event_id: str | None = None
    status: str | None = None
    flow: str | None = None
    limit: Limit = None
    cursor: str | None = None
    output: Literal["tail"] | None = None
    step: str | None = None
    reason: str | None = None
    since: str | None = None
    until: str | None = None
    label: Labels = None
    text: SearchText = None
    host: str | None = None


class WaitRun(Params):
    """Which run, and how long. ``causedBy`` is the run whose step asks."""

    run_id: Identifier
    timeout_ms: Milliseconds | None = None
    caused_by: Identifier | None = None


class AttemptView(View):
    """One process tree of a run. ``durationMs`` is measured by a clock that nobody sets; it is missing while it runs,
    and where nobody saw its end. What an attempt had said (``result``), and how a person put that right, is told here
    once another attempt has followed; ``answer`` is what it was told. ``host``: where it ran, in a store that hosts
    share. ``why`` is as in `RunView`."""

    id: str
    attempt_number: int
    status: ProcessStatus
    worker_id: str
    started_at: str
    reason: str | None = None
    why: str | None = None
    error: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    pid: int | None = None
    completed_at: str | None = None
    command: tuple[str, ...] = ()
    cwd: str | None = None
    leftovers: tuple[str, ...] = ()
    survivors: tuple[str, ...] = ()
    max_rss_bytes: int | None = None
    cpu_ms: int | None = None
    duration_ms: int | None = None
    package_hash: str | None = None
    result_status: str | None = None
    result: JsonObject | None = None
    resolution: ResolutionView | None = None
    answer: AnswerView | None = None
    host: str | None = None


class ProgressView(View):
    """How far a running step says that it is: ``percent`` from 0 to 100, and in words."""

    percent: float | None = None
    message: str | None = None


class RunView(View):
    """A run. ``status`` is the process status: clients of the reference system derive everything from it.

    ``startedAt`` is when its first attempt began, ``completedAt`` when its last one ended; ``durationMs`` is how long
    its attempts took together, without the time between them, by a clock that nobody sets. ``packageHash``, ``runner``
    and ``flowVersion`` are what its last attempt ran with. ``waitingFor`` says what a queued run waits for; where one
    has just been made, and in updates, it is missing if that is only a place. ``round`` counts the dispatch and the
    replays of its flow for the event, from 1. ``output`` is only in the view of a single run. ``needsAttention``: it
    asks, and nobody has answered. With a ``resolution`` what counts is a person's word: ``result`` has that, and
    ``reportedResult`` what the step said. ``answer`` is what its attempts are told. ``labels`` are those that its step
    declared when it was made. ``progress`` is what its step last said of that, as long as it runs. ``definition`` is
    only there where a single run was asked for with it. ``why`` is one line on why it ended other than well: the
    message of its result, else the last line that it printed, with what flowd saw; ``error`` has all of it.
    ``attemptsBefore`` are those that do not count against its step's ``maxAttempts``: those before a person's retry.
    """

    id: str
    event_id: str
    flow_name: str
    flow_version: float
    step_name: str
    runner: str
    backend: Literal["flowd"]
    status: ProcessStatus
    process_status: ProcessStatus
    effective_status: str
    needs_attention: bool
    attempt_count: int
    package_hash: str
    created_at: str
    updated_at: str
    attempts: list[AttemptView]
    result_status: str | None = None
    result: JsonObject | None = None
    result_json: str | None = None
    reported_result: JsonObject | None = None
    started_at: str | None = None
    completed_at: str | None = None
    duration_ms: int | None = None
    cancel_requested: bool = False
    waiting_for: WaitingView | None = None
    round: int = 1
    reason: str | None = None
    why: str | None = None
    error: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    replay_of: str | None = None
    output: list[OutputEntry] | None = None
    output_truncated: bool | None = None
    resolution: ResolutionView | None = None
    answer: AnswerView | None = None
    labels: dict[str, str] | None = None
    progress: ProgressView | None = None
    attempts_before: int | None = None
    definition: DefinitionView | None = None


class OneRunView(View):
    """A run."""

    run: RunView


class WaitedRunView(View):
    """A run, and whether waiting for it ended before it did."""

    run: RunView
    timed_out: bool


class RunsView(View):
    """Runs: a page of them, or all unfinished ones of an event. Without ``nextCursor`` there are no more."""

    runs: list[RunView]
    event_id: str | None = None
    next_cursor: str | None = None


def run_view(run: Run, output: list[OutputEntry] | None = None, *, is_truncated: bool | None = None) -> RunView:
    """A run; with ``output`` and ``is_truncated`` only where a single run was asked for."""
    started_at_ms, completed_at_ms = run.started_at_ms, run.completed_at_ms
    return RunView(
        id=run.id,
        event_id=run.event_id,
        flow_name=run.flow_name,
        flow_version=run.flow_version,
        step_name=run.step_name,
        runner=run.runner,
        backend="flowd",
        status=run.status,
        process_status=run.status,
        effective_status=run.effective_status,
        needs_attention=run.needs_attention,
        attempt_count=run.attempt_count,
        package_hash=run.package_hash,
        created_at=instant(run.created_at_ms),
        updated_at=instant(run.updated_at_ms),
        attempts=[attempt_view(attempt, f"{run.flow_name}/{run.step_name}") for attempt in run.attempts],
        result_status=None if run.result is None else run.result.status,
        result=_embedded(run.result),
        result_json=None if run.result is None else run.result.text,
        reported_result=_embedded(run.reported_result),
        started_at=None if started_at_ms is None else instant(started_at_ms),
        completed_at=None if completed_at_ms is None else instant(completed_at_ms),
        duration_ms=run.duration_ms,
        cancel_requested=run.cancel_requested,
        waiting_for=None if run.waiting_for is None else waiting_view(run.waiting_for, run),
        round=run.round,
        reason=run.reason,
        why=why.of_run(run),
        error=run.error,
        exit_code=run.exit_code,
        signal=run.signal,
        replay_of=run.replay_of,
        output=output,
        output_truncated=is_truncated,
        resolution=resolution_view(run.resolution),
        answer=answer_view(run.answer),
        labels=dict(run.labels) or None,
        attempts_before=run.attempts_before or None,
        progress=None if run.progress is None else ProgressView(run.progress.percent, run.progress.message),
    )


def attempt_view(attempt: Attempt, label: str) -> AttemptView:
    """One attempt of a run of ``label``, which is ``flow/step``."""
    return AttemptView(
        id=attempt.id,
        attempt_number=attempt.number,
        status=attempt.status,
        worker_id=attempt.worker_id,
        started_at=instant(attempt.started_at_ms),
        reason=attempt.reason,
        why=why.of_attempt(attempt, label),
        error=attempt.error,
        exit_code=attempt.exit_code,
        signal=attempt.signal,
        pid=attempt.pid,
        completed_at=None if attempt.completed_at_ms is None else instant(attempt.completed_at_ms),
        command=attempt.command,
        cwd=attempt.cwd,
        leftovers=attempt.leftovers,
        survivors=attempt.survivors,
        max_rss_bytes=attempt.max_rss_bytes,
        cpu_ms=attempt.cpu_ms,
        duration_ms=attempt.duration_ms,
        package_hash=attempt.package_hash,
        result_status=None if attempt.result is None else attempt.result.status,
        result=_embedded(attempt.result),
        resolution=resolution_view(attempt.resolution),
        answer=answer_view(attempt.answer),
        host=attempt.host,
    )


def runs_view(runs: Sequence[Run], *, event_id: str | None = None, next_cursor: str | None = None) -> RunsView:
    """Several runs, without their output."""
    return RunsView(event_id=event_id, runs=[run_view(run) for run in runs], next_cursor=next_cursor)


def _embedded(result: FlowResult | None) -> msgspec.Raw | None:
    return None if result is None else msgspec.Raw(result.text.encode())
