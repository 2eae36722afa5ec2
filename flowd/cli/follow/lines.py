"""Merges several outputs into one, line by line, each line behind its owner's name. Pure but for its sink."""

from collections.abc import Callable

from flowd_client.wire import Stream

Sink = Callable[[Stream, bytes], None]

MAX_LINE_BYTES = 64 * 1024
"""A longer line comes in pieces, so that output without line ends needs no memory."""

_ERASE = b"\r\x1b[K"


class LineMultiplexer:
    r"""Writes whole lines with prefixes, so that outputs that come piecemeal never mix within a line.

    A line that was drawn over with carriage returns (a progress bar) comes once, as it looked in the end. On a
    terminal the newest unfinished line is shown as well, below the others, and redrawn in its place.

    >>> written = []
    >>> lines = LineMultiplexer(lambda stream, data: written.append(data))
    >>> lines.feed("a/b", "stdout", b"10%\r100%\nno"); lines.feed("c/d", "stdout", b"other\n"); lines.end("a/b")
    >>> b"".join(written)
    b'a/b | 100%\nc/d | other\na/b | no\n'
    """

    def __init__(self, sink: Sink, *, live_width: int = 0, clean: Callable[[bytes], bytes] = lambda data: data) -> None:
        """Write to a sink.

        Args:
            live_width: Columns of the terminal behind the sink's stdout, to show unfinished lines on; 0 shows none.
            clean: Makes a line harmless.
        """
        self._sink = sink
        self._live_width = live_width
        self._clean = clean
        self._open: dict[tuple[str, Stream], bytes] = {}
        self._width = 0
        self._shown = b""

    def prefix(self, name: str) -> bytes:
        """What stands before each line of this name; names that were seen before set the width."""
        self._width = max(self._width, len(name))
        return f"{name.ljust(self._width)} | ".encode("utf-8", "backslashreplace")

    def feed(self, name: str, stream: Stream, data: bytes) -> None:
        """Take a piece of an output."""
        *lines, rest = (self._open.pop((name, stream), b"") + data).split(b"\n")
        rest = _latest(rest)
        while len(rest) > MAX_LINE_BYTES:
            lines.append(rest[:MAX_LINE_BYTES])
            rest = rest[MAX_LINE_BYTES:]
        if lines:
            self._hide()
            for line in lines:
                self._sink(stream, self.prefix(name) + self._clean(final(line)) + b"\n")
        if rest:
            self._open[name, stream] = rest
            self._show(self.prefix(name) + self._clean(final(rest)))

    def end(self, name: str) -> None:
        """Write what this name left unfinished: no more comes."""
        for key in [key for key in self._open if key[0] == name]:
            self._hide()
            self._sink(key[1], self.prefix(name) + self._clean(final(self._open.pop(key))) + b"\n")

    def say(self, tell: Callable[[], None]) -> None:
        """Tell something between the lines, which is of no output."""
        self._hide()
        tell()

    def close(self) -> None:
        """Write every unfinished line."""
        for name in {name for name, _ in self._open}:
            self.end(name)
        self._hide()

    def _show(self, line: bytes) -> None:
        if self._live_width:
            # Longer ones would wrap, and only their last row could be drawn over.
            self._shown = line.decode("utf-8", "replace")[: self._live_width - 1].encode()
            self._sink("stdout", _ERASE + self._shown)

    def _hide(self) -> None:
        if self._shown:
            self._shown = b""
            self._sink("stdout", _ERASE)


def _latest(rest: bytes) -> bytes:
    """The unfinished line without what was drawn over, so that endless progress needs no memory."""
    if b"\r" not in rest:
        return rest
    return final(rest) + (b"\r" if rest.endswith(b"\r") else b"")


def final(line: bytes) -> bytes:
    r"""What a line shows after its carriage returns: what was drawn last, which begins at its start.

    >>> final(b"10%\r50%\r100%"), final(b"done\r"), final(b"plain")
    (b'100%', b'done', b'plain')
    """
    parts = line.split(b"\r")
    return next((part for part in reversed(parts) if part), b"")
