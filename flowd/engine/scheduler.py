"""Starts as many runs at a time as there are places. The store decides which ones."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from flowd.domain.launching import KeeperLostError
from flowd.domain.queueing import Claim, Claimed, StartedRun

log = logging.getLogger("flowd.engine")

TASK_PREFIX = "run "
"""Of the names of the tasks that see runs through. Cancelling one leaves its step to the next daemon."""


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing more of the run follows an attempt. ``claimed`` is what was taken with the recording of its end."""

    claimed: Claimed | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """The run is queued again, and its next attempt may start at this instant by the steady clock."""

    due_ms: int
    claimed: Claimed | None = None


class Work(Protocol):
    """An attempt to be seen through, in three steps. Each may be all there is to do."""

    @property
    def run_id(self) -> str:
        """The run's."""
        ...

    def withdraw(self, why: str) -> None:
        """Do not start it after all: its run is to be queued again."""
        ...

    async def start(self) -> None:
        """Start its process, unless it runs already."""
        ...

    async def exited(self) -> None:
        """Return when its process has ended."""
        ...

    async def record(self, claim: Callable[[int], Claim | None]) -> Done | Again:
        """Write down how it ended, and say what follows.

        Args:
            claim: Gives its place away, told how many runs may become ready with its end; what it returns is to be
                claimed in the same transaction. To be called for each try to write.
        """
        ...

    def close(self) -> None:
        """It is over, or will be gone on with by the next daemon."""
        ...


class Holder(StrEnum):
    """Who wants nothing to start."""

    DAEMON = "daemon"
    """Somebody who told this daemon so, until it ends."""
    STORE = "store"
    """Somebody who told the store that hosts share, until it is told otherwise."""


class Timers(Protocol):
    """How to be called later: an event loop's ``call_later``."""

    def __call__(self, delay: float, callback: Callable[[], None], /) -> asyncio.TimerHandle:
        """Call back after ``delay`` seconds."""
        ...


class Scheduler:
    """Keeps the places in which runs are under way. It knows of no run that waits.

    A place is free and the bell was rung: then as many runs are claimed as there are free places. The bell is rung by
    whatever may have made a run ready, and by one timer for the next run that waits for its time.
    """

    def __init__(
        self,
        ask: Callable[[int], Claim],
        claim: Callable[[int], Awaitable[Claimed]],
        begin: Callable[[StartedRun], Work],
        *,
        max_parallel: int,
        steady_ms: Callable[[], int],
        on_missing_package: Callable[[], None] = lambda: None,
        call_later: Timers | None = None,
    ) -> None:
        """Wire it.

        Args:
            ask: Makes a claim for up to so many runs, to be added to another transaction.
            claim: Takes up to so many runs that may start.
            begin: Makes the work of a run that was taken.
            on_missing_package: Told when a run was found that waits for its package.
            call_later: The running loop's, unless given.
        """
        self._ask = ask
        self._claim = claim
        self._begin = begin
        self._max_parallel = max_parallel
        self._steady_ms = steady_ms
        self._on_missing_package = on_missing_package
        self._call_later = call_later
        self._occupied = 0
        self._claims = 0
        self._rings = 0
        self._may_be_ready = False
        self._is_paused = True
        self._holders: set[Holder] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due_ms: int | None = None

    def open(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to start runs, as tasks of this group."""
        self._tasks = tasks
        self._is_paused = False
        if not self.is_held:
            self._on_due()  # whatever has waited for its time, and to hear when the next one's comes

    def hold(self, by: Holder, is_wanted: bool = True) -> None:
        """Start nothing, as with `pause`, until whoever wanted that wants it no more."""
        if is_wanted == (by in self._holders):
            return
        self._holders ^= {by}
        if is_wanted:
            self._set_timer(None)
        elif not self._holders and not self._is_paused:
            self._on_due()  # whatever has come in the meantime

    @property
    def is_held(self) -> bool:
        """Whether somebody wants nothing to start."""
        return bool(self._holders)

    @property
    def is_drained(self) -> bool:
        """Whether this daemon was told to start nothing, whatever the store says."""
        return Holder.DAEMON in self._holders

    @property
    def _starts_nothing(self) -> bool:
        return self._is_paused or self.is_held

    def pause(self) -> None:
        """Start nothing more, for the end has come. What is queued stays queued; what is being claimed right now is
        queued again."""
        self._is_paused = True
        self._set_timer(None)

    @property
    def is_paused(self) -> bool:
        """Whether nothing starts for good, as the end has come."""
        return self._is_paused

    @property
    def max_parallel(self) -> int:
        """How many places there are."""
        return self._max_parallel

    def set_max_parallel(self, places: int) -> None:
        """Have so many places from now on. With fewer, what is under way goes on, and nothing starts until there is a
        place again."""
        self._max_parallel = places
        self.ring()

    @property
    def is_claiming(self) -> bool:
        """Whether runs are being taken just now, of which nobody knows yet."""
        return self._claims > 0

    def ring(self) -> None:
        """A run may be ready."""
        self._rings += 1
        self._may_be_ready = True
        self._pump()

    def ring_at(self, due_ms: int) -> None:
        """A run will be ready at this instant by the steady clock, or will have waited for too long then."""
        if due_ms <= self._steady_ms() and self._occupied < self._max_parallel:
            self.ring()
        elif not self._starts_nothing and (self._due_ms is None or due_ms < self._due_ms):
            self._set_timer(due_ms)

    def reserve(self, wanted: int) -> int:
        """Take up to so many free places for a claim of one's own; `start` must be told what became of it."""
        places = 0 if self._starts_nothing else max(0, min(wanted, self._max_parallel - self._occupied))
        if places:
            self._occupied += places
            self._claims += 1
        return places

    def start(self, claimed: Claimed, *, places: int) -> None:
        """See the claimed runs through in places that were reserved, and give back the rest of these."""
        if places:
            self._claims -= 1
            self._occupied -= places
        for started in claimed.started:
            work = self._begin(started)
            if self._starts_nothing:
                work.withdraw("flowd is about to stop")
            self.see_through(work)
        if claimed.is_missing_package:
            self._on_missing_package()
        if claimed.next_due_ms is not None:
            self.ring_at(claimed.next_due_ms)
        self._may_be_ready = self._may_be_ready or claimed.has_more
        self._pump()

    def see_through(self, work: Work, tasks: asyncio.TaskGroup | None = None) -> None:
        """See an attempt through, in a place that is taken for it even if none is free."""
        group = tasks or self._tasks
        assert group is not None
        self._occupied += 1
        group.create_task(self._see_through(work), name=f"{TASK_PREFIX}{work.run_id}")

    def _pump(self) -> None:
        if self._may_be_ready and (places := self.reserve(self._max_parallel)):
            self._claim_soon(places)

    def _claim_soon(self, places: int) -> None:
        assert self._tasks is not None
        self._tasks.create_task(self._claim_into(places), name=f"{TASK_PREFIX}claim")

    async def _claim_into(self, places: int) -> None:
        rings = self._rings
        try:
            claimed = await self._claim(places)
        except Exception:
            log.exception("no run could be claimed")  # it is told elsewhere if the disk has failed
            self._release_claim(places)
        except BaseException:
            self._release_claim(places)
            raise
        else:
            self._start(claimed, places=places, rings=rings)

    def _start(self, claimed: Claimed, *, places: int, rings: int) -> None:
        if rings == self._rings:  # else a run may have become ready after the look
            self._may_be_ready = False
        self.start(claimed, places=places)

    def _release_claim(self, places: int) -> None:
        if places:
            self._claims -= 1
            self._occupied -= places

    async def _see_through(self, work: Work) -> None:
        places, rings = -1, self._rings  # no place was given away yet

        def give_away(more: int) -> Claim | None:
            nonlocal places, rings
            if places < 0:
                places, rings = self._leave(more), self._rings
            return self._ask(places) if places else None

        follows: Done | Again = Done()
        try:
            await work.start()
            await work.exited()
            follows = await work.record(give_away)
        except KeeperLostError as error:
            # No keeper can be had any more, so this daemon ends. The step goes on, and the next start takes it up.
            log.warning("run left to the next start", extra={"run_id": work.run_id, "problem": str(error)})
        except Exception:
            # One run's trouble must not end the others; the store still has it, and the next start reconciles it.
            log.exception("supervision failed", extra={"run_id": work.run_id})
        finally:
            work.close()
            if places < 0:
                places = self._leave()
            if follows.claimed is not None:
                self._start(follows.claimed, places=places, rings=rings)
            else:
                self._release_claim(places)
                self._pump()
        if isinstance(follows, Again):
            self.ring_at(follows.due_ms)

    def _leave(self, more: int = 0) -> int:
        """Free a place. How many are reserved for what comes next."""
        self._occupied -= 1
        self._may_be_ready = self._may_be_ready or more > 0
        return self.reserve(self._max_parallel) if self._may_be_ready else 0

    def _set_timer(self, due_ms: int | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due_ms = due_ms
        if due_ms is not None:
            call_later = self._call_later or asyncio.get_running_loop().call_later
            self._timer = call_later(max(0, due_ms - self._steady_ms()) / 1000, self._on_due)

    def _on_due(self) -> None:
        """A run's time has come: it gets its place in the order of those that are ready, even if no place is free."""
        self._timer = self._due_ms = None
        self._may_be_ready = True
        self._rings += 1
        self._claim_soon(self.reserve(self._max_parallel))
