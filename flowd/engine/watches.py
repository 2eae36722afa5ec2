"""Makes events of changed files, once they have settled, and sends them like anybody else's."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from flowd.domain.errors import FlowdError
from flowd.domain.settling import Settling
from flowd.domain.watches import WatchState
from flowd.engine.scheduler import Timers
from flowd.ports import Catalog, Clock
from flowd.ports.watches import QUIET_MS, WatchedFiles

log = logging.getLogger("flowd.engine")


class Watches:
    """The watches of all flows in force.

    An event is written down before it is sent, and is the same one until it was accepted: so it is sent once, whatever
    ends in between, and what changes meanwhile is in the next one.
    """

    def __init__(
        self,
        *,
        files: WatchedFiles | None,
        catalog: Catalog,
        clock: Clock,
        dispatch: Callable[[Mapping[str, Any]], Awaitable[object]],
        call_later: Timers | None = None,
    ) -> None:
        """Wire it.

        Args:
            files: None where nobody watches.
            dispatch: Accepts an event.
            call_later: The running loop's, unless given.
        """
        self._files = files
        self._catalog = catalog
        self._clock = clock
        self._dispatch = dispatch
        self._call_later = call_later
        self._settling: dict[str, Settling] = {}
        self._problems: dict[str, str] = {}
        self._stir = asyncio.Event()
        self._is_catalog_new = True

    def packages_changed(self) -> None:
        """Another snapshot of the catalog is in force."""
        self._is_catalog_new = True
        self._stir.set()

    def states(self) -> list[WatchState]:
        """How the watches are, in the order of their flows."""
        known = {} if self._files is None else {state.watch: state for state in self._files.states()}
        why = "no daemon watches" if self._files is None else None
        states = []
        for watch in self._catalog.snapshot.watches:
            state = known.get(watch) or WatchState(watch, "off" if why else "starting", problem=why)
            settling = self._settling.get(watch.label)
            problem = self._problems.get(watch.label) or state.problem
            if problem is None and settling is not None and settling.is_slowed(self._clock.steady_ms()):
                problem = "it has had so many events lately that one every 2 s is all it has: does a step write there?"
            states.append(replace(state, problem=problem))
        return states

    async def work(self) -> None:
        """Watch, for ever. Cancelling it loses nothing: what is not told yet, the next process tells."""
        files = self._files
        if files is None:
            return
        files.listen(self._changed)
        try:
            while True:
                self._stir.clear()
                if self._is_catalog_new:
                    await self._use(files)
                due_ms = await self._tell_due(files)
                timer = self._timer(due_ms)
                await self._stir.wait()
                if timer is not None:
                    timer.cancel()
        finally:
            await files.close()

    def _changed(self, label: str) -> None:
        settling = self._settling.get(label)
        if settling is not None:
            settling.changed(self._clock.steady_ms() - QUIET_MS)
            self._stir.set()

    async def _use(self, files: WatchedFiles) -> None:
        self._is_catalog_new = False
        watches = self._catalog.snapshot.watches
        before = self._settling
        self._settling = {}
        for watch in watches:
            new = Settling(watch.settle_ms, watch.longest_ms)
            old = before.get(watch.label)
            is_same = old is not None and (old.settle_ms, old.longest_ms) == (new.settle_ms, new.longest_ms)
            self._settling[watch.label] = old if old is not None and is_same else new
        try:
            await files.use(watches)
        except Exception:
            log.exception("files cannot be watched")

    async def _tell_due(self, files: WatchedFiles) -> int | None:
        """Tell what has settled. When the next one is due."""
        for label, settling in list(self._settling.items()):
            due_ms, now_ms = settling.due_ms, self._clock.steady_ms()
            if due_ms is not None and due_ms <= now_ms:
                await self._tell(files, label, settling, is_quiet=settling.is_quiet(now_ms))
        return min((due for it in self._settling.values() if (due := it.due_ms) is not None), default=None)

    async def _tell(self, files: WatchedFiles, label: str, settling: Settling, *, is_quiet: bool) -> None:
        settling.taken()
        try:
            event = await files.take(label, is_quiet=is_quiet)
            if event is None:
                return
            await self._dispatch(event)
        except Exception as error:
            problem = _problem(error)
            if label not in self._problems:
                is_expected = isinstance(error, FlowdError | OSError)
                extra = {"watch": label, "problem": problem}
                log.warning("watch not told", exc_info=None if is_expected else error, extra=extra)
            self._problems[label] = f"its event is not accepted, and is sent again: {problem}"
            settling.failed(self._clock.steady_ms())
            return
        self._problems.pop(label, None)
        settling.told(self._clock.steady_ms())
        await files.told(label)
        if files.has_news(label):  # which came before an event that an earlier process had begun, or was in the way of
            settling.changed(self._clock.steady_ms())
            self._stir.set()

    def _timer(self, due_ms: int | None) -> asyncio.TimerHandle | None:
        if due_ms is None:
            return None
        call_later = self._call_later or asyncio.get_running_loop().call_later
        return call_later(max(0, due_ms - self._clock.steady_ms()) / 1000, self._stir.set)


def _problem(error: Exception) -> str:
    if isinstance(error, FlowdError):
        return error.message
    return str(error.strerror if isinstance(error, OSError) and error.strerror else error)
