"""Reads what is stored and what is printed, with the secrets in it masked."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Literal

from flowd.domain.definition import Definition
from flowd.domain.errors import EventNotFoundError, InvalidParamsError, RunNotFoundError
from flowd.domain.filters import EventFilter, RunFilter
from flowd.domain.flow import Flow
from flowd.domain.hosts import Able, Unserved
from flowd.domain.redaction import Redactor
from flowd.domain.run import Run
from flowd.domain.step import Step
from flowd.domain.stored import Counts, EventState, Page, StoredEvent, TreeEvent
from flowd.engine.attempts import Attempts
from flowd.engine.output_reader import OutputPart, OutputReader
from flowd.engine.showing import Showing
from flowd.ports import OpenStore
from flowd_client.wire import Stream

_AT_ONCE = 200
"""Runs that are masked before others have their turns."""


class Reads:
    """Events, runs, trees and output."""

    def __init__(
        self, *, store: OpenStore, attempts: Attempts, reader: OutputReader, redactor: Redactor, showing: Showing
    ) -> None:
        """``attempts`` know what the store does not know yet of steps that run."""
        self._store = store
        self._attempts = attempts
        self._reader = reader
        self._redactor = redactor
        self._showing = showing

    async def event(self, event_id: str) -> StoredEvent:
        """One event. Raises `EventNotFoundError`."""
        event = await self._store.event(event_id)
        if event is None:
            raise EventNotFoundError(event_id)
        return event

    async def events(self, where: EventFilter, *, limit: int, cursor: str | None = None) -> Page[StoredEvent]:
        """Events, newest first; see `flowd.ports.records.Records.events`."""
        return await self._store.events(where, limit=limit, cursor=cursor)

    async def run(self, run_id: str) -> Run:
        """One run with its attempts. Raises `RunNotFoundError`."""
        run = await self._store.run(run_id)
        if run is None:
            raise RunNotFoundError(run_id)
        if run.attempts and not run.attempts[-1].status.is_final:
            # The pid of a step that runs since a moment ago is not in the store yet.
            run = replace(run, attempts=(*run.attempts[:-1], self._attempts.enrich(run.attempts[-1])))
        return self.shown(run)

    async def ids(self, of: Literal["run", "event"], prefix: str, *, limit: int) -> list[str]:
        """Ids that begin so; see `flowd.ports.records.Records.ids`."""
        return await self._store.ids(of, prefix, limit=limit)

    async def definition(self, run_id: str) -> Definition | None:
        """What the last attempt of a run was made with, its arguments masked. None: nothing, or nobody knows."""
        made_with = await self._store.definition(run_id)
        if made_with is None:
            return None
        args = (self._redactor.text(arg) if isinstance(arg, str) else arg for arg in made_with.args)
        return replace(made_with, args=tuple(args))

    async def runs(self, where: RunFilter, *, limit: int, cursor: str | None = None) -> Page[Run]:
        """Runs, newest first; see `flowd.ports.records.Records.runs`. Text is searched in what is shown of them."""
        if self._redactor.longest and where.text is not None:
            where = replace(where, shown=self._redactor.text)
        page = await self._store.runs(where, limit=limit, cursor=cursor)
        return replace(page, items=tuple(map(self.shown, page.items)))

    async def tree(
        self, event_id: str, *, limit: int, cursor: str | None = None, max_runs: int | None = None
    ) -> Page[TreeEvent]:
        """The event and all below it in its tree, oldest first; see `flowd.ports.TreeStore.tree`."""
        page = await self._store.tree(event_id, limit=limit, cursor=cursor, max_runs=max_runs)
        return replace(page, items=tuple([await self._shown_event(event) for event in page.items]))

    async def _shown_event(self, event: TreeEvent) -> TreeEvent:
        """Others have their turns meanwhile: it may have thousands of runs."""
        shown: list[Run] = []
        for index, run in enumerate(event.runs, 1):
            shown.append(self.shown(run))
            if index % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return replace(event, runs=tuple(shown))

    async def event_state(self, event_id: str, *, is_tree: bool, limit: int) -> EventState:
        """How the runs of an event, or of its tree, are; of those that are open, at most ``limit``."""
        state = await self._store.event_state(event_id, is_tree=is_tree, limit=limit)
        return replace(state, open=tuple(map(self.shown, state.open)))

    async def output(
        self,
        run_id: str,
        stream: Stream,
        *,
        offset: int,
        count: int,
        attempt_number: int | None,
        wait_s: float,
        other_offset: int | None = None,
    ) -> OutputPart:
        """Up to ``count`` bytes of a stream from ``offset``; waits up to ``wait_s`` for some to appear.

        With ``other_offset`` the waiting also ends when the other stream reaches beyond that.

        Raises:
            RunNotFoundError: No such run.
            InvalidParamsError: It has no such attempt.
        """
        run = await self.run(run_id)
        number = run.attempt_count if attempt_number is None else attempt_number
        if number > run.attempt_count:
            has = "1 attempt" if run.attempt_count == 1 else f"{run.attempt_count or 'no'} attempts"
            raise InvalidParamsError(
                f"Run {run_id} has {has} so far; attempt {number} is none of them.", param="attempt"
            )
        return await self._reader.wait_for_part(
            run_id, number, stream, offset=offset, count=count, wait_s=wait_s, other_offset=other_offset
        )

    async def turns(
        self, run_id: str, stream: Stream, *, begin: int, end: int, attempt_number: int | None
    ) -> list[tuple[int, int]]:
        """Where a part of a stream goes on after something of the other one was printed: the offsets there in both.

        Raises:
            RunNotFoundError: No such run.
        """
        number = (await self.run(run_id)).attempt_count if attempt_number is None else attempt_number
        return await self._reader.turns(run_id, number, stream, begin, end)

    async def counts(self) -> Counts:
        """How many events and runs there are."""
        return await self._store.counts()

    def able(self, flow: Flow, step: Step) -> Able:
        """Who can run a step."""
        return self._showing.able(flow, step)

    def unserved(self, run: Run) -> Able | None:
        """Who could run a queued run that no host starts just now; None of all others."""
        return self._showing.unserved(run)

    async def unserved_runs(self) -> Counter[Unserved]:
        """How many queued runs no host starts just now, by why, as it was not long ago."""
        counts = Counter(dict.fromkeys(Unserved, 0))
        for queue in await self._store.step_queues():
            if (why := self._showing.why_unserved(queue)) is not None:
                counts[why] += queue.runs
        return counts

    def shown(self, run: Run) -> Run:
        """The run as it may be seen, with its secrets masked."""
        return self._showing.run(run)
