r"""Output of a step as HTML: the colours and styles of terminals as classes, all else as escaped text.

Nothing of an output reaches the page as markup. What moves cursors, sets titles or makes links is left out, its text
stays. Colours come down to sixteen, which the stylesheet knows to be readable.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from markupsafe import Markup, escape

_ESCAPE = re.compile(
    r"\x1b\[([0-?]*)[ -/]*([@-~])"  # CSI: group 1 its parameters, group 2 what it is
    r"|\x1b[\]PX^_][^\x1b\x07\n]*(?:\x07|\x1b\\)?"  # OSC, DCS and the like, up to their end
    r"|\x1b[ -/]*[0-~]?"
)
_CUT_ESCAPE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x1b\x07\n]*|[ -/]*)?$")
_MAX_ESCAPE_BYTES = 256

_UNSEEN = {code: chr(0x2400 + code) for code in range(32) if code not in (0x09, 0x0A)}
_UNSEEN |= {0x7F: "\u2421"}
_UNSEEN |= dict.fromkeys((*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")
"""Characters that nobody sees, or that turn others around, and what is shown for them."""

_BASE = (
    *((0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229)),
    *((127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0), (92, 92, 255), (255, 0, 255), (0, 255, 255)),
    (255, 255, 255),
)
_CUBE = (0, 95, 135, 175, 215, 255)

_FLAGS = {"bold": "b", "dim": "d", "italic": "i", "underline": "u", "strike": "x", "inverse": "r"}
"""Each with its letter in an address."""

_SWITCHES = {
    1: ("bold", True),
    2: ("dim", True),
    3: ("italic", True),
    4: ("underline", True),
    7: ("inverse", True),
    9: ("strike", True),
    23: ("italic", False),
    24: ("underline", False),
    27: ("inverse", False),
    29: ("strike", False),
}


@dataclass(frozen=True, slots=True)
class Pen:
    """How what follows is written.

    Attributes:
        fg: Colour of the text, 0 to 15; None for that of the page.
        bg: Colour behind it.
    """

    fg: int | None = None
    bg: int | None = None
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    strike: bool = False
    inverse: bool = False

    @property
    def classes(self) -> str:
        """Classes of the stylesheet.

        >>> Pen(fg=1, bold=True).classes, Pen(inverse=True).classes, Pen(bg=3).classes
        ('a1 bold', 'b7', 'b3')
        """
        fg, bg = (self.bg, 7 if self.fg is None else self.fg) if self.inverse else (self.fg, self.bg)
        # What is behind decides the colour of the text, too: pairs that a step chooses may be unreadable.
        colour = f"b{bg}" if bg is not None else f"a{fg}" if fg is not None else ""
        return " ".join(filter(None, [colour, *(flag for flag in _FLAGS if flag != "inverse" and getattr(self, flag))]))

    def __str__(self) -> str:
        """The pen in few characters, for an address.

        >>> str(Pen()), str(Pen(fg=1, underline=True))
        ('', '1..u')
        """
        if self == PLAIN:
            return ""
        colours = ".".join("" if colour is None else str(colour) for colour in (self.fg, self.bg))
        return f"{colours}.{''.join(letter for flag, letter in _FLAGS.items() if getattr(self, flag))}"


PLAIN = Pen()


def pen_of(text: str) -> Pen:
    """The pen that ``str`` has made this of; the plain one where it is none.

    >>> pen_of("1..u") == Pen(fg=1, underline=True), pen_of("99..") == PLAIN
    (True, True)
    """
    match = re.fullmatch(r"(1[0-5]|[0-9])?\.(1[0-5]|[0-9])?\.(b?)(d?)(i?)(u?)(x?)(r?)", text, re.ASCII)
    if match is None:
        return PLAIN
    fg, bg, *flags = match.groups()
    given = dict(zip(_FLAGS, map(bool, flags), strict=True))
    return Pen(None if fg is None else int(fg), None if bg is None else int(bg), **given)


def html(line: str, pen: Pen = PLAIN) -> tuple[Markup, Pen]:
    r"""A line as HTML, and the pen that the next one begins with.

    Of what was written over with a carriage return, the last is shown, as a terminal would.

    >>> html("a \x1b[1;31m<b>\x1b[0m & c")[0]
    Markup('a <span class="a1 bold">&lt;b&gt;</span> &amp; c')
    >>> html("10 %\r50 %\r100 %\r")[0]
    Markup('100 %')
    """
    parts: list[Markup] = []
    for span, written in _spans(line.rstrip("\r"), pen):
        pen = written
        _, is_over, text = span.rpartition("\r")
        if is_over:
            parts.clear()
        if text:
            shown = escape(text.translate(_UNSEEN))
            parts.append(Markup('<span class="{}">{}</span>').format(pen.classes, shown) if pen.classes else shown)
    return Markup("").join(parts), pen


def plain(line: str) -> str:
    r"""The text of a line, to be searched.

    >>> plain("\x1b[1mok\x1b[0m\r\n")
    'ok'
    """
    return _ESCAPE.sub("", line).rstrip("\r\n").rpartition("\r")[2].translate(_UNSEEN)


def whole_bytes(data: bytes) -> int:
    r"""How much of a piece that is cut anywhere can be shown: no character and no escape is cut in two.

    >>> whole_bytes(b"abc"), whole_bytes("ä".encode()[:1]), whole_bytes(b"a\x1b[3"), whole_bytes(b"a\x1b[31mb")
    (3, 0, 1, 7)
    """
    end = len(data)
    for back in range(1, min(4, end) + 1):
        byte = data[end - back]
        if byte & 0xC0 != 0x80:
            length = 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            end -= back if length > back else 0
            break
    tail_at = max(0, end - _MAX_ESCAPE_BYTES)
    escape_at = data.rfind(b"\x1b", tail_at, end)
    if escape_at >= 0 and _CUT_ESCAPE.match(data[escape_at:end]):
        return escape_at
    return end


def _spans(line: str, pen: Pen) -> Iterator[tuple[str, Pen]]:
    """Pieces of a line, each with its pen; the last one, which may be empty, has that of the next line."""
    at = 0
    for match in _ESCAPE.finditer(line):
        if match.start() > at:
            yield line[at : match.start()], pen
        at = match.end()
        if match[2] == "m":
            pen = _set(pen, match[1])
    yield line[at:], pen


def _set(pen: Pen, parameters: str) -> Pen:
    """The pen after "select graphic rendition" (ECMA-48, 8.3.117, with the colours of xterm)."""
    codes = [int(code[:4]) if code.isdigit() else 0 for code in re.split("[;:]", parameters, maxsplit=32)[:32]]
    at = 0
    while at < len(codes):
        code = codes[at]
        at += 1
        if code in (38, 48):
            colour, at = _colour(codes, at)
            pen = replace(pen, fg=colour) if code == 38 else replace(pen, bg=colour)
        else:
            pen = _switched(pen, code)
    return pen


def _switched(pen: Pen, code: int) -> Pen:
    match code:
        case 0:
            return PLAIN
        case 22:
            return replace(pen, bold=False, dim=False)
        case _ if code in _SWITCHES:
            flag, is_on = _SWITCHES[code]
            changes: dict[str, bool] = {flag: is_on}
            return replace(pen, **changes)
        case 39:
            return replace(pen, fg=None)
        case 49:
            return replace(pen, bg=None)
    for first, offset in ((30, 0), (90, 8)):
        if first <= code < first + 8:
            return replace(pen, fg=code - first + offset)
        if first + 10 <= code < first + 18:
            return replace(pen, bg=code - first - 10 + offset)
    return pen


def _colour(codes: list[int], at: int) -> tuple[int | None, int]:
    """One of 256 colours (``5;n``) or of all (``2;r;g;b``), as the nearest of sixteen; and where to read on."""
    match codes[at : at + 1]:
        case [5]:
            return (_nearest(_of_256(codes[at + 1])) if at + 1 < len(codes) else None), at + 2
        case [2]:
            red, green, blue = (*codes[at + 1 : at + 4], 0, 0, 0)[:3]
            return _nearest((red, green, blue)), at + 4
        case _:
            return None, at + 1


def _of_256(number: int) -> tuple[int, int, int]:
    if number < 16:
        return _BASE[number]
    if number < 232:
        cube = number - 16
        return _CUBE[cube // 36], _CUBE[cube // 6 % 6], _CUBE[cube % 6]
    grey = 8 + 10 * (min(number, 255) - 232)
    return grey, grey, grey


def _nearest(colour: tuple[int, int, int]) -> int:
    """Which of the sixteen is most like a colour.

    >>> _nearest((250, 10, 10)), _nearest((90, 90, 250)), _nearest((0, 0, 0))
    (9, 12, 0)
    """
    return min(range(16), key=lambda n: sum((a - b) ** 2 for a, b in zip(_BASE[n], colour, strict=True)))
