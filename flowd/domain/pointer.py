"""JSON Pointers (RFC 6901): where in a JSON value something is."""

from collections.abc import Sequence
from typing import Final

MISSING: Final = object()
"""What `find` gives where there is nothing; null is something."""


def parse(text: str) -> tuple[str, ...]:
    """The names and numbers that lead to the place; none for the whole value.

    >>> parse("/payload/a~1b/0"), parse("")
    (('payload', 'a/b', '0'), ())

    Raises:
        ValueError: It is no JSON Pointer; the message is the rest of a sentence that begins with its name.
    """
    if not text:
        return ()
    if not text.startswith("/"):
        raise ValueError('does not begin with "/"')
    tokens = text[1:].split("/")
    for token in tokens:
        if any(rest[:1] not in ("0", "1") for rest in token.split("~")[1:]):
            raise ValueError('has a "~" that is neither "~0" (for "~") nor "~1" (for "/")')
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in tokens)


def find(value: object, tokens: Sequence[str]) -> object:
    """What is at this place, or `MISSING`.

    >>> find({"a": [1, {"b": None}]}, ("a", "1", "b")) is None, find({"a": [1]}, ("a", "01")) is MISSING
    (True, True)
    """
    for token in tokens:
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list) and _is_index(token) and int(token) < len(value):
            value = value[int(token)]
        else:
            return MISSING
    return value


def _is_index(text: str) -> bool:
    # Longer ones are beyond every list, and int() refuses very long ones.
    return text == "0" or (text.isascii() and text.isdigit() and text[0] != "0" and len(text) < 16)
