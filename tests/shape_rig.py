"""Files with one member of their shape after the other, right and wrong: what a schema and a reader must agree on."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union

from flowd.formats.typed import Field, Kind, Struct, fields_of, kind_of

FILE = Path("/w/.codex/flowd.toml")


class Case(NamedTuple):
    """A file, and whether what it says of one member is right."""

    where: str
    members: dict[str, Any]
    is_right: bool


def cases(whole: type[Struct]) -> Iterator[Case]:
    """One file for each value that a member may have, and may not."""
    yield from _of_table(whole, "", lambda members: members)


def example(field: Field) -> Any:
    """A right value of a member."""
    kind = field.kind
    if kind.table is not None:
        return minimal(kind.table)
    if kind.tables_by_name is not None:
        return {"a": minimal(kind.tables_by_name)}
    if kind.tables_in_list is not None:
        return [minimal(kind.tables_in_list)]
    return tomllib.loads(f"it = {field.about.example}")["it"] if field.about.example else _plain(kind)


def minimal(shape: type[Struct]) -> dict[str, Any]:
    """A table with what it has to have, and no more."""
    fields = fields_of(shape)
    needed = [name for name, field in fields.items() if field.is_required]
    needed += [*getattr(shape, "ONE_OF", ())[:1], *getattr(shape, "ANY_OF", ())[:1]]
    return {name: example(fields[name]) for name in needed}


def _of_table(shape: type[Struct], where: str, wrap: Any) -> Iterator[Case]:
    yield Case(f"{where}: as little as can be", wrap(minimal(shape)), is_right=True)
    yield Case(f"{where}: unknown", wrap({**minimal(shape), "not_a_key": 1}), is_right=False)
    fields = fields_of(shape)
    one_of, any_of = getattr(shape, "ONE_OF", ()), getattr(shape, "ANY_OF", ())
    for name in [name for name in minimal(shape) if fields[name].is_required or name in (*one_of, *any_of)]:
        lacking = {key: value for key, value in minimal(shape).items() if key != name}
        yield Case(f"{where}: without {name}", wrap(lacking), is_right=False)
    if one_of:
        both = {name: example(fields[name]) for name in one_of[:2]}
        yield Case(f"{where}: with {' and '.join(both)}", wrap(both), is_right=False)
    for field in fields_of(shape).values():
        yield from _of_member(shape, field, where, wrap)


def _of_member(shape: type[Struct], field: Field, where: str, wrap: Any) -> Iterator[Case]:
    def put(value: Any) -> Any:
        ways = getattr(shape, "ONE_OF", ())
        others = {key: it for key, it in minimal(shape).items() if field.name not in ways or key not in ways}
        return wrap({**others, field.name: value})

    kind, here = field.kind, f"{where}.{field.name}"
    yield Case(f"{here} = its example", put(example(field)), is_right=True)
    for value in _right(kind):
        yield Case(f"{here} = {value!r}", put(value), is_right=True)
    for value in _wrong(kind):
        yield Case(f"{here} = {value!r}", put(value), is_right=False)
    if kind.table is not None:
        yield from _of_table(kind.table, here, put)
    elif kind.tables_by_name is not None:
        yield from _of_table(kind.tables_by_name, f"{here}.a", lambda members: put({"a": members}))
    elif kind.tables_in_list is not None:
        yield from _of_table(kind.tables_in_list, f"{here}[0]", lambda members: put([members]))
    elif kind.base in (list, tuple, dict, Union):
        yield from _of_parts(kind, here, put)


def _of_parts(kind: Kind, here: str, put: Any) -> Iterator[Case]:
    """What a list, a table of any names, or one of several types holds."""
    for inner in map(
        kind_of, kind.args if kind.base is Union else kind.args[-1:] if kind.base is dict else kind.args[:1]
    ):
        wrapped = put if kind.base is Union else _in_dict(put) if kind.base is dict else _in_list(put)
        if kind.base is not Union:
            for value in _wrong(inner):
                yield Case(f"{here}: {value!r}", wrapped(value), is_right=False)
        if inner.table is not None:
            yield from _of_table(inner.table, here, wrapped)
        elif inner.base in (list, tuple, dict, Union):
            yield from _of_parts(inner, here, wrapped)


def _in_list(put: Any) -> Any:
    return lambda value: put([value])


def _in_dict(put: Any) -> Any:
    return lambda value: put({"a": value})


def _right(kind: Kind) -> list[Any]:
    if kind.base is Literal:
        return list(kind.args)
    if kind.base is bool:
        return [True, False]
    if kind.base in (int, float):
        return [value for value in (kind.meta.ge, kind.meta.le) if value is not None]
    return []


def _wrong(kind: Kind) -> list[Any]:
    if kind.base is Literal:
        return ["no such word", 5]
    if kind.base is bool:
        return ["true", 1]
    if kind.base in (int, float):
        low = [kind.meta.ge - 1] if kind.meta.ge is not None else [0] if kind.meta.gt is not None else []
        return ["soon", True, [], *low, *([] if kind.meta.le is None else [kind.meta.le + 1])]
    if kind.base is str:
        return [
            5,
            [],
            *(["\0 \n/", *_behind(str(kind.meta.pattern))] if kind.meta.pattern else []),
            *([""] if kind.meta.min_length else []),
        ]
    if kind.base in (list, tuple):
        many = ["a"] * (int(kind.meta.max_length) + 1) if kind.meta.max_length else None
        return ["x", 5, *([[]] if kind.meta.min_length else []), *([many] if many else [])]
    if kind.base is dict or kind.table is not None:
        is_named = bool(kind.args) and kind_of(kind.args[0]).meta.pattern is not None
        return ["x", 5, [], *([{"=": "a"}] if is_named else [])]
    if kind.base is Union:
        bases = {inner.base for inner in map(kind_of, kind.args)}
        return [value for value in (5, True, [], 1.5, {"not_a_key": []}) if not _is_one_of(value, bases)]
    return []


def _is_one_of(value: Any, bases: set[Any]) -> bool:
    return type(value) in bases or (isinstance(value, list) and tuple in bases)


def _behind(pattern: str) -> list[str]:
    """What Python takes for a text that a pattern fits, and nobody else: with a line end behind it."""
    texts = [text for text in ("90d", "5GB", "auto", "a" * 64, "/flowd", "0027") if re.fullmatch(pattern, text)]
    return [f"{text}\n" for text in texts if not re.fullmatch(pattern, f"{text}\n")]


def _plain(kind: Kind) -> Any:
    if kind.base is Literal:
        return kind.args[0]
    if kind.base in (int, float):
        return kind.meta.ge or 1
    return {bool: True, dict: {}, list: [], tuple: []}.get(kind.base, "a")
