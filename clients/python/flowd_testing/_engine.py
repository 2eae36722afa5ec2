"""Runs steps in flowd's engine, in this process, on a private state that is gone afterwards."""

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from flowd.domain.definition import Definition
from flowd.domain.errors import FlowdError
from flowd.domain.flow import BrokenPackage, Flow, Snapshot
from flowd.domain.launching import Command, StepContext
from flowd.domain.needs import NeedEnd
from flowd.domain.people import Answer, Person
from flowd.domain.run import Run
from flowd.embedded.approving import require_steps, see_through
from flowd.embedded.in_order import merged
from flowd.embedded.rehearsal import Rehearsal, rehearsing
from flowd.embedded.running import private_settings
from flowd.engine.engine import Engine
from flowd.engine.tails import OutputChunk
from flowd.ports import Runners
from flowd.settings.values import Settings
from flowd.wiring.clock import SystemClock
from flowd_client.wire import STREAMS, Stream
from flowd_testing._errors import FlowPackageError
from flowd_testing._reports import StepReport

T = TypeVar("T")

_PAGE = 500
"""Events that are looked at at once."""

_READ_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Told:
    """What a step is told that is run alone.

    Attributes:
        needs: What the steps said that it needs, by their names.
        answer: What a person answered to it; None where nobody did.
    """

    needs: Mapping[str, Mapping[str, Any]]
    answer: Any = None


def run(
    workspace: Path,
    event: dict[str, Any],
    *,
    only: str | None = None,
    told: Told | None = None,
    approved: Collection[str] = (),
) -> list[StepReport]:
    """Run one step, or the round of the workspace's only flow, and report in the order of its steps.

    Steps that are ``approved`` count as completed where they ask for a person.

    Raises:
        FlowPackageError: See `flowd_testing.FlowPackage`.
    """
    with private_settings(workspace) as settings:
        return _finish(_run(settings, event, only, told or Told({}), approved))


def _finish(work: Coroutine[Any, Any, T]) -> T:
    """The result of some work, also where an event loop runs already, as in a test that is a coroutine."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _run(
    settings: Settings, event: dict[str, Any], only: str | None, told: Told, approved: Collection[str]
) -> list[StepReport]:
    around = None if only is None else _telling(told)
    try:
        async with rehearsing(settings, None, causes=False, around_runners=around) as rehearsal:
            flow = _flow(rehearsal.engine.snapshot(), only, told.needs)
            require_steps(approved, [flow])
            rehearsal.knows(event["id"])
            asked: dict[str, Any] = (
                {"among": {(flow.name, step.name) for step in flow.steps}}
                if only is None
                else {"only": (flow.name, only)}
            )
            await rehearsal.engine.sending.dispatch(event, **asked)
            await see_through(rehearsal.engine, event["id"], is_tree=False, approved=approved)
            runs, sent = await _come_of(rehearsal, event["id"])
            printed = {run.id: await _printed(rehearsal.engine, run) for run in runs}
    except ExceptionGroup as group:  # how we wait for steps is nobody's business
        (error, *_) = group.exceptions
        raise (FlowPackageError(error.message) if isinstance(error, FlowdError) else error) from None
    order = [step.name for step in flow.steps]
    return [
        _report(run, printed[run.id], tuple(sent[run.id]))
        for run in sorted(runs, key=lambda run: order.index(run.step_name))
    ]


def _flow(snapshot: Snapshot, only: str | None, needs: Mapping[str, object]) -> Flow:
    if snapshot.broken:
        raise FlowPackageError(_wrong_with(snapshot.broken[0]))
    (flow,) = snapshot.flows
    if only is None:
        return flow
    step = flow.step(only)
    if step is None:
        raise FlowPackageError(f"{flow.name} has no step {only!r}; it has: {', '.join(one.name for one in flow.steps)}")
    strange = [name for name in needs if name not in step.needs]
    if strange:
        known = ", ".join(step.needs) or "none"
        raise FlowPackageError(f"{flow.name}/{only} does not need {strange[0]!r}; its needs are: {known}")
    return flow


def _wrong_with(package: BrokenPackage) -> str:
    line = "" if package.line is None else f":{package.line}"
    return f"{package.file}{line}: {package.error}. {package.remedy}"


async def _come_of(rehearsal: Rehearsal, event_id: str) -> tuple[list[Run], dict[str, list[dict[str, Any]]]]:
    """The event's runs, and the events that each of them sent, by its id."""
    runs: list[Run] = []
    sent: dict[str, list[dict[str, Any]]] = defaultdict(list)
    cursor: str | None = None
    while True:
        page = await rehearsal.engine.reads.tree(event_id, limit=_PAGE, cursor=cursor)
        for event in page.items:
            if event.id == event_id:
                runs += event.runs
            elif event.caused_by is not None:
                stored = await rehearsal.engine.reads.event(event.id)
                sent[event.caused_by.run_id].append(json.loads(stored.body))
        cursor = page.next_cursor
        if cursor is None:
            return runs, sent


async def _printed(engine: Engine, run: Run) -> list[OutputChunk]:
    """What the last attempt of a run printed, both streams in the order in which the keeper read them."""
    if run.attempt_count == 0:
        return []
    out, err = [await _whole(engine, run, stream) for stream in STREAMS]
    if any(len(chunk.data) != chunk.next_offset for chunk in (out, err)):
        return [out, err]  # masks have moved what the order is told of
    turns = await engine.reads.turns(run.id, "stdout", begin=0, end=out.next_offset, attempt_number=None)
    return merged(out, err, turns)


async def _whole(engine: Engine, run: Run, stream: Stream) -> OutputChunk:
    data, offset, read = b"", 0, engine.reads.output
    while True:
        part = await read(run.id, stream, offset=offset, count=_READ_BYTES, attempt_number=None, wait_s=0)
        data, offset = data + part.data, part.next_offset
        if offset >= part.size:
            return OutputChunk(run.id, run.attempt_count, stream, 0, data, offset)


def _report(run: Run, printed: list[OutputChunk], sent: tuple[dict[str, Any], ...]) -> StepReport:
    return StepReport(
        flow=run.flow_name,
        step=run.step_name,
        status=run.effective_status,
        result=dict(run.result.value) if run.result is not None else {},
        reason=run.reason,
        error=run.error,
        exit_code=run.exit_code,
        attempts=run.attempt_count,
        output=_text(printed),
        stdout=_text(chunk for chunk in printed if chunk.stream == "stdout"),
        stderr=_text(chunk for chunk in printed if chunk.stream == "stderr"),
        sent=sent,
    )


def _text(chunks: Iterable[OutputChunk]) -> str:
    return b"".join(chunk.data for chunk in chunks).decode("utf-8", "replace")


def _telling(told: Told) -> Callable[[Runners], Runners]:
    said = {name: {"status": "completed", **result} for name, result in told.needs.items()}
    ends = [NeedEnd(name, f"run_of_{name}", one["status"], result=json.dumps(one)) for name, one in said.items()]
    answer = None
    if told.answer is not None:
        answer = Answer(Person("local", os.geteuid()), SystemClock().now_ms(), json.dumps(told.answer))
    return lambda inner: _Telling(inner, tuple(ends), answer)


class _Telling:
    """Runners that tell steps of needs that were not run, and of an answer. Implements `flowd.ports.Runners`."""

    def __init__(self, inner: Runners, ends: tuple[NeedEnd, ...], answer: Answer | None) -> None:
        self._inner = inner
        self._ends = ends
        self._answer = answer

    async def command(self, definition: Definition, context: StepContext) -> Command:
        return await self._inner.command(definition, replace(context, needs=self._ends, answer=self._answer))
