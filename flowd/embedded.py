"""The real engine inside the caller, without a daemon: a state folder of its own that vanishes at the end."""

import asyncio
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from flowd import settings as settings_module
from flowd import state_dir, wiring
from flowd.domain.run import ATTENTION, ProcessStatus, Run

_ORPHAN_GRACE_S = 5.0
"""Nobody comes back for these steps when their caller was killed."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """How one run ended.

    Attributes:
        result: What the step said, even where its process failed; None when it said nothing.
        status: The effective status.
        error: Why the process failed, None when it did not.
        exit_ok: False for a run that failed, is blocked or needs intervention.
    """

    flow: str
    step: str
    result: dict[str, object] | None
    status: str
    error: str | None
    exit_ok: bool


def fire(workspace: Path, event: object) -> list[RunReport]:
    """Run every step that an event matches, and report in match order.

    Raises:
        FlowdError: The event is none.
    """
    return asyncio.run(_run(workspace, event, None))


def execute(workspace: Path, flow: str, step: str, event: object) -> RunReport:
    """Run one step for an event, whatever its trigger and schema say.

    Raises:
        StepNotFoundError: There is no such flow or step.
        FlowdError: The event is none.
    """
    return asyncio.run(_run(workspace, event, (flow, step)))[0]


async def _run(workspace: Path, event: object, only: tuple[str, str] | None) -> list[RunReport]:
    with tempfile.TemporaryDirectory(prefix="flowd-local-", ignore_cleanup_errors=True) as folder:
        flags = {"state_dir": folder, "orphan_grace_s": _ORPHAN_GRACE_S}
        settings = settings_module.load(workspace=workspace, flags=flags)
        state_dir.prepare(settings.state_dir)
        parts = await wiring.build(
            settings,
            environ=os.environ,
            on_storage_failure=lambda _: None,
            socket_path=None,
            is_watching=False,
            launched_by="flow-runtime-local-client",
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                await parts.engine.open(tasks)
                accepted = await parts.engine.dispatch(event, only=only)
                runs = [await parts.engine.wait_run(run.id, timeout_s=None) for run in accepted.runs]
        except ExceptionGroup as group:
            raise group.exceptions[0] from None  # A refusal is the caller's business; how we wait for steps is not.
        finally:
            await parts.close(end_steps=True)
    return [_report(run) for run in runs]


def _report(run: Run) -> RunReport:
    said = run.result or run.reported_result
    is_bad = run.status is not ProcessStatus.COMPLETED or run.effective_status in {*ATTENTION, "failed"}
    return RunReport(
        flow=run.flow_name,
        step=run.step_name,
        result=dict(said.value) if said else None,
        status=run.effective_status,
        error=run.error,
        exit_ok=not is_bad,
    )
