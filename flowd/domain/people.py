"""What people say about runs that ask: how one counts from now on, or what its next attempt is to know."""

import json
from dataclasses import dataclass
from typing import Literal

from flowd.domain.result import FlowResult

MAX_NOTE_CHARACTERS = 10_000
MAX_INPUT_BYTES = 256 * 1024
"""Of an answer as JSON: it is given to each attempt, and shown with the run."""

Via = Literal["socket", "token", "signature", "http", "local", "flowd"]
ResolutionStatus = Literal["completed", "changed", "failed", "skipped", "canceled"]
"""``canceled``: nobody has answered, and the event was canceled, or the round superseded."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who said something, as far as flowd can tell.

    Attributes:
        via: The control ``socket``, whose other end is a user; an HTTP ``token``; an HTTP request's ``signature``;
            ``http``, where nobody has to show anything; a ``local`` client with an engine of its own; or ``flowd``
            itself, for nobody.
        uid: Of the user, where there is one.
        name: The user's, or the token's.
    """

    via: Via
    uid: int | None = None
    name: str | None = None

    def __str__(self) -> str:
        """For sentences.

        >>> str(Person("socket", 1000, "ada")), str(Person("token", name="ci")), str(Person("signature"))
        ('ada', "the token 'ci'", 'a signed request')
        """
        match self.via:
            case "token":
                return f"the token {self.name!r}"
            case "signature":
                return "a signed request"
            case "http":
                return "somebody over HTTP"
            case "flowd":
                return "flowd"
            case _:
                return self.name or ("somebody" if self.uid is None else f"user {self.uid}")


@dataclass(frozen=True, slots=True)
class Resolution:
    """How a person has put the end of a run right."""

    status: ResolutionStatus
    by: Person
    at_ms: int
    note: str | None = None

    def result_of(self, said: FlowResult) -> FlowResult | None:
        """The result that stands from now on: what the step said, with the person's status and note. None where the
        question was only closed.

        >>> said = FlowResult("blocked", '{"status":"blocked","message":"Publish?","n":1}')
        >>> Resolution("completed", Person("socket"), 0, "go").result_of(said).text
        '{"status":"completed","message":"go","n":1}'
        """
        if self.status == "canceled":
            return None
        members = {**said.value, "status": self.status}
        if self.note is not None:
            members["message"] = self.note
        return FlowResult(self.status, json.dumps(members, ensure_ascii=False, separators=(",", ":")))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person gave a run for its next attempts.

    Attributes:
        input_json: Any JSON value; None where there is nothing but the wish that it goes on.
    """

    by: Person
    at_ms: int
    input_json: str | None = None
