"""The handlers of the methods about events."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from flowd.api import filters, params
from flowd.api.shapes import catalog, events, runs, trees, waiting
from flowd.domain.errors import InvalidParamsError
from flowd.domain.filters import RunFilter
from flowd.domain.people import Person
from flowd.domain.run import Run
from flowd.domain.stored import Accepted
from flowd.engine.engine import Engine
from flowd.formats.guesses import near_word
from flowd_client import methods as names
from flowd_client import wire

log = logging.getLogger("flowd.api")

_MEMBERS = frozenset({"id", "type", "source", "occurredAt", "receivedAt"})
_MEMBERS_LOOKED_AT = 20
_MAX_LIKE_CHARS = 12


class EventMethods:
    """They accept, replay, wait for, cancel and show events."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.handlers: dict[str, Callable[..., Awaitable[Any]]] = {
            names.DISPATCH: self._dispatch,
            names.REPLAY: self._replay,
            names.CANCEL_EVENT: self._cancel_event,
            names.LIST_EVENTS: self._list_events,
            names.GET_EVENT: self._get_event,
            names.WAIT_EVENT: self._wait_event,
        }

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

    async def _cancel_event(self, given: trees.CancelEvent, by: Person) -> runs.RunsView:
        ended = await self._engine.cancels.event(given.event_id, is_tree=given.tree, by=by)
        told = ended[: wire.MAX_LIMIT] if given.tree else (await self._engine.reads.event(given.event_id)).run_ids
        found = [await self._engine.reads.run(run_id) for run_id in told]
        return runs.runs_view(found, event_id=given.event_id)

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


def _warned(view: events.DispatchView, given: events.Dispatch, accepted: Accepted) -> events.DispatchView:
    """With a word about a cause that is none, and about an event that says ``data`` or ``paylod`` where flowd's say
    ``payload``: no step would look for it there."""
    event = given.event
    if view.warning is None and accepted.is_cause_idle:
        view.warning = f"Run {given.caused_by} is not running here, so the event was taken as caused by nobody."
    if view.warning is None and isinstance(event, dict) and (name := _meant_as_payload(event)):
        view.warning = (
            f"The event has {name} and no payload, and its payload is {{}}: steps match and read the payload."
        )
        if "specversion" in event:
            view.warning += " Send a CloudEvent over HTTP, with Content-Type: application/cloudevents+json."
        log.warning("event without payload", extra={"event_id": view.event_id, "problem": view.warning})
    return view


def _meant_as_payload(event: Mapping[str, Any]) -> str | None:
    """The member of an event without a payload that its sender probably took for it.

    >>> _meant_as_payload({"type": "t", "paylod": {}}), _meant_as_payload({"type": "t", "data": 1})
    ('paylod', 'data')
    >>> _meant_as_payload({"type": "t", "payload": {}, "data": 1}), _meant_as_payload({"type": "t", "repo": "x"})
    (None, None)
    """
    if "payload" in event:
        return None
    if "data" in event:
        return "data"
    # An event may have any number of members, of any length.
    first = [
        name for name in islice(event, _MEMBERS_LOOKED_AT) if name not in _MEMBERS and len(name) <= _MAX_LIKE_CHARS
    ]
    return next((name for name in first if near_word(name, ["payload"], cutoff=0.75)), None)


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


def _traceparent(given: str | None) -> str | None:
    if given is not None and not re.fullmatch(wire.TRACEPARENT, given):
        raise InvalidParamsError(
            "traceparent is none of W3C Trace Context: version-trace-parent-flags, as in "
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.",
            param="traceparent",
        )
    return given
