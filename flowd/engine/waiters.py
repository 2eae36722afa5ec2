"""Waits for runs, events and trees, as long as something goes on that needs no person."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from flowd.domain.errors import WouldDeadlockError
from flowd.domain.run import ProcessStatus, Run
from flowd.domain.waiting import goes_by_itself
from flowd.engine.completions import Completions
from flowd.ports import TreeStore

_LOOK_S = 0.02
"""Between two looks at a tree at least: many of its runs may end at once."""

_LOOK_AGAIN_S = 5.0
"""What waits for its time may come to a pause then, and no end tells of that."""

_SHARE = 10
"""A look at a large tree costs some milliseconds: the next one comes no sooner than ten times that later."""


class Waited(NamedTuple):
    """A run that was waited for; ``is_late``: the time was up, and it may still end by itself."""

    run: Run
    is_late: bool


class Waiters:
    """All those who wait."""

    def __init__(
        self,
        *,
        store: TreeStore,
        completions: Completions,
        read: Callable[[str], Awaitable[Run]],
        shown: Callable[[Run], Run],
        is_active: Callable[[str], bool],
        places: Callable[[], int],
    ) -> None:
        """Wire it.

        Args:
            read: Reads a run, with secrets masked. Raises `RunNotFoundError`.
            shown: A run with its secrets masked.
            is_active: Whether a run of this id is under way here.
            places: How many may be.
        """
        self._store = store
        self._completions = completions
        self._read = read
        self._shown = shown
        self._is_active = is_active
        self._places = places
        self._callers: Counter[str] = Counter()

    async def for_run(self, run_id: str, *, timeout_s: float | None) -> Waited:
        """The run when it has ended, when nothing of its round goes on without a person, or after ``timeout_s``.

        Raises:
            RunNotFoundError: No such run.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return Waited(await self._end_of(run_id), is_late=False)
        except TimeoutError:
            run = await self._read(run_id)
            return Waited(run, is_late=not run.status.is_final and not await self._is_stuck(run))

    async def _end_of(self, run_id: str) -> Run:
        while True:
            ended = self._completions.expect(run_id)
            try:
                if not self._completions.is_pending(run_id):
                    run = await self._read(run_id)
                    self._completions.belongs(run)
                    if run.status.is_final or await self._is_stuck(run):
                        return run
                    if run.status is ProcessStatus.QUEUED:  # a pause may come before it, of which nobody is told
                        await asyncio.wait([ended], timeout=_LOOK_AGAIN_S)
                        if not ended.done():
                            continue
                found = await ended
                if found is not None:
                    return self._shown(found)
            finally:
                self._completions.drop(run_id, ended)

    async def _is_stuck(self, run: Run) -> bool:
        if run.status is not ProcessStatus.QUEUED or goes_by_itself(run.waiting_for):
            return False
        return not await self._store.is_round_going_on(run.id)

    async def for_event(
        self, event_id: str, *, is_tree: bool, timeout_s: float | None, caller: str | None = None
    ) -> bool:
        """Return when nothing of the event, or of its tree, goes on without a person; True where time was up before.

        Args:
            caller: The run whose step asks.

        Raises:
            EventNotFoundError: No such event.
            WouldDeadlockError: The caller would wait for itself, holds a key that something of the event needs, or has
                the last place.
        """
        await self._refuse_own(caller, event_id, is_tree=is_tree)
        with self.inside(caller):
            return await self._for_event(event_id, is_tree=is_tree, timeout_s=timeout_s, caller=caller)

    async def _for_event(self, event_id: str, *, is_tree: bool, timeout_s: float | None, caller: str | None) -> bool:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    changed = self._completions.watch()
                    try:
                        begun_s = loop.time()
                        if not await self._store.is_going_on(event_id, is_tree=is_tree):
                            return False
                        await self._refuse_kept(caller, event_id, is_tree=is_tree)
                        ended_s = loop.time()
                        await asyncio.wait([changed], timeout=_LOOK_AGAIN_S)
                        await asyncio.sleep(ended_s + max(_LOOK_S, _SHARE * (ended_s - begun_s)) - loop.time())
                    finally:
                        changed.cancel()
        except TimeoutError:
            return await self._store.is_going_on(event_id, is_tree=is_tree)

    @contextmanager
    def inside(self, caller: str | None) -> Iterator[None]:
        """Around waiting that a step of the run ``caller`` may have asked for.

        Raises:
            WouldDeadlockError: Every place would be taken by a step that waits.
        """
        if caller is None or not self._is_active(caller):
            yield
            return
        if len(self._callers.keys() | {caller}) >= self._places():
            raise WouldDeadlockError(
                f"Run {caller} must not wait: it has the last place (max_parallel is {self._places()}), and what it "
                f"waits for needs one. Hand the event in without waiting, or raise max_parallel."
            )
        self._callers[caller] += 1
        try:
            yield
        finally:
            self._callers[caller] -= 1
            if not self._callers[caller]:
                del self._callers[caller]

    async def _refuse_own(self, caller: str | None, event_id: str, *, is_tree: bool) -> None:
        """Refuse to let a step wait for what it belongs to itself, or what waits for it.

        Raises:
            WouldDeadlockError: The caller is a run of the event, or of its tree; or a run of it needs a key that the
                caller's round holds.
        """
        if caller is None or not self._is_active(caller):
            return
        if await self._store.is_of(caller, event_id, is_tree=is_tree):
            raise WouldDeadlockError(
                f"Run {caller} must not wait for event {event_id}, for it is one of its runs itself."
            )
        await self._refuse_kept(caller, event_id, is_tree=is_tree)

    async def _refuse_kept(self, caller: str | None, event_id: str, *, is_tree: bool) -> None:
        """Refuse to let a step wait for what needs a key that it, or its round, holds.

        Raises:
            WouldDeadlockError: It is so.
        """
        if caller is None or not self._is_active(caller):
            return
        waiting = self._callers.keys() | {caller}
        if await self._store.keep_from_starting(waiting, event_id, is_tree=is_tree):
            raise WouldDeadlockError(
                f"Run {caller} must not wait for event {event_id}: something of it needs a key (`concurrency`) that "
                f"{caller} or its round holds until it ends. The event is stored, and starts then; hand it in without "
                f"waiting.",
                eventId=event_id,
            )
