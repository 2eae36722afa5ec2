"""Who said something, in words."""

from collections.abc import Mapping
from typing import Any


def person(by: Mapping[str, Any] | None) -> str:
    """Who it was, from a view's ``by``.

    >>> person({"via": "socket", "uid": 1000, "name": "ada"}), person({"via": "token", "name": "ci"})
    ('ada', 'the token ci')
    >>> person({"via": "signature"}), person({"via": "socket", "uid": 1000})
    ('a signed request', 'user 1000')
    """
    match dict(by or {}):
        case {"via": "token", "name": name}:
            return f"the token {name}"
        case {"via": "signature"}:
            return "a signed request"
        case {"via": "flowd"}:
            return "flowd"
        case {"name": name}:
            return str(name)
        case {"uid": uid}:
            return f"user {uid}"
        case _:
            return "somebody"
