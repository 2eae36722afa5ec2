"""Waits for runs, events and trees, as long as something goes on that needs no person."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from flowd.domain.awaited import Awaited, Waiting
from flowd.domain.run import ProcessStatus, Run
from flowd.domain.waiting import goes_by_itself
from flowd.engine.completions import Completions
from flowd.engine.waiting_steps import WaitingSteps
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
        self._steps = WaitingSteps(store, is_active=is_active, places=places)

    def refuse_early(self, caller: str | None) -> None:
        """Refuse before anything is done what a step would not be let wait for afterwards, whatever it is.

        Raises:
            WouldDeadlockError: It has the last place.
        """
        self._steps.refuse_without_place(caller)

    def about_to_wait(self, caller: str | None, *, tree_of: str | None = None) -> Waiting | None:
        """A step that is about to wait for what it has done now, or for the tree of an event; None where no step asks.

        Raises:
            WouldDeadlockError: It has the last place.
        """
        self._steps.refuse_without_place(caller)
        awaited = None if tree_of is None else Awaited(event_id=tree_of, is_tree=True)
        return self._steps.about_to_wait(caller, awaited)

    async def for_run(self, run_id: str, *, timeout_s: float | None, caller: str | None = None) -> Waited:
        """The run when it has ended, when nothing of its round goes on without a person, or after ``timeout_s``.

        Args:
            timeout_s: 0 only looks, which any step may.
            caller: The run whose step asks.

        Raises:
            RunNotFoundError: No such run.
            WouldDeadlockError: The run cannot end before the caller does.
        """
        caller = self._steps.step(caller) if timeout_s != 0 else None
        with self._steps.noted(caller, Awaited(run_id=run_id)):
            if caller is not None:  # told however soon the time is up
                await self._look(run_id, caller)
            try:
                async with asyncio.timeout(timeout_s):
                    return Waited(await self._end_of(run_id, caller), is_late=False)
            except TimeoutError:
                run, is_over = await self._as_it_is(run_id)
                return Waited(run, is_late=not is_over)

    async def _end_of(self, run_id: str, caller: str | None) -> Run:
        while True:
            ended = self._completions.expect(run_id)
            try:
                if caller is not None or not self._completions.is_pending(run_id):
                    run, is_over = await self._look(run_id, caller)
                    if is_over:
                        return run
                    # A pause may come before it, or a key that the caller's round holds, of which nobody is told.
                    if run.status is ProcessStatus.QUEUED or caller is not None:
                        await asyncio.wait([ended], timeout=_LOOK_AGAIN_S)
                        if not ended.done():
                            continue
                found = await ended
                if found is not None:
                    return self._shown(found)
            finally:
                self._completions.drop(run_id, ended)

    async def _look(self, run_id: str, caller: str | None) -> tuple[Run, bool]:
        """The run, and whether nobody need wait for it any more.

        Raises:
            WouldDeadlockError: The caller must not wait for it.
        """
        run, is_over = await self._as_it_is(run_id)
        if is_over:
            return run, True
        await self._steps.refuse(caller, Awaited(run_id=run_id))
        if run.status is ProcessStatus.QUEUED:
            self._steps.refuse_without_place(caller)
        return run, False

    async def _as_it_is(self, run_id: str) -> tuple[Run, bool]:
        """The run, and whether it has ended or nothing of its round goes on without a person."""
        run = await self._read(run_id)
        self._completions.belongs(run)
        if not _is_kept(run):
            return run, run.status.is_final
        if await self._store.is_round_going_on(run_id):
            return run, False
        # Perhaps because it has ended meanwhile: what was read before that is not how it is.
        run = await self._read(run_id)
        return run, run.status.is_final or _is_kept(run)

    async def for_event(
        self, event_id: str, *, is_tree: bool, timeout_s: float | None, caller: str | None = None
    ) -> bool:
        """Return when nothing of the event, or of its tree, goes on without a person; True where time was up before.

        Args:
            caller: The run whose step asks.

        Raises:
            EventNotFoundError: No such event.
            WouldDeadlockError: Something of it cannot end before the caller does, or the caller has the last place.
        """
        with self._steps.noted(caller, Awaited(event_id=event_id, is_tree=is_tree)):
            return await self._for_event(event_id, is_tree=is_tree, timeout_s=timeout_s, caller=caller)

    async def _for_event(self, event_id: str, *, is_tree: bool, timeout_s: float | None, caller: str | None) -> bool:
        loop = asyncio.get_running_loop()
        awaited = Awaited(event_id=event_id, is_tree=is_tree)
        if self._steps.step(caller) is not None:  # told however soon the time is up
            if not await self._store.is_going_on(event_id, is_tree=is_tree):
                return False
            await self._steps.refuse(caller, awaited)
            self._steps.refuse_without_place(caller)
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    changed = self._completions.watch()
                    try:
                        begun_s = loop.time()
                        if not await self._store.is_going_on(event_id, is_tree=is_tree):
                            return False
                        await self._steps.refuse(caller, awaited)
                        ended_s = loop.time()
                        await asyncio.wait([changed], timeout=_LOOK_AGAIN_S)
                        await asyncio.sleep(ended_s + max(_LOOK_S, _SHARE * (ended_s - begun_s)) - loop.time())
                    finally:
                        changed.cancel()
        except TimeoutError:
            return await self._store.is_going_on(event_id, is_tree=is_tree)


def _is_kept(run: Run) -> bool:
    """Whether it does not go on by itself."""
    return run.status is ProcessStatus.QUEUED and not goes_by_itself(run.waiting_for)
