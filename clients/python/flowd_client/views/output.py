"""A part of a run's output, as a client sees it."""

from binascii import a2b_base64
from dataclasses import field
from datetime import datetime

from flowd_client.errors import BadAnswerError
from flowd_client.views.frozen import frozen
from flowd_client.views.reading import Members, called, members, read, text


@frozen
class SharedOutputView:
    """What is known of the output of a step that ran on another host than the one that was asked.

    Attributes:
        kept_at: When the last bytes came that are known.
        is_complete: All that was written is known, but for what is missing; false while the step runs, and where its
            host was lost before it could tell the rest.
        missing: The bytes from an offset to another one that only that host has.
    """

    kept_at: datetime | None
    is_complete: bool = field(metadata=called("complete"))
    missing: tuple[int, int] | None = None


@frozen
class OutputView:
    """A part of a stream.

    Attributes:
        data: The exact bytes when they were asked for as base64, else the text in UTF-8.
        offset: Where the part begins, in bytes.
        next_offset: Where to read on.
        size: Bytes written so far.
        is_end: The run has ended and this is the stream's end.
        turns: Where they were asked for, pairs of offsets: where the part begins or goes on, and how far the other
            stream had come by then.
        shared: Where it was written on another host.
    """

    data: bytes
    text: str
    offset: int
    next_offset: int
    size: int
    is_end: bool = field(metadata=called("eof"))
    turns: tuple[tuple[int, int], ...] = ()
    shared: SharedOutputView | None = None


def read_output(response: object) -> OutputView:
    """A part of a stream from the response of flow.readOutput, asked for as text."""
    source = members(response)
    said = text(source.get("text")) or ""
    return read(
        OutputView,
        source,
        data=said.encode("utf-8", "surrogatepass"),
        text=said,
        turns=_turns(source),
        shared=_shared(source),
    )


def read_output_bytes(response: object) -> OutputView:
    """A part of a stream from the response of flow.readOutput, asked for as base64."""
    source = members(response)
    try:
        data = a2b_base64(text(source.get("text")) or "")
    except ValueError as error:
        raise BadAnswerError(f"The daemon's output is not base64: {error}.") from error
    return read(
        OutputView,
        source,
        data=data,
        text=data.decode("utf-8", "replace"),
        turns=_turns(source),
        shared=_shared(source),
    )


def _shared(source: Members) -> SharedOutputView | None:
    shared = source.get("shared")
    if not isinstance(shared, dict):
        return None
    missing = shared.get("missing")
    is_pair = isinstance(missing, list) and len(missing) == 2 and all(isinstance(end, int) for end in missing)
    return read(SharedOutputView, shared, missing=tuple(missing) if isinstance(missing, list) and is_pair else None)


def _turns(source: Members) -> tuple[tuple[int, int], ...]:
    given = source.get("turns")
    return tuple((int(own), int(other)) for own, other in given) if isinstance(given, list) else ()
