"""Checks the members of a table against its shape, and tells all that does not fit."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple, Protocol, TypeGuard, runtime_checkable

from flowd.formats import guesses
from flowd.formats.guesses import near_word
from flowd.formats.typed import Field, Kind, Problem, Struct, convert, expected, fields_of, got, kind_of, read

_SHOWN = (bool, int, float, Literal)
"""Types whose values a message may show: somebody may have put a secret where its digest or its file belongs."""


_MAX_OF_EXAMPLES_UNIT = 1_000


class Misfit(NamedTuple):
    """Something that does not fit.

    Attributes:
        place: From the outermost table on.
        is_key: The key is what is wrong, and not its value.
        message: One sentence without a full stop.
        suggestion: The word that was probably meant.
    """

    place: tuple[str | int, ...]
    code: str
    message: str
    remedy: str | None = None
    suggestion: str | None = None
    is_key: bool = False


@runtime_checkable
class Ruled(Protocol):
    """A table with rules between its members.

    ``REFUSED`` may say of names why they are none of its members; ``LEADS`` of names that people know from elsewhere
    which member they mean, or in a sentence where it is.
    """

    def problems(self) -> Iterable[Problem]:
        """What is wrong with it. `Problem.place` is a member's name."""
        ...


def misfits(members: object, shape: type[Struct]) -> Iterator[Misfit]:
    """All that does not fit in a file, whose outermost table has this shape."""
    yield from _Walk(shape).table(members, shape, "", ())


class _Walk:
    def __init__(self, whole: type[Struct]) -> None:
        self._whole = whole

    def table(self, members: object, shape: type[Struct], label: str, place: tuple[str | int, ...]) -> Iterator[Misfit]:
        if not isinstance(members, Mapping):
            yield Misfit(place, "wrong-type", f"{label} must be a table")
            return
        fields = fields_of(shape)
        found = [it for name, value in members.items() for it in self._member(name, value, shape, label, place)]
        for field in fields.values():
            if field.is_required and field.name not in members:
                message = f"{_named(label, field.name)} must be {expected(field.type)}"
                found.append(Misfit(place, "missing-key", message, f"Add {field.name} = {_example(field)}."))
        yield from found
        if not found:
            table = read(members, shape)
            yield from _ruled(table.problems() if isinstance(table, Ruled) else (), label, place, is_table=True)

    def _member(
        self, name: str, value: object, shape: type[Struct], label: str, place: tuple[str | int, ...]
    ) -> Iterator[Misfit]:
        field = fields_of(shape).get(name)
        if field is None:
            yield self._unknown(name, shape, label, (*place, name))
            return
        found = list(self._value(value, field, label, (*place, name)))
        yield from found
        if not found:
            rules = (problem for rule in field.kind.rules for problem in rule.check(value))
            called = f"[[{name}]]" if field.kind.tables_in_list else _named(label, name)
            yield from _ruled(rules, called, (*place, name), is_table=False)

    def _unknown(self, name: str, shape: type[Struct], label: str, place: tuple[str | int, ...]) -> Misfit:
        refused: Mapping[str, str] = getattr(shape, "REFUSED", {})
        if name in refused:
            return Misfit(place, "invalid-value", f"{_named(label, name)}: {refused[name]}", is_key=True)
        fields = fields_of(shape)
        lead: str | None = getattr(shape, "LEADS", {}).get(name.lower().replace("-", "_"))
        suggestion = lead if lead in fields else None if lead else near_word(name, fields)
        home = None if suggestion else lead or _home(name, self._whole)
        remedy = home or (None if suggestion else f"Known are: {', '.join(sorted(fields))}.")
        message = f"{label or 'flowd'} has no setting {name[:60]!r}"
        return Misfit(place, "unknown-key", message, remedy, suggestion, is_key=True)

    def _value(self, value: object, field: Field, label: str, place: tuple[str | int, ...]) -> Iterator[Misfit]:
        kind, name = field.kind, field.name
        below = ".".join((*_parts(label), name))
        if kind.table is not None:
            yield from self.table(value, kind.table, f"[{below}]", place)
        elif kind.tables_by_name is not None and isinstance(value, Mapping):
            for key, table in value.items():
                yield from self.table(table, kind.tables_by_name, f"[{below}.{key}]", (*place, key))
        elif kind.tables_in_list is not None and isinstance(value, list):
            for number, table in enumerate(value):
                which = f" {number + 1}" if len(value) > 1 else ""
                yield from self.table(table, kind.tables_in_list, f"[[{below}]]{which}", (*place, number))
        else:
            yield from _simple(value, field, label, place)


def _simple(value: object, field: Field, label: str, place: tuple[str | int, ...]) -> Iterator[Misfit]:
    kind = field.kind
    if _fits(value, field):
        return
    is_wrong, wanted = f"{_named(label, field.name)} must be {expected(field.type)}", kind
    items = list(_wrong_items(value, kind))
    if items:
        wanted = kind_of(kind.args[0])
    for below, wrong in items or [((), value)]:
        choices = wanted.args if wanted.base is Literal else ()
        suggestion = near_word(wrong, choices) if choices and isinstance(wrong, str) else _meant_number(wrong, field)
        remedy = None if items else _with_unit(wrong, field)
        code = "unknown-value" if choices else "wrong-type"
        shown = got(wrong) if wanted.base in _SHOWN else ""
        yield Misfit((*place, *below), code, f"{is_wrong}{shown}", remedy, suggestion)


def _fits(value: object, field: Field) -> bool:
    kind = field.kind
    if kind.tables_by_name is not None or kind.tables_in_list is not None:
        return False  # what these may be was looked at before
    try:
        convert(value, field.type)
    except ValueError:
        return False
    # The "$" of a pattern fits before a line end, too, but not in other languages.
    return kind.meta.pattern is None or not isinstance(value, str) or bool(re.fullmatch(kind.meta.pattern, value))


def _wrong_items(value: object, kind: Kind) -> Iterator[tuple[tuple[int, ...], object]]:
    """What does not fit in a list, each with its place there."""
    if kind.base not in (list, tuple) or not isinstance(value, list):
        return
    for index, item in enumerate(value):
        try:
            convert(item, kind.args[0])
        except ValueError:
            yield (index,), item


def _meant_number(value: object, field: Field) -> str | None:
    """The number of a text with a unit, where it fits."""
    if field.kind.base not in (int, float) or not isinstance(value, str):
        return None
    meant = guesses.number(value, field.name)
    try:
        convert(meant, field.type)
    except ValueError:
        return None
    return str(meant)


def _with_unit(value: object, field: Field) -> str | None:
    """How a bare number is written of a setting that has a unit: with that of its example.

    Nobody means thousands of days, or of gigabytes: such a number is of a smaller unit.
    """
    example = field.about.example
    if type(value) is not int or value > _MAX_OF_EXAMPLES_UNIT or example is None:
        return None
    meant, found = re.subn(r"^\"\d+", f'"{value}', example)
    return f"Write {field.name} = {meant}." if found and _fits(meant.strip('"'), field) else None


def _ruled(
    problems: Iterable[Problem], label: str, place: tuple[str | int, ...], *, is_table: bool
) -> Iterator[Misfit]:
    for problem in problems:
        text = problem.text if problem.text.startswith(":") else f" {problem.text}"
        which = f" {problem.place[0] + 1}" if label.startswith("[[") and _is_index(problem.place) else ""
        is_key = is_table and not problem.place
        yield Misfit(
            (*place, *problem.place), "invalid-value", f"{label}{which}{text}".strip(), problem.remedy, is_key=is_key
        )


def _is_index(place: tuple[str | int, ...]) -> TypeGuard[tuple[int]]:
    return bool(place) and isinstance(place[0], int)


def _home(name: str, whole: type[Struct]) -> str | None:
    """Where a name belongs that stands in another table."""
    fields = fields_of(whole)
    if name in fields and fields[name].kind.table is not None:  # as of a line `http.listen = …` below a header
        return f"Its settings belong under [{name}], each without {name}. before it."
    if name in fields:
        return "It belongs above the first table of the file."
    for table, field in fields.items():
        if field.kind.table is not None and name in fields_of(field.kind.table):
            return f"It belongs under [{table}]."
    return None


def _parts(label: str) -> tuple[str, ...]:
    bare = label.strip("[]")
    return (bare,) if bare else ()


def _named(label: str, name: str) -> str:
    return f"{label} {name}".strip()


def _example(field: Field) -> str:
    if field.about.example is not None:
        return field.about.example
    return f'"{field.kind.args[0]}"' if field.kind.base is Literal else '"…"'
