"""Moves what one step prints out of its two pipes into its files, and keeps the order between them.

A script may open its own output anew (``> /dev/stderr``), which cuts a file but not a pipe. The kernel moves the bytes
(`os.splice`): at every instant each is in the pipe or in the file, so none is lost with the process that moves them.
Where there is no splice, a kill between reading and writing loses up to `_READ_BYTES`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios

from flowd.keeper import stream_order

AT_END = -1
"""Nobody has the pipe open for writing any more, and it is empty."""
_AT_ONCE_BYTES = 1 << 20
"""More than any pipe holds that we make."""
_READ_BYTES = 1 << 16
_SPLICE_FLAGS = 1 | 2  # SPLICE_F_MOVE, SPLICE_F_NONBLOCK
_HAS_SPLICE = hasattr(os, "splice")  # Linux
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class _Stream:
    """One of the two. ``printed`` counts what came out of the pipe, ``written`` what went into the file."""

    __slots__ = ("file_fd", "path", "pending", "pipe_fd", "printed", "written")

    def __init__(self, pipe_fd: int, path: str) -> None:
        self.pipe_fd = pipe_fd
        self.path = path
        self.file_fd = -1
        self.printed = self.written = 0
        self.pending = b""
        """Read without splice, and not written yet because the disk was full."""

    def create(self) -> None:
        """Make the file, which must not be there."""
        self.file_fd = os.open(self.path, _FILE_FLAGS | os.O_EXCL, 0o600)

    def open(self) -> int:
        """The file, to be written on at its end. Splice refuses a file that is opened for appending."""
        if self.file_fd < 0:
            self.file_fd = os.open(self.path, _FILE_FLAGS, 0o600)
            os.lseek(self.file_fd, 0, os.SEEK_END)
        return self.file_fd

    def close(self) -> None:
        if self.file_fd >= 0:
            os.close(self.file_fd)
        self.file_fd = -1


class Recording:
    """What one step prints, from its start to its end."""

    __slots__ = ("_can_splice", "_current", "_has_order", "_max_output_bytes", "_null_fd", "_order_fd", "_order_path",
                 "_piece", "_streams", "is_discarding", "slot")  # fmt: skip

    def __init__(
        self, slot: str, pipe_fds: list[int], paths: tuple[str, str], *, max_output_bytes: int, null_fd: int,
        can_splice: bool = True,
    ) -> None:  # fmt: skip
        """A recording of a step that is about to start; see `resume` for one that an earlier keeper has started.

        Args:
            slot: Names the two pipes.
            pipe_fds: Their ends for reading, which do not block. They stay the caller's.
            paths: Of the files, which grow to ``max_output_bytes``; what is printed beyond that is thrown away.
            null_fd: Where that goes.
        """
        self.slot = slot
        self.is_discarding = False
        self._streams = (_Stream(pipe_fds[0], paths[0]), _Stream(pipe_fds[1], paths[1]))
        self._order_path = order_path(paths[0])
        self._order_fd = -1
        self._current = 0
        self._piece = 0
        self._has_order = False
        self._max_output_bytes = max_output_bytes
        self._null_fd = null_fd
        self._can_splice = can_splice and _HAS_SPLICE

    @property
    def printed_bytes(self) -> int:
        """How much was printed on the stream on which most was."""
        return max(self._streams[0].printed, self._streams[1].printed)

    @property
    def is_over_limit(self) -> bool:
        """Whether more was printed on a stream than is recorded."""
        return self.printed_bytes > self._max_output_bytes

    @property
    def total_bytes(self) -> int:
        """How much was printed on both."""
        return self._streams[0].printed + self._streams[1].printed

    def begin(self) -> None:
        """Make the file of standard output, right before the process is made; that it is there says that there may be a
        process. That of standard error is made when something is printed there: most steps print nothing.

        Raises:
            FileExistsError: A file of either is there already.
            OSError: It cannot be made.
        """
        stdout, stderr = self._streams
        if os.path.lexists(stderr.path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), stderr.path)
        stdout.create()

    def stream_of(self, path: str) -> str:
        """The stream that a file is of."""
        return "stderr" if path == self._streams[1].path else "stdout"

    def undo_begin(self) -> None:
        """There is no process after all: remove the file that was made for it."""
        if self._streams[0].file_fd >= 0:
            os.unlink(self._streams[0].path)

    def resume(self) -> None:
        """Go on where an earlier process was: the files and the record of the order say where that is."""
        for stream in self._streams:
            stream.printed = stream.written = _size_bytes(stream.path)
        counts = stream_order.lengths(_content(self._order_path))
        self._current = len(counts) % 2
        self._piece = self._streams[self._current].written - sum(counts[self._current :: 2])
        other = 1 - self._current
        self._has_order = bool(counts)
        if (piece := self._streams[other].written - sum(counts[other::2])) > 0:
            self._change()  # which that process could not write any more
            self._piece = piece

    def drain(self, number: int) -> int:
        """Move what is in a pipe into its file.

        Returns:
            How many bytes were moved; 0 when there are none now; `AT_END`.

        Raises:
            OSError: The file cannot be written. What was not moved is still in the pipe.
        """
        stream = self._streams[number]
        room = self._max_output_bytes - stream.written
        try:
            if self.is_discarding or room <= 0:
                moved = self._discard(stream)
            else:
                moved = self._move(stream, min(room, _AT_ONCE_BYTES))
                self._note(number, moved)
        except BlockingIOError:
            return 0
        stream.printed += moved
        return moved or AT_END

    def has_pending(self, number: int) -> bool:
        """Whether bytes were read from a pipe and are not in its file yet, because the disk was full."""
        return bool(self._streams[number].pending)

    def waiting_bytes(self, number: int) -> int:
        """How much is in a pipe now."""
        answer = fcntl.ioctl(self._streams[number].pipe_fd, termios.FIONREAD, b"\0\0\0\0")
        return int(struct.unpack("i", answer)[0]) + len(self._streams[number].pending)

    def close(self) -> None:
        """Close the files."""
        for stream in self._streams:
            stream.close()
        if self._order_fd >= 0:
            os.close(self._order_fd)
        self._order_fd = -1

    # --- inside

    def _move(self, stream: _Stream, count: int) -> int:
        file_fd = stream.open()
        if self._can_splice:
            try:
                moved = os.splice(stream.pipe_fd, file_fd, count, flags=_SPLICE_FLAGS)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._can_splice = False  # not into a file of this file system
            else:
                stream.written += moved
                return moved
        data = stream.pending or os.read(stream.pipe_fd, min(count, _READ_BYTES))
        stream.pending = data
        written = os.write(file_fd, data) if data else 0
        stream.pending = data[written:]
        stream.written += written
        return written

    def _discard(self, stream: _Stream) -> int:
        stream.pending = b""
        if self._can_splice:
            return os.splice(stream.pipe_fd, self._null_fd, _AT_ONCE_BYTES, flags=_SPLICE_FLAGS)
        return len(os.read(stream.pipe_fd, _READ_BYTES))

    def _note(self, number: int, count: int) -> None:
        if count and number != self._current:
            self._change()
        self._piece += count

    def _change(self) -> None:
        if self._has_order or self._piece:
            # A step that prints on standard error first begins with no standard output, and needs no record till now.
            is_late = not self._has_order and self._current == 1
            self._write_order((b"\0" if is_late else b"") + stream_order.length(self._piece))
            self._has_order = True
        self._current = 1 - self._current
        self._piece = 0

    def _write_order(self, data: bytes) -> None:
        try:
            if self._order_fd < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
                self._order_fd = os.open(self._order_path, flags, 0o600)
            if os.fstat(self._order_fd).st_size < stream_order.MAX_BYTES:
                os.write(self._order_fd, data)
        except OSError:
            pass  # the streams matter more than their order


def order_path(stdout_path: str) -> str:
    """Where the order is recorded, beside standard output."""
    return f"{stdout_path}.order"


def _size_bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
