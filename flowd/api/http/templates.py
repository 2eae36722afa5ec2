"""Renders the templates of a hook: text with ``{/json/pointer}``, ``{header:NAME}`` and ``{body:sha256}`` in it."""

import re
from collections.abc import Callable
from typing import Any

_PLACE = re.compile(r"\{((?:/|header:|body:sha256)[^{}]*)\}")
_NAMED = ("header:", "body:sha256")
_MISSING = object()

BODY_HASH = "body:sha256"
"""What a signature of the body binds, in hex."""

ValueOf = Callable[[str], str | None]
"""The value of ``header:NAME`` or ``body:sha256``; None where there is none."""


class NoValueError(Exception):
    """A template asks for something that the webhook does not have. ``str(error)`` names it."""


def render(template: str, body: Any, value_of: ValueOf, *, takes_empty: bool = True) -> str:
    """The template as text.

    Args:
        takes_empty: Whether a value may be the empty text. What tells one webhook from another may not.

    Raises:
        NoValueError: A pointer or header has no value, or the value is an object or array, or empty against the rule.

    >>> render("rel:{/repo/name}:{/tag}", {"repo": {"name": "a/b"}, "tag": "v1"}, lambda _: None)
    'rel:a/b:v1'
    """

    def text(reference: str) -> str:
        found = _text(reference, lookup(reference, body, value_of))
        if not found and not takes_empty:
            raise NoValueError(f"{reference} (it is empty)")
        return found

    return text(template) if _is_reference(template) else _PLACE.sub(lambda match: text(match[1]), template)


def value(template: str, body: Any, value_of: ValueOf) -> Any:
    """The template's value: a bare pointer keeps the JSON type that it points at, everything else is text.

    >>> value("/a", {"a": [1]}, lambda _: None), value("", 3, lambda _: None)
    ([1], 3)
    """
    if template == "" or _is_reference(template):
        return lookup(template, body, value_of)
    return render(template, body, value_of)


def lookup(reference: str, body: Any, value_of: ValueOf) -> Any:
    """What a bare ``/json/pointer`` (RFC 6901; empty is all of it), ``header:NAME`` or ``body:sha256`` stands for.

    Raises:
        NoValueError: Nothing.

    >>> lookup("/a~1b/1", {"a/b": [1, 2]}, lambda _: None)
    2
    """
    if reference.startswith(_NAMED):
        found: Any = value_of(reference)
        if found is None:
            raise NoValueError(f"the header {reference.removeprefix('header:').strip()}")
        return found
    found = body
    for token in reference.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(key, _MISSING)
        elif isinstance(found, list) and key.isdecimal() and len(key) < 10 and int(key) < len(found):
            found = found[int(key)]
        else:
            found = _MISSING
        if found is _MISSING:
            raise NoValueError(reference)
    return found


def _is_reference(template: str) -> bool:
    return template.startswith(("/", *_NAMED)) and "{" not in template


def _text(reference: str, found: Any) -> str:
    match found:
        case str():
            return found
        case bool():
            return "true" if found else "false"
        case int() | float():
            return str(found)
        case _:
            raise NoValueError(f"{reference} (a text or a number)")
