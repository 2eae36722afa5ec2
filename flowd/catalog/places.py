"""Finds the line of each place in a TOML text, which TOML parsers do not tell.

A scanner, not a parser: it is only shown texts that a parser has accepted, and a place that it cannot find is answered
with the nearest table around it.
"""

import re

Place = tuple[str | int, ...]
"""Keys and, for arrays of tables, zero-based indices: ``("steps", 0, "trigger", "type")``."""

_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_DOTTED = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_DOTTED})[ \t]*\]")
_PAIR = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=")
_PART = re.compile(_KEY)
# Strings and comments first, so that brackets and quotes inside them count for nothing. A string that ends on a later
# line matches as its opening quotes alone.
_TOKEN = re.compile(
    r"""(?P<open>\"{3}|'{3})|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|(?P<comment>\#.*)|(?P<up>[\[{])|(?P<down>[\]}])"""
)
_CLOSE = {'"""': re.compile(r'(?:[^"\\]|\\.|"(?!""))*"{3,5}', re.DOTALL), "'''": re.compile(r"(?:[^']|'(?!''))*'{3,5}")}


class Places:
    """The lines of tables and keys of one TOML text."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Place, int] = {}
        self._counts: dict[Place, int] = {}
        self._scan(text)

    def line(self, *place: str | int) -> int | None:
        """The line of a key or table, else of the nearest table around it, else None.

        >>> places = Places('name = "x"\\n[[steps]]\\nname = "a"\\n')
        >>> places.line("steps", 0, "name"), places.line("steps", 0, "script"), places.line("version")
        (3, 2, None)
        """
        while place:
            if place in self._lines:
                return self._lines[place]
            place = place[:-1]
        return None

    def _scan(self, text: str) -> None:
        table: Place = ()
        depth = 0
        string: str | None = None
        for number, line in enumerate(text.split("\n"), start=1):
            if string is None and depth == 0:
                if header := _HEADER.match(line):
                    table = self._enter(header[2], is_array=header[1] == "[[")
                    self._lines.setdefault(table, number)
                    continue
                if pair := _PAIR.match(line):
                    self._note(table, _parts(pair[1]), number)
            depth, string = _after(line, depth, string)

    def _note(self, table: Place, keys: list[str], number: int) -> None:
        for count in range(1, len(keys) + 1):
            self._lines.setdefault((*table, *keys[:count]), number)

    def _enter(self, dotted: str, *, is_array: bool) -> Place:
        keys = _parts(dotted)
        place: Place = ()
        for position, key in enumerate(keys):
            place = (*place, key)
            if is_array and position == len(keys) - 1:
                self._counts[place] = self._counts.get(place, 0) + 1
            if place in self._counts:
                place = (*place, self._counts[place] - 1)
        return place


def _parts(dotted: str) -> list[str]:
    return [part[1:-1] if part[0] in "\"'" else part for part in _PART.findall(dotted)]


def _after(line: str, depth: int, string: str | None) -> tuple[int, str | None]:
    """Bracket depth and open multi-line string at the line's end."""
    position = 0
    while position < len(line):
        if string is not None:
            end = _CLOSE[string].match(line, position)
            if end is None:
                return depth, string
            position, string = end.end(), None
            continue
        token = _TOKEN.search(line, position)
        if token is None:
            break
        position = token.end()
        if token["open"]:
            string = token["open"]
        elif token["up"]:
            depth += 1
        elif token["down"]:
            depth = max(0, depth - 1)
    return depth, string
