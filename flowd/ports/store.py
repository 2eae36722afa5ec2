"""A store as a whole."""

from collections.abc import Callable
from typing import Protocol

from flowd.domain.queueing import SideEffects
from flowd.domain.tallies import StoreTallies
from flowd.ports.journal import Journal, Nonces
from flowd.ports.notices import NoticeStore
from flowd.ports.output_shelf import OutputShelf
from flowd.ports.people import PauseStore, QuestionStore
from flowd.ports.queue import Queue
from flowd.ports.records import Records, Upkeep
from flowd.ports.schedules import ScheduleStore
from flowd.ports.trees import TreeStore


class Store(Queue, Records, Upkeep, Protocol):
    """Durable memory: what the engine itself needs of a store."""


class OpenStore(Store, TreeStore, QuestionStore, PauseStore, ScheduleStore, Journal, Nonces, NoticeStore, Protocol):
    """A store with a life of its own: all that one adapter of a database offers."""

    @property
    def tallies(self) -> StoreTallies:
        """What was counted since it was opened."""
        ...

    @property
    def reconnects(self) -> int | None:
        """How often a connection to the database was lost and made anew; None where there is none to lose."""
        ...

    @property
    def output_shelf(self) -> OutputShelf | None:
        """Where output of steps goes that other hosts may read; None where there are no others."""
        ...

    def tell_commits(self, listener: Callable[[], None]) -> None:
        """Call this after each commit, in the loop."""
        ...

    def tell_side_effects(self, listener: Callable[[SideEffects], None]) -> None:
        """Call this, in the loop, with what a commit did beside what was asked for: after those who asked have gone on,
        and before anybody hears of a later commit."""
        ...

    async def close(self) -> None:
        """Finish the writes under way and let go of the database."""
        ...
