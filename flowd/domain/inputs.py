"""What a step is given of its event, of what it needs, and of secrets: as variables and as arguments. No I/O."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from flowd.domain import pointer


class MissingInputError(Exception):
    """What an input points at is not there, and it has no default. The message is a sentence without its full stop."""


@dataclass(frozen=True, slots=True)
class Input:
    """A value that is looked up when an attempt starts. Either ``secret`` or ``pointer`` is set.

    Attributes:
        pointer: A JSON Pointer into the event, or into the result of what `need` names.
        need: A step of the same flow that this one needs.
        default: What it is where there is nothing at that place; None where that is an error.
        secret: The name of a secret of the settings.
    """

    pointer: str | None = None
    need: str | None = None
    default: str | None = None
    secret: str | None = None


MAX_ARGS: Final = 1_000


def text_of(value: object) -> str:
    """A JSON value as a variable or an argument has it: text, numbers and booleans as they are, all else as JSON.

    >>> text_of("a b"), text_of(1.5), text_of(True), text_of([1, None])
    ('a b', '1.5', 'true', '[1,null]')
    """
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def look_up(asked: Input, event: object, results: Mapping[str, object]) -> str:
    """The value of an input that is no secret.

    Args:
        event: As JSON values.
        results: Those of the steps that this one needs, by step.

    Raises:
        MissingInputError: There is nothing at its place, and it has no default.
    """
    assert asked.pointer is not None
    where = event if asked.need is None else results.get(asked.need, pointer.MISSING)
    found = pointer.find(where, pointer.parse(asked.pointer))
    if found is not pointer.MISSING:
        return text_of(found)
    if asked.default is not None:
        return asked.default
    of_what = "the event" if asked.need is None else f"the result of {asked.need}"
    raise MissingInputError(f"{of_what} has nothing at {asked.pointer!r}, and there is no default")
