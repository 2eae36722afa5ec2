"""Refuses to let steps wait for what can only come after they have ended themselves."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flowd.domain.awaited import Awaited, Waiting, judge
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

    def about_to_wait(self, caller: str | None, awaited: Awaited | None = None) -> Waiting | None:
        """What the store has to know to refuse what a step could not be let wait for; None where no step asks."""
        if (caller := self.step(caller)) is None:
            return None
        others = {one: tuple(those) for one, those in self._waits.items() if self._is_active(one)}
        return Waiting(caller, others, awaited)

    async def refuse(self, caller: str | None, awaited: Awaited) -> None:
        """Refuse to let a step wait for what cannot end before it does.

        Raises:
            WouldDeadlockError: See `flowd.domain.awaited.judge`.
        """
        if (waiting := self.about_to_wait(caller)) is None:
            return
        judging = judge(waiting, awaited)
        try:
            question = next(judging)
            while True:
                question = judging.send(await self._store.held_up(*question))
        except StopIteration as end:
            if end.value is not None:
                raise end.value from None
