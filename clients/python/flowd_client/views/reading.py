"""Reading members of a JSON object without trusting it: what is missing or of another type is None, never an error."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")
Members = Mapping[str, Any]


@dataclass(frozen=True)
class Page(Sequence[T], Generic[T]):
    """A part of a list, newest first. A sequence of its items.

    Attributes:
        next_cursor: Pass it as ``cursor`` for the next part; None at the end.
        raw: The answer as it came.
    """

    items: tuple[T, ...]
    next_cursor: str | None
    raw: Members

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return self.items[index]


def page(answer: object, key: str, read: Callable[[Any], T]) -> Page[T]:
    """A list answer as a page."""
    source = members(answer)
    return Page(tuple(read(item) for item in items(source, key)), text(source, "nextCursor"), source)


def members(value: object) -> dict[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def inner(value: object, key: str) -> dict[str, Any]:
    """``value[key]`` where an answer wraps its subject, else the value itself."""
    source = members(value)
    wrapped = source.get(key)
    return wrapped if isinstance(wrapped, dict) else source


def items(source: Members, key: str) -> list[dict[str, Any]]:
    """The objects of a list; anything else in it is left out."""
    value = source.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(source: Members, *keys: str) -> str | None:
    """The first of the keys that holds a non-empty string.

    >>> text({"runId": "r", "id": ""}, "id", "runId")
    'r'
    """
    for key in keys:
        value = source.get(key)
        if isinstance(value, str) and value:
            return value
    return None


def texts(source: Members, key: str) -> tuple[str, ...]:
    """The strings of a list."""
    value = source.get(key)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def number(source: Members, key: str) -> int | None:
    """An integer; a float without a fraction counts as one."""
    value = source.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value == value // 1 else None


def flag(source: Members, key: str) -> bool:
    """Whether the member is ``true``."""
    return source.get(key) is True


def instant(source: Members, *keys: str) -> datetime | None:
    """The first of the keys that holds an ISO 8601 instant, as aware UTC.

    >>> instant({"at": "2026-01-02T03:04:05.678Z"}, "at").isoformat()
    '2026-01-02T03:04:05.678000+00:00'
    """
    for key in keys:
        value = source.get(key)
        if isinstance(value, str):
            try:
                parsed = datetime.fromisoformat(value)
            except ValueError:
                continue
            return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    return None


def embedded_json(source: Members, key: str) -> Any:
    """A member that is JSON in a string, parsed; a string that is none stays as it is."""
    value = source.get(key)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
