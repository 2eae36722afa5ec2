"""Writes log lines to stderr without waiting: for a terminal that is stopped, a pipe that nobody reads, a full disk."""

import errno
import logging
import os
import select
import socket
import stat
from collections.abc import Callable
from typing import TextIO

_SAFE_BYTES = 512
"""A pipe that is ready for writing takes so much at once (POSIX's least ``PIPE_BUF``)."""


class StreamOutlet:
    """A stream as a place for log lines.

    The stream's other users must not notice, so its own descriptor is never made non-blocking.
    """

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        self._formatter = formatter
        self._left: bytes | None = None
        self._write, self._close = _opened(stream)

    def render(self, record: logging.LogRecord) -> bytes:
        """A line of text."""
        return f"{self._formatter.format(record)}\n".encode("utf-8", "backslashreplace")

    def size_bytes(self, entry: bytes) -> int:
        """Its length."""
        return len(entry)

    def delay(self, entry: bytes, record: logging.LogRecord) -> None:
        """Nothing to do: a line has its time in it."""

    def send(self, entry: bytes) -> None:
        """Write a line, or what is left of it.

        Raises:
            OSError: Not all of it could be written now.
        """
        self._left = entry if self._left is None else self._left
        while self._left:
            self._left = self._left[self._write(self._left) :]
        self._left = None

    def close(self) -> None:
        """Close what was opened for writing; the stream itself stays open."""
        self._close()


def is_writable(stream: TextIO) -> bool:
    """Whether a few words can be written to a stream now without waiting."""
    try:
        return bool(select.select([], [stream], [], 0)[1])
    except (OSError, ValueError):
        return False


def _opened(stream: TextIO) -> tuple[Callable[[bytes], int], Callable[[], None]]:
    """How to write to a stream without waiting, and how to end that."""
    try:
        fd = stream.fileno()
    except (OSError, ValueError):  # one in memory, in tests
        return lambda data: _write_text(stream, data), lambda: None
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        connection = socket.socket(fileno=os.dup(fd))
        return lambda data: connection.send(data, socket.MSG_DONTWAIT), connection.close
    if not stat.S_ISFIFO(mode) and not stat.S_ISCHR(mode):
        copy = _Own(os.dup(fd))
        return copy.write, copy.close
    try:
        # Another opening of the same pipe or terminal, with flags of its own (Linux).
        own = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return lambda data: _write_if_ready(fd, data), lambda: None
    opened = _Own(own)
    return opened.write, opened.close


class _Own:
    """A descriptor of ours. Its number may be another file's, a database's say, once it is closed: no late line goes
    there. The stream's own number is not taken for the same reason: somebody else may close that."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes) -> int:
        """How much was written.

        Raises:
            OSError: It is closed, or cannot be written to.
        """
        if self._fd < 0:
            raise OSError(errno.EBADF, "the stream is closed")
        return os.write(self._fd, data)

    def close(self) -> None:
        """Close it, once."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _write_if_ready(fd: int, data: bytes) -> int:
    """Only an end that another program fills between the question and the writing can make this wait."""
    if not select.select([], [fd], [], 0)[1]:
        raise BlockingIOError
    return os.write(fd, data[:_SAFE_BYTES])


def _write_text(stream: TextIO, data: bytes) -> int:
    stream.write(data.decode())
    stream.flush()
    return len(data)
