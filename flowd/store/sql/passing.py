"""What a gate decides about a run, and what else changes with that."""

from enum import Enum
from typing import Literal, NamedTuple

Name = Literal["needs", "person", "time", "pause", "key"]


class Passing(Enum):
    """What became of a run that came to a gate."""

    FREE = "free"
    """The gate lets it go on."""

    KEPT = "kept"
    """Its row says now what it waits for."""

    ENDED = "ended"
    """It was ended unstarted, in its row and the journal."""


class Freed(NamedTuple):
    """A queued run that goes on behind a gate; None is from the beginning."""

    run_seq: int
    event_seq: int
    behind: Name | None = None


class Ended(NamedTuple):
    """A run that was ended unstarted, in its row and the journal, and whose end has consequences yet."""

    run_seq: int


class Resolved(NamedTuple):
    """A run that had ended with a question, and asks nothing any more."""

    run_seq: int


Change = Freed | Ended | Resolved
"""Of a run, with consequences that are yet to be seen to."""


class Passed(NamedTuple):
    """What became of a run that came to a gate, and of others by that."""

    passing: Passing
    others: tuple[Change, ...] = ()
