"""Refuses to let steps wait for what can only come after they have ended themselves."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from flowd.domain.awaited import Awaited, HeldUp
from flowd.domain.errors import WouldDeadlockError
from flowd.ports import TreeStore


class WaitingSteps:
    """The runs whose steps wait now, and for what. A caller that is not under way here is no step, and may wait."""

    def __init__(self, store: TreeStore, *, is_active: Callable[[str], bool], places: Callable[[], int]) -> None:
        """``is_active`` tells whether a run of this id is under way here, ``places`` how many may be."""
        self._store = store
        self._is_active = is_active
        self._places = places
        self._waits: dict[str, list[Awaited]] = {}

    def step(self, caller: str | None) -> str | None:
        """The caller, where it is a run that is under way here."""
        return caller if caller is not None and self._is_active(caller) else None

    @contextmanager
    def noted(self, caller: str | None, awaited: Awaited) -> Iterator[None]:
        """Around the waiting of a step, which others that want to wait have to know of."""
        if (caller := self.step(caller)) is None:
            yield
            return
        self._waits.setdefault(caller, []).append(awaited)
        try:
            yield
        finally:
            self._waits[caller].remove(awaited)
            if not self._waits[caller]:
                del self._waits[caller]

    def refuse_without_place(self, caller: str | None) -> None:
        """Refuse to let a step wait for what needs a place, where all would be taken by steps that wait.

        Raises:
            WouldDeadlockError: It is so.
        """
        if (caller := self.step(caller)) is not None and len(self._waits.keys() | {caller}) >= self._places():
            raise WouldDeadlockError(
                f"Run {caller} must not wait: it has the last place (max_parallel is {self._places()}), and what it "
                f"waits for needs one. Do not wait for it, or raise max_parallel."
            )

    async def refuse(self, caller: str | None, awaited: Awaited) -> None:
        """Refuse to let a step wait for what cannot end before it does.

        Raises:
            WouldDeadlockError: It, or another step that waits for its end, is a part of what it waits for, or something
                of that needs it, or takes a key that it or its round holds.
        """
        if (caller := self.step(caller)) is None:
            return
        waits = {one: tuple(those) for one, those in self._waits.items() if self._is_active(one)}
        waits[caller] = (*waits.get(caller, ()), awaited)
        if await self._store.held_up(waits.keys(), awaited) is None:
            return
        stuck = await self._stuck(waits)
        held = await self._store.held_up(stuck, awaited) if caller in stuck else None
        if held is not None:
            raise _refusal(caller, awaited, held, is_alone=len(stuck) == 1)

    async def _stuck(self, waits: dict[str, tuple[Awaited, ...]]) -> Collection[str]:
        """Those of the steps that wait for each other: what remains without all whose waiting can end."""
        stuck = set(waits)
        while True:
            free = {one for one in stuck if not await self._is_held_up(stuck, waits[one])}
            if not free:
                return stuck
            stuck -= free

    async def _is_held_up(self, stuck: Collection[str], those: tuple[Awaited, ...]) -> bool:
        for awaited in those:
            if await self._store.held_up(stuck, awaited) is not None:
                return True
        return False


def _refusal(caller: str, awaited: Awaited, held: HeldUp, *, is_alone: bool) -> WouldDeadlockError:
    if held.by is None:
        holder = f"{caller} or its round holds until it ends" if is_alone else "steps hold that wait for each other"
        why = (
            f"{'it' if awaited.run_id else 'something of it'} needs a key (`concurrency`) that {holder}. It is stored, "
            f"and starts then; do not wait for it"
        )
    elif held.by != caller:
        why = f"that ends only after {held.by}, whose step waits for {caller} to end"
    elif not held.is_part:
        why = f"that ends only after {caller} has ended"
    elif awaited.run_id is None:
        why = "for it is one of its runs itself"
    else:
        return WouldDeadlockError(f"Run {caller} must not wait for its own end.", runId=caller)
    data = {"eventId": awaited.event_id} if awaited.run_id is None else {"runId": awaited.run_id}
    mark = "," if why.startswith("for ") else ":"
    return WouldDeadlockError(f"Run {caller} must not wait for {awaited}{mark} {why}.", **data)
