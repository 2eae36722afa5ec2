"""The part of `SqlStore` that ends waits for a package and for a person's word."""

from flowd.domain.run import Run
from flowd.domain.waiting import MissedStep
from flowd.store.sql import waits
from flowd.store.sql.store_part import StorePart


class WaitStore(StorePart):
    """See `flowd.ports.Store` for what every method guarantees."""

    async def steps_missed(self) -> list[MissedStep]:
        """See `flowd.ports.Store.steps_missed`."""
        return await self._read(waits.steps_missed)

    async def note_removed(self, flow_name: str, step_name: str, since_ms: int | None) -> None:
        """See `flowd.ports.Store.note_removed`."""
        await self._writer.do(lambda db: waits.note_removed(db, flow_name, step_name, since_ms))

    async def end_package_wait(self, flow_name: str, step_name: str, *, at_ms: int) -> int:
        """See `flowd.ports.Store.end_package_wait`."""
        return await self._writer.do(lambda db: waits.end_package_wait(db, flow_name, step_name, at_ms=at_ms))

    async def end_person_waits(self, *, at_ms: int) -> int:
        """See `flowd.ports.Store.end_person_waits`."""
        return await self._writer.do(lambda db: waits.end_person_waits(db, at_ms=at_ms))

    async def fail_removed(self, flow_name: str, step_name: str, *, at_ms: int) -> list[Run]:
        """See `flowd.ports.Store.fail_removed`."""
        return await self._writer.do(lambda db: waits.fail_removed(db, flow_name, step_name, at_ms=at_ms))
