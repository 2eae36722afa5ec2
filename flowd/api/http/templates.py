"""Renders the templates of a hook: literal text with ``{/json/pointer}`` and ``{header:NAME}`` in it."""

import re
from collections.abc import Callable
from typing import Any

_PLACE = re.compile(r"\{((?:/|header:)[^{}]*)\}")
_MISSING = object()

HeaderOf = Callable[[str], str | None]


class NoValueError(Exception):
    """A template asks for something that the webhook does not have. ``str(error)`` names it."""


def render(template: str, body: Any, header_of: HeaderOf, *, takes_empty: bool = True) -> str:
    """The template as text.

    Args:
        takes_empty: Whether a value may be the empty text. What tells one webhook from another may not.

    Raises:
        NoValueError: A pointer or header has no value, or the value is an object or array, or empty against the rule.

    >>> render("rel:{/repo/name}:{/tag}", {"repo": {"name": "a/b"}, "tag": "v1"}, lambda _: None)
    'rel:a/b:v1'
    """

    def text(reference: str) -> str:
        found = _text(reference, lookup(reference, body, header_of))
        if not found and not takes_empty:
            raise NoValueError(f"{reference} (it is empty)")
        return found

    return text(template) if _is_reference(template) else _PLACE.sub(lambda match: text(match[1]), template)


def value(template: str, body: Any, header_of: HeaderOf) -> Any:
    """The template's value: a bare pointer keeps the JSON type that it points at, everything else is text.

    >>> value("/a", {"a": [1]}, lambda _: None), value("", 3, lambda _: None)
    ([1], 3)
    """
    if template == "" or _is_reference(template):
        return lookup(template, body, header_of)
    return render(template, body, header_of)


def lookup(reference: str, body: Any, header_of: HeaderOf) -> Any:
    """What a bare ``/json/pointer`` (RFC 6901; empty is all of it) or ``header:NAME`` stands for.

    Raises:
        NoValueError: Nothing.

    >>> lookup("/a~1b/1", {"a/b": [1, 2]}, lambda _: None)
    2
    """
    if reference.startswith("header:"):
        found: Any = header_of(reference.removeprefix("header:").strip())
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
    return template.startswith(("/", "header:")) and "{" not in template


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
