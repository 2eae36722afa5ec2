"""Puts the output of steps that run here where other hosts can read it: now and then while they run, at once where
somebody reads it, and the rest before their ends are recorded.

No step waits for that: what cannot be put there now is put there later. Only what is to be recorded as its end waits.
"""

import asyncio
import logging
from dataclasses import dataclass, field, replace

from flowd.domain.errors import RefusedError
from flowd.domain.ids import parse_attempt_id
from flowd.domain.shelf import CHUNK_BYTES, KEPT, Gap, Kept, Piece, pieces
from flowd.domain.stored import Output
from flowd.engine.outputs import OutputFiles
from flowd.ports import OutputShelf

log = logging.getLogger("flowd.engine")

EVERY_S = 5.0
"""What is lost of the output of a host that is lost."""
WANTED_EVERY_S = 0.25
_AT_ONCE_BYTES = 1024 * 1024
"""Of a stream in one transaction, which others wait for."""


@dataclass(slots=True)
class _Way:
    """How far the output of an attempt was put on the shelf.

    Attributes:
        due_s: When to look again, by the loop's clock; ``since_s`` is when it began.
    """

    run_id: str
    number: int
    due_s: float
    since_s: float
    kept: dict[Kept, int] = field(default_factory=dict)
    is_known: bool = False
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class _Load:
    """What goes there in one transaction, and how far the streams are there then."""

    pieces: list[Piece] = field(default_factory=list)
    gaps: list[tuple[Kept, Gap]] = field(default_factory=list)
    reached: dict[Kept, int] = field(default_factory=dict)


class Shelving:
    """The way of what is printed here to other hosts. This one is for where there are none."""

    def ring(self) -> None:
        """Something was committed, perhaps a wish to read."""

    def follow(self, attempt_id: str) -> None:
        """This attempt goes on for longer than a moment."""

    def leave(self, attempt_id: str) -> None:
        """It is over, or left to the next daemon."""

    async def complete(self, attempt_id: str, output: Output) -> None:
        """Let them have what its end does not tell of its output.

        Raises:
            RefusedError: The store cannot be reached. It goes on from there when it is called again.
        """

    async def ended(self, attempt_id: str, output: Output) -> Output:  # noqa: ARG002
        """Its end is recorded, and with it what need not be kept for them any more. What its end really tells of its
        output: where another host has declared it lost, what was shared of it is told nowhere else."""
        return output


class SharedShelving(Shelving):
    """The way to a shelf."""

    def __init__(self, shelf: OutputShelf, outputs: OutputFiles, *, max_bytes: int) -> None:
        """``max_bytes`` of each stream are put there, as its beginning and its end: at least two chunks."""
        self._shelf = shelf
        self._outputs = outputs
        self._half = max(1, max_bytes // 2 // CHUNK_BYTES) * CHUNK_BYTES
        self._ways: dict[str, _Way] = {}
        self._wanted: set[tuple[str, int]] = set()
        self._news = asyncio.Event()
        self._working: asyncio.Task[None] | None = None

    def ring(self) -> None:
        """See `Shelving.ring`."""
        self._news.set()

    def follow(self, attempt_id: str) -> None:
        """See `Shelving.follow`."""
        run_id, number = parse_attempt_id(attempt_id)
        loop = asyncio.get_running_loop()
        self._ways[attempt_id] = _Way(run_id, number, loop.time() + EVERY_S, loop.time())
        if self._working is None:
            self._working = loop.create_task(self._work(), name="flowd-shelving")
        self._news.set()

    def leave(self, attempt_id: str) -> None:
        """See `Shelving.leave`."""
        self._ways.pop(attempt_id, None)
        if not self._ways and self._working is not None:
            self._working.cancel()
            self._working = None

    async def complete(self, attempt_id: str, output: Output) -> None:
        """See `Shelving.complete`."""
        way = self._ways.get(attempt_id)
        now_s = asyncio.get_running_loop().time()
        if way is None:  # so short that nothing was put there; or an earlier daemon did, which does no harm
            way = self._ways[attempt_id] = _Way(*parse_attempt_id(attempt_id), 0.0, now_s, is_known=True)
        large: dict[Kept, int] = {}
        if output.stdout is None:
            large["stdout"] = output.stdout_bytes
        if output.stderr is None:
            large["stderr"] = output.stderr_bytes
        if output.order is None:
            large["order"] = self._outputs.stream_size(attempt_id, "order")
        if large:
            await self._ship(attempt_id, way, large)

    async def ended(self, attempt_id: str, output: Output) -> Output:
        """See `Shelving.ended`."""
        way = self._ways.get(attempt_id)
        if way is None or not (way.kept or asyncio.get_running_loop().time() - way.since_s > EVERY_S):
            return output  # it was too short to be lost
        told: dict[Kept, bytes | None] = {"stdout": output.stdout, "stderr": output.stderr, "order": output.order}
        streams = [name for name, data in told.items() if data]
        try:
            left = {*streams}.difference(await self._shelf.drop(way.run_id, way.number, streams) if streams else ())
        except RefusedError as error:
            log.debug("output kept twice", extra={"attempt_id": attempt_id, "problem": error.message})
            left = {*streams}
        return replace(
            output,
            stdout=None if "stdout" in left else output.stdout,
            stderr=None if "stderr" in left else output.stderr,
            order=None if "order" in left else output.order,
        )

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._look(loop.time())
            except RefusedError:
                pass  # who writes tells it
            except Exception:
                log.exception("output could not be told to other hosts")
            await self._rest(loop)

    async def _rest(self, loop: asyncio.AbstractEventLoop) -> None:
        """Until the next look is due; or, sooner, after news."""
        await asyncio.sleep(WANTED_EVERY_S)
        until_s = min((way.due_s for way in self._ways.values()), default=loop.time() + EVERY_S)
        try:
            async with asyncio.timeout_at(min(until_s, loop.time() + EVERY_S)):
                await self._news.wait()
        except TimeoutError:
            pass

    async def _look(self, now_s: float) -> None:
        self._news.clear()
        self._wanted = await self._shelf.wanted()
        due = [(name, way) for name, way in self._ways.items() if self._is_due(way, now_s)]
        for _, way in due:
            hurry = (way.run_id, way.number) in self._wanted
            way.due_s = now_s + (WANTED_EVERY_S if hurry else EVERY_S)
        await asyncio.gather(*(self._ship(name, way, self._written(name)) for name, way in due), return_exceptions=True)

    def _is_due(self, way: _Way, now_s: float) -> bool:
        return way.due_s <= now_s or (way.run_id, way.number) in self._wanted

    def _written(self, attempt_id: str) -> dict[Kept, int]:
        return {stream: self._outputs.stream_size(attempt_id, stream) for stream in KEPT}

    async def _ship(self, attempt_id: str, way: _Way, until: dict[Kept, int]) -> None:
        """Put these streams there up to these sizes."""
        async with way.turn:
            if not way.is_known and any(until.values()):
                way.kept.update(await self._shelf.sizes(way.run_id, way.number))
                way.is_known = True
            while (load := self._load(attempt_id, way.kept, until)).pieces:
                if await self._shelf.put(way.run_id, way.number, load.pieces, load.gaps):
                    way.kept.update(load.reached)
                else:
                    way.kept.clear()

    def _load(self, attempt_id: str, kept: dict[Kept, int], until: dict[Kept, int]) -> "_Load":
        """What is put there next."""
        load = _Load()
        for stream, size in until.items():
            at = kept.get(stream, 0)
            begin = self._next(at, size)
            end = min(size, begin + _AT_ONCE_BYTES, self._half if begin < self._half else size)
            data = self._outputs.read(attempt_id, stream, begin, end - begin)[0] if begin < end else b""
            if not data:
                continue  # all is there; or somebody has removed or cut its file
            load.pieces += pieces(stream, begin, data)
            load.reached[stream] = begin + len(data)
            gap = self._gap(begin, begin + len(data), has_jumped=begin != at)
            if gap is not None:
                load.gaps.append((stream, gap))
        return load

    def _next(self, at: int, size: int) -> int:
        """Where to go on, having come to ``at``: between its beginning and its end, a stream may have a gap."""
        if at < self._half:
            return at
        return max(at, (size - self._half) // CHUNK_BYTES * CHUNK_BYTES)

    def _gap(self, begin: int, reached: int, *, has_jumped: bool) -> Gap | None:
        """What is to be let go of, having come from ``begin`` to ``reached``."""
        end = begin if has_jumped else (reached - self._half) // CHUNK_BYTES * CHUNK_BYTES
        return Gap(self._half, end) if end > self._half else None
