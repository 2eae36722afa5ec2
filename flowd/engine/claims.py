"""Claims runs from the store when this daemon has places free."""

from flowd.domain.queueing import Claim, Claimed
from flowd.engine.steps_in_force import StepsInForce
from flowd.engine.storage_waits import StorageWaits
from flowd.ports import Clock, Keeper, Store


class Claims:
    """Claims runs for this daemon, to be started with the definitions that it has in force."""

    def __init__(
        self, *, store: Store, keeper: Keeper, steps: StepsInForce, clock: Clock, boot_id: str, waits: StorageWaits
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._steps = steps
        self._clock = clock
        self._boot_id = boot_id
        self._waits = waits

    def ask(self, limit: int) -> Claim:
        """A claim as it is now."""
        return Claim(
            limit=limit,
            worker_id=self._keeper.id,
            boot_id=self._boot_id,
            definition_of=self._steps.startable,
            at_ms=self._clock.now_ms(),
            steady_ms=self._clock.steady_ms(),
        )

    async def claim(self, limit: int) -> Claimed:
        """Take up to so many runs, however long the disk is full."""
        return await self._waits.patiently(
            "claim", lambda: self._store.claim(self.ask(limit)), runs=lambda: min(limit, self._store.queued)
        )
