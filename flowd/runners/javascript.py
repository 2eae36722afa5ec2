"""Strips comments, strings, templates and regular expressions from a JavaScript or TypeScript source.

Only what telling module-style scripts apart needs: no grammar, never an exception, time linear in the source.
"""

import re

_TOKEN = re.compile(
    r"""
      (?P<space>   \s+ )
    | (?P<comment> //[^\n]* | /\*.*?(?:\*/|\Z) | \A\#![^\n]* )
    | (?P<word>    [\w$]+ )
    | (?P<mark>    . )
    """,
    re.VERBOSE | re.DOTALL,
)
# By the character that begins it. Each matches up to where it cannot go on; it is a literal when ``end`` is there.
_LITERALS = {
    '"': re.compile(r'"(?:\\[\s\S]|[^"\\\n]++)*+(?P<end>")?'),
    "'": re.compile(r"'(?:\\[\s\S]|[^'\\\n]++)*+(?P<end>')?"),
    "/": re.compile(r"/(?:\\.|\[(?:\\.|[^\]\\\n]++)*+\]?|[^/\\\n\[]++)*+(?P<end>/\w*)?"),
}
_TEMPLATE = re.compile(r"(?:\\.|\$(?!\{)|[^`\\$]++)*+(?P<end>`|\$\{|\Z)", re.DOTALL)

# After these words a slash begins a regular expression; after any other word it divides.
_BEFORE_REGEX = frozenset(
    "return typeof case in of delete void throw new else do instanceof yield await default".split()  # noqa: SIM905
)
_ENDS_VALUE = frozenset(')]}"')


def code_of(source: str) -> str:
    """The source with every string, template and regular expression as ``""`` and every comment as a blank.

    A slash after ``)``, ``]`` or ``}`` is taken for a division: where that is wrong, one line may be misread.

    >>> code_of('a = "export default" // export default')
    'a = ""  '
    >>> code_of("x = /[/']/g; y = 4 / 2; z = `a ${b} c`")
    'x = ""; y = 4 / 2; z = ""b""'
    """
    return _Reader(source).read()


class _Reader:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._previous = ""
        # Open braces within each template expression that we are in.
        self._braces: list[int] = []
        # Up to where no literal that begins so can end; searching again would take quadratic time.
        self._hopeless = dict.fromkeys(_LITERALS, 0)

    def read(self) -> str:
        out: list[str] = []
        while found := _TOKEN.match(self._source, self._at):
            kind, text, self._at = found.lastgroup, found.group(), found.end()
            if kind in ("space", "comment"):
                out.append(text if kind == "space" else " ")
                continue
            if kind == "mark":
                text = self._mark(text)
            out.append(text)
            self._previous = text
        return "".join(out)

    def _mark(self, mark: str) -> str:
        """What the punctuation mark that was just read comes to; reads on to the end of what it begins."""
        if mark == "`":
            return self._template()
        if mark in _LITERALS and (mark != "/" or self._may_begin_regex()):
            return self._literal(mark)
        if self._braces and mark == "{":
            self._braces[-1] += 1
        elif self._braces and mark == "}":
            self._braces[-1] -= 1
            if self._braces[-1] == 0:
                self._braces.pop()
                return self._template()
        return mark

    def _literal(self, mark: str) -> str:
        if self._at <= self._hopeless[mark]:
            return mark
        found = _LITERALS[mark].match(self._source, self._at - 1)
        if found is None or found["end"] is None:
            # Up to where the search went, every such mark was an escaped one, so none of them begins a literal either.
            self._hopeless[mark] = found.end() if found else 0
            return mark
        self._at = found.end()
        return '""'

    def _template(self) -> str:
        found = _TEMPLATE.match(self._source, self._at)
        self._at = found.end() if found else len(self._source)
        if found and found["end"] == "${":
            self._braces.append(1)
        return '""'

    def _may_begin_regex(self) -> bool:
        before = self._previous
        if not before:
            return True
        if before[-1].isalnum() or before[-1] in "_$":
            return before in _BEFORE_REGEX
        return before[-1] not in _ENDS_VALUE
