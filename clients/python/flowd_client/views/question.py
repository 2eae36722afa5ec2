"""A run that asks for a person, as a client sees it."""

from dataclasses import field
from datetime import datetime

from flowd_client.views.frozen import frozen
from flowd_client.views.reading import Members, Page, called, members, page, read
from flowd_client.views.run import RunView, read_run


@frozen
class QuestionView:
    """A run that asks for a person.

    Attributes:
        message: What it asks; None where its result says nothing.
        since: When it ended with that.
        waiting: How many steps of its flow wait for the answer, or for one that does.
        steps: Their names: the first 20.
        rounds: How many rounds wait for the key that its round holds, counted to 1,000.
        behind: The ids of the first 20 events of these, in the order in which they get it.
        raw: The record as it came.
    """

    run: RunView
    message: str | None
    since: datetime | None
    waiting: int
    steps: tuple[str, ...]
    rounds: int = field(metadata=called("rounds", default=0))
    behind: tuple[str, ...]
    raw: Members = field(repr=False, compare=False)


def read_question(value: object) -> QuestionView:
    """A question from its record."""
    source = members(value)
    return read(QuestionView, source, run=read_run(source.get("run")))


def read_questions(response: object) -> Page[QuestionView]:
    """A list's response."""
    return page(response, "questions", read_question)
