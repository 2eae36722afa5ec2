"""Writes to stdout and stderr: what steps wrote, and with errors that are told from those of other files."""

import io
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from flowd.formats.terminal import OutputFilter, escaped
from flowd_client.wire import STREAMS, Stream

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputError(OSError):
    """The output cannot be written, and not because its reader has gone."""


class _Output(io.FileIO):
    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(error.errno, error.strerror) from error


def watch_stdout() -> None:
    """Make `sys.stdout` raise `OutputError` where it cannot be written."""
    old = sys.stdout
    old.flush()
    raw = _Output(old.fileno(), "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=old.encoding, errors=old.errors, line_buffering=old.isatty()
    )


def write(stream: Stream, data: bytes) -> None:
    """Write a step's output, at once and as it is.

    Raises:
        OutputError: It cannot be written.
    """
    out = sys.stdout if stream == "stdout" else sys.stderr
    try:
        out.flush()
        out.buffer.write(data)
        out.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.errno, error.strerror) from error


class StepOutput:
    """Writes what a step wrote: byte for byte, but on a terminal, which it must not take over, without control
    sequences and with control characters as escapes. ``is_raw`` is byte for byte there, too."""

    def __init__(self, *, is_raw: bool) -> None:
        self.is_raw = is_raw
        self._filters: dict[Stream, OutputFilter] = {}
        if not is_raw:
            self._filters = {stream: OutputFilter() for stream in STREAMS if _is_terminal(stream)}

    def write(self, stream: Stream, data: bytes) -> None:
        """Write a piece, at once.

        Raises:
            OutputError: It cannot be written.
        """
        shown = self._filters.get(stream)
        write(stream, data if shown is None else shown.feed(data))

    def end(self) -> None:
        """Write what was held back in case that more came."""
        for stream, shown in self._filters.items():
            if rest := shown.end():
                write(stream, rest)


def line_cleaner(*, is_raw: bool) -> Callable[[bytes], bytes]:
    """The same for whole lines that are written one by one."""
    if is_raw or not any(map(_is_terminal, STREAMS)):
        return lambda line: line
    return lambda line: escaped(line.decode("utf-8", "replace")).encode()


def _is_terminal(stream: Stream) -> bool:
    return (sys.stdout if stream == "stdout" else sys.stderr).isatty()
