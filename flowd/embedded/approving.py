"""Sees an event through in an engine of one's own, and answers in the place of a person what steps ask."""

from collections.abc import Collection, Iterable

from flowd.api import people
from flowd.domain.errors import StepNotFoundError
from flowd.domain.flow import Flow
from flowd.domain.run import Run
from flowd.engine.engine import Engine
from flowd.formats.guesses import near_word

_PAGE = 500
"""Events of a tree that are looked at at once."""

_MAX_NAMES = 20
"""Of steps, in a sentence."""


def require_steps(approved: Iterable[str], flows: Iterable[Flow]) -> None:
    """Refuse to approve what is no step: it would be as if nobody had approved anything.

    Raises:
        StepNotFoundError: One of the names is none of a step of these flows.
    """
    known = list(dict.fromkeys(step.name for flow in flows for step in flow.steps))
    for name in approved:
        if name not in known:
            guess = near_word(name.rpartition("/")[2], known)
            meant = f" Did you mean {guess!r}?" if guess else ""
            names = ", ".join(known[:_MAX_NAMES]) or "none"
            more = f" and {len(known) - _MAX_NAMES} more" if len(known) > _MAX_NAMES else ""
            raise StepNotFoundError(f"No step to approve is called {name!r}.{meant} The steps are: {names}{more}.")


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
