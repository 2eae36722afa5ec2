"""Who said something of a run, and what, as callers see it."""

from typing import Any

import msgspec

from flowd.api.json import instant
from flowd.api.shapes import View
from flowd.domain.people import Answer, Person, Resolution, ResolutionStatus, Via


class PersonView(View):
    """Who it was, as far as the daemon can tell: a user at the control socket, or the name of an HTTP token. ``flowd``
    is nobody, but the daemon itself."""

    via: Via
    uid: int | None = None
    name: str | None = None


class ResolutionView(View):
    """How a person has put the end of a run right. ``canceled``: nobody has answered, and the event was canceled, or
    the round superseded."""

    status: ResolutionStatus
    by: PersonView
    at: str
    note: str | None = None


class AnswerView(View):
    """What a person gave a run for its next attempts. ``input`` is any JSON value."""

    by: PersonView
    at: str
    input: Any = msgspec.UNSET


def person_view(person: Person) -> PersonView:
    """Who it was."""
    return PersonView(via=person.via, uid=person.uid, name=person.name)


def resolution_view(said: Resolution | None) -> ResolutionView | None:
    """A resolution, if there is one."""
    if said is None:
        return None
    return ResolutionView(status=said.status, by=person_view(said.by), at=instant(said.at_ms), note=said.note)


def answer_view(said: Answer | None) -> AnswerView | None:
    """An answer, if there is one."""
    if said is None:
        return None
    given: Any = msgspec.UNSET if said.input_json is None else msgspec.Raw(said.input_json.encode())
    return AnswerView(by=person_view(said.by), at=instant(said.at_ms), input=given)
