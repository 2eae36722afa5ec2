"""What people decide: the answers to questions, and pauses."""

from collections.abc import Sequence
from typing import Protocol

from flowd.domain.filters import EVERY_RUN, RunFilter
from flowd.domain.pauses import Pause, Paused
from flowd.domain.people import Answer, Person, Resolution
from flowd.domain.questions import Question
from flowd.domain.queue_view import Depth, QueueView, StepQueue
from flowd.domain.run import Run
from flowd.domain.stored import NewEventRuns, Page


class QuestionStore(Protocol):
    """Runs that ask for a person, and what people say to them. A question is answered once: who comes second is told
    who did, and nothing changes."""

    async def resolve(
        self, run_id: str, attempt: int | None, resolution: Resolution, follows: Sequence[NewEventRuns] = ()
    ) -> Run:
        """Let a person's word stand in the place of a run's question. What waited for it goes on, or ends, in the same
        transaction.

        Args:
            attempt: The number of the attempt whose question it is about; None for the last one.
            follows: What its result causes now that it counts, in the same transaction.

        Raises:
            ChainLimitError: It would cause too much; nothing was changed.
            RunNotFoundError: No such run.
            AlreadyAnsweredError: Somebody has answered.
            RunActiveError: It has not ended.
            NotAskingError: It ended otherwise, or another attempt of it asks.
        """
        ...

    async def answer(self, run_id: str, attempt: int | None, answer: Answer) -> Run:
        """Queue a run that asks for another attempt, which is told the answer. Raises as `resolve`."""
        ...

    async def open_questions(self) -> int:
        """How many runs ask."""
        ...

    async def questions(self, where: RunFilter = EVERY_RUN, *, limit: int, cursor: str | None) -> Page[Question]:
        """Runs that ask, in the order of their acceptance; with filters perhaps fewer than ``limit``, see
        `flowd.ports.records.Records.runs`.

        Raises:
            InvalidParamsError: The cursor is none of ours.
        """
        ...


class PauseStore(Protocol):
    """What people hold up, and the queue as they look at it."""

    async def pauses(self) -> list[Pause]:
        """The pauses in force."""
        ...

    async def ending_pauses(self) -> list[Pause]:
        """Pauses that are over, some of whose runs may not have been let go yet. For start-up."""
        ...

    async def begin_pause(self, what: Paused, by: Person, *, at_ms: int) -> Pause:
        """Let nothing of this start that comes to be ready from now on. One that is in force stays as it is."""
        ...

    async def take_back(self, what: Paused, after_seq: int, *, at_ms: int) -> tuple[int, int | None]:
        """Take some of the runs back that a pause in force means and that could start: how many, and where to go on;
        None where all were looked at."""
        ...

    async def end_pause(self, what: Paused) -> bool:
        """Keep nothing for this pause any more. False where it is not in force."""
        ...

    async def let_go(self, what: Paused, after_seq: int, *, at_ms: int) -> tuple[int, int | None]:
        """Let some of the runs go on that a pause which is over has kept: how many, and where to go on; None where none
        is left."""
        ...

    async def queue(self, where: RunFilter = EVERY_RUN, *, limit: int, cursor: str | None) -> QueueView:
        """What is queued, the runs that are ready first, in the order in which they start; with filters perhaps fewer
        than ``limit``, see `flowd.ports.records.Records.runs`.

        Raises:
            InvalidParamsError: The cursor is none of ours.
        """
        ...

    async def step_queues(self) -> list[StepQueue]:
        """How many queued runs hosts have to start, by step, as it was not long ago, see `depths`: those that wait for
        their package and, in a store that hosts share, those that are ready."""
        ...

    async def depths(self) -> list[Depth]:
        """How many queued runs wait for what, as it was not long ago: where so many are queued that counting them takes
        a while, that is not done all the time."""
        ...
