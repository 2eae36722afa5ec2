"""Distinguishes write errors on stdout from other file errors."""

import io
import sys
from typing import TYPE_CHECKING

from flowd_client.wire import Stream

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
