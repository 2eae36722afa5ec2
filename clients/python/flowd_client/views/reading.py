"""Reading records without trusting them: what is missing or of another type gives a default, never an error."""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Generic, TypeVar, get_args, overload

from flowd_client.views.frozen import frozen

T = TypeVar("T")
Members = Mapping[str, Any]


@frozen
class Page(Sequence[T], Generic[T]):
    """A part of a list, newest first. A sequence of its items.

    Attributes:
        next_cursor: Pass it as ``cursor`` for the next part; None at the end.
        raw: The response as it came.
    """

    items: tuple[T, ...]
    next_cursor: str | None
    raw: Members = dataclasses.field(hash=False)

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


def page(response: object, key: str, read_item: Callable[[Any], T]) -> Page[T]:
    """A list's response as a page."""
    source = members(response)
    return Page(tuple(map(read_item, records(source.get(key)))), text(source.get("nextCursor")), source)


def called(*keys: str, default: Any = None) -> dict[str, Any]:
    """Metadata of a field: the members that it is read from, the first that holds something, and its default."""
    return {"keys": keys, "default": default}


def read(view: type[T], source: Members, **given: Any) -> T:
    """A view of a record, each field read as its type wants from the member of its name in camelCase.

    Fields that are ``given`` are not looked for, and ``raw`` is the record itself.

    >>> @frozen
    ... class Step:
    ...     name: str
    ...     timeout_ms: int | None
    >>> read(Step, {"name": "build", "timeoutMs": "soon"})
    Step(name='build', timeout_ms=None)
    """
    kind: Any = view
    values = given | {name: convert(source) for name, convert in _plan(kind) if name not in given}
    if "raw" in values:
        values["raw"] = source
    made = object.__new__(view)
    made.__dict__.update(values)  # as its own `__init__` does, which looks at what it was given first
    return made


@cache
def _plan(view: type) -> tuple[tuple[str, Callable[[Members], Any]], ...]:
    assert dataclasses.is_dataclass(view)
    return tuple((field.name, _reader(field)) for field in dataclasses.fields(view))


def keys_of(field: "dataclasses.Field[Any]") -> tuple[str, ...]:
    """The members that a field is read from."""
    camel = re.sub(r"_(\w)", lambda found: found[1].upper(), field.name)
    return field.metadata.get("keys") or (camel,)


def _reader(field: "dataclasses.Field[Any]") -> Callable[[Members], Any]:
    keys, default = keys_of(field), field.metadata.get("default")
    convert, empty = _CONVERTERS.get(field.type) or (_of_views(field.type), ())
    default = empty if default is None else default

    def read_first(source: Members) -> Any:
        for key in keys:
            if (value := convert(source.get(key))) is not None:
                return value
        return default

    return read_first


def _of_views(kind: Any) -> Callable[[object], Any]:
    """The reader of ``tuple[ItemView, ...]``."""
    return lambda value: tuple(read(get_args(kind)[0], record) for record in records(value))


def members(value: object) -> dict[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def inner(value: object, key: str) -> dict[str, Any]:
    """``value[key]`` where a response wraps its subject, else the value itself."""
    source = members(value)
    wrapped = source.get(key)
    return wrapped if isinstance(wrapped, dict) else source


def records(value: object) -> list[dict[str, Any]]:
    """The objects of a list; anything else in it is left out."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: object) -> str | None:
    """A string that is not empty."""
    return value if isinstance(value, str) and value else None


def texts(value: object) -> tuple[str, ...]:
    """The strings of a list."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def number(value: object) -> int | None:
    """An integer; a float without a fraction counts as one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value == value // 1 else None


def instant(value: object) -> datetime | None:
    """An ISO 8601 instant, as aware UTC.

    >>> instant("2026-01-02T03:04:05.678Z").isoformat()
    '2026-01-02T03:04:05.678000+00:00'
    """
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def embedded_json(value: object) -> Any:
    """JSON in a string, parsed; a string that is none stays as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


_CONVERTERS: dict[object, tuple[Callable[[Any], Any], Any]] = {
    str: (text, ""),
    str | None: (text, None),
    int: (number, 0),
    int | None: (number, None),
    float | None: (lambda value: value if isinstance(value, int | float) else None, None),
    bool: (lambda value: value is True, False),
    datetime | None: (instant, None),
    tuple[str, ...]: (texts, ()),
    Members | None: (lambda value: value if isinstance(value, dict) else None, None),
    Members: (members, {}),
    Any: (lambda value: value, None),
}
"""How a value becomes what a field of this type holds (None: it does not), and what it holds then."""
