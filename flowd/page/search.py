"""Searches all that an attempt has printed for a text."""

import base64
from typing import NamedTuple

from markupsafe import Markup, escape

from flowd.page import ansi
from flowd.page.output import Place
from flowd.page.visit import Visit
from flowd_client import methods as names
from flowd_client.wire import STREAMS, Stream

MAX_FOUND = 100
_PART_BYTES = 256 * 1024
"""At a time, after which others have their turn."""
_MAX_BYTES = 64 * 1024 * 1024
_LINE_BYTES = 400
"""Around what is found, where its line is longer."""


class Found(NamedTuple):
    """A line with the text in it. ``begin`` is where the line begins, in bytes."""

    stream: Stream
    begin: int
    line: Markup


class Search(NamedTuple):
    """What was found. ``is_cut``: there may be more."""

    found: list[Found]
    is_cut: bool


async def search(visit: Visit, place: Place, text: str) -> Search:
    """The first lines that have the text in them, in any case of ASCII letters."""
    found: list[Found] = []
    wanted = text.encode("utf-8", "replace").lower()
    is_cut = False
    for stream in STREAMS:
        offset = 0
        while len(found) < MAX_FOUND:
            asked = {"runId": place.run_id, "attempt": place.attempt, "stream": stream, "encoding": "base64"}
            part = await visit.ask(names.READ_OUTPUT, {**asked, "offset": offset, "maxBytes": _PART_BYTES})
            data = base64.b64decode(part["text"])
            found += _in_part(stream, data, offset, wanted, MAX_FOUND - len(found))
            if part["eof"] or part["nextOffset"] >= part["size"] or not data:
                break
            if part["nextOffset"] > _MAX_BYTES:
                is_cut = True
                break
            # What lies across two parts is found in the second one: it begins that much before the end of the first.
            offset = max(offset + 1, part["nextOffset"] - len(wanted) + 1)
    return Search(found, is_cut or len(found) >= MAX_FOUND)


def _in_part(stream: Stream, data: bytes, offset: int, wanted: bytes, limit: int) -> list[Found]:
    """The lines of a part with the text in them.

    >>> [found.begin for found in _in_part("stdout", b"\\n\\n", 7, b"\\n", 100)]
    [7, 8]
    """
    found: list[Found] = []
    lowered = data.lower()
    at = lowered.find(wanted)
    while at >= 0 and len(found) < limit:
        begin = max(data.rfind(b"\n", 0, at) + 1, at - _LINE_BYTES)
        end = data.find(b"\n", at)
        end = min(len(data) if end < 0 else end, at + len(wanted) + _LINE_BYTES)
        found.append(Found(stream, offset + begin, _marked(data[begin:end], wanted)))
        at = lowered.find(wanted, max(end, at + len(wanted)))
    return found


def _marked(line: bytes, wanted: bytes) -> Markup:
    """The line as text, with what was looked for marked.

    >>> _marked(b"no \\x1b[31merror <here>", b"error")
    Markup('no <mark>error</mark> &lt;here&gt;')
    """
    text = ansi.plain(line.decode("utf-8", "replace"))
    sought = wanted.decode("utf-8", "replace")
    parts: list[Markup] = []
    at = 0
    lowered = text.lower()
    # Lower case may be longer than upper case in few letters; then nothing is marked rather than something else.
    found = lowered.find(sought) if len(lowered) == len(text) else -1
    while found >= 0:
        parts += [escape(text[at:found]), Markup("<mark>{}</mark>").format(text[found : found + len(sought)])]
        at = found + len(sought)
        found = lowered.find(sought, at)
    return Markup("").join([*parts, escape(text[at:])])
