"""The part of `SqlStore` that begins and ends pauses, and shows the queue."""

from flowd.domain.filters import EVERY_RUN, RunFilter
from flowd.domain.pauses import Pause, Paused
from flowd.domain.people import Person
from flowd.domain.queue_view import Depth, QueueView, StepQueue
from flowd.store.sql import pauses, pausing, queue_reads
from flowd.store.sql.connection import Connection
from flowd.store.sql.depths import Rationed, missed
from flowd.store.sql.store_part import StorePart


class PauseStore(StorePart):
    """See `flowd.ports.PauseStore` for what every method guarantees."""

    _depths: Rationed[Depth]
    _step_queues: Rationed[StepQueue]

    async def pauses(self) -> list[Pause]:
        """See `flowd.ports.PauseStore.pauses`."""
        return await self._read(pauses.in_force)

    async def ending_pauses(self) -> list[Pause]:
        """See `flowd.ports.PauseStore.ending_pauses`."""
        return await self._read(pauses.ending)

    async def begin_pause(self, what: Paused, by: Person, *, at_ms: int) -> Pause:
        """See `flowd.ports.PauseStore.begin_pause`."""
        return await self._writer.do(lambda db: pausing.begin(db, what, by, at_ms=at_ms))

    async def take_back(self, what: Paused, after_seq: int, *, at_ms: int) -> tuple[int, int | None]:
        """See `flowd.ports.PauseStore.take_back`."""
        return await self._writer.do(lambda db: pausing.take_back(db, what, after_seq, at_ms=at_ms))

    async def end_pause(self, what: Paused) -> bool:
        """See `flowd.ports.PauseStore.end_pause`."""
        return await self._writer.do(lambda db: pausing.end(db, what))

    async def let_go(self, what: Paused, after_seq: int, *, at_ms: int) -> tuple[int, int | None]:
        """See `flowd.ports.PauseStore.let_go`."""
        return await self._writer.do(lambda db: pausing.let_go(db, what, after_seq, at_ms=at_ms))

    async def queue(self, where: RunFilter = EVERY_RUN, *, limit: int, cursor: str | None) -> QueueView:
        """See `flowd.ports.PauseStore.queue`."""
        return await self._read(lambda db: queue_reads.queue(db, where, limit=limit, cursor=cursor))

    async def depths(self) -> list[Depth]:
        """See `flowd.ports.PauseStore.depths`."""
        return await self._read(self._depths.now)

    async def step_queues(self) -> list[StepQueue]:
        """See `flowd.ports.PauseStore.step_queues`."""
        return await self._read(self._step_queues.now)

    @staticmethod
    def _count_steps(db: Connection) -> list[StepQueue]:
        return missed(db)
