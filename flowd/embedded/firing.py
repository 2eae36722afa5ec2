"""Runs an event's steps once and keeps nothing: for ``flowd fire`` and ``flowd exec``."""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from flowd.domain.run import ATTENTION, ProcessStatus, Run
from flowd.embedded.approving import require_steps, see_through
from flowd.embedded.ending import until_told_to_end
from flowd.embedded.rehearsal import Audience, rehearsing
from flowd.embedded.running import private_settings
from flowd.engine.engine import Engine
from flowd.settings.values import Settings
from flowd_client.discovery import trace_around

log = logging.getLogger("flowd.embedded")


@dataclass(frozen=True, slots=True)
class RunReport:
    """How one run ended.

    Attributes:
        result: What the step said; None when it said nothing, or nothing that counts.
        reported_result: A success that a failed process printed: it does not count, but may explain.
        status: The effective status.
        error: Why the process failed, None when it did not.
        exit_ok: False for a run that failed, is blocked or needs intervention.
    """

    flow: str
    step: str
    result: dict[str, object] | None
    reported_result: dict[str, object] | None
    status: str
    error: str | None
    exit_ok: bool


def fire(
    workspace: Path,
    event: object,
    audience: Audience | None = None,
    *,
    is_live: bool = False,
    approved: Collection[str] = (),
) -> list[RunReport]:
    """Run every step that an event matches, and all that they cause, and report in match order, causes first.

    Delays of steps, and the quiet that they wait for, are waited for; a ``notBefore`` of an event is not. What steps
    send in other ways than by their results runs here, too, unless they are ``is_live``, see
    `flowd.embedded.rehearsal.rehearsing`. An interrupt ends steps with their own grace, a second one at once.
    Steps whose names are ``approved`` count as completed where they ask for a person.

    Raises:
        StepNotFoundError: One that is approved is no step.
        FlowdError: The event is none.
        KeyboardInterrupt: The process was told to end, by SIGINT, SIGTERM or SIGHUP.
    """
    return _run(workspace, event, None, audience, is_live=is_live, approved=approved)


def execute(
    workspace: Path, flow: str, step: str, event: object, audience: Audience | None = None, *, is_live: bool = False
) -> RunReport:
    """Run one step for an event, whatever its trigger and schema say. What it sends starts nothing, as in `fire`.

    Raises:
        StepNotFoundError: There is no such flow or step.
        FlowdError: The event is none.
        KeyboardInterrupt: As `fire`.
    """
    return _run(workspace, event, (flow, step), audience, is_live=is_live)[0]


def _run(
    workspace: Path,
    event: object,
    only: tuple[str, str] | None,
    audience: Audience | None,
    *,
    is_live: bool,
    approved: Collection[str] = (),
) -> list[RunReport]:
    # The folder goes after the loop, which sees its threads end even if it is interrupted twice: one of them may be
    # about to start the keeper in it.
    with private_settings(workspace) as settings:
        return asyncio.run(
            until_told_to_end(_run_in(settings, event, only, audience, is_live=is_live, approved=approved))
        )


async def _run_in(
    settings: Settings,
    event: object,
    only: tuple[str, str] | None,
    audience: Audience | None,
    *,
    is_live: bool,
    approved: Collection[str],
) -> list[RunReport]:
    runs: list[Run] = []
    try:
        async with rehearsing(settings, audience, causes=only is None, is_live=is_live) as rehearsal:
            require_steps(approved, rehearsal.engine.snapshot().flows)
            if isinstance(event, dict) and isinstance(event.get("id"), str):
                rehearsal.knows(event["id"])
            accepted = await rehearsal.engine.sending.dispatch(event, only=only, traceparent=trace_around())
            rehearsal.require_served(accepted.runs)
            if only is not None:
                _warn_of_needs(rehearsal.engine, *only)
            runs = await see_through(rehearsal.engine, accepted.event.id, is_tree=True, approved=approved)
            await rehearsal.settle()
    except ExceptionGroup as group:
        raise group.exceptions[0] from None  # A refusal is the caller's business; how we wait for steps is not.
    return [report(run) for run in runs]


def _warn_of_needs(engine: Engine, flow_name: str, step_name: str) -> None:
    flow = engine.snapshot().by_name.get(flow_name)
    step = None if flow is None else flow.step(step_name)
    if step is not None and step.needs:
        names = ", ".join(step.needs)
        sentence = f"{flow_name}/{step_name} needs {names}, and runs here without"
        remedy = f"`flowd dev {flow_name}/{step_name} --once` runs what it needs first"
        log.warning("step runs alone", extra={"error": sentence, "remedy": remedy})


def report(run: Run) -> RunReport:
    """How a run ended."""
    is_bad = run.status is not ProcessStatus.COMPLETED or run.effective_status in {*ATTENTION, "failed"}
    return RunReport(
        flow=run.flow_name,
        step=run.step_name,
        result=dict(run.result.value) if run.result else None,
        reported_result=dict(run.reported_result.value) if run.reported_result else None,
        status=run.effective_status,
        error=run.error,
        exit_ok=not is_bad,
    )
