"""What the store remembers, to be looked at or forgotten."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from flowd.domain.definition import Definition
from flowd.domain.filters import EventFilter, RunFilter
from flowd.domain.retention import Cutoff, Rule
from flowd.domain.run import Run
from flowd.domain.stored import Counts, KeptEvents, OldEvents, Output, Page, Pruned, StoredEvent


class Records(Protocol):
    """Events, runs and their output, as they are stored."""

    async def event(self, event_id: str) -> StoredEvent | None:
        """One event."""
        ...

    async def events(self, where: EventFilter, *, limit: int, cursor: str | None) -> Page[StoredEvent]:
        """Events, newest first; with filters perhaps fewer than ``limit``, see `runs`.

        Raises:
            InvalidParamsError: The cursor is none of ours.
        """
        ...

    async def ids(self, of: Literal["run", "event"], prefix: str, *, limit: int) -> list[str]:
        """The first ids of runs or events that begin so, in the order of their characters."""
        ...

    async def run(self, run_id: str) -> Run | None:
        """One run with its attempts."""
        ...

    async def definition(self, run_id: str) -> Definition | None:
        """What the last attempt of a run was made with. None where it has none, and where nobody knows, for the run was
        imported."""
        ...

    async def runs(self, where: RunFilter, *, limit: int, cursor: str | None) -> Page[Run]:
        """Runs without attempts' output, newest first.

        No list takes long, however rare it is what it looks for: one that has looked at some thousand runs ends there,
        with fewer runs than ``limit`` or none, and its cursor goes on. A page without a cursor is the last one.

        Raises:
            InvalidParamsError: The cursor is none of ours.
        """
        ...

    async def output(self, run_id: str, number: int) -> Output | None:
        """The stored output of a finished attempt. None when there is none (yet)."""
        ...

    async def definitions(self) -> list[Definition]:
        """Every definition that an attempt was made with, for start-up."""
        ...

    async def counts(self) -> Counts:
        """How many events, and runs by status."""
        ...


class Upkeep(Protocol):
    """Forgetting, and giving back its room."""

    async def old_events(self, cutoffs: Sequence[Cutoff], *, after_seq: int) -> OldEvents:
        """Which of the next events may go: all their runs have ended beyond the first cutoff that fits them, and ask
        nobody; one without runs goes by the last cutoff, which fits everything. A tree may go once this is true of all
        of it. The newest event and the event of the newest run are kept.

        One call looks at some events only, in the order of their acceptance; ``after_seq`` is below all of them, then
        the ``next_seq`` of the last answer.
        """
        ...

    async def kept_events(self, rules: Sequence[Rule], *, below_seq: int) -> KeptEvents:
        """The next older events as rules count them, of which the last fits everything. One call looks at some events
        only; ``below_seq`` is above all of them, then the ``next_seq`` of the last answer."""
        ...

    async def prune(
        self,
        event_seqs: Sequence[int],
        cutoffs: Sequence[Cutoff],
        *,
        dry_run: bool,
        remove_output: Callable[[str], None],
    ) -> Pruned:
        """Forget those of these events that may go now, in one transaction: with their runs and attempts. The id of an
        event that is forgotten may be used again.

        Args:
            dry_run: Only count.
            remove_output: Called for each attempt that has files, before its id can be given again: within the
                transaction, in another thread.
        """
        ...

    async def give_back(self, *, compact: bool) -> int:
        """Give the disk back the room that forgotten events took; how many bytes that was.

        Args:
            compact: Write the whole database anew. Nothing else is written meanwhile, and it takes as much room again
                for that time. Needed once for one from before it could shrink otherwise.
        """
        ...
