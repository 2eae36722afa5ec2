"""The record of what happened, and words that count once."""

from collections.abc import Sequence
from typing import Protocol

from flowd.domain.journal import FlowState, Interest, JournalPage


class Nonces(Protocol):
    """Words that count once."""

    async def remember_nonce(self, nonce: str, at_ms: int, expires_at_ms: int) -> bool:
        """Whether the nonce is new; it is on disk until it expires when this returns."""
        ...


class Journal(Protocol):
    """The record of what happened, as far back as it is kept."""

    async def journal(self, interest: Interest, *, after: int | None, limit: int) -> JournalPage:
        """Entries of interest after a cursor, at most ``limit``; ``after=None`` gives none, only the span."""
        ...

    async def running(self, interest: Interest) -> list[tuple[str, int]]:
        """Id and attempt number of every running run of interest."""
        ...

    async def note_flows(self, flows: Sequence[FlowState], *, at_ms: int) -> None:
        """Add an entry for each flow that differs from what was noted last; those missing here were removed.
        Where hosts share the store, these are this host's, and so are those that were noted last."""
        ...
