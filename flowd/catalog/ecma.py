"""Writes the patterns of a schema, which are JavaScript's, in the syntax of the engine that runs them.

Both languages agree on nearly everything. What differs is written so that it means the same: surrogate pairs, empty
classes, what is literal inside of a class, ``.`` and some escapes. What is no pattern stays as it is, for the compiler
to refuse.
"""

import re
from collections.abc import Callable

from flowd.catalog.subschemas import transformed

_ANYTHING = r"[\s\S]"
_NOTHING = r"[^\s\S]"
_NONCHARACTER = r"\u{FFFFF}"
_NO_LINE_END = r"[^\n\r\u2028\u2029]"
_SIMPLE = re.compile(r"[\w\s^$|()?*+,:;=!<>@#%&'\"/~`-]*")
_QUANTIFIER = re.compile(r"\{\d+(?:,\d*)?\}")
_HEX = re.compile(r"\\u([0-9a-fA-F]{4})")
_SET_OPERATORS = "&~["
"""What is literal in a class of JavaScript's, and begins an operator or another class in one of the engine's."""


def translated(schema: object) -> object:
    """The schema with its patterns translated; the same object where none needed it."""
    return transformed(schema, pattern)


def pattern(source: str) -> str:
    r"""One pattern, translated.

    >>> print(pattern(r"^\ud83d\ude00$"), pattern("^[^]$"), pattern("[a&&b]"), pattern("{x}{2}"))
    ^\u{1F600}$ ^[\s\S]$ [a\&\&b] \{x}{2}
    """
    return source if _SIMPLE.fullmatch(source) else _Translation(source).result()


class _Translation:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._out: list[str] = []

    def result(self) -> str:
        handlers: dict[str, Callable[[], None]] = {"\\": self._escape, "[": self._class, "{": self._brace}
        while self._at < len(self._source):
            char = self._source[self._at]
            if char in handlers:
                handlers[char]()
            else:
                self._take(1, _NO_LINE_END if char == "." else char)
        return "".join(self._out)

    def _take(self, count: int, text: str) -> None:
        self._at += count
        self._out.append(text)

    def _brace(self) -> None:
        found = _QUANTIFIER.match(self._source, self._at)
        self._take(len(found[0]), found[0]) if found and self._at else self._take(1, r"\{")

    def _escape(self, *, in_class: bool = False) -> None:
        source, at = self._source, self._at
        if found := _HEX.match(source, at):
            self._code_unit(int(found[1], 16), in_class=in_class)
        elif source.startswith((r"\p{", r"\P{", r"\u{"), at):
            end = source.find("}", at)
            self._take(end + 1 - at if end >= 0 else 2, source[at : end + 1] if end >= 0 else source[at : at + 2])
        elif source.startswith(r"\0", at) and not source[at + 2 : at + 3].isdigit():
            self._take(2, r"\x00")
        elif in_class and source.startswith(r"\b", at):
            self._take(2, r"\x08")
        else:
            self._take(2, source[at : at + 2])

    def _code_unit(self, unit: int, *, in_class: bool) -> None:
        if not 0xD800 <= unit < 0xE000:
            self._take(6, self._source[self._at : self._at + 6])
            return
        second = _HEX.match(self._source, self._at + 6)
        low = int(second[1], 16) if second else 0
        if unit < 0xDC00 and 0xDC00 <= low < 0xE000:
            self._take(12, rf"\u{{{0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00):X}}}")
        else:
            # Half a pair: no text of an event holds one. In a class, a character that no text has stands for it.
            self._take(6, _NONCHARACTER if in_class else _NOTHING)

    def _class(self) -> None:
        """A class: its members, with a backslash before what the engine would take for an operator."""
        for written, meant in (("[^]", _ANYTHING), ("[]", _NOTHING)):
            if self._source.startswith(written, self._at):
                self._take(len(written), meant)
                return
        self._take(2, "[^") if self._source.startswith("[^", self._at) else self._take(1, "[")
        may_begin_range = False
        while self._at < len(self._source) and self._source[self._at] != "]":
            char = self._source[self._at]
            if char == "-":
                may_begin_range = self._hyphen(may_begin_range=may_begin_range)
            elif char == "\\":
                is_set = self._source[self._at + 1 : self._at + 2] in tuple("dDwWsSpP")
                self._escape(in_class=True)
                may_begin_range = not is_set
            else:
                self._take(1, f"\\{char}" if char in _SET_OPERATORS else char)
                may_begin_range = True
        if self._at < len(self._source):
            self._take(1, "]")

    def _hyphen(self, *, may_begin_range: bool) -> bool:
        """A hyphen: one of a range between two single characters, else a literal one. Tells what may follow."""
        after = self._source[self._at + 1 : self._at + 3]
        is_range = may_begin_range and bool(after) and after[0] != "]" and after not in {rf"\{c}" for c in "dDwWsSpP"}
        if not is_range:
            self._take(1, r"\-")
            return True
        self._take(1, "-")
        if self._source[self._at] == "\\":
            self._escape(in_class=True)
        else:
            char = self._source[self._at]
            self._take(1, f"\\{char}" if char in _SET_OPERATORS or char == "-" else char)
        return False
