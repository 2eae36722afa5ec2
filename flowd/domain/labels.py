"""Labels of runs: values of the event that a step wants its runs to be found by."""

import re
from collections.abc import Mapping
from typing import Final

from flowd.domain import pointer
from flowd.domain.inputs import text_of

MAX_LABELS: Final = 16
"""Of a step. Each is a row for every run of it."""

MAX_VALUE_CHARS: Final = 200
"""Of a label's value; the rest of a longer one is left out, also of one that is looked for."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")

Label = tuple[str, str]
"""Its name and its value."""


def is_name(text: str) -> bool:
    """Whether a label may be called so.

    >>> is_name("repo"), is_name("git.branch-1"), is_name("a=b"), is_name("")
    (True, True, False, False)
    """
    return _NAME.fullmatch(text) is not None


def of_event(asked: Mapping[str, str], event: Mapping[str, object]) -> tuple[Label, ...]:
    """The labels of a run: text, numbers and booleans as they are, all else as JSON. What is null or not there gives
    none.

    Args:
        asked: JSON Pointers into the event, by the names of the labels.
        event: The normalised event.

    >>> of_event({"repo": "/payload/repo", "pr": "/payload/pr", "no": "/no"}, {"payload": {"repo": "a", "pr": 7}})
    (('repo', 'a'), ('pr', '7'))
    """
    found = ((name, pointer.find(event, pointer.parse(place))) for name, place in asked.items())
    return tuple(
        (name, bounded(text_of(value))) for name, value in found if value is not None and value is not pointer.MISSING
    )


def bounded(value: str) -> str:
    """A value as it is stored and looked for."""
    return value[:MAX_VALUE_CHARS]


def read_wanted(text: str) -> Label | None:
    """A label that is looked for, from ``name=value``; None where it is none.

    >>> read_wanted("repo=a=b"), read_wanted("repo="), read_wanted("repo"), read_wanted("=a")
    (('repo', 'a=b'), ('repo', ''), None, None)
    """
    name, equals, value = text.partition("=")
    return (name, bounded(value)) if equals and is_name(name) else None
