"""Reads values from outside into types, and says in a sentence what does not fit. The one owner of `msgspec`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Raw, Struct

__all__ = ["About", "Field", "Kind", "Meta", "Problem", "Raw", "Rule", "Struct", "convert", "expected", "fields_of"]
__all__ += ["from_text", "got", "kind_of", "read", "to_json"]

T = TypeVar("T")

_MAX_SHOWN_CHARS = 60
_META = ("gt", "ge", "lt", "le", "pattern", "min_length", "max_length", "description")
_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list of strings",
    tuple: "a list of strings",
    dict: "a table",
    Any: "any value",
}
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class About:
    """What a member of a table is for. `Meta.description` is another matter: it says what values it may have.

    Attributes:
        text: For people, in Markdown; of a whole sentence or several.
        default: What counts where nobody says; None where that is the member's own default.
        example: As it is written in the file, without the name.
        variables: Environment variables that set it, too, the strongest first.
        flag: Of `flowd serve`, likewise.
        is_private: Whoever reads its value could do something with it: it is not shown.
    """

    text: str
    default: str | None = None
    example: str | None = None
    variables: tuple[str, ...] = ()
    flag: str | None = None
    is_private: bool = False


class Problem(NamedTuple):
    """What is wrong with a value that has the right type.

    Attributes:
        text: It goes on after what the value or its table is called: ``must be …``, ``: a secret …``.
        place: Where in the value; empty for all of it.
        remedy: A sentence, where the text has none.
    """

    text: str
    place: tuple[str | int, ...] = ()
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What a value of the right type must obey, too."""

    check: Callable[[Any], Iterable[Problem]]


class Kind(NamedTuple):
    """A type, taken apart.

    Attributes:
        base: The class behind it, `Literal`, or `Union` of several. None in a union does not count.
        args: What stands in its brackets.
    """

    base: Any
    args: tuple[Any, ...]
    meta: Meta
    about: About | None
    rules: tuple[Rule, ...]

    @property
    def table(self) -> type[Struct] | None:
        """The shape of the table that this type is."""
        return _shape(self.base)

    @property
    def tables_by_name(self) -> type[Struct] | None:
        """The shape of the tables that this type has by name."""
        return _shape(self.args[1]) if self.base is dict and len(self.args) == 2 else None

    @property
    def tables_in_list(self) -> type[Struct] | None:
        """The shape of the tables of which this type is a list."""
        return _shape(self.args[0]) if self.base in (list, tuple) and self.args else None


class Field(NamedTuple):
    """A member of a table."""

    name: str
    type: Any
    kind: Kind
    default: Any
    is_required: bool

    @property
    def about(self) -> About:
        """What it is for."""
        return self.kind.about or About("")


def to_json(value: object, *, indent: int = 0) -> bytes:
    """A value as JSON in UTF-8: compact, or indented. A `Raw` in it goes in as it is, without being parsed.

    Raises:
        UnicodeEncodeError: It has a text that is not Unicode.
    """
    compact = msgspec.json.encode(value)
    return msgspec.json.format(compact, indent=indent) if indent else compact


@cache
def fields_of(shape: type[Struct]) -> Mapping[str, Field]:
    """The members of a shape by name."""
    found = {
        field.name: Field(field.name, field.type, kind_of(field.type), field.default, field.required)
        for field in msgspec.structs.fields(shape)
    }
    return MappingProxyType(found)


def kind_of(annotation: Any) -> Kind:
    """Take a type apart.

    >>> kind_of(Annotated[Annotated[int, Meta(ge=1)] | None, About("So many.")]).about.text
    'So many.'
    """
    metas: list[Meta] = []
    abouts: list[About] = []
    rules: list[Rule] = []
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *extras = get_args(annotation)
            metas = [*(extra for extra in extras if isinstance(extra, Meta)), *metas]
            abouts += [extra for extra in extras if isinstance(extra, About)]
            rules += [extra for extra in extras if isinstance(extra, Rule)]
        elif origin in (Union, UnionType):
            members = [member for member in get_args(annotation) if member is not type(None)]
            if len(members) > 1:
                return Kind(Union, tuple(members), _merged(metas), next(iter(abouts), None), tuple(rules))
            annotation = members[0]
        else:
            break
    about = next(iter(abouts), None)
    return Kind(origin or annotation, get_args(annotation), _merged(metas), about, tuple(rules))


def read(members: object, shape: type[T]) -> T:
    """A table that was checked, as its shape."""
    return msgspec.convert(members, shape)


def convert(value: object, kind: Any) -> Any:
    """A single value as a type.

    Raises:
        ValueError: It does not fit. The message goes on after the value's name: ``must be …, got …``.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        raise ValueError(f"must be {expected(kind)}{got(value)}.") from None


def from_text(text: object, kind: Any) -> object:
    """What a text spells that is meant as a number or as yes or no, as in an environment variable; else as it is.

    >>> from_text("8", int), from_text("on", bool), from_text("many", int)
    (8, True, 'many')
    """
    base = kind_of(kind).base
    if not isinstance(text, str):
        return text
    if base is bool:
        return True if text.lower() in _TRUE else False if text.lower() in _FALSE else text
    if base not in (int, float):
        return text
    try:
        return base(text)
    except ValueError:
        return text


def got(value: object) -> str:
    """What a value is, where a message may show it."""
    return "" if value is None else f", got {str(value)[:_MAX_SHOWN_CHARS]!r}"


def expected(annotation: Any) -> str:
    """What a type takes: as its `Meta` says, else made of the type.

    >>> expected(Annotated[int, Meta(ge=1, le=9)]), expected(Literal["a", "b"] | None)
    ('a whole number from 1 to 9', 'one of a, b')
    """
    kind = kind_of(annotation)
    if kind.meta.description is not None:
        return str(kind.meta.description)
    if kind.base is Literal:
        return f"one of {', '.join(map(str, kind.args))}"
    if kind.base is Union:
        return " or ".join(dict.fromkeys(expected(arg) for arg in kind.args))
    return _NAMES.get(kind.base, "a string") + _range(kind.meta.ge, kind.meta.le)


def _range(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "" if low is None else f", {low:.16g} or more"
    return f" from {low:.16g} to {high:.16g}"


def _merged(metas: list[Meta]) -> Meta:
    """What stands further out goes before."""
    said: dict[str, Any] = {}
    for meta in metas:
        said |= {name: value for name in _META if (value := getattr(meta, name)) is not None}
    return Meta(**said)


def _shape(annotation: Any) -> type[Struct] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, Struct) else None
