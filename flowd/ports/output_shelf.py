"""Where hosts that share a store put the output of their steps, so that it can be read on the others."""

from collections.abc import Callable, Sequence
from typing import Protocol

from flowd.domain.shelf import Gap, Kept, Piece, Place, ShelfPart


class OutputShelf(Protocol):
    """Output of attempts, as far as it was put here. A store that is not shared has none."""

    async def put(self, run_id: str, number: int, pieces: Sequence[Piece], gaps: Sequence[tuple[Kept, Gap]]) -> bool:
        """Keep these pieces, and let go of what lies in the gaps. Doing it again changes nothing.

        Returns:
            False where a piece does not begin where its chunk ends, for what was put here before is gone: nothing was
            kept.

        Raises:
            RefusedError: The store cannot be reached: nothing was kept, or all of it.
        """
        ...

    async def sizes(self, run_id: str, number: int) -> dict[Kept, int]:
        """How far the streams of an attempt are kept; those of which nothing is are left out."""
        ...

    async def part(self, place: Place, offset: int, count: int) -> ShelfPart | None:
        """Up to ``count`` bytes of a stream from ``offset``; None where nothing of it is kept."""
        ...

    async def drop(self, run_id: str, number: int, streams: Sequence[Kept]) -> list[Kept]:
        """Keep nothing more of those among these streams that the recorded end of the attempt has whole. Which they
        are: none where another host has declared it lost."""
        ...

    async def remove_forgotten(self, remove: Callable[[str], None]) -> None:
        """Call this for each attempt that ran on this host, left files, and was forgotten since: within a transaction,
        in another thread, before its id can be given again."""
        ...

    async def want(self, run_id: str, number: int) -> None:
        """Somebody reads the output of this attempt while it is written: for half a minute, its host hurries."""
        ...

    async def wanted(self) -> set[tuple[str, int]]:
        """The attempts whose output somebody reads, by run and number."""
        ...
