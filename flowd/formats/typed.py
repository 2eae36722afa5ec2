"""Reads values from outside into types, and says in a sentence what does not fit. The one owner of `msgspec`."""

import re
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Raw, Struct

__all__ = ["Meta", "Raw", "Struct", "convert", "read_table", "to_json", "types_of"]

T = TypeVar("T")

_MAX_SHOWN_CHARS = 60
_MEMBER = re.compile(r"`\$\.(\w+)|missing required field `(\w+)`")
_UNKNOWN = re.compile(r"unknown field `(.*)`", re.DOTALL)


def to_json(value: object, *, indent: int = 0) -> bytes:
    """A value as JSON in UTF-8: compact, or indented. A `Raw` in it goes in as it is, without being parsed.

    Raises:
        UnicodeEncodeError: It has a text that is not Unicode.
    """
    compact = msgspec.json.encode(value)
    return msgspec.json.format(compact, indent=indent) if indent else compact


def types_of(shape: type[Struct]) -> dict[str, tuple[Any, Any]]:
    """A type and a default for each member of a shape."""
    return {field.name: (field.type, field.default) for field in msgspec.structs.fields(shape)}


def convert(value: object, kind: Any) -> Any:
    """A single value as a type. Text that spells a number is one, as in an environment variable.

    Raises:
        ValueError: It does not fit. The message goes on after the value's name: ``must be …, got …``.
    """
    try:
        return msgspec.convert(_number(value, kind), kind)
    except msgspec.ValidationError:
        raise ValueError(f"must be {_description(kind)}{_got(value)}.") from None


def read_table(members: object, shape: type[T], where: str) -> T:
    """A table as a shape, which is a `Struct`.

    Args:
        where: What the message begins with: the file, and the table in it.

    Raises:
        ValueError: It does not fit. The message says which member, and what it may be.
    """
    try:
        return msgspec.convert(members, shape)
    except msgspec.ValidationError as error:
        raise ValueError(_sentence(str(error), members, shape, where)) from None


def _sentence(error: str, members: object, shape: type, where: str) -> str:
    kinds = {field.name: field.type for field in msgspec.structs.fields(shape)}
    if not isinstance(members, Mapping):
        return f"{where} must be a table."
    if unknown := _UNKNOWN.search(error):
        return f"{where} has no setting {unknown[1]!r}. Known are: {', '.join(sorted(kinds))}."
    found = _MEMBER.search(error)
    if found is None:
        return f"{where}: {error}."
    name = found[1] or found[2]
    kind = kinds[name]
    # Only numbers and choices are shown: somebody may have put a secret where its digest or its file belongs.
    got = _got(members.get(name)) if _base(kind) in (int, bool, Literal) else ""
    return f"{where} {name} must be {_description(kind)}{got}."


def _got(value: object) -> str:
    return "" if value is None else f", got {str(value)[:_MAX_SHOWN_CHARS]!r}"


def _description(kind: Any) -> str:
    """What a type takes: as its `Meta` says, else made of the type.

    >>> _description(Annotated[int, Meta(ge=1, le=9)]), _description(Literal["a", "b"] | None)
    ('a whole number from 1 to 9', 'one of a, b')
    """
    kind = _without_none(kind)
    meta = get_args(kind)[1] if get_origin(kind) is Annotated else Meta()
    if meta.description is not None:
        return str(meta.description)
    base = _base(kind)
    if base is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    names = {bool: "true or false", int: "a whole number", float: "a number"}
    return names.get(base, "a string") + _range(meta.ge, meta.le)


def _range(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "" if low is None else f", {low:.15g} or more"
    return f" from {low:.15g} to {high:.15g}"


def _without_none(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) in (Union, UnionType) else kind


def _base(kind: Any) -> Any:
    """The class behind a type, or `Literal`."""
    kind = _without_none(kind)
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_origin(kind) or kind


def _number(value: object, kind: Any) -> object:
    base = _base(kind)
    if not isinstance(value, str) or base not in (int, float):
        return value
    try:
        return base(value)
    except ValueError:
        return value
