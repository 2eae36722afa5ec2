"""The table of the API's methods with their handlers, one for each verb of the engine.

`flowd_client.methods` says what each method is called and does. The table is explicit; nothing registers itself.
Handlers about one subject are in a module beside this one; here are those about the daemon and its packages.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec

from flowd.api import json, params
from flowd.api.event_methods import EventMethods
from flowd.api.host_methods import HostMethods
from flowd.api.json import instant
from flowd.api.method import Method, method_of
from flowd.api.notice_methods import NoticeMethods
from flowd.api.question_methods import QuestionMethods
from flowd.api.queue_methods import QueueMethods
from flowd.api.run_methods import RunMethods
from flowd.api.schedule_methods import ScheduleMethods
from flowd.api.shapes import catalog, daemon, events, updates
from flowd.api.subscriptions import Caller
from flowd.api.watch_methods import WatchMethods
from flowd.domain.errors import InvalidParamsError, RefusedError
from flowd.domain.people import Person
from flowd.domain.stored import Pruned
from flowd.engine.engine import Engine
from flowd_client import methods as names


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
        self._document: msgspec.Raw | None = None
        self._status = status
        self._drain = drain
        handlers: dict[str, Callable[..., Awaitable[Any]]] = {
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
            **EventMethods(engine).handlers,
            **RunMethods(engine).handlers,
            **QuestionMethods(engine).handlers,
            **QueueMethods(engine).handlers,
            **HostMethods(engine).handlers,
            **NoticeMethods(engine).handlers,
            **ScheduleMethods(engine).handlers,
            **WatchMethods(engine).handlers,
        }
        self.table: dict[str, Method] = {name: method_of(handlers[name]) for name in names.METHODS}

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
