"""`PostgresShelf`: output in chunks, in the schema that hosts share."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from flowd.domain.ids import attempt_id
from flowd.domain.shelf import CHUNK_BYTES, KEPT, Gap, Kept, Piece, Place, ShelfPart
from flowd.store.postgres.connection import PostgresWriter
from flowd.store.sql.connection import Connection

T = TypeVar("T")

WANTED_MS = 30_000
"""A wish counts for this long. Who still reads says it again."""

_REMOVED_AT_ONCE = 1_000
_NOW_MS = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_OF_STREAM = "run_seq = ? AND number = ? AND stream = ?"


class Do(Protocol):
    """Does something in the store and answers with its value."""

    def __call__(self, operation: Callable[[Connection], T], /) -> Coroutine[Any, Any, T]:
        """Do it."""
        ...


class PostgresShelf:
    """Output of attempts. See `flowd.ports.output_shelf.OutputShelf` for what every method guarantees."""

    def __init__(self, *, read: Do, write: Do, host: str = "") -> None:
        """``host`` is what we are called, if anything."""
        self._host = host
        self._read = read
        self._write = write

    async def put(self, run_id: str, number: int, pieces: Sequence[Piece], gaps: Sequence[tuple[Kept, Gap]]) -> bool:
        """See `OutputShelf.put`."""
        return await self._write(lambda db: _quietly(db, lambda: _put(db, run_id, number, pieces, gaps)))

    async def sizes(self, run_id: str, number: int) -> dict[Kept, int]:
        """See `OutputShelf.sizes`."""
        return await self._read(lambda db: _sizes(db, run_id, number))

    async def part(self, place: Place, offset: int, count: int) -> ShelfPart | None:
        """See `OutputShelf.part`."""
        return await self._read(lambda db: _part(db, place, offset, count))

    async def remove_forgotten(self, remove: Callable[[str], None]) -> None:
        """See `OutputShelf.remove_forgotten`."""
        if await self._read(lambda db: _has_forgotten(db, self._host)):
            await self._write(lambda db: _quietly(db, lambda: _remove_forgotten(db, self._host, remove)))

    async def drop(self, run_id: str, number: int, streams: Sequence[Kept]) -> list[Kept]:
        """See `OutputShelf.drop`."""
        return await self._write(lambda db: _quietly(db, lambda: _drop(db, run_id, number, streams)))

    async def want(self, run_id: str, number: int) -> None:
        """See `OutputShelf.want`."""
        await self._write(lambda db: _want(db, run_id, number))

    async def wanted(self) -> set[tuple[str, int]]:
        """See `OutputShelf.wanted`."""
        return await self._read(_wanted)


def _quietly(db: Connection, do: Callable[[], T]) -> T:
    """Without news for other hosts: who waits for output there looks by itself, and nobody else has to do with it."""
    assert isinstance(db, PostgresWriter)
    changes = db.total_changes
    done = do()
    db.total_changes = changes
    return done


def _seq(db: Connection, run_id: str) -> int | None:
    row = db.execute("SELECT seq FROM runs WHERE id = ?", (run_id,)).fetchone()
    return None if row is None else int(row[0])


def _put(db: Connection, run_id: str, number: int, pieces: Sequence[Piece], gaps: Sequence[tuple[Kept, Gap]]) -> bool:
    seq = _seq(db, run_id)
    if seq is None:
        return True  # it was pruned: nobody will ask for it
    begun = [piece for piece in pieces if piece.at != piece.chunk_at]
    for piece in begun:  # at most one a stream, and looked at before anything is written
        found = db.execute(
            f"SELECT octet_length(data) FROM output_chunks WHERE {_OF_STREAM} AND at = ?",
            (seq, number, piece.stream, piece.chunk_at),
        ).fetchone()
        if found is None or found[0] < piece.at - piece.chunk_at:
            return False
    for piece in pieces:
        db.execute(
            f"INSERT INTO output_chunks (run_seq, number, stream, at, at_ms, data) VALUES (?, ?, ?, ?, {_NOW_MS}, ?)"
            " ON CONFLICT (run_seq, number, stream, at) DO UPDATE"
            " SET data = substring(output_chunks.data FROM 1 FOR ?::int) || excluded.data, at_ms = excluded.at_ms",
            (seq, number, piece.stream, piece.chunk_at, piece.data, piece.at - piece.chunk_at),
        )
    for stream, gap in gaps:
        db.execute(
            f"DELETE FROM output_chunks WHERE {_OF_STREAM} AND at >= ? AND at < ?",
            (seq, number, stream, gap.begin, gap.end),
        )
    return True


def _sizes(db: Connection, run_id: str, number: int) -> dict[Kept, int]:
    found = db.execute(
        "SELECT DISTINCT ON (stream) stream, at + octet_length(data) FROM output_chunks"
        " WHERE run_seq = (SELECT seq FROM runs WHERE id = ?) AND number = ? ORDER BY stream, at DESC",
        (run_id, number),
    )
    return dict(found.fetchall())


def _part(db: Connection, place: Place, offset: int, count: int) -> ShelfPart | None:
    of_stream = (_seq(db, place.run_id), place.number, place.stream)
    last = db.execute(
        f"SELECT at, octet_length(data), at_ms FROM output_chunks WHERE {_OF_STREAM} ORDER BY at DESC LIMIT 1",
        of_stream,
    ).fetchone()
    if last is None:
        return None
    last_at, length, at_ms = last
    gap = _gap(db, of_stream, last_at)
    begin, end = offset, offset + count
    if gap is not None and gap.begin <= begin < gap.end:
        begin = gap.end
    elif gap is not None and begin < gap.begin:
        end = min(end, gap.begin)
    chunks = db.execute(
        f"SELECT data FROM output_chunks WHERE {_OF_STREAM} AND at >= ? AND at < ? ORDER BY at",
        (*of_stream, begin - begin % CHUNK_BYTES, end),
    ).fetchall()
    skipped = begin % CHUNK_BYTES
    data = b"".join(chunk for (chunk,) in chunks)[skipped : skipped + max(0, end - begin)]
    return ShelfPart(begin, data, last_at + length, at_ms, gap)


def _gap(db: Connection, of_stream: tuple[object, ...], last_at: int) -> Gap | None:
    """Where chunks are missing, which is in one place at most."""
    (count,) = db.execute(f"SELECT count(*) FROM output_chunks WHERE {_OF_STREAM}", of_stream).fetchone()
    if count == last_at // CHUNK_BYTES + 1:
        return None
    begin, end = db.execute(
        f"SELECT before * {CHUNK_BYTES}, at FROM (SELECT at, row_number() OVER (ORDER BY at) - 1 AS before"
        f" FROM output_chunks WHERE {_OF_STREAM}) AS placed WHERE at <> before * {CHUNK_BYTES} ORDER BY at LIMIT 1",
        of_stream,
    ).fetchone()
    return Gap(begin, end)


def _drop(db: Connection, run_id: str, number: int, streams: Sequence[Kept]) -> list[Kept]:
    seq = _seq(db, run_id)
    told = db.execute(
        "SELECT stdout IS NOT NULL, stderr IS NOT NULL, stream_order IS NOT NULL FROM attempts"
        " WHERE run_seq = ? AND number = ? AND completed_at_ms IS NOT NULL",
        (seq, number),
    ).fetchone()
    whole = [] if told is None else [stream for stream, is_told in zip(KEPT, told, strict=True) if is_told]
    dropped = [stream for stream in streams if stream in whole]
    for stream in dropped:
        db.execute(f"DELETE FROM output_chunks WHERE {_OF_STREAM}", (seq, number, stream))
    return dropped


def _has_forgotten(db: Connection, host: str) -> bool:
    return db.execute("SELECT 1 FROM output_left WHERE host = ? LIMIT 1", (host,)).fetchone() is not None


def _remove_forgotten(db: Connection, host: str, remove: Callable[[str], None]) -> None:
    found = db.execute(
        "SELECT l.seq, l.run_id, l.number, a.host FROM output_left l LEFT JOIN runs r ON r.id = l.run_id"
        " LEFT JOIN attempts a ON a.run_seq = r.seq AND a.number = l.number"
        f" WHERE l.host = ? ORDER BY l.seq LIMIT {_REMOVED_AT_ONCE}",
        (host,),
    ).fetchall()
    for _, run_id, number, new_host in found:
        if new_host != host:  # else its event came again, and this host runs it: the file is another one
            remove(attempt_id(run_id, number))
    db.execute("DELETE FROM output_left WHERE host = ? AND seq <= ?", (host, found[-1][0] if found else 0))


def _want(db: Connection, run_id: str, number: int) -> None:
    seq = _seq(db, run_id)
    db.execute(f"DELETE FROM output_wanted WHERE until_ms <= {_NOW_MS}")
    if seq is not None:
        db.execute(
            f"INSERT INTO output_wanted (run_seq, number, until_ms) VALUES (?, ?, {_NOW_MS} + {WANTED_MS})"
            " ON CONFLICT (run_seq, number) DO UPDATE SET until_ms = excluded.until_ms",
            (seq, number),
        )


def _wanted(db: Connection) -> set[tuple[str, int]]:
    found = db.execute(
        f"SELECT r.id, w.number FROM output_wanted w JOIN runs r ON r.seq = w.run_seq WHERE w.until_ms > {_NOW_MS}"
    )
    return set(found.fetchall())
