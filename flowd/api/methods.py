"""The handlers of the API's methods, one for each verb of the engine.

`flowd_client.methods` says what each method is called and does. The table is explicit; nothing registers itself.
"""

import asyncio
import base64
import codecs
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

import msgspec

from flowd.api import filters, json, params
from flowd.api.host_methods import HostMethods
from flowd.api.json import instant
from flowd.api.method import Method, method_of
from flowd.api.notice_methods import NoticeMethods
from flowd.api.pages import Pages
from flowd.api.question_methods import QuestionMethods
from flowd.api.queue_methods import QueueMethods
from flowd.api.schedule_methods import ScheduleMethods
from flowd.api.shapes import catalog, daemon, events, output, runs, trees, updates, waiting
from flowd.api.shapes.definitions import definition_view
from flowd.api.subscriptions import Caller
from flowd.api.watch_methods import WatchMethods
from flowd.domain.errors import InvalidParamsError, RefusedError
from flowd.domain.filters import RunFilter
from flowd.domain.people import Person
from flowd.domain.run import Run
from flowd.domain.stored import Accepted, Output, Pruned
from flowd.engine.engine import Engine
from flowd.engine.output_reader import OutputPart
from flowd_client import methods as names
from flowd_client import wire

log = logging.getLogger("flowd.api")


class Methods:
    """The verbs of the API on one engine."""

    def __init__(
        self,
        engine: Engine,
        *,
        status: Callable[[daemon.Status], Awaitable[daemon.StatusView]],
        drain: Callable[[daemon.Drain], Awaitable[daemon.DrainView]],
        reload_settings: Callable[[], catalog.ReloadedSettingsView | None] = lambda: None,
        open_page: Callable[[Person], Awaitable[daemon.PageView]] | None = None,
    ) -> None:
        """``status(asked)``, ``drain(asked)``, ``reload_settings()`` and ``open_page(by)`` are the daemon's."""
        self._open_page = open_page
        self._reload_settings = reload_settings
        self._engine = engine
        self._pages = Pages(lambda: engine.commits)
        self._document: msgspec.Raw | None = None
        self._status = status
        self._drain = drain
        handlers: dict[str, Callable[..., Awaitable[Any]]] = {
            names.DISPATCH: self._dispatch,
            names.REPLAY: self._replay,
            names.CANCEL_RUN: self._cancel_run,
            names.CANCEL_EVENT: self._cancel_event,
            names.RETRY_RUN: self._retry_run,
            names.LIST_EVENTS: self._list_events,
            names.GET_EVENT: self._get_event,
            names.LIST_RUNS: self._list_runs,
            names.GET_RUN: self._get_run,
            names.WAIT_RUN: self._wait_run,
            names.WAIT_EVENT: self._wait_event,
            names.READ_OUTPUT: self._read_output,
            names.FIND: self._find,
            names.LIST_FLOWS: self._list_flows,
            names.EXPLAIN: self._explain,
            names.SUBSCRIBE: self._subscribe,
            names.UNSUBSCRIBE: _unsubscribe,
            names.STATUS: self._daemon_status,
            names.RELOAD: self._reload,
            names.DRAIN: self._daemon_drain,
            names.RESUME: self._resume,
            names.PRUNE: self._prune,
            names.OPEN_PAGE: self._page_link,
            names.DISCOVER: self._discover,
            **QuestionMethods(engine).handlers,
            **QueueMethods(engine).handlers,
            **HostMethods(engine).handlers,
            **NoticeMethods(engine).handlers,
            **ScheduleMethods(engine).handlers,
            **WatchMethods(engine).handlers,
        }
        self.table: dict[str, Method] = {name: method_of(handlers[name]) for name in names.METHODS}

    async def _dispatch(self, given: events.Dispatch) -> events.DispatchView:
        if given.wait:
            self._engine.waiters.refuse_early(given.caused_by)
        trace = _traceparent(given.traceparent)
        accepted = await self._engine.sending.dispatch(
            given.event, caused_by=given.caused_by, traceparent=trace, must_match=given.require_match
        )
        if not given.wait:
            view = _warned(await events.dispatch_view(accepted, accepted.runs), given, accepted)
            return self._with_unserved(view, accepted.runs)
        waited = await self._waited(accepted.event.id, accepted.runs, given)
        view = _warned(await events.dispatch_view(accepted, waited.runs), given, accepted)
        return _with_waited(self._with_unserved(view, waited.runs), waited)

    def _with_unserved(self, view: events.DispatchView, runs_: Sequence[Run]) -> events.DispatchView:
        """With those of the runs that no host starts just now, and a word about the first of them; else about a package
        that is broken on disk."""
        found = [(run, able) for run in runs_ if (able := self._engine.reads.unserved(run)) is not None]
        if found:
            view.unserved = [waiting.unserved_view(run, able) for run, able in found[: wire.MAX_LIMIT]]
            run, able = found[0]
            view.warning = view.warning or f"Step {run.flow_name}/{run.step_name} matches, but {able.problem}."
        if view.warning is None:
            view.warning = catalog.stale_sentence(self._engine.snapshot(), {run.flow_name for run in runs_})
        return view

    async def _replay(self, given: events.Replay) -> events.DispatchView:
        caller = None if given.timeout_ms == 0 and not given.tree else given.caused_by  # which only looks
        waiting = self._engine.waiters.about_to_wait(caller, tree_of=given.event_id if given.tree else None)
        replayed = await self._engine.sending.replay(
            given.event_id, given.steps, from_steps=given.from_steps, is_missing=given.missing, waiting=waiting
        )
        if not given.wait:
            return self._with_unserved(await events.replay_view(replayed, replayed.runs), replayed.runs)
        waited = await self._waited(replayed.event.id, replayed.runs, given)
        view = self._with_unserved(await events.replay_view(replayed, waited.runs), waited.runs)
        return _with_waited(view, waited)

    async def _waited(self, event_id: str, runs_: Sequence[Run], given: events.Dispatch | events.Replay) -> "_Waited":
        timeout_s = None if given.timeout_ms is None else given.timeout_ms / 1000
        for_run, caller = self._engine.waiters.for_run, given.caused_by
        # Of a known event all is waited for; of a replay its runs alone.
        if given.tree or (caller is not None and isinstance(given, events.Dispatch)):
            is_late = await self._engine.waiters.for_event(
                event_id, is_tree=given.tree, timeout_s=timeout_s, caller=caller
            )
            ended = await asyncio.gather(*(self._engine.reads.run(run.id) for run in runs_))
            state = await self._event_state(event_id, is_tree=True) if given.tree else None
            return _Waited(tuple(ended), is_late, state)
        if len(runs_) == 1:  # most have one: it needs no task
            waited = [await for_run(runs_[0].id, timeout_s=timeout_s, caller=caller)]
        else:
            waited = await asyncio.gather(*(for_run(run.id, timeout_s=timeout_s, caller=caller) for run in runs_))
        return _Waited(tuple(one.run for one in waited), any(one.is_late for one in waited))

    async def _event_state(self, event_id: str, *, is_tree: bool) -> events.EventStateView:
        state = await self._engine.reads.event_state(event_id, is_tree=is_tree, limit=trees.MAX_OPEN)
        return trees.event_state_view(state)

    async def _wait_event(self, given: trees.WaitEvent) -> trees.WaitedEventView:
        timeout_s = None if given.timeout_ms is None else given.timeout_ms / 1000
        is_late = await self._engine.waiters.for_event(
            given.event_id, is_tree=given.tree, timeout_s=timeout_s, caller=given.caused_by
        )
        state = await self._event_state(given.event_id, is_tree=given.tree)
        return trees.WaitedEventView(event_id=given.event_id, timed_out=is_late, state=state)

    async def _cancel_run(self, given: runs.RunId) -> runs.OneRunView:
        return runs.OneRunView(run=runs.run_view(await self._engine.cancels.run(given.run_id)))

    async def _cancel_event(self, given: trees.CancelEvent, by: Person) -> runs.RunsView:
        ended = await self._engine.cancels.event(given.event_id, is_tree=given.tree, by=by)
        told = ended[: wire.MAX_LIMIT] if given.tree else (await self._engine.reads.event(given.event_id)).run_ids
        found = [await self._engine.reads.run(run_id) for run_id in told]
        return runs.runs_view(found, event_id=given.event_id)

    async def _retry_run(self, given: runs.RetryRun) -> runs.OneRunView:
        waiting = self._engine.waiters.about_to_wait(given.caused_by)
        return runs.OneRunView(run=runs.run_view(await self._engine.sending.retry_run(given.run_id, waiting=waiting)))

    async def _list_events(self, given: events.ListEvents) -> events.EventPageView:
        page = await self._engine.reads.events(
            filters.of_events(given), limit=params.page_limit(given.limit), cursor=given.cursor
        )
        return events.EventPageView(
            events=[events.event_view(event) for event in page.items], next_cursor=page.next_cursor
        )

    async def _get_event(self, given: trees.GetEvent) -> events.EventWithRunsView:
        event = await self._engine.reads.event(given.event_id)
        most = wire.MAX_LIMIT if given.max_runs is None else min(wire.MAX_LIMIT, given.max_runs)
        page = await self._engine.reads.runs(RunFilter(event_id=given.event_id), limit=most)
        views = [runs.run_view(run) for run in page.items]
        view = events.EventWithRunsView(event=events.event_view(event, views), runs=views)
        if given.tree:
            below = await self._engine.reads.tree(
                given.event_id,
                limit=params.page_limit(given.limit),
                cursor=given.cursor,
                max_runs=given.max_runs,
            )
            view.tree = await trees.tree_view(below)
        return view

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

    async def _subscribe(self, given: updates.Subscribe, caller: Caller) -> updates.SubscribedView:
        if given.run_id is not None:
            await self._engine.reads.run(given.run_id)
        return await caller.subscribe(given)

    async def _find(self, given: events.Find) -> events.FoundView:
        return events.FoundView(ids=await self._engine.reads.ids(given.of, given.prefix, limit=given.limit))

    async def _list_flows(self, _: params.NoParams) -> catalog.CatalogView:
        return catalog.catalog_view(self._engine.snapshot())

    async def _explain(self, given: catalog.Explain) -> catalog.ExplainView:
        event, verdicts = await self._engine.explain(given.event)
        return catalog.explain_view(event, verdicts, self._engine.snapshot(), self._engine.reads.able)

    async def _daemon_status(self, given: daemon.Status) -> daemon.StatusView:
        return await self._status(given)

    async def _reload(self, _: params.NoParams) -> catalog.CatalogView:
        settings = self._reload_settings()
        view = catalog.catalog_view(await self._engine.reload())
        view.settings = settings
        return view

    async def _daemon_drain(self, given: daemon.Drain) -> daemon.DrainView:
        return await self._drain(given)

    async def _page_link(self, _: params.NoParams, by: Person) -> daemon.PageView:
        if self._open_page is None:
            raise RefusedError("Only a daemon has a page: start `flowd serve`.")
        return await self._open_page(by)

    async def _resume(self, _: params.NoParams) -> daemon.ResumeView:
        return daemon.ResumeView(runs=await self._engine.resume())

    async def _prune(self, given: daemon.Prune) -> daemon.PruneView:
        engine, keeping = self._engine, self._engine.keeping
        before_ms, pruned = None, Pruned()
        if given.older_than_ms is not None:
            before_ms, pruned = await keeping.prune(older_than_ms=given.older_than_ms, dry_run=given.dry_run)
            if not given.dry_run:
                await engine.notices.forget(before_ms=before_ms)
        elif keeping.rules and not given.compact:
            pruned = await keeping.apply(dry_run=given.dry_run)
        elif given.dry_run or not given.compact:
            raise InvalidParamsError(
                "olderThanMs is missing: how old is what may be forgotten? The settings have no [retention].",
                param="olderThanMs",
            )
        freed = 0 if given.dry_run else await engine.give_back(compact=given.compact)
        return daemon.PruneView(
            before=None if before_ms is None else instant(before_ms),
            dry_run=given.dry_run,
            events=pruned.events,
            runs=pruned.runs,
            output_bytes=pruned.output_bytes,
            freed_bytes=freed,
            free_bytes=(await engine.reads.counts()).free_bytes,
        )

    async def _discover(self, _: params.NoParams) -> Annotated[msgspec.Raw, dict[str, Any]]:
        if self._document is None:
            from flowd.api import openrpc  # noqa: PLC0415 - schema generation is for the few who ask

            self._document = msgspec.Raw(json.encode(openrpc.document(self.table)))
        return self._document


async def _unsubscribe(given: updates.Unsubscribe, caller: Caller) -> updates.UnsubscribedView:
    return await caller.unsubscribe(given)


def _warned(view: events.DispatchView, given: events.Dispatch, accepted: Accepted) -> events.DispatchView:
    """With a word about a cause that is none, and about an event that says ``data`` where flowd's say ``payload``: no
    step would see it there."""
    event = given.event
    if view.warning is None and accepted.is_cause_idle:
        view.warning = f"Run {given.caused_by} is not running here, so the event was taken as caused by nobody."
    if view.warning is None and isinstance(event, dict) and "data" in event and "payload" not in event:
        view.warning = "The event has data and no payload, and its payload is {}: steps match and read the payload."
        if "specversion" in event:
            view.warning += " Send a CloudEvent over HTTP, with Content-Type: application/cloudevents+json."
        log.warning("event without payload", extra={"event_id": view.event_id, "problem": view.warning})
    return view


def bare_event(given: object) -> object:
    """Parameters of a dispatch that are the event itself become ``{"event": …}``."""
    if isinstance(given, dict) and "type" in given and not isinstance(given.get("event"), dict):
        return {"event": given}
    return given


class _Waited(NamedTuple):
    runs: tuple[Run, ...]
    is_late: bool
    state: events.EventStateView | None = None


def _with_waited(view: events.DispatchView, waited: _Waited) -> events.DispatchView:
    view.timed_out = waited.is_late
    view.state = waited.state
    return view


def _text(part: OutputPart, encoding: str) -> tuple[str, int]:
    """The part as text, and where to read on: a character that is cut in two waits for its rest."""
    if encoding == "base64":
        return base64.b64encode(part.data).decode(), part.next_offset
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    is_last = part.is_final and part.next_offset >= part.size
    text = decoder.decode(part.data, final=is_last)
    pending = len(decoder.getstate()[0])
    return text, part.next_offset - pending


def _traceparent(given: str | None) -> str | None:
    if given is not None and not re.fullmatch(wire.TRACEPARENT, given):
        raise InvalidParamsError(
            "traceparent is none of W3C Trace Context: version-trace-parent-flags, as in "
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.",
            param="traceparent",
        )
    return given
