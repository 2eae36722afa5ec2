"""Claims runs from the store when this daemon has places free."""

import time
from collections.abc import Callable

from flowd.domain.hosts import HostSession
from flowd.domain.queueing import Claim, Claimed
from flowd.engine.steps_in_force import StepsInForce
from flowd.engine.storage_waits import StorageWaits
from flowd.ports import Clock, Keeper, Store


class Claims:
    """Claims runs for this daemon, to be started with the definitions that it has in force."""

    def __init__(
        self,
        *,
        store: Store,
        keeper: Keeper,
        steps: StepsInForce,
        clock: Clock,
        boot_id: str,
        waits: StorageWaits,
        host: HostSession | None = None,
        boot_s: Callable[[], float] = lambda: 0.0,
        took: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Wire it.

        Args:
            host: Who we are in a store that hosts share; None in one of our own.
            boot_s: The clock of leases.
            took: Told in seconds how long the store took for a claim.
        """
        self._store = store
        self._keeper = keeper
        self._steps = steps
        self._clock = clock
        self._boot_id = boot_id
        self._waits = waits
        self._host = host
        self._boot_s = boot_s
        self._took = took

    def ask(self, limit: int) -> Claim:
        """A claim as it is now."""
        return Claim(
            limit=limit if self._host is None or self._keeper.can_fence else 0,  # soon the keeper is replaced
            worker_id=self._keeper.id,
            boot_id=self._boot_id,
            definition_of=self._steps.startable,
            at_ms=self._clock.now_ms(),
            steady_ms=self._clock.steady_ms(),
            host=self._host,
            asked_s=self._boot_s(),
        )

    async def claim(self, limit: int) -> Claimed:
        """Take up to so many runs, however long the disk is full. None while the keeper is one from before leases: it
        is replaced as soon as nothing runs under it."""
        if self._host is not None and not self._keeper.can_fence:
            return Claimed()
        return await self._waits.patiently(
            "claim", lambda: self._claim(limit), runs=lambda: min(limit, self._store.queued)
        )

    async def _claim(self, limit: int) -> Claimed:
        began_s = time.perf_counter()
        claimed = await self._store.claim(self.ask(limit))
        self._took(time.perf_counter() - began_s)
        return claimed
