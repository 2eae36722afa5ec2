"""The part of `SqlStore` that reads trees and cancels them."""

from collections.abc import Collection

from flowd.domain.awaited import Awaited, HeldUp
from flowd.domain.people import Person
from flowd.domain.run import Run
from flowd.domain.stored import EventState, Page, TreeEvent
from flowd.domain.trees import CalledOff
from flowd.store.sql import cancels, held_up, tree_reads
from flowd.store.sql.store_part import StorePart


class TreeStore(StorePart):
    """See `flowd.ports.TreeStore` for what every method guarantees."""

    async def call_off(self, event_id: str, by: Person, *, is_tree: bool, at_ms: int) -> CalledOff:
        """See `flowd.ports.TreeStore.call_off`."""
        return await self._writer.do(lambda db: cancels.call_off(db, event_id, by, is_tree=is_tree, at_ms=at_ms))

    async def end_called_off(self, *, at_ms: int) -> list[Run]:
        """See `flowd.ports.TreeStore.end_called_off`."""
        return await self._writer.do(lambda db: cancels.end_some(db, at_ms=at_ms))

    async def running_of(self, event_id: str, *, is_tree: bool) -> list[str]:
        """See `flowd.ports.TreeStore.running_of`."""
        return await self._read(lambda db: cancels.running(db, event_id, is_tree=is_tree))

    async def tree(
        self, event_id: str, *, limit: int, cursor: str | None, max_runs: int | None = None
    ) -> Page[TreeEvent]:
        """See `flowd.ports.TreeStore.tree`."""
        return await self._read(lambda db: tree_reads.tree(db, event_id, limit=limit, cursor=cursor, max_runs=max_runs))

    async def is_going_on(self, event_id: str, *, is_tree: bool) -> bool:
        """See `flowd.ports.TreeStore.is_going_on`."""
        return await self._read(lambda db: tree_reads.going_on(db, event_id, is_tree=is_tree))

    async def is_round_going_on(self, run_id: str) -> bool:
        """See `flowd.ports.TreeStore.is_round_going_on`."""
        return await self._read(lambda db: tree_reads.round_goes_on(db, run_id))

    async def held_up(self, run_ids: Collection[str], awaited: Awaited) -> HeldUp | None:
        """See `flowd.ports.TreeStore.held_up`."""
        return await self._read(lambda db: held_up.held_up(db, run_ids, awaited))

    async def event_state(self, event_id: str, *, is_tree: bool, limit: int) -> EventState:
        """See `flowd.ports.TreeStore.event_state`."""
        return await self._read(
            lambda db: EventState(
                tree_reads.statuses(db, event_id, is_tree=is_tree),
                tuple(tree_reads.unfinished(db, event_id, is_tree=is_tree, limit=limit)),
            )
        )
