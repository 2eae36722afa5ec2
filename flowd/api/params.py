"""What the parameters of all methods have in common: how they are read, and types that several use."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Literal, TypeVar, get_args, get_origin

import msgspec

from flowd.domain.errors import InvalidParamsError
from flowd.formats import guesses
from flowd_client import wire

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=86_400_000)]
Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
Offset = Annotated[int, msgspec.Meta(ge=0)]
Encoding = Literal["utf-8", "base64"]
Labels = Annotated[list[str], msgspec.Meta(max_length=16)] | None
"""Each is ``name=value``."""
SearchText = Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None
Limit = int | float | str | None
"""A number or a numeric string, as the reference system takes it."""


class Params(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Base of all parameters: by name in camelCase, or by position in the order of the fields."""


P = TypeVar("P", bound=Params)


class NoParams(Params):
    """Nothing."""


def read(kind: type[P], args: Sequence[object], kwargs: Mapping[str, object]) -> P:
    """Parameters by name or by position.

    Raises:
        InvalidParamsError: One is missing, unknown or wrong; the message says which.
    """
    members = dict(kwargs)
    if args:
        names = kind.__struct_encode_fields__
        if len(args) > len(names):
            raise InvalidParamsError(f"Takes at most {len(names)} parameters ({', '.join(names)}), got {len(args)}.")
        members = dict(zip(names, args, strict=False))
    return convert(members, kind)


def convert(members: Mapping[str, object], kind: type[P], *, is_text: bool = False) -> P:
    """Parameters from their members by name; a null counts as absent.

    Args:
        is_text: Numbers and truth values may come as text, as in a URL.

    Raises:
        InvalidParamsError: One is missing, unknown or wrong; the message says which.
    """
    present = {name: value for name, value in members.items() if value is not None}
    try:
        return msgspec.convert(present, kind, strict=not is_text)
    except msgspec.ValidationError as error:
        problem = str(error)
        raise InvalidParamsError(
            f"{problem}.{_allowed(problem, kind)}{_meant(problem, kind)}".replace("`", "'")
        ) from None


def _meant(problem: str, kind: type[Params]) -> str:
    """Which parameter was probably meant by one that there is not."""
    found = re.fullmatch(r"Object contains unknown field `(.*)`", problem, re.DOTALL)
    meant = None if found is None else guesses.near_word(found[1], kind.__struct_encode_fields__)
    return f" Did you mean '{meant}'?" if meant else ""


def _allowed(problem: str, kind: type[Params]) -> str:
    """The values that a parameter may have, where it has another one."""
    if not problem.startswith("Invalid enum value"):
        return ""
    name = problem.rpartition("$.")[2].rstrip("`").partition("[")[0]
    field = next((field for field in msgspec.structs.fields(kind) if field.encode_name == name), None)
    values = [] if field is None else _literals(field.type)
    return f" It may be {', '.join(values)}." if values else ""


def _literals(kind: object) -> list[str]:
    """All text that a type allows by name.

    >>> _literals(list[Literal["b", "a"]] | None)
    ['b', 'a']
    """
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return [part for part in parts if isinstance(part, str)]
    return [text for part in parts for text in _literals(part)]


@cache
def lists(kind: type[Params]) -> frozenset[str]:
    """The parameters that are lists, which a query gives by repeating their names."""
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind) if _has_list(field.type))


def _has_list(kind: object) -> bool:
    """Whether a type may be a list.

    >>> _has_list(list[str] | None), _has_list(str | None)
    (True, False)
    """
    return get_origin(kind) is list or any(map(_has_list, get_args(kind)))


def page_limit(value: Limit) -> int:
    """Missing, 0 or not a number gives the default; everything else is truncated and clamped.

    >>> page_limit(None), page_limit("7"), page_limit(-3), page_limit(10_000), page_limit("x")
    (50, 7, 1, 500, 50)
    """
    try:
        number = int(float(value)) if value is not None else 0
    except (ValueError, OverflowError):
        number = 0
    return min(wire.MAX_LIMIT, max(1, number)) if number else wire.DEFAULT_LIMIT
