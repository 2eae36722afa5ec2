"""The methods of the API, one for each verb of the engine. The table is explicit; nothing registers itself."""

import asyncio
import base64
import codecs
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from flowd.api import codec, params
from flowd.api.codec import View
from flowd.api.pages import Pages
from flowd.api.subscriptions import Caller
from flowd.domain.run import Run
from flowd.engine.engine import Engine
from flowd.engine.output_reader import OutputPart
from flowd.engine.outputs import Stream
from flowd.ports import Output, RunFilter
from flowd_client import wire


class Method(NamedTuple):
    """A method: its parameters' type, what does it, and a sentence about it.

    Attributes:
        is_personal: ``call`` takes the `Caller` as its second argument.
    """

    params: type[params.Params]
    call: Callable[..., Awaitable[Any]]
    summary: str
    is_personal: bool = False


class Methods:
    """The verbs of the API on one engine."""

    def __init__(
        self, engine: Engine, *, status: Callable[[bool], Awaitable[View]], drain: Callable[[], Awaitable[View]]
    ) -> None:
        """``status(with_settings)`` and ``drain()`` are the daemon's."""
        self._engine = engine
        self._pages = Pages(lambda: engine.commits)
        self._status = status
        self._drain = drain
        self.table: dict[str, Method] = {
            wire.DISPATCH: Method(params.Dispatch, self._dispatch, "Accept an event and run every step it matches."),
            wire.REPLAY: Method(params.Replay, self._replay, "New runs for a stored event."),
            wire.CANCEL_RUN: Method(params.RunId, self._cancel_run, "End a run and everything it started."),
            wire.CANCEL_EVENT: Method(params.EventId, self._cancel_event, "End every unfinished run of an event."),
            wire.RETRY_RUN: Method(params.RunId, self._retry_run, "Another attempt of a run that ended badly."),
            wire.LIST_EVENTS: Method(params.ListEvents, self._list_events, "Events, newest first."),
            wire.GET_EVENT: Method(params.EventId, self._get_event, "An event with its runs."),
            wire.LIST_RUNS: Method(params.ListRuns, self._list_runs, "Runs, newest first."),
            wire.GET_RUN: Method(params.RunId, self._get_run, "A run with its attempts and the end of its output."),
            wire.WAIT_RUN: Method(params.WaitRun, self._wait_run, "A run when it has ended."),
            wire.READ_OUTPUT: Method(params.ReadOutput, self._read_output, "Part of a stream of a run."),
            wire.LIST_FLOWS: Method(
                params.NoParams, self._list_flows, "The flow packages in force, and the broken ones."
            ),
            wire.EXPLAIN: Method(params.Explain, self._explain, "Why each step matches an event or does not."),
            wire.SUBSCRIBE: Method(params.Subscribe, self._subscribe, "Push what happens.", is_personal=True),
            wire.UNSUBSCRIBE: Method(params.Unsubscribe, _unsubscribe, "End a subscription.", is_personal=True),
            wire.STATUS: Method(params.Status, self._daemon_status, "What the daemon is doing."),
            wire.RELOAD: Method(params.NoParams, self._reload, "Look at the flow packages on disk now."),
            wire.DRAIN: Method(params.NoParams, self._daemon_drain, "Start no more runs; go on accepting events."),
            wire.PRUNE: Method(params.Prune, self._prune, "Forget old events with their runs and output."),
            wire.DISCOVER: Method(params.NoParams, self._discover, "This API as an OpenRPC document."),
        }

    async def _dispatch(self, given: params.Dispatch) -> View:
        accepted = await self._engine.dispatch(given.event)
        if not given.wait:
            return codec.dispatch_view(accepted, accepted.runs)
        runs = await self._ended(accepted.runs, given.timeout_ms)
        return {**codec.dispatch_view(accepted, runs), "timedOut": _is_any_open(runs)}

    async def _replay(self, given: params.Replay) -> View:
        event, runs = await self._engine.replay(given.event_id, given.steps)
        view: View = {
            "status": "accepted",
            "eventId": event.id,
            "runIds": [run.id for run in runs],
            "matched": len(runs),
            "event": codec.event_view(event),
        }
        if given.wait:
            runs = await self._ended(runs, given.timeout_ms)
            view["timedOut"] = _is_any_open(runs)
        view["runs"] = [codec.run_view(run) for run in runs]
        return view

    async def _ended(self, runs: Sequence[Run], timeout_ms: int | None) -> tuple[Run, ...]:
        timeout_s = None if timeout_ms is None else timeout_ms / 1000
        return tuple(await asyncio.gather(*(self._engine.wait_run(run.id, timeout_s=timeout_s) for run in runs)))

    async def _cancel_run(self, given: params.RunId) -> View:
        return {"run": codec.run_view(await self._engine.cancel_run(given.run_id))}

    async def _cancel_event(self, given: params.EventId) -> View:
        runs = await self._engine.cancel_event(given.event_id)
        return {"eventId": given.event_id, "runs": [codec.run_view(run) for run in runs]}

    async def _retry_run(self, given: params.RunId) -> View:
        return {"run": codec.run_view(await self._engine.retry_run(given.run_id))}

    async def _list_events(self, given: params.ListEvents) -> View:
        page = await self._engine.list_events(
            event_type=given.type, limit=params.page_limit(given.limit), cursor=given.cursor
        )
        return _page("events", [codec.event_view(event) for event in page.items], page.next_cursor)

    async def _get_event(self, given: params.EventId) -> View:
        event = await self._engine.get_event(given.event_id)
        page = await self._engine.list_runs(RunFilter(event_id=given.event_id), limit=wire.MAX_LIMIT)
        runs = [codec.run_view(run) for run in page.items]
        return {"event": codec.event_view(event, runs), "runs": runs}

    async def _list_runs(self, given: params.ListRuns) -> msgspec.Raw:
        question = given.event_id, given.status, given.flow, params.page_limit(given.limit), given.cursor
        return await self._pages.get(question, lambda: self._page_of_runs(given))

    async def _page_of_runs(self, given: params.ListRuns) -> View:
        page = await self._engine.list_runs(
            RunFilter(given.event_id, given.status, given.flow),
            limit=params.page_limit(given.limit),
            cursor=given.cursor,
        )
        view = _page("runs", [codec.run_view(run) for run in page.items], page.next_cursor)
        return view if given.event_id is None else {"eventId": given.event_id, **view}

    async def _get_run(self, given: params.RunId) -> View:
        return {"run": await self._run_with_output(await self._engine.get_run(given.run_id))}

    async def _wait_run(self, given: params.WaitRun) -> View:
        timeout_s = None if given.timeout_ms is None else given.timeout_ms / 1000
        run = await self._engine.wait_run(given.run_id, timeout_s=timeout_s)
        return {"run": await self._run_with_output(run), "timedOut": not run.status.is_final}

    async def _run_with_output(self, run: Run) -> View:
        if not run.attempts:
            return codec.run_view(run, [])
        tails: dict[Stream, bytes] = {}
        is_cut = run.attempts[-1].output_truncated
        for stream in ("stdout", "stderr"):
            start = await self._part(run.id, stream, 0, 1)
            offset = max(0, start.size - codec.OUTPUT_TAIL_BYTES)
            tails[stream] = (await self._part(run.id, stream, offset, codec.OUTPUT_TAIL_BYTES)).data
            is_cut = is_cut or offset > 0
        output = codec.output_view(Output(tails["stdout"], tails["stderr"]), run.updated_at_ms)
        return codec.run_view(run, output, is_truncated=is_cut)

    async def _part(self, run_id: str, stream: Stream, offset: int, count: int) -> OutputPart:
        return await self._engine.read_output(
            run_id, stream, offset=offset, count=count, attempt_number=None, wait_s=0.0
        )

    async def _read_output(self, given: params.ReadOutput) -> View:
        part = await self._engine.read_output(
            given.run_id,
            given.stream,
            offset=given.offset,
            count=given.max_bytes,
            attempt_number=given.attempt,
            wait_s=given.wait_ms / 1000,
            other_offset=given.other_offset,
        )
        text, next_offset = _text(part, given.encoding)
        return {
            "text": text,
            "offset": given.offset,
            "nextOffset": next_offset,
            "size": part.size,
            "eof": part.is_final and next_offset >= part.size,
        }

    async def _subscribe(self, given: params.Subscribe, caller: Caller) -> View:
        if given.run_id is not None:
            await self._engine.get_run(given.run_id)
        return await caller.subscribe(given)

    async def _list_flows(self, _: params.NoParams) -> View:
        return codec.snapshot_view(self._engine.snapshot())

    async def _explain(self, given: params.Explain) -> View:
        event, verdicts = self._engine.explain(given.event)
        return codec.explain_view(event, verdicts, self._engine.snapshot())

    async def _daemon_status(self, given: params.Status) -> View:
        return await self._status(given.settings)

    async def _reload(self, _: params.NoParams) -> View:
        return codec.snapshot_view(await self._engine.reload())

    async def _daemon_drain(self, _: params.NoParams) -> View:
        return await self._drain()

    async def _prune(self, given: params.Prune) -> View:
        before_ms, pruned = await self._engine.prune(older_than_ms=given.older_than_ms, dry_run=given.dry_run)
        return {
            "before": codec.instant(before_ms),
            "dryRun": given.dry_run,
            "events": pruned.events,
            "runs": pruned.runs,
            "outputBytes": pruned.output_bytes,
        }

    async def _discover(self, _: params.NoParams) -> View:
        from flowd.api import openrpc  # noqa: PLC0415 - schema generation is for the few who ask

        return openrpc.document(self.table)


async def _unsubscribe(given: params.Unsubscribe, caller: Caller) -> View:
    return await caller.unsubscribe(given)


def bare_event(given: object) -> object:
    """Parameters of a dispatch that are the event itself become ``{"event": …}``."""
    if isinstance(given, dict) and "type" in given and not isinstance(given.get("event"), dict):
        return {"event": given}
    return given


def _is_any_open(runs: Sequence[Run]) -> bool:
    return any(not run.status.is_final for run in runs)


def _page(name: str, items: list[View], next_cursor: str | None) -> View:
    return {name: items} if next_cursor is None else {name: items, "nextCursor": next_cursor}


def _text(part: OutputPart, encoding: str) -> tuple[str, int]:
    """The part as text, and where to read on: a character that is cut in two waits for its rest."""
    if encoding == "base64":
        return base64.b64encode(part.data).decode(), part.next_offset
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    is_last = part.is_final and part.next_offset >= part.size
    text = decoder.decode(part.data, final=is_last)
    pending = len(decoder.getstate()[0])
    return text, part.next_offset - pending
