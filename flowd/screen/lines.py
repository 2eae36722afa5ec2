"""A run's output as lines for a terminal: its colours are kept, and all else that would take it over is shown."""

import re

from rich.ansi import AnsiDecoder
from rich.text import Text

from flowd.cli.follow.lines import final
from flowd.formats.terminal import escaped
from flowd_client.wire import STREAMS, Stream

MAX_LINE_BYTES = 8 * 1024
"""A longer line comes in pieces: what a terminal shows of it is less by far, and drawing it takes time."""

_COLOURS = re.compile(r"(\x1b\[[0-9;:]*m)")
MARKS: dict[Stream, str] = {"stdout": "  ", "stderr": "! "}
"""What stands before each line of a stream."""


def coloured(line: str, decoder: AnsiDecoder) -> Text:
    r"""A line with the colours that it sets, and every other control character as an escape.

    >>> text = coloured("\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J", AnsiDecoder())
    >>> text.plain, str(text.spans[0].style)
    ('red \\x1b]0;title\\x07 ', 'color(1)')
    """
    parts = _COLOURS.split(line)
    return decoder.decode_line("".join(part if number % 2 else escaped(part) for number, part in enumerate(parts)))


class Lines:
    """Makes lines of pieces of both streams, in the order in which they come. Lines of stderr begin with ``!``."""

    def __init__(self) -> None:
        self._open: dict[Stream, bytes] = dict.fromkeys(STREAMS, b"")
        self._decoders = {stream: AnsiDecoder() for stream in STREAMS}

    def feed(self, stream: Stream, data: bytes) -> list[Text]:
        """The lines that this piece completes."""
        *lines, rest = (self._open[stream] + data).split(b"\n")
        pieces = [piece for line in lines for piece in _cut(line)]
        *whole, last = _cut(_drawn(rest))
        self._open[stream] = last
        return [self._text(stream, line) for line in (*pieces, *whole)]

    def end(self) -> list[Text]:
        """What was left without a line end."""
        left = [(stream, rest) for stream, rest in self._open.items() if rest]
        self._open = dict.fromkeys(STREAMS, b"")
        return [self._text(stream, rest) for stream, rest in left]

    def unfinished(self) -> Text:
        """The line that is being written, as it looks now; empty where there is none."""
        found = [Text(MARKS[stream] + escaped(_decoded(rest))) for stream, rest in self._open.items() if rest]
        return found[0] if found else Text()

    def _text(self, stream: Stream, line: bytes) -> Text:
        text = coloured(_decoded(line), self._decoders[stream])
        return Text.assemble((MARKS[stream], "bold red" if stream == "stderr" else ""), text)


def _decoded(line: bytes) -> str:
    return final(line).decode("utf-8", "replace").expandtabs(8)


def _drawn(rest: bytes) -> bytes:
    """An unfinished line without what was drawn over, so that endless progress needs no memory."""
    return rest if b"\r" not in rest else final(rest) + (b"\r" if rest.endswith(b"\r") else b"")


def _cut(line: bytes) -> list[bytes]:
    return [line[at : at + MAX_LINE_BYTES] for at in range(0, len(line), MAX_LINE_BYTES)] or [b""]
