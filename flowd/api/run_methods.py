"""The handlers of the methods about runs and their output."""

import base64
import codecs
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any

import msgspec

from flowd.api import filters, json, params
from flowd.api.pages import Pages
from flowd.api.shapes import output, runs
from flowd.api.shapes.definitions import definition_view
from flowd.domain.filters import RunFilter
from flowd.domain.run import Run
from flowd.domain.stored import Output
from flowd.engine.engine import Engine
from flowd.engine.output_reader import OutputPart
from flowd_client import methods as names
from flowd_client import wire


class RunMethods:
    """They cancel, retry, wait for and show runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pages = Pages(lambda: engine.commits)
        self.handlers: dict[str, Callable[..., Awaitable[Any]]] = {
            names.CANCEL_RUN: self._cancel_run,
            names.RETRY_RUN: self._retry_run,
            names.LIST_RUNS: self._list_runs,
            names.GET_RUN: self._get_run,
            names.WAIT_RUN: self._wait_run,
            names.READ_OUTPUT: self._read_output,
        }

    async def _cancel_run(self, given: runs.RunId) -> runs.OneRunView:
        return runs.OneRunView(run=runs.run_view(await self._engine.cancels.run(given.run_id)))

    async def _retry_run(self, given: runs.RetryRun) -> runs.OneRunView:
        waiting = self._engine.waiters.about_to_wait(given.caused_by)
        return runs.OneRunView(run=runs.run_view(await self._engine.sending.retry_run(given.run_id, waiting=waiting)))

    async def _list_runs(self, given: runs.ListRuns) -> Annotated[msgspec.Raw, runs.RunsView]:
        where = filters.of_runs(given)
        where = replace(where, host=self._engine.hosts.meant(where.host)) if where.host is not None else where
        if given.output is not None:  # it grows without anything being committed, so no page of it is kept
            return msgspec.Raw(json.encode(await self._page_of_runs(given, where)))
        question = where, params.page_limit(given.limit), given.cursor
        return await self._pages.get(question, lambda: self._page_of_runs(given, where))

    async def _page_of_runs(self, given: runs.ListRuns, where: RunFilter) -> runs.RunsView:
        page = await self._engine.reads.runs(where, limit=params.page_limit(given.limit), cursor=given.cursor)
        if given.output is None:
            return runs.runs_view(page.items, event_id=given.event_id, next_cursor=page.next_cursor)
        views = [await self._run_with_output(run, output.LISTED_TAIL_BYTES) for run in page.items]
        return runs.RunsView(event_id=given.event_id, runs=views, next_cursor=page.next_cursor)

    async def _get_run(self, given: runs.GetRun) -> runs.OneRunView:
        view = await self._run_with_output(await self._engine.reads.run(given.run_id))
        made_with = await self._engine.reads.definition(given.run_id) if given.definition else None
        view.definition = None if made_with is None else definition_view(made_with)
        return runs.OneRunView(run=view)

    async def _wait_run(self, given: runs.WaitRun) -> runs.WaitedRunView:
        timeout_s = None if given.timeout_ms is None else given.timeout_ms / 1000
        waited = await self._engine.waiters.for_run(given.run_id, timeout_s=timeout_s, caller=given.caused_by)
        return runs.WaitedRunView(run=await self._run_with_output(waited.run), timed_out=waited.is_late)

    async def _run_with_output(self, run: Run, tail_bytes: int = output.OUTPUT_TAIL_BYTES) -> runs.RunView:
        if not run.attempts:
            return runs.run_view(run, [], is_truncated=False)
        tails: dict[wire.Stream, bytes] = {}
        is_cut = run.attempts[-1].output_truncated
        for stream in wire.STREAMS:
            start = await self._part(run.id, stream, 0, 1)
            offset = max(0, start.size - tail_bytes)
            tails[stream] = (await self._part(run.id, stream, offset, tail_bytes)).data
            is_cut = is_cut or offset > 0
        entries = output.output_entries(Output(tails["stdout"], tails["stderr"]), run.updated_at_ms)
        return runs.run_view(run, entries, is_truncated=is_cut)

    async def _part(self, run_id: str, stream: wire.Stream, offset: int, count: int) -> OutputPart:
        return await self._engine.reads.output(
            run_id, stream, offset=offset, count=count, attempt_number=None, wait_s=0.0
        )

    async def _read_output(self, given: output.ReadOutput) -> output.OutputView:
        part = await self._engine.reads.output(
            given.run_id,
            given.stream,
            offset=given.offset,
            count=given.max_bytes,
            attempt_number=given.attempt,
            wait_s=given.wait_ms / 1000,
            other_offset=given.other_offset,
        )
        text, next_offset = _text(part, given.encoding)
        turns = None
        if given.turns:
            turns = await self._engine.reads.turns(
                given.run_id, given.stream, begin=given.offset, end=next_offset, attempt_number=given.attempt
            )
        return output.OutputView(
            text=text,
            offset=given.offset,
            next_offset=next_offset,
            size=part.size,
            eof=part.is_final and next_offset >= part.size,
            turns=turns,
            shared=output.shared_view(part.shared),
        )


def _text(part: OutputPart, encoding: str) -> tuple[str, int]:
    """The part as text, and where to read on: a character that is cut in two waits for its rest."""
    if encoding == "base64":
        return base64.b64encode(part.data).decode(), part.next_offset
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    is_last = part.is_final and part.next_offset >= part.size
    text = decoder.decode(part.data, final=is_last)
    pending = len(decoder.getstate()[0])
    return text, part.next_offset - pending
