"""An event and what its runs caused."""

from collections.abc import Collection
from typing import Protocol

from flowd.domain.awaited import Awaited, HeldUp
from flowd.domain.people import Person
from flowd.domain.run import Run
from flowd.domain.stored import EventState, Page, TreeEvent
from flowd.domain.trees import CalledOff


class TreeStore(Protocol):
    """What is asked of a store about an event alone, or, with ``is_tree``, about it and all below it in its tree: what
    its runs caused, theirs, and so on. Each method raises `EventNotFoundError` where there is no such event."""

    async def call_off(self, event_id: str, by: Person, *, is_tree: bool, at_ms: int) -> CalledOff:
        """Note that it is canceled, in one transaction: of all runs that there are by then, those that are queued do
        not start any more, those that run cause nothing more, and are to be ended, by the next daemon, too; nobody is
        asked anything any more, not by those that end with a question from now on either. A step with ``when =
        "finally"`` runs all the same, until this is asked a second time. What people retry or replay afterwards is not
        meant."""
        ...

    async def end_called_off(self, *, at_ms: int) -> list[Run]:
        """Queued → canceled for at most 500 runs that were called off, of whatever event, the oldest first, and the
        questions of those that ask are closed. These runs as they are then; empty when none is left."""
        ...

    async def running_of(self, event_id: str, *, is_tree: bool) -> list[str]:
        """The running runs that a cancel of it means."""
        ...

    async def tree(
        self, event_id: str, *, limit: int, cursor: str | None, max_runs: int | None = None
    ) -> Page[TreeEvent]:
        """The event and all below it, oldest first: every event after the one whose run caused it.

        With ``max_runs`` a page has at most so many runs: of a single event that has more, the newest.

        Raises:
            InvalidParamsError: The cursor is none of ours.
        """
        ...

    async def is_going_on(self, event_id: str, *, is_tree: bool) -> bool:
        """Whether any run has not ended and goes on without a person."""
        ...

    async def is_round_going_on(self, run_id: str) -> bool:
        """Whether any run of this one's round has not ended and goes on without a person."""
        ...

    async def held_up(self, run_ids: Collection[str], awaited: Awaited) -> HeldUp | None:
        """Why something cannot end before one of these runs does; None where it can, and where it is not there or has
        ended. It cannot where the run is a part of it, where something of it needs the run, or where the runs, or their
        rounds, hold all of a key that it takes. That counts, too, for the round that holds the only key for which
        something of it waits."""
        ...

    async def event_state(self, event_id: str, *, is_tree: bool, limit: int) -> EventState:
        """How its runs are; of those that have not ended or ask a person, at most ``limit``."""
        ...
