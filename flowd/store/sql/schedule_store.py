"""The part of `SqlStore` that remembers slots of schedules."""

from collections.abc import Collection, Sequence

from flowd.domain.queueing import Claim, NewRun, QueueBounds
from flowd.domain.slots import Remembered, ScheduleKey, Slot, Told
from flowd.domain.stored import Accepted, NewEvent
from flowd.store.sql import schedules
from flowd.store.sql.connection import Connection
from flowd.store.sql.store_part import StorePart


class ScheduleStore(StorePart):
    """See `flowd.ports.schedules.ScheduleStore` for what every method guarantees."""

    _queue_bounds: QueueBounds
    _told_as = ""

    def _now_ms(self, db: Connection, at_ms: int) -> int:  # noqa: ARG002 - of a database that is in this host
        """Now by the store's clock, which is ours."""
        return at_ms

    async def begin_schedules(
        self, keys: Collection[ScheduleKey], *, broken: Collection[str], at_ms: int
    ) -> dict[ScheduleKey, Remembered]:
        """See `flowd.ports.schedules.ScheduleStore.begin_schedules`."""
        host = self._told_as
        return await self._writer.do(
            lambda db: schedules.begin(db, host, keys, broken=broken, now_ms=self._now_ms(db, at_ms))
        )

    async def _accept_slot(
        self, slot: Slot, event: NewEvent, runs: Sequence[NewRun], *, at_ms: int, claim: Claim | None
    ) -> Accepted:
        """See `flowd.ports.queue.Queue.accept`."""
        return await self._writer.do(
            lambda db: schedules.accept(
                db,
                slot,
                event,
                runs,
                at_ms=at_ms,
                now_ms=self._now_ms(db, at_ms),
                within=self._queue_bounds,
                claim=claim,
            ),
            adds=True,
        )

    async def told_last(self, keys: Collection[ScheduleKey]) -> dict[ScheduleKey, tuple[Told, ...]]:
        """See `flowd.ports.schedules.ScheduleStore.told_last`."""
        return await self._read(lambda db: schedules.told_last(db, keys))

    async def ends_of(self, event_ids: Sequence[str]) -> dict[str, list[str]]:
        """See `flowd.ports.schedules.ScheduleStore.ends_of`."""
        return await self._read(lambda db: schedules.ends(db, event_ids))

    async def now_ms(self, at_ms: int) -> int:
        """See `flowd.ports.schedules.ScheduleStore.now_ms`."""
        return await self._read(lambda db: self._now_ms(db, at_ms))
