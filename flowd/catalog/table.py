"""Reads a table of a manifest, typed: with warnings for what is dropped, and errors that say where."""

import math
from collections.abc import Iterable, Mapping
from typing import NoReturn, TypeVar

from flowd.formats.places import Place, Places

T = TypeVar("T")


class ManifestError(Exception):
    """A manifest that cannot be used.

    Attributes:
        message: What is wrong, without file and line.
        remedy: A sentence that says what to do.
        line: One-based, None when it cannot be told.
        name: The flow's name, where the text got far enough to have one.
        types: Of its triggers, where the text is TOML.
    """

    types: tuple[str, ...] | None = None

    def __init__(self, message: str, remedy: str, *, line: int | None = None, name: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.line = line
        self.name = name


class Table:
    """A table under its place in the manifest.

    Args:
        label: How messages name it (``step "build"``); empty for the manifest itself.
        warnings: Grows by a sentence for everything that is dropped.
    """

    def __init__(
        self, values: Mapping[str, object], *, places: Places, place: Place, label: str, warnings: list[str]
    ) -> None:
        self.values = values
        self.label = label
        self._places = places
        self._place = place
        self._warnings = warnings

    def line(self, *place: str | int) -> int | None:
        """The line of something in this table."""
        return self._places.line(*self._place, *place)

    def fail(self, key: str | None, message: str, remedy: str) -> NoReturn:
        """Refuse the manifest because of this key, or of the whole table.

        Raises:
            ManifestError: Always.
        """
        raise ManifestError(self._labelled(message), remedy, line=self.line(*([key] if key is not None else [])))

    def warn(self, key: str, message: str) -> None:
        """Note something doubtful about a key."""
        line = self.line(key)
        self._warnings.append(self._labelled(message) if line is None else f"line {line}: {self._labelled(message)}")

    def warn_unknown(self, known: Iterable[str]) -> None:
        """Note every key that nothing reads."""
        read = frozenset(known)
        for key in self.values:
            if key not in read:
                self.warn(key, f'unknown key "{_short(key)}" is ignored')

    def table(self, key: str, *, label: str | None = None) -> "Table | None":
        """The table under this key; None when there is none, with a warning when it is something else."""
        value = self._kept(key, dict, "a table")
        return None if value is None else self._below(value, key, label)

    def needed_table(self, key: str) -> "Table | None":
        """The table under this key, None when there is none. Something else in its place is an error."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.fail(key, f"{key} must be a table, got {kind_of(value)}", f"Write it as [steps.{key}].")
        return self._below(value, key, None)

    def part(self, value: Mapping[str, object], place: Place, label: str) -> "Table":
        """A table at a place below this one."""
        return Table(value, places=self._places, place=(*self._place, *place), label=label, warnings=self._warnings)

    def _below(self, value: Mapping[str, object], key: str, label: str | None) -> "Table":
        return Table(
            value,
            places=self._places,
            place=(*self._place, key),
            label=self.label if label is None else label,
            warnings=self._warnings,
        )

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

    def needed_string(self, key: str, *, example: str) -> str:
        """The non-blank string under this key, as written: nothing is trimmed.

        Raises:
            ManifestError: It is missing, blank, no string, or holds a control character.
        """
        value = self.values.get(key)
        if not isinstance(value, str) or not value.strip():
            got = "is missing" if value is None else f"must be a non-blank string, got {kind_of(value)}"
            self.fail(key, f"{key} {got}", f"Add {key} = {example}.")
        self._refuse_controls(key, value)
        return value

    def integer(self, key: str, default: int, *, low: int, high: int) -> int:
        """The whole number under this key.

        Raises:
            ManifestError: It is no whole number from ``low`` to ``high``.
        """
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.fail(
                key, f"{key} must be {low}..{high}, got {kind_of(value)}", f"Set {key} to a number in that range."
            )
        return value

    def number(self, key: str, default: float, *, low: float, high: float) -> float:
        """The number under this key.

        Raises:
            ManifestError: It is no number from ``low`` to ``high``.
        """
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            self.fail(
                key, f"{key} must be {low}..{high}, got {kind_of(value)}", f"Set {key} to a number in that range."
            )
        return float(value)

    def milliseconds(self, key: str, default: int, *, low: int, high: int) -> int:
        """A duration, read as the reference system does: what is no number is dropped, a fraction is rounded up.

        Raises:
            ManifestError: It is a number outside ``low`` to ``high``.
        """
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.warn(key, f"{key} must be a number of milliseconds, got {kind_of(value)}; {default} is used")
            return default
        whole = math.ceil(value) if math.isfinite(value) else None
        if whole is None or not low <= whole <= high:
            self.fail(
                key,
                f"{key} must be {low}..{high}, got {kind_of(value)}",
                f"Set it to milliseconds in that range, or leave it out for {default}.",
            )
        return whole

    def boolean(self, key: str) -> bool:
        """The boolean under this key, False when there is none.

        Raises:
            ManifestError: It is something else.
        """
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            self.fail(key, f"{key} must be true or false, got {kind_of(value)}", f"Set {key} to true or false.")
        return value

    def _kept(self, key: str, kind: type[T], name: str) -> T | None:
        value = self.values.get(key)
        if value is None or isinstance(value, kind):
            return value
        self.warn(key, f"{key} must be {name}, got {kind_of(value)}; it is ignored")
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
            return f'"{_short(value)}"'
        case list():
            return "an array"
        case dict():
            return "a table"
        case _:
            return "a date or time"


def _short(text: str) -> str:
    printable = "".join(char if char.isprintable() else "?" for char in text)
    return printable if len(printable) <= 60 else f"{printable[:57]}..."
