"""Questions of runs and the answers to them, as callers see and send them."""

from typing import Annotated, Any, Literal

import msgspec

from flowd.api.json import instant
from flowd.api.params import Identifier, Labels, Limit, Params
from flowd.api.shapes import View
from flowd.api.shapes.runs import RunView, run_view
from flowd.domain import questions
from flowd.domain.people import MAX_NOTE_CHARACTERS
from flowd.domain.questions import Question

AttemptNumber = Annotated[int, msgspec.Meta(ge=1)]


class Attention(Params):
    """Which part of the list; with ``flow``, ``step`` or ``label`` (a list of ``name=value``) only their runs."""

    limit: Limit = None
    cursor: str | None = None
    flow: str | None = None
    step: str | None = None
    label: Labels = None


class ResolveRun(Params):
    """Which run, how it counts from now on, and why. With ``attempt`` only if that is still its last one."""

    run_id: Identifier
    status: Literal["completed", "changed", "failed", "skipped"]
    note: Annotated[str, msgspec.Meta(max_length=MAX_NOTE_CHARACTERS)] | None = None
    attempt: AttemptNumber | None = None


class AnswerRun(Params):
    """Which run, and what its next attempts are told: any JSON value. With ``attempt`` only if that is still its last
    one."""

    run_id: Identifier
    input: Any = None
    attempt: AttemptNumber | None = None


class QuestionView(View):
    """A run that asks. ``waiting`` steps of its flow wait for the answer, or for one that does; ``steps`` names the
    first 20. ``rounds`` of it, or of others, wait for the key that its round holds, counted to 1,000; ``behind`` is
    the ids of the first 20 events of these."""

    run: RunView
    since: str
    waiting: int
    rounds: int = 0
    steps: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    message: str | None = None


class QuestionsView(View):
    """Runs that ask, in the order in which they were accepted. Without ``nextCursor`` there are no more."""

    questions: list[QuestionView]
    next_cursor: str | None = None


def question_view(question: Question) -> QuestionView:
    """A run that asks."""
    return QuestionView(
        run=run_view(question.run),
        since=instant(question.since_ms),
        waiting=question.waiting,
        rounds=question.rounds,
        steps=question.steps,
        behind=question.behind,
        message=questions.message_of(question.run),
    )
