"""What a step has printed, piece by piece, as HTML: where a page begins to show it, and what is new since."""

import asyncio
import base64
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from flowd.page import ansi
from flowd.page.visit import Visit
from flowd.page.wrapping import Shown
from flowd_client import methods as names
from flowd_client.wire import STREAMS, Stream

PIECE_BYTES = 64 * 1024
_OPEN_LINE_BYTES = 16 * 1024
"""A line that is longer is shown before its end is there, and its rest goes on in the next piece."""
_FIRST_LINE_BYTES = 8 * 1024
_WAIT_MS = 8_000
"""A browser has six connections to a host, and each page that is seen keeps one already."""

_HOT = re.compile(
    r"\b(?:errors?|exceptions?|traceback|fatal|panic(?:ked)?|failed|failure)\b|\w(?:Error|Exception)\b", re.IGNORECASE
)


class Piece(NamedTuple):
    """A part of a stream, to be shown.

    Attributes:
        lines: Whole lines.
        open: The beginning of a line that has not ended: it is shown anew with the next piece.
        begin: Where the lines begin, in bytes; ``next`` is where to go on after them.
        seen: How much of the stream has been looked at: ``next``, and the open line.
        pen: What the line at ``next`` begins with.
        hot: How many lines look like errors. They have ids from ``<stream>-e1`` on.
        is_end: The attempt has ended, and there is no more of it.
    """

    stream: Stream
    lines: Markup
    open: Markup
    begin: int
    next: int
    seen: int
    size: int
    pen: str
    hot: int
    is_end: bool


class Place(NamedTuple):
    """Which output: of a run's attempt; None is its last one."""

    run_id: str
    attempt: int | None


async def piece(
    visit: Visit, place: Place, stream: Stream, begin: int | None, pen: str = "", *, has_ids: bool = True
) -> Piece:
    """The piece that begins at ``begin``, or the last one: that begins with a line where lines are not too long."""
    is_last = begin is None
    if begin is None:
        begin = max(0, int((await _read(visit, place, stream, 0, 1))["size"]) - PIECE_BYTES)
    part = await _read(visit, place, stream, begin, PIECE_BYTES)
    data = base64.b64decode(part["text"])
    is_exact = len(data) == part["nextOffset"] - begin  # else a secret is masked in it, with something as long as it is
    if is_last and begin > 0 and is_exact:
        skipped = data.find(b"\n", 0, _FIRST_LINE_BYTES) + 1
        begin, data = begin + skipped, data[skipped:]
    whole = _whole(data, is_end=part["eof"]) if is_exact else len(data)
    next_ = begin + whole if is_exact else part["nextOffset"]
    prefix = stream if has_ids else ""
    lines, after, hot = await asyncio.to_thread(_html, data[:whole], ansi.pen_of(pen), prefix)
    rest, _, _ = _html(data[whole:], after, "")
    return Piece(
        stream, lines, rest, begin, next_, part["nextOffset"], part["size"], str(after), hot, is_end=part["eof"]
    )


async def tail(visit: Visit) -> Shown:
    """What both streams have that the page does not show yet; waits for it for a while."""
    query = visit.call.query
    place = Place(visit.call.values["runId"], number(query, "attempt"))
    if "wait" in query:
        seen = {stream: number(query, f"{stream}Seen") or 0 for stream in STREAMS}
        asked = {"stream": "stdout", "offset": seen["stdout"], "otherOffset": seen["stderr"], "maxBytes": 1}
        await visit.call.unless_gone(visit.ask(names.READ_OUTPUT, {**_which(place), **asked, "waitMs": _WAIT_MS}))
    pieces = [
        await piece(visit, place, stream, number(query, stream) or 0, query.get(f"{stream}Pen", ""), has_ids=False)
        for stream in STREAMS
    ]
    return Shown("tail.html", {"pieces": pieces})


def number(query: Mapping[str, str], name: str) -> int | None:
    """A number of the address; None where it has none.

    >>> number({"a": "12", "b": "-1", "c": "9" * 30}, "a"), number({"b": "-1"}, "b"), number({"c": "9" * 30}, "c")
    (12, None, None)
    """
    text = query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


async def _read(visit: Visit, place: Place, stream: Stream, offset: int, count: int) -> Mapping[str, Any]:
    asked = {"stream": stream, "offset": offset, "maxBytes": count, "encoding": "base64"}
    part: Mapping[str, Any] = await visit.ask(names.READ_OUTPUT, {**_which(place), **asked})
    return part


def _which(place: Place) -> dict[str, object]:
    return {"runId": place.run_id, "attempt": place.attempt}


def _whole(data: bytes, *, is_end: bool) -> int:
    """How many bytes are whole lines. All are where nothing follows; of a line without end, what can be shown.

    >>> _whole(b"one\\ntwo", is_end=False), _whole(b"one\\ntwo", is_end=True)
    (4, 7)
    """
    if is_end:
        return len(data)
    end = data.rfind(b"\n") + 1
    return end if len(data) - end < _OPEN_LINE_BYTES else ansi.whole_bytes(data)


def _html(data: bytes, pen: ansi.Pen, prefix: str) -> tuple[Markup, ansi.Pen, int]:
    """Lines as HTML, the pen after them, and how many of them are like errors."""
    hot = 0
    shown: list[Markup] = []
    for line in data.decode("utf-8", "replace").split("\n"):
        inside, pen = ansi.html(line, pen)
        if line and _HOT.search(ansi.plain(line)[:2000]):
            hot += 1
            name = Markup(' id="{}-e{}"').format(prefix, hot) if prefix else ""
            inside = Markup('<span class="hot"{}>{}</span>').format(name, inside)
        shown.append(inside)
    return Markup("\n").join(shown), pen, hot
