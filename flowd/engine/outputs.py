"""Manages the files that steps write their output to: finds them, reads them, and removes them."""

import asyncio
import logging
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from flowd.domain import excerpt, result
from flowd.domain.ids import file_name
from flowd.domain.result import FlowResult, MalformedResult
from flowd.domain.shelf import Kept
from flowd.domain.stored import Output
from flowd.keeper.recording import order_path
from flowd_client.wire import Stream

log = logging.getLogger("flowd.engine")

INLINE_BYTES = 64 * 1024
"""Streams up to this size move into the database with the outcome: below it a row is cheaper than a file."""

_INLINE_SCAN_BYTES = 1024 * 1024
"""Read in the loop, within a millisecond."""

_TAIL_BYTES = 4 * excerpt.MAX_CHARS
"""A character has four bytes at most."""


@dataclass(frozen=True, slots=True)
class CollectedOutput:
    """What an ended attempt printed.

    Attributes:
        stdout_tail: The end of it, unmasked; so is ``stderr_tail``.
    """

    result: FlowResult | MalformedResult | None
    output: Output
    stdout_tail: str
    stderr_tail: str


class OutputFiles:
    """The folder with two files for every attempt whose output is not in the database."""

    def __init__(self, folder: Path, *, max_output_bytes: int) -> None:
        self._folder = folder
        self._max_output_bytes = max_output_bytes

    def make_folder(self) -> None:
        """Make the folder again where somebody has removed it; not its parents: a state that is gone stays so."""
        try:
            os.mkdir(self._folder, 0o700)
        except (FileExistsError, FileNotFoundError):
            return
        log.warning("output folder made again", extra={"folder": str(self._folder), "problem": "somebody removed it"})

    def path(self, attempt_id: str, stream: Stream) -> str:
        """Where a stream of an attempt is written."""
        return f"{self._folder}/{file_name(attempt_id)}.{stream}"

    def sizes(self, attempt_id: str) -> tuple[int, int]:
        """Of both streams, in bytes."""
        return self.stream_size(attempt_id, "stdout"), self.stream_size(attempt_id, "stderr")

    def collect(self, attempt_id: str, sizes: tuple[int, int]) -> CollectedOutput:
        """Read what an ended attempt printed; ``sizes`` are those of its streams. A missing file counts as empty."""
        stdout, stdout_size, said, out_tail = self._read(attempt_id, "stdout", sizes[0])
        stderr, stderr_size, _, err_tail = self._read(attempt_id, "stderr", sizes[1])
        is_truncated = max(stdout_size, stderr_size) >= self._max_output_bytes
        # A step that has printed on one stream alone has no order to record.
        order = self._order(attempt_id) if stdout_size and stderr_size else b""
        output = Output(stdout, stderr, stdout_size, stderr_size, is_truncated, order)
        return CollectedOutput(said, output, out_tail, err_tail)

    async def collected(self, attempt_id: str) -> CollectedOutput:
        """What an ended attempt printed; much of it is read in a thread."""
        sizes = self.sizes(attempt_id)
        if max(sizes) <= _INLINE_SCAN_BYTES:
            return self.collect(attempt_id, sizes)
        return await asyncio.to_thread(self.collect, attempt_id, sizes)

    def cut(self, attempt_id: str, output: Output) -> Output:
        """Cut the files of an ended attempt to their first 64 KiB, for room on a full disk; what is left of them."""
        sizes: list[int] = []
        streams: tuple[tuple[Stream, bytes | None, int], ...] = (
            ("stdout", output.stdout, output.stdout_bytes),
            ("stderr", output.stderr, output.stderr_bytes),
        )
        for stream, inline, size in streams:
            is_cut = inline is None and size > INLINE_BYTES
            if is_cut:
                with suppress(OSError):
                    os.truncate(self.path(attempt_id, stream), INLINE_BYTES)
                log.warning(
                    "output cut",
                    extra={"attempt_id": attempt_id, "stream": stream, "bytes": size, "problem": "the disk is full"},
                )
            sizes.append(INLINE_BYTES if is_cut else size)
        is_truncated = output.is_truncated or sizes != [output.stdout_bytes, output.stderr_bytes]
        return replace(output, stdout_bytes=sizes[0], stderr_bytes=sizes[1], is_truncated=is_truncated)

    def remove(self, attempt_id: str, output: Output) -> None:
        """Remove the files whose content the database has now. Raises `OSError`."""
        streams: tuple[tuple[Stream, bytes | None], ...] = (("stdout", output.stdout), ("stderr", output.stderr))
        for stream, inline in streams:
            if inline is not None:
                try:
                    os.unlink(self.path(attempt_id, stream))
                except FileNotFoundError:
                    pass

        if output.order:
            self._remove_order(attempt_id)

    def let_go(self, attempt_id: str, output: Output) -> None:
        """The same for an attempt that has ended, which costs nobody its end: a file that cannot be removed stays."""
        try:
            self.remove(attempt_id, output)
        except OSError as error:
            log.warning("output not removed", extra={"attempt_id": attempt_id, "problem": str(error)})

    def remove_all(self, attempt_id: str) -> None:
        """Remove what files an attempt has."""
        self.remove(attempt_id, Output(b"", b""))
        self._remove_order(attempt_id)

    def order(self, attempt_id: str) -> bytes:
        """The record of the order between both streams as far as there is one, see `flowd.keeper.stream_order`."""
        try:
            descriptor = os.open(self._order_path(attempt_id), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return b""
        with open(descriptor, "rb") as file:
            return file.read()

    def read(self, attempt_id: str, stream: Kept, offset: int, count: int) -> tuple[bytes, int]:
        """Up to ``count`` bytes from ``offset``, and the file's size now. Nothing and 0 where there is no file."""
        try:
            with open(self._open(attempt_id, stream), "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                return os.pread(file.fileno(), count, offset) if offset < size else b"", size
        except FileNotFoundError:
            return b"", 0

    def stream_size(self, attempt_id: str, stream: Kept) -> int:
        """Of a stream's file, in bytes; 0 where there is none."""
        try:
            return os.lstat(self._kept_path(attempt_id, stream)).st_size
        except FileNotFoundError:
            return 0

    def _open(self, attempt_id: str, stream: Kept) -> int:
        return os.open(self._kept_path(attempt_id, stream), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def _kept_path(self, attempt_id: str, stream: Kept) -> str:
        return self._order_path(attempt_id) if stream == "order" else self.path(attempt_id, stream)

    def _order_path(self, attempt_id: str) -> str:
        return order_path(self.path(attempt_id, "stdout"))

    def _order(self, attempt_id: str) -> bytes | None:
        order = self.order(attempt_id)
        return order if len(order) <= INLINE_BYTES else None

    def _remove_order(self, attempt_id: str) -> None:
        try:
            os.unlink(self._order_path(attempt_id))
        except FileNotFoundError:
            pass

    def _read(
        self, attempt_id: str, stream: Stream, size: int
    ) -> tuple[bytes | None, int, FlowResult | MalformedResult | None, str]:
        if not size:
            return b"", 0, None, ""
        try:
            descriptor = self._open(attempt_id, stream)
        except FileNotFoundError:
            return b"", 0, None, ""
        try:
            size = min(size, self._max_output_bytes)
            inline = os.pread(descriptor, size, 0) if size <= INLINE_BYTES else None

            def read(offset: int, count: int) -> bytes:
                return inline[offset : offset + count] if inline is not None else os.pread(descriptor, count, offset)

            said = result.find(read, size) if stream == "stdout" else None
            tail = read(max(0, size - _TAIL_BYTES), _TAIL_BYTES).decode("utf-8", "replace")
            return inline, size, said, tail
        finally:
            os.close(descriptor)
