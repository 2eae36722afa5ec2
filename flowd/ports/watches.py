"""Files that are watched."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from flowd.domain.watches import Watch, WatchState

QUIET_MS = 20
"""When a change is told of, nothing more has changed for at least as long."""


class WatchedFiles(Protocol):
    """The files of all watches, each by its label. What was told of them survives this process."""

    def listen(self, on_news: Callable[[str], None]) -> None:
        """``on_news`` is called in the running loop with the label of a watch that has something to tell, after each
        further change again."""
        ...

    async def use(self, watches: Sequence[Watch]) -> None:
        """Watch for these, and no others any more. A new one begins with the files that are there now; one that an
        earlier process knew has to tell what has changed since."""
        ...

    async def take(self, label: str, *, is_quiet: bool) -> Mapping[str, Any] | None:
        """The event to send for what has changed; None where nothing has. As long as it is not `told`, it is the same
        one, also in the next process.

        Raises:
            OSError: It could not be written down. Nothing was taken.
        """
        ...

    async def told(self, label: str) -> None:
        """The event was accepted."""
        ...

    def has_news(self, label: str) -> bool:
        """Whether there is something to take."""
        ...

    def states(self) -> list[WatchState]:
        """How the watches are, in their order."""
        ...

    async def close(self) -> None:
        """Stop watching. May be called twice."""
        ...
