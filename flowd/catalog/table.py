"""Reads a table of a manifest, typed: what is wrong is noted with its place, and the reading goes on."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn, ParamSpec, TypeVar

from flowd.catalog.leads import lead, meant_value
from flowd.catalog.report import Report
from flowd.domain.finding import Finding, Severity
from flowd.formats import guesses
from flowd.formats.places import Place
from flowd.formats.typed import Field, Struct, fields_of

T = TypeVar("T")
U = TypeVar("U")
P = ParamSpec("P")


class ManifestError(Exception):
    """A manifest that cannot be used.

    Attributes:
        message: What is wrong, without file and line.
        remedy: A sentence that says what to do.
        line: One-based, None when it cannot be told.
    """

    def __init__(self, message: str, remedy: str, *, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.line = line


class Table:
    """A table under its place in the manifest.

    Args:
        report: Where everything is noted that is wrong or dropped.
        place: Where it is.
        label: How messages name it (``step "build"``); empty for the manifest itself.
        kind: What it is to `flowd.catalog.leads`.
        shape: What it may have, see `flowd.catalog.shapes`; None where its readers know.
    """

    def __init__(
        self,
        values: Mapping[str, object],
        report: Report,
        *,
        place: Place = (),
        label: str = "",
        kind: str = "",
        shape: type[Struct] | None = None,
    ) -> None:
        self.values = values
        self.label = label
        self.kind = kind
        self._fields: Mapping[str, Field] = {} if shape is None else fields_of(shape)
        self._report = report
        self._place = place

    def line(self, *place: str | int) -> int | None:
        """The line of something in this table."""
        return self._report.places.line(*self._place, *place)

    def fail(
        self,
        key: str | None,
        message: str,
        remedy: str,
        *,
        code: str = "invalid-value",
        member: Sequence[str | int] = (),
        suggestion: str | None = None,
    ) -> NoReturn:
        """Note an error, and end what is being read: to the next `tried`, or the whole manifest.

        Args:
            key: Of this table; None for the whole table.
            member: Where in the key's value it is.

        Raises:
            ManifestError: Always.
        """
        found = self.error(key, message, remedy, code=code, member=member, suggestion=suggestion)
        raise ManifestError(found.message, remedy, line=found.line)

    def error(
        self,
        key: str | None,
        message: str,
        remedy: str,
        *,
        code: str = "invalid-value",
        member: Sequence[str | int] = (),
        suggestion: str | None = None,
    ) -> Finding:
        """Note an error, for which the manifest will be refused when all of it is read. Arguments as `fail`."""
        finding = Finding("", code, Severity.ERROR, self._labelled(message), remedy, suggestion)
        return self._note(finding, key, member)

    def errors(self) -> int:
        """How many errors were noted in all of the manifest until now."""
        return self._report.errors()

    def tried(self, instead: U, read: Callable[P, T], *given: P.args, **named: P.kwargs) -> T | U:
        """What a reader of this table gives for these arguments; ``instead`` where it failed, which is noted then."""
        try:
            return read(*given, **named)
        except ManifestError:
            return instead

    def warn(
        self,
        key: str,
        message: str,
        remedy: str | None = None,
        *,
        code: str = "doubtful-value",
        suggestion: str | None = None,
    ) -> None:
        """Note something doubtful about a key."""
        finding = Finding("", code, Severity.WARNING, self._labelled(message), remedy, suggestion)
        self._note(finding, key, ())

    def _note(self, finding: Finding, key: str | None, member: Sequence[str | int]) -> Finding:
        is_there = key is not None and key in self.values
        place = (*self._place, *((key,) if key is not None and is_there else ()), *(member if is_there else ()))
        return self._report.note(finding, place, is_value=is_there and finding.code != "unknown-key")

    def warn_unknown(self) -> None:
        """Note every key that its shape does not have."""
        for key, (meant, remedy) in self._unknown():
            self.warn(key, f'unknown key "{short(key)}" is ignored', remedy, code="unknown-key", suggestion=meant)

    def refuse_unknown(self, message: str) -> None:
        """Note every key that its shape does not have as an error; ``message`` is followed by the key."""
        for key, (meant, remedy) in self._unknown():
            use = f"Use {', '.join(self._fields)}."
            self.error(key, f"{message} {kind_of(key)}", remedy or use, code="unknown-key", suggestion=meant)

    def _unknown(self) -> Iterable[tuple[str, tuple[str | None, str | None]]]:
        for key in self.values:
            if key not in self._fields:
                yield key, lead(self.kind, key, (word for word in self._fields if word not in self.values))

    def table(self, key: str) -> "Table | None":
        """The table under this key; None when there is none, with a warning when it is something else."""
        value = self._kept(key, dict, "a table")
        return None if value is None else self._below(value, key)

    def needed_table(self, key: str) -> "Table | None":
        """The table under this key, None when there is none. Something else in its place is an error."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            message = f"{key} must be a table, got {kind_of(value)}"
            self.fail(key, message, f"Write it as [steps.{key}].", code="wrong-type")
        return self._below(value, key)

    def part(
        self,
        value: Mapping[str, object],
        place: Place,
        label: str,
        kind: str = "",
        *,
        shape: type[Struct] | None = None,
    ) -> "Table":
        """A table at a place below this one; its shape is as this one's shape says, if any."""
        field = self._fields.get(str(place[0]))
        shape = shape if field is None else field.kind.table or field.kind.tables_in_list
        return Table(value, self._report, place=(*self._place, *place), label=label, kind=kind, shape=shape)

    def _below(self, value: Mapping[str, object], key: str) -> "Table":
        return self.part(value, (key,), self.label, key)

    def text(self, key: str) -> str | None:
        """The string under this key, of any lines; None where there is none, and with a warning where it is another."""
        return self._kept(key, str, "a string")

    def string(self, key: str) -> str | None:
        """The same for a name or a path.

        Raises:
            ManifestError: It holds a control character.
        """
        value = self.text(key)
        if value is not None:
            self._refuse_controls(key, value)
        return value

    def needed_string(self, key: str, *, example: str | None = None) -> str:
        """The non-blank string under this key, as written: nothing is trimmed.

        Args:
            example: For messages; None for its shape's.

        Raises:
            ManifestError: It is missing, blank, no string, or holds a control character.
        """
        value = self.values.get(key)
        example = example or self._fields[key].about.example
        if value is None:
            self.fail(key, f"{key} is missing", f"Add {key} = {example}.", code="missing-key")
        if not isinstance(value, str) or not value.strip():
            message = f"{key} must be a non-blank string, got {kind_of(value)}"
            self.fail(key, message, f"Add {key} = {example}.", code="wrong-type")
        self._refuse_controls(key, value)
        return value

    def integer(self, key: str, *, low: int | None = None) -> int:
        """The whole number under this key. What is no number in the range of its shape is an error, and the default, or
        the lowest where there is none.

        Args:
            low: A higher lowest one.
        """
        least, high = self._range(key)
        least = least if low is None else low
        default = self._default(key, least)
        value = self.values.get(key, default)
        if not isinstance(value, bool) and isinstance(value, int) and least <= value <= high:
            return value
        self._no_number(key, value, least, high)
        return int(default)

    def number(self, key: str) -> float:
        """The number under this key. What is no number in the range of its shape is an error, and the default."""
        low, high = self._range(key)
        default = self._default(key, low)
        value = self.values.get(key, default)
        if not isinstance(value, bool) and isinstance(value, int | float) and low <= value <= high:
            return float(value)
        self._no_number(key, value, low, high)
        return float(default)

    def _range(self, key: str) -> tuple[float, float]:
        meta = self._fields[key].kind.meta
        assert meta.le is not None
        return (1 if meta.ge is None else meta.ge), meta.le

    def _default(self, key: str, instead: float) -> float:
        default = self._fields[key].default
        return default if isinstance(default, int | float) else instead

    def _no_number(self, key: str, value: object, low: float, high: float) -> None:
        message = f"{key} must be {low}..{high}, got {kind_of(value)}"
        meant = guesses.number(value, key) if isinstance(value, str) else None
        remedy = f"Set {key} to a number in that range."
        if meant is None or not low <= meant <= high:
            self.error(key, message, remedy, code="out-of-range")
        else:
            self.error(key, message, f"Write {key} = {meant}.", code="wrong-type", suggestion=str(meant))

    def milliseconds(self, key: str) -> int:
        """A duration, read as the reference system does: what is no number is dropped with a warning, a fraction is
        rounded up. A number outside the range of its shape is an error."""
        low, high = self._range(key)
        default = int(self._default(key, low))
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            message = f"{key} must be a number of milliseconds, got {kind_of(value)}; {default} is used"
            meant = guesses.number(value, key) if isinstance(value, str) else None
            if meant is None or not low <= meant <= high:
                self.warn(key, message, code="wrong-type")
            else:
                self.warn(key, message, f"Write {key} = {meant}.", code="wrong-type", suggestion=str(meant))
            return default
        whole = math.ceil(value) if math.isfinite(value) else None
        if whole is None or not low <= whole <= high:
            message = f"{key} must be {low}..{high}, got {kind_of(value)}"
            remedy = f"Set it to milliseconds in that range, or leave it out for {default}."
            self.error(key, message, remedy, code="out-of-range")
            return default
        return whole

    def choice(self, key: str, known: Sequence[T], name: str) -> T:
        """One of these words under this key; another one is an error, and the default of its shape, or the first.

        Args:
            name: How messages call it.
        """
        default = next((each for each in known if each == self._fields[key].default), known[0])
        value = self.values.get(key, default)
        found = [each for each in known if each == value]
        if found:
            return found[0]
        words = [str(each) for each in known]
        meant = meant_value(key, value, words) if isinstance(value, str) else None
        remedy = f"Use one of {', '.join(words)}."
        self.error(key, f"{name} {kind_of(value)} is unknown", remedy, code="unknown-value", suggestion=meant)
        return default

    def boolean(self, key: str) -> bool:
        """The boolean under this key, False when there is none. Something else is an error."""
        value = self.values.get(key, False)
        if isinstance(value, bool):
            return value
        meant = value.lower() if isinstance(value, str) and value.lower() in ("true", "false") else None
        message = f"{key} must be true or false, got {kind_of(value)}"
        self.error(key, message, f"Set {key} to true or false.", code="wrong-type", suggestion=meant)
        return False

    def _kept(self, key: str, kind: type[T], name: str) -> T | None:
        value = self.values.get(key)
        if value is None or isinstance(value, kind):
            return value
        self.warn(key, f"{key} must be {name}, got {kind_of(value)}; it is ignored", code="wrong-type")
        return None

    def _refuse_controls(self, key: str, value: str) -> None:
        if any(ord(char) < 0x20 or ord(char) == 0x7F for char in value):
            self.fail(key, f"{key} contains a control character", f"Remove it from {key}.")

    def _labelled(self, message: str) -> str:
        return f"{self.label}: {message}" if self.label else message


def kind_of(value: object) -> str:
    """A value as a message shows it: short scalars as they are, others by their kind.

    >>> kind_of(0), kind_of(True), kind_of("x"), kind_of([1])
    ('0', 'true', '"x"', 'an array')
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int() if abs(value) >= 10**18:
            return "a huge number"
        case int() | float():
            return str(value)
        case str():
            return f'"{short(value)}"'
        case list():
            return "an array"
        case dict():
            return "a table"
        case _:
            return "a date or time"


def short(text: str) -> str:
    """A text of the file as a message shows it: printable, and of 60 characters at most."""
    printable = "".join(char if char.isprintable() else "?" for char in text)
    return printable if len(printable) <= 60 else f"{printable[:57]}..."
