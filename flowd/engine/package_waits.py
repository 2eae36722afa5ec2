"""Looks after runs whose step is in no package, or not for this host: they go on when it is there, and fail when it
stays away."""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from flowd.domain.run import Run
from flowd.domain.waiting import MissedStep
from flowd.engine.completions import Completions
from flowd.engine.steps_in_force import StepsInForce
from flowd.engine.storage_waits import StorageWaits
from flowd.ports import Catalog, Clock, Store

log = logging.getLogger("flowd.engine")

GONE_AFTER_MS = 60_000
"""Of not being there at any look at the disk. An installer removes a package, then copies it anew."""

_LOOK_S = 10.0

_SEEN_AGAIN_AFTER_MS = 10_000
"""After a start: an installer may have been at it while no daemon looked."""


class _Gone(NamedTuple):
    """A step that is in no package: since when, and since when this daemon knows it, on the steady clock."""

    since_ms: int
    seen_ms: int


class PackageWaits:
    """Looks after the runs that wait for their package. Does nothing while there are none."""

    def __init__(
        self,
        *,
        store: Store,
        catalog: Catalog,
        steps: StepsInForce,
        completions: Completions,
        clock: Clock,
        waits: StorageWaits,
        ring: Callable[[], None],
        look_s: float = _LOOK_S,
    ) -> None:
        """``ring`` tells that a run may be ready; ``look_s`` is between two looks at the disk."""
        self._store = store
        self._catalog = catalog
        self._steps = steps
        self._completions = completions
        self._clock = clock
        self._waits = waits
        self._ring = ring
        self._look_s = look_s
        self._news = asyncio.Event()
        self._gone: dict[tuple[str, str], _Gone] = {}
        self._may_wait = True

    def packages_changed(self) -> None:
        """Another snapshot of the catalog is in force."""
        self._news.set()

    def run_waits(self) -> None:
        """A run waits for its package from now on."""
        self._may_wait = True
        self._news.set()

    async def work(self) -> None:
        """Look whenever there is news, and now and then while any run waits. Without end."""
        while True:
            self._news.clear()
            try:
                if self._may_wait:
                    await self.settle()
                async with asyncio.timeout(self._look_s if self._may_wait else None):
                    await self._news.wait()
            except TimeoutError:
                await self._catalog.reload()
            except Exception:
                log.exception("runs that wait for their package could not be looked after")
                await asyncio.sleep(self._look_s)

    async def settle(self) -> None:
        """Let go of the runs whose step is in force again, and of those whose step has been gone for long enough."""
        self._may_wait = False
        missed = {(one.flow_name, one.step_name): one for one in await self._store.steps_missed()}
        self._may_wait = self._may_wait or bool(missed)
        self._gone = {step: gone for step, gone in self._gone.items() if step in missed}
        for step, told in missed.items():
            if self._steps.startable(*step) is not None:
                self._gone.pop(step, None)
                await self._let_go(step)
            elif self._steps.lacking(*step) or self._steps.is_broken(step[0]):
                self._gone.pop(step, None)
                if told.gone_since_ms is not None:
                    await self._note(step, None)
            elif await self._has_been_gone(step, told):
                await self._fail(step)

    async def _has_been_gone(self, step: tuple[str, str], told: MissedStep) -> bool:
        """For long enough. A daemon before this one may have seen it go."""
        now_ms = self._clock.steady_ms()
        gone = self._gone.get(step)
        if gone is None:
            since_ms = now_ms if told.gone_since_ms is None else min(now_ms, told.gone_since_ms)
            gone = self._gone[step] = _Gone(since_ms, now_ms)
        if told.gone_since_ms is None:
            await self._note(step, gone.since_ms)
        return now_ms - gone.since_ms >= GONE_AFTER_MS and now_ms - gone.seen_ms >= _SEEN_AGAIN_AFTER_MS

    async def _note(self, step: tuple[str, str], since_ms: int | None) -> None:
        await self._waits.patiently(f"package {step[0]}", lambda: self._store.note_removed(*step, since_ms))

    async def _let_go(self, step: tuple[str, str]) -> None:
        while await self._waits.patiently(
            f"package {step[0]}", lambda: self._store.end_package_wait(*step, at_ms=self._clock.now_ms())
        ):
            self._ring()

    async def _fail(self, step: tuple[str, str]) -> None:
        log.warning("step removed", extra={"flow": step[0], "step": step[1]})
        ended: list[Run] = await self._fail_some(step)
        while ended:
            for run in ended:
                self._completions.tell(run)
            self._ring()  # what needs them may start now
            ended = await self._fail_some(step)

    async def _fail_some(self, step: tuple[str, str]) -> list[Run]:
        return await self._waits.patiently(
            f"package {step[0]}", lambda: self._store.fail_removed(*step, at_ms=self._clock.now_ms())
        )
