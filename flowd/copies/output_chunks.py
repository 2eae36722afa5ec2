"""Output in a store that hosts share, in chunks: makes files of them, and them of files."""

import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from flowd.copies.output_names import Outside
from flowd.domain.ids import attempt_id
from flowd.domain.shelf import CHUNK_BYTES, Kept
from flowd.state import files
from flowd.store.sql.bulk import Bulk, Row

TABLE = "output_chunks"
COLUMNS = ("run_seq", "number", "stream", "at", "at_ms", "data")


def of_file(path: Path, of: Outside, *, max_bytes: int) -> Iterator[Row]:
    """The chunks of a file, none where there is none: of more than ``max_bytes`` its beginning and its end."""
    try:
        descriptor = files.open_own(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    half = max(1, max_bytes // 2 // CHUNK_BYTES) * CHUNK_BYTES
    try:
        size = os.fstat(descriptor).st_size
        resumed = size if size <= 2 * half else (size - half) // CHUNK_BYTES * CHUNK_BYTES
        for at in (*range(0, min(size, half), CHUNK_BYTES), *range(half, size, CHUNK_BYTES)):
            if half <= at < resumed < size:
                continue
            yield of.run_seq, of.number, of.stream, at, of.at_ms or 0, os.pread(descriptor, CHUNK_BYTES, at)
    finally:
        os.close(descriptor)


def streams(source: Bulk) -> Iterator[tuple[str, Kept, Iterator[bytes]]]:
    """What a store has in chunks: attempt, stream, and its bytes in pieces, which are to be taken before the next one.
    Where it lacks some, a line says so."""
    rows = source.rows(TABLE, ("run_seq", "number", "stream", "at", "data"))
    for (run_seq, number, stream), chunks in groupby(rows, key=lambda row: row[:3]):
        found = source.db.execute("SELECT id FROM runs WHERE seq = ?", (run_seq,)).fetchone()
        if found is not None:
            yield attempt_id(found[0], number), stream, _data(stream, chunks)


def _data(stream: Kept, chunks: Iterator[Any]) -> Iterator[bytes]:
    reached = 0
    for _, _, _, at, data in chunks:
        if at > reached:
            if stream == "order":
                return  # what comes after a gap has no meaning
            yield f"\n[flowd: {at - reached} bytes, from {reached} on, were on the host that ran this alone]\n".encode()
        yield data
        reached = at + len(data)
