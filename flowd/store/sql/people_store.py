"""The part of `SqlStore` that lists questions and takes what people say to them."""

from collections.abc import Sequence

from flowd.domain.filters import EVERY_RUN, RunFilter
from flowd.domain.people import Answer, Resolution
from flowd.domain.questions import Question
from flowd.domain.run import Run
from flowd.domain.stored import NewEventRuns, Page
from flowd.domain.trees import TreeBounds
from flowd.store.sql import people
from flowd.store.sql.store_part import StorePart


class PeopleStore(StorePart):
    """See `flowd.ports.QuestionStore` for what every method guarantees."""

    _tree_bounds: TreeBounds

    async def resolve(
        self, run_id: str, attempt: int | None, resolution: Resolution, follows: Sequence[NewEventRuns] = ()
    ) -> Run:
        """See `flowd.ports.QuestionStore.resolve`."""
        bounds = self._tree_bounds
        return await self._writer.do(
            lambda db: people.resolve(db, run_id, attempt, resolution, follows=follows, within=bounds)
        )

    async def answer(self, run_id: str, attempt: int | None, answer: Answer) -> Run:
        """See `flowd.ports.QuestionStore.answer`."""
        bounds = self._tree_bounds.queue
        return await self._writer.do(lambda db: people.answer(db, run_id, attempt, answer, within=bounds), adds=True)

    async def questions(self, where: RunFilter = EVERY_RUN, *, limit: int, cursor: str | None) -> Page[Question]:
        """See `flowd.ports.QuestionStore.questions`."""
        return await self._read(lambda db: people.open_questions(db, where, limit=limit, cursor=cursor))

    async def open_questions(self) -> int:
        """See `flowd.ports.QuestionStore.open_questions`."""
        return await self._read(people.count_open)
