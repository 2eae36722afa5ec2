"""Sees an event through in an engine of one's own, and answers in the place of a person what steps ask."""

from collections.abc import Collection

from flowd.api import people
from flowd.domain.run import Run
from flowd.engine.engine import Engine

_PAGE = 500
"""Events of a tree that are looked at at once."""


async def see_through(engine: Engine, event_id: str, *, is_tree: bool, approved: Collection[str] = ()) -> list[Run]:
    """The runs of an event, and of all that they cause if that counts, when nothing goes on any more.

    Args:
        approved: Names of steps that count as completed where they ask for a person; what others ask stays open.
    """
    while True:
        await engine.waiters.for_event(event_id, is_tree=is_tree, timeout_s=None)
        runs = await _runs(engine, event_id, is_tree=is_tree)
        asking = [run for run in runs if run.needs_attention and run.step_name in approved]
        if not asking:
            return runs
        for run in asking:
            await engine.questions.resolve(run.id, "completed", by=await people.of_this_process())


async def _runs(engine: Engine, event_id: str, *, is_tree: bool) -> list[Run]:
    runs: list[Run] = []
    cursor: str | None = None
    while True:
        page = await engine.reads.tree(event_id, limit=_PAGE, cursor=cursor)
        runs += [run for event in page.items for run in event.runs if is_tree or event.id == event_id]
        cursor = page.next_cursor
        if cursor is None:
            return runs
