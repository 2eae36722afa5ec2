"""Finds where each key and value stands in a TOML text, which TOML parsers do not tell.

A scanner, not a parser: it is only shown texts that a parser has accepted, and a place that it cannot find is answered
with the nearest table around it.
"""

import re
from bisect import bisect_right
from typing import NamedTuple

from flowd.formats import toml

Place = tuple[str | int, ...]
"""Keys and, for arrays, zero-based indices: ``("steps", 0, "trigger", "type")``."""

_BLANK = re.compile(r"[ \t]*")
_BETWEEN = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_REST = re.compile(r"[^\n]*\n?")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_SCALAR = re.compile(
    r""""{3}(?:[^"\\]|\\.|"(?!""))*"{3,5}"""
    r"""|'{3}(?:[^']|'(?!''))*'{3,5}"""
    r"""|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'"""
    r"""|\d{4}-\d\d-\d\d[ Tt][0-9:.]+(?:[Zz]|[+-]\d\d:\d\d)?"""
    r"""|[^\s,\]}#]+""",
    re.DOTALL,
)


class Span(NamedTuple):
    """A part of one line: where it is, and the first column behind it. All count from 1, columns in code points."""

    line: int
    column: int
    end_column: int


class _LostError(Exception):
    """The text is not what the scanner takes it for."""


class Places:
    """The places of tables, keys and values in one TOML text. Looks at it when it is first asked."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._keys: dict[Place, tuple[int, int]] = {}
        self._values: dict[Place, tuple[int, int]] = {}
        self._counts: dict[Place, int] = {}
        self._starts: list[int] | None = None

    def line(self, *place: str | int) -> int | None:
        """The line of a key or table, else of the nearest table around it, else None.

        >>> places = Places('name = "x"\\n[[steps]]\\nname = "a"\\n')
        >>> places.line("steps", 0, "name"), places.line("steps", 0, "script"), places.line("version")
        (3, 2, None)
        """
        found = self.key(*place)
        return None if found is None else found.line

    def key(self, *place: str | int) -> Span | None:
        """Where a key stands, or a table's header; else the nearest table around it, else None.

        >>> Places("[a]\\nb = {c = 5}").key("a", "b", "c")
        Span(line=2, column=6, end_column=7)
        """
        self._look()
        while place:
            found = self._keys.get(place) or self._values.get(place)
            if found is not None:
                return self._span(*found)
            place = place[:-1]
        return None

    def value(self, *place: str | int) -> Span | None:
        """Where a value stands, the first line of it; else where `key` finds something.

        >>> places = Places('needs = ["a", "b"]')
        >>> places.value("needs", 1), places.value("needs")
        (Span(line=1, column=15, end_column=18), Span(line=1, column=9, end_column=19))
        """
        self._look()
        found = self._values.get(place)
        return self.key(*place) if found is None else self._span(*found)

    def _span(self, start: int, end: int) -> Span:
        assert self._starts is not None
        line = bisect_right(self._starts, start)
        begin = self._starts[line - 1]
        stop = self._starts[line] - 1 if line < len(self._starts) else len(self._text)
        end = min(end, begin + len(self._text[begin:stop].rstrip("\r")))
        return Span(line, start - begin + 1, end - begin + 1)

    def _look(self) -> None:
        if self._starts is not None:
            return
        self._starts = [0, *(match.end() for match in re.finditer("\n", self._text))]
        try:
            self._scan()
        except (_LostError, toml.TomlError, RecursionError):  # what was found until then is told
            return

    def _scan(self) -> None:
        table: Place = ()
        at = self._skip(_BETWEEN, 0)
        while at < len(self._text):
            if self._text[at] == "[":
                table, at = self._header(at)
            else:
                at = self._pair(at, table)
            at = self._skip(_BETWEEN, self._skip(_REST, at))

    def _header(self, at: int) -> tuple[Place, int]:
        is_array = self._text.startswith("[[", at)
        keys, end = self._dotted(self._skip(_BLANK, at + (2 if is_array else 1)))
        place: Place = ()
        for position, (key, span) in enumerate(keys):
            place = (*place, key)
            self._keys.setdefault(place, span)
            if is_array and position == len(keys) - 1:
                self._counts[place] = self._counts.get(place, 0) + 1
            if place in self._counts:
                place = (*place, self._counts[place] - 1)
                self._keys.setdefault(place, span)
        return place, end

    def _pair(self, at: int, table: Place) -> int:
        """Note a key and its value, and tell where they end."""
        keys, at = self._dotted(at)
        place = table
        for key, span in keys:
            place = (*place, key)
            self._keys.setdefault(place, span)
        at = self._skip(_BLANK, at)
        if self._text[at : at + 1] != "=":
            raise _LostError
        return self._value(self._skip(_BLANK, at + 1), place)

    def _value(self, at: int, place: Place) -> int:
        first = self._text[at : at + 1]
        if first == "[":
            end = self._array(at, place)
        elif first == "{":
            end = self._inline_table(at, place)
        else:
            found = _SCALAR.match(self._text, at)
            if found is None:
                raise _LostError
            end = found.end()
        self._values.setdefault(place, (at, end))
        return end

    def _array(self, at: int, place: Place) -> int:
        at, index = self._skip(_BETWEEN, at + 1), 0
        while self._text[at : at + 1] != "]":
            at = self._comma(self._value(at, (*place, index)))
            index += 1
        return at + 1

    def _inline_table(self, at: int, place: Place) -> int:
        at = self._skip(_BETWEEN, at + 1)
        while self._text[at : at + 1] != "}":
            at = self._comma(self._pair(at, place))
        return at + 1

    def _comma(self, at: int) -> int:
        at = self._skip(_BETWEEN, at)
        return self._skip(_BETWEEN, at + 1) if self._text[at : at + 1] == "," else at

    def _dotted(self, at: int) -> tuple[list[tuple[str, tuple[int, int]]], int]:
        """The keys of a dotted key with the place of each, and where it ends."""
        keys: list[tuple[str, tuple[int, int]]] = []
        while found := _KEY.match(self._text, at):
            keys.append((_name(found[0]), found.span()))
            at = self._skip(_BLANK, found.end())
            if self._text[at : at + 1] != ".":
                return keys, at
            at = self._skip(_BLANK, at + 1)
        raise _LostError

    def _skip(self, what: re.Pattern[str], at: int) -> int:
        found = what.match(self._text, at)
        return at if found is None else found.end()


def _name(key: str) -> str:
    """
    >>> _name("a"), _name("'a b'"), _name(r'"\\u0061"')
    ('a', 'a b', 'a')
    """
    if key[0] not in "\"'":
        return key
    return key[1:-1] if "\\" not in key or key[0] == "'" else str(toml.parse(f"key = {key}")["key"])
