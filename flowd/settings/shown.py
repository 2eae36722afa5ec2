"""Shows settings as a file spells them, each with where its value is from. Nothing that is secret is shown."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowd.formats import toml
from flowd.formats.typed import Field, Struct, fields_of
from flowd.settings.files import SettingsFile
from flowd.settings.tables import Tables

PRIVATE = "…"


@dataclass(frozen=True, slots=True)
class Shown:
    """A setting as it counts.

    Attributes:
        name: As a key of a settings file, with the tables that it is in: ``http.listen``.
        value: JSON-ready; None where nobody said anything, and nothing counts by default that could be written there.
        origin: ``FILE:LINE``, ``$VARIABLE``, ``flag --NAME``, ``credential NAME`` or ``default``.
        default: What counts by default, in words; None where `value` is that.
        variables: Of the environment, which set it as well.
        flag: Of ``flowd serve``, likewise.
    """

    name: str
    value: Any
    origin: str
    default: str | None = None
    variables: tuple[str, ...] = ()
    flag: str | None = None

    def view(self) -> dict[str, Any]:
        """JSON-ready. ``line`` is what to write into a settings file for it; absent where that cannot be said."""
        members: dict[str, Any] = {"name": self.name, "value": self.value, "origin": self.origin}
        if self.value is not None and self.value != PRIVATE and "[" not in self.name:
            members["line"] = f"{self.name} = {toml.spelled(self.value)}"
        more = {"default": self.default, "variables": list(self.variables), "flag": self.flag}
        return members | {name: value for name, value in more.items() if value}


def variables_of(table: str, field: Field) -> tuple[str, ...]:
    """The environment variables that set a member of a table, or of the file itself: ``""``."""
    is_table = field.kind.table or field.kind.tables_by_name or field.kind.tables_in_list
    own = () if table or is_table else (f"FLOWD_{field.name.upper()}",)
    return (*own, *field.about.variables)


class Showing:
    """Shows the settings that were read from these sources.

    Args:
        files: The strongest first.
        counting: By name, what counts, for those that have been read; and where it is from, if no file has it.
    """

    def __init__(self, files: Sequence[SettingsFile], counting: Mapping[str, tuple[Any, str]]) -> None:
        self._files = files
        self._counting = counting

    def all(self) -> Iterator[Shown]:
        """Every setting, in the order of the reference, and what files have in tables by name or in lists."""
        yield from self._table(Tables, ())

    def _table(self, shape: type[Struct], place: tuple[str | int, ...]) -> Iterator[Shown]:
        for field in fields_of(shape).values():
            here = (*place, field.name)
            if field.kind.table is not None:
                yield from self._table(field.kind.table, here)
            elif field.kind.tables_by_name is not None:
                for name in dict.fromkeys(name for file in self._files for name in _at(file, here) or ()):
                    yield from self._said(field.kind.tables_by_name, (*here, name))
            elif field.kind.tables_in_list is not None:
                for file in self._files:
                    for index in range(len(_at(file, here) or ())):
                        yield from self._said(field.kind.tables_in_list, (*here, index), file)
            else:
                yield self._one(field, here)

    def _said(
        self, shape: type[Struct], place: tuple[str | int, ...], of: SettingsFile | None = None
    ) -> Iterator[Shown]:
        """What a table has that somebody made, of one file or the strongest that has it."""
        file = of or next(file for file in self._files if _at(file, place) is not None)
        members = _at(file, place)
        for name, field in fields_of(shape).items():
            if name in members:
                value = PRIVATE if field.about.is_private else members[name]
                yield Shown(_spelled((*place, name)), value, file.position(*place, name))

    def _one(self, field: Field, place: tuple[str | int, ...]) -> Shown:
        name, about = _spelled(place), field.about
        table = ".".join(map(str, place[:-1]))
        said = [file for file in self._files if _at(file, place) is not None]
        value, origin = self._counting.get(name, (field.default, "default"))
        if said and name not in self._counting:
            value, origin = _at(said[0], place), str(said[0].path)
        for file in said:  # of what files say together, both
            origin = ", ".join(file.position(*place) if each == str(file.path) else each for each in origin.split(", "))
        if value == () and origin == "default":
            value = None
        return Shown(name, _plain(value), origin, about.default, variables_of(table, field), about.flag)


def _at(file: SettingsFile, place: Sequence[str | int]) -> Any:
    value: Any = file.members
    for part in place:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _spelled(place: Sequence[str | int]) -> str:
    """
    >>> _spelled(("hooks", "my hook", "kind")), _spelled(("notify", 0, "on"))
    ('hooks."my hook".kind', 'notify[0].on')
    """
    parts = [f"[{part}]" if isinstance(part, int) else f".{toml.key(part)}" for part in place]
    return "".join(parts).removeprefix(".")


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
