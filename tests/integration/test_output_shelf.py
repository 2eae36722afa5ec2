"""Output that is read on another host than the one that wrote it: what is kept of it, and what is said of it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import postgres_rig
import pytest
from store_rig import DONE, OPENERS, Stores, accept, begin, forget_before

from flowd.domain.errors import StorageBusyError
from flowd.domain.exit import Exit
from flowd.domain.redaction import Redactor
from flowd.domain.shelf import CHUNK_BYTES, Gap, Kept, Piece, Place, ShelfPart, pieces
from flowd.domain.stored import Output
from flowd.engine.elsewhere import Elsewhere
from flowd.engine.output_reader import OutputReader
from flowd.engine.outputs import OutputFiles
from flowd.engine.shelving import SharedShelving
from flowd.ports import OpenStore, OutputShelf

HALF = 2 * CHUNK_BYTES
LINES = b"".join(b"%07d\n" % number for number in range(120_000))
"""Fifteen chunks, each byte told by its place."""


class Hosts:
    """The files of the host that a step runs on, and a reader on another host."""

    def __init__(self, store: OpenStore, folder: Path, redactor: Redactor) -> None:
        assert store.output_shelf is not None
        self.store = store
        self.shelf: OutputShelf = store.output_shelf
        here, there = folder / "here", folder / "there"
        here.mkdir(exist_ok=True)
        there.mkdir(exist_ok=True)
        self.files = OutputFiles(here, max_output_bytes=1 << 30)
        self.shelving = SharedShelving(self.shelf, self.files, max_bytes=2 * HALF)
        self.reader = OutputReader(
            store, OutputFiles(there, max_output_bytes=1 << 30), redactor=redactor, elsewhere=Elsewhere(self.shelf)
        )

    def write(self, data: bytes, stream: Kept = "stdout", attempt: str = "run-a") -> None:
        path = self.files.path(attempt, "stdout" if stream == "order" else stream)
        with open(f"{path}.order" if stream == "order" else path, "ab") as file:
            file.write(data)

    async def read(self) -> bytes:
        """All that the other host can read of the stream."""
        found, offset = b"", 0
        while True:
            part = await self.reader.part("run-a", 1, "stdout", offset, 100_000)
            if part.next_offset == offset:
                return found
            found, offset = found + part.data, part.next_offset


def with_hosts(folder: Path, use: Callable[[Hosts], Awaitable[None]], *, redactor: Redactor | None = None) -> None:
    async def scenario(store: OpenStore) -> None:
        async with asyncio.timeout(60):
            await use(Hosts(store, folder, redactor or Redactor([])))

    Stores(OPENERS["postgres"], folder).use(scenario)


def large(data: bytes) -> Output:
    return Output(None, b"", len(data), 0)


def test_a_store_that_is_not_shared_has_no_shelf(tmp_path: Path) -> None:
    async def scenario(store: OpenStore) -> None:
        assert store.output_shelf is None

    Stores(OPENERS["sqlite"], tmp_path).use(scenario)


def test_what_is_put_on_the_shelf_is_read_byte_by_byte(tmp_path: Path) -> None:
    async def scenario(hosts: Hosts) -> None:
        await accept(hosts.store, "a")
        at = 0
        for count in (1, 70_000, 3, 65_536, 200_000):
            data = LINES[at : at + count]
            assert await hosts.shelf.put("run-a", 1, pieces("stdout", at, data), ())
            assert await hosts.shelf.put("run-a", 1, pieces("stdout", at, data), ())  # as after a commit in doubt
            at += count
        assert await hosts.shelf.sizes("run-a", 1) == {"stdout": at}
        for offset, count in ((0, at), (65_535, 2), (65_536, 65_536), (131_000, 100_000), (at - 1, 10), (at, 10)):
            part = await hosts.shelf.part(Place("run-a", 1, "stdout"), offset, count)
            assert part is not None
            assert (part.begin, part.data, part.size) == (offset, LINES[offset : min(at, offset + count)], at)
        assert await hosts.shelf.part(Place("run-a", 1, "stderr"), 0, 10) is None
        assert not await hosts.shelf.put("run-a", 1, [Piece("stderr", 5, b"x")], ())  # what was before it is not there

    with_hosts(tmp_path, scenario)


@pytest.mark.parametrize("steps", [[960_000], [10, 300_000, 960_000], [*range(50_000, 960_001, 70_000), 960_000]])
def test_of_a_large_stream_its_beginning_and_its_end_are_kept_and_the_gap_is_told(
    tmp_path: Path, steps: list[int]
) -> None:
    async def scenario(hosts: Hosts) -> None:
        await accept(hosts.store, "a")
        started = await begin(hosts.store)
        written = 0
        for size in steps:
            hosts.write(LINES[written:size])
            written = size
            await hosts.shelving.complete("run-a", large(LINES[:size]))
        output = large(LINES)
        await hosts.store.finish(started.attempt, DONE, Exit(code=0), output, at_ms=3)
        await hosts.shelving.ended("run-a", output)
        hosts.shelving.leave("run-a")
        read = await hosts.read()
        first = await hosts.reader.part("run-a", 1, "stdout", 0, 1)
        assert first.shared is not None
        assert first.shared.gap is not None
        assert first.shared.is_whole
        begin_, end = first.shared.gap.begin, first.shared.gap.end
        told = b"\n[flowd: %d bytes, from %d on, are on the host that ran this alone]\n" % (end - begin_, begin_)
        assert read == LINES[:begin_] + told + LINES[end:]
        assert begin_ == HALF
        assert HALF <= len(LINES) - end < HALF + CHUNK_BYTES
        assert first.size == len(LINES)

    with_hosts(tmp_path, scenario)


def test_a_secret_beside_a_gap_is_not_seen_in_part(tmp_path: Path) -> None:
    secret = "hunter2-hunter2"
    data = bytearray(LINES)
    data[HALF - 7 : HALF + 8] = secret.encode()

    async def scenario(hosts: Hosts) -> None:
        await accept(hosts.store, "a")
        await begin(hosts.store)
        hosts.write(bytes(data))
        await hosts.shelving.complete("run-a", large(data))
        hosts.shelving.leave("run-a")
        read = await hosts.read()
        assert read.startswith(LINES[: HALF - 100])
        assert b"hunter2" not in read
        assert b"are on the host that ran this alone" in read

    with_hosts(tmp_path, scenario, redactor=Redactor(["TOKEN"], {"TOKEN": secret}))


def test_what_its_end_tells_is_kept_on_the_shelf_no_more_and_the_rest_goes_with_the_run(tmp_path: Path) -> None:
    async def scenario(hosts: Hosts) -> None:
        await accept(hosts.store, "a")
        started = await begin(hosts.store)
        await accept(hosts.store, "z")  # the newest stays
        hosts.write(LINES)
        hosts.write(b"small", "stderr")
        await hosts.shelving.complete("run-a", Output(None, None, len(LINES), 5))
        assert set(await hosts.shelf.sizes("run-a", 1)) == {"stdout", "stderr"}
        output = Output(None, b"small", len(LINES), 5)
        await hosts.store.finish(started.attempt, DONE, Exit(code=0), output, at_ms=3)
        await hosts.shelving.ended("run-a", output)
        assert await hosts.shelf.sizes("run-a", 1) == {"stdout": len(LINES)}
        hosts.shelving.leave("run-a")
        pruned = await forget_before(hosts.store, 1 << 40)
        assert pruned.runs == 1
        (left,) = postgres_rig.server().execute("SELECT count(*) FROM flowd.output_chunks", database="test")
        assert left == (0,)

    with_hosts(tmp_path, scenario)


def test_a_daemon_that_was_started_again_goes_on_where_the_last_one_was(tmp_path: Path) -> None:
    async def scenario(hosts: Hosts) -> None:
        await accept(hosts.store, "a")
        await begin(hosts.store)
        hosts.write(LINES[:100_000])
        await hosts.shelving.complete("run-a", large(LINES[:100_000]))
        hosts.write(LINES[100_000:200_000])
        shelf = Counting(hosts.shelf)
        shelving = SharedShelving(shelf, hosts.files, max_bytes=1 << 20)
        shelving.follow("run-a")
        await shelving.complete("run-a", large(LINES[:200_000]))
        shelving.leave("run-a")
        assert shelf.put_bytes == 100_000
        assert await hosts.read() == LINES[:200_000]

    with_hosts(tmp_path, scenario)


class Counting:
    """A shelf that counts what is put there, and cannot be reached now and then."""

    def __init__(self, shelf: OutputShelf) -> None:
        self._shelf = shelf
        self.put_bytes = 0
        self.is_away = False
        self.is_lost_after = False

    async def put(self, run_id: str, number: int, pieces: Sequence[Piece], gaps: Sequence[tuple[Kept, Gap]]) -> bool:
        self._refuse()
        self.put_bytes += sum(len(piece.data) for piece in pieces)
        done = await self._shelf.put(run_id, number, pieces, gaps)
        if self.is_lost_after:
            raise StorageBusyError("in doubt")
        return done

    async def sizes(self, run_id: str, number: int) -> dict[Kept, int]:
        self._refuse()
        return await self._shelf.sizes(run_id, number)

    async def part(self, place: Place, offset: int, count: int) -> ShelfPart | None:
        return await self._shelf.part(place, offset, count)

    async def remove_forgotten(self, remove: Callable[[str], None]) -> None:
        await self._shelf.remove_forgotten(remove)

    async def drop(self, run_id: str, number: int, streams: Sequence[Kept]) -> list[Kept]:
        self._refuse()
        return await self._shelf.drop(run_id, number, streams)

    async def want(self, run_id: str, number: int) -> None:
        await self._shelf.want(run_id, number)

    async def wanted(self) -> set[tuple[str, int]]:
        self._refuse()
        return await self._shelf.wanted()

    def _refuse(self) -> None:
        if self.is_away:
            raise StorageBusyError("away")


def test_output_is_put_there_once_the_store_is_back(tmp_path: Path) -> None:
    async def scenario(hosts: Hosts) -> None:
        await accept(hosts.store, "a")
        await begin(hosts.store)
        shelf = Counting(hosts.shelf)
        shelving = SharedShelving(shelf, hosts.files, max_bytes=1 << 21)
        shelf.is_away = True
        shelving.follow("run-a")
        hosts.write(LINES)
        with pytest.raises(StorageBusyError):
            await shelving.complete("run-a", large(LINES))
        shelf.is_away, shelf.is_lost_after = False, True
        with pytest.raises(StorageBusyError):
            await shelving.complete("run-a", large(LINES))
        shelf.is_lost_after = False
        await shelving.complete("run-a", large(LINES))
        shelving.leave("run-a")
        assert await hosts.read() == LINES

    with_hosts(tmp_path, scenario)


def test_what_somebody_reads_elsewhere_is_put_there_at_once(tmp_path: Path) -> None:
    """The test is over before the next look that nobody asked for."""

    async def scenario(hosts: Hosts) -> None:
        await accept(hosts.store, "a")
        await begin(hosts.store)
        hosts.write(b"out 1\n")
        hosts.shelving.follow("run-a")
        hosts.store.tell_commits(hosts.shelving.ring)
        offset, seen = 0, b""
        for word in (b"out 1\n", b"out 2\n", b"out 3\n"):
            if word != b"out 1\n":
                hosts.write(word)
            while not seen.endswith(word):
                part = await hosts.reader.wait_for_part("run-a", 1, "stdout", offset=offset, count=100, wait_s=20)
                seen, offset = seen + part.data, part.next_offset
        assert seen == b"out 1\nout 2\nout 3\n"
        assert part.shared is not None
        assert not part.shared.is_whole
        hosts.shelving.leave("run-a")

    with_hosts(tmp_path, scenario)


def test_the_order_between_both_streams_is_known_elsewhere(tmp_path: Path) -> None:
    async def scenario(hosts: Hosts) -> None:
        await accept(hosts.store, "a")
        started = await begin(hosts.store)
        hosts.write(LINES[:100_000])
        hosts.write(b"e" * 10, "stderr")
        hosts.write(b"\x06\x0a", "order")
        output = Output(None, None, 100_000, 10, order=None)
        await hosts.shelving.complete("run-a", output)
        assert await hosts.reader.pieces("run-a", 1) == [("stdout", 6), ("stderr", 10), ("stdout", 99_994)]
        await hosts.store.finish(started.attempt, DONE, Exit(code=0), output, at_ms=3)
        assert await hosts.reader.pieces("run-a", 1) == [("stdout", 6), ("stderr", 10), ("stdout", 99_994)]
        hosts.shelving.leave("run-a")

    with_hosts(tmp_path, scenario)


def test_what_the_recorded_end_does_not_tell_stays_where_it_is(tmp_path: Path) -> None:
    """Another host has declared the attempt lost, and this one's word about its end came too late."""

    async def scenario(hosts: Hosts) -> None:
        await accept(hosts.store, "a")
        await begin(hosts.store)
        hosts.write(b"small")
        hosts.shelving.follow("run-a")
        await hosts.shelving.complete("run-a", Output(None, b"", 5, 0))
        output = await hosts.shelving.ended("run-a", Output(b"small", b"", 5, 0))
        hosts.shelving.leave("run-a")
        hosts.files.let_go("run-a", output)
        assert hosts.files.read("run-a", "stdout", 0, 10) == (b"small", 5)
        assert await hosts.read() == b"small"

    with_hosts(tmp_path, scenario)


def test_an_end_between_two_looks_hides_nothing(tmp_path: Path) -> None:
    async def scenario(hosts: Hosts) -> None:
        await accept(hosts.store, "a")
        started = await begin(hosts.store)
        await hosts.shelf.put("run-a", 1, pieces("stdout", 0, b"said"), ())

        class Ending(Elsewhere):
            async def part(self, place: Place, offset: int, count: int) -> ShelfPart | None:
                output = Output(b"said", b"", 4, 0)
                await hosts.store.finish(started.attempt, DONE, Exit(code=0), output, at_ms=3)
                await hosts.shelf.drop("run-a", 1, ["stdout"])
                return await super().part(place, offset, count)

        files = OutputFiles(tmp_path / "nowhere", max_output_bytes=1)
        reader = OutputReader(hosts.store, files, redactor=Redactor([]), elsewhere=Ending(hosts.shelf))
        part = await reader.part("run-a", 1, "stdout", 0, 10)
        assert (part.data, part.is_final) == (b"said", True)

    with_hosts(tmp_path, scenario)
