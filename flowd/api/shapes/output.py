"""Output of attempts, as callers see it."""

from typing import Annotated

import msgspec

from flowd.api.json import instant
from flowd.api.params import Encoding, Identifier, Offset, Params
from flowd.api.shapes import View
from flowd.domain.shelf import Shared
from flowd.domain.stored import Output
from flowd_client.wire import Stream

OUTPUT_TAIL_BYTES = 64 * 1024
"""Of each stream, in the view of a single run."""

LISTED_TAIL_BYTES = 4 * 1024
"""Of each stream, in lists that were asked for it."""


class ReadOutput(Params):
    """Which part of which stream. ``attempt`` is the last one by default; ``waitMs`` waits for something to read, or,
    with ``otherOffset``, for the other stream to reach beyond that. ``turns``: tell the order between both streams."""

    run_id: Identifier
    stream: Stream = "stdout"
    offset: Offset = 0
    max_bytes: Annotated[int, msgspec.Meta(ge=1, le=1024 * 1024)] = 256 * 1024
    attempt: Annotated[int, msgspec.Meta(ge=1)] | None = None
    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 0
    encoding: Encoding = "utf-8"
    other_offset: Offset | None = None
    turns: bool = False


class OutputEntry(View):
    """A piece of output."""

    kind: Stream
    text: str
    created_at: str


class SharedOutputView(View):
    """Output of a step of another host, as far as it is known here: by ``keptAt``, up to the part's ``size``.

    ``missing`` are the bytes from an offset to another one that only that host has: the stream is larger than
    `shared_output_bytes`. ``complete``: all that was written is known, but for these; false while the step runs, and
    for ever where its host was lost before it could tell the rest.
    """

    kept_at: str
    complete: bool
    missing: tuple[int, int] | None = None


class OutputView(View):
    """Part of a stream. ``nextOffset`` is where to read on; ``eof``: the attempt has ended, and this is its end.

    ``text`` is UTF-8 with U+FFFD where the bytes are not UTF-8, and never cuts a character in two; with
    ``encoding: "base64"`` it is the exact bytes. ``turns``, where they were asked for, are pairs of offsets: where the
    part begins or goes on, and how far the other stream had come by then, as far as that is known. ``shared`` is there
    where it was written on another host; instead of bytes that are on that host alone, ``text`` says so once.
    """

    text: str
    offset: int
    next_offset: int
    size: int
    eof: bool
    turns: list[tuple[int, int]] | None = None
    shared: SharedOutputView | None = None


def shared_view(shared: Shared | None) -> SharedOutputView | None:
    """What is told of another host's output."""
    if shared is None:
        return None
    missing = None if shared.gap is None else (shared.gap.begin, shared.gap.end)
    return SharedOutputView(kept_at=instant(shared.at_ms), complete=shared.is_whole, missing=missing)


def output_entries(output: Output, at_ms: int) -> list[OutputEntry]:
    """The ends of both streams, as far as they are inline."""
    streams: tuple[tuple[Stream, bytes | None], ...] = (("stdout", output.stdout), ("stderr", output.stderr))
    return [
        OutputEntry(kind, data[-OUTPUT_TAIL_BYTES:].decode("utf-8", "replace"), instant(at_ms))
        for kind, data in streams
        if data
    ]
