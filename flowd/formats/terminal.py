r"""The one way out to a terminal for text that somebody else has written: what would take it over is shown, not obeyed.

>>> escaped("a\x1b]0;title\x07b\x9b2J\u202egnp.exe")
'a\\x1b]0;title\\x07b\\x9b2J\\u202egnp.exe'
"""

import codecs
import re

_CSI = r"\x1b\[[0-?]*[ -/]*[@-~]"
"""Colours and movements: dropped, because most of what programs print is coloured."""

_BIDI = "\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""Marks and overrides of the writing direction, which make a text look like another, and Unicode's line ends."""

_HARMFUL = rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}\ud800-\udfff]"
_MAX_SEQUENCE = 64


def escaped(text: str, *, is_line: bool = False) -> str:
    r"""A text without control sequences, and with control characters (C0, C1, of direction) as escapes.

    Args:
        is_line: Line ends and tabs become escapes, too, so that nothing looks like a line of its own.

    >>> escaped("\x1b[31mred\x1b[0m\ttab\n"), escaped("a\nb", is_line=True)
    ('red\ttab\n', 'a\\nb')
    """
    if text.isprintable():  # most are, and compiling the patterns takes a millisecond
        return text
    found = re.sub(f"{_CSI}|{_HARMFUL}", _escape, text)
    return found.replace("\n", "\\n").replace("\t", "\\t") if is_line else found


def escaped_json(text: str) -> str:
    r"""JSON whose strings hold no control character as it is. It stays the same JSON.

    >>> escaped_json('"\x9b\u202e"')
    '"\\u009b\\u202e"'
    """
    if text.isascii() and "\x7f" not in text:
        return text
    return re.sub(rf"[\x7f-\x9f{_BIDI}]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(found: "re.Match[str]") -> str:
    text = found[0]
    if len(text) > 1:
        return ""  # a control sequence
    code = ord(text)
    if code == 0x0D:
        return "\\r"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class OutputFilter:
    r"""Makes one stream of a step's output fit for a terminal, piece by piece. Carriage returns become line ends.

    >>> shown = OutputFilter()
    >>> shown.feed(b"10%\r\x1b[3") + shown.feed(b"1m\xe2\x82") + shown.feed(b"\xac\x1b]0;x\x07\r\n") + shown.end()
    b'10%\n\xe2\x82\xac\\x1b]0;x\\x07\n'
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, data: bytes) -> bytes:
        """What to show for a piece. The beginning of a sequence or of a character waits for the rest of it."""
        return self._shown(self._held + self._decoder.decode(data), is_end=False)

    def end(self) -> bytes:
        """What was still waiting."""
        return self._shown(self._held + self._decoder.decode(b"", True), is_end=True)  # noqa: FBT003

    def _shown(self, text: str, *, is_end: bool) -> bytes:
        self._held = ""
        begun = None if is_end else re.search(r"(\r|\x1b(\[[0-?]*[ -/]*)?)$", text)
        if begun is not None and len(begun[0]) < _MAX_SEQUENCE:
            text, self._held = text[: begun.start()], begun[0]
        return escaped(text.replace("\r\n", "\n").replace("\r", "\n")).encode()
