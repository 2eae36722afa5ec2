"""Watches, as a client sees them."""

from collections.abc import Iterator, Sequence
from dataclasses import field
from datetime import datetime
from typing import overload

from flowd_client.views.frozen import frozen
from flowd_client.views.reading import Members, members, read, records


@frozen
class FlowWatchView:
    """A watch as its flow defines it; see `WatchView`."""

    name: str
    paths: tuple[str, ...]
    type: str
    settle_ms: int
    gitignore: bool


@frozen
class WatchView:
    """A watch.

    Attributes:
        paths: Patterns of the files whose changes become events of this ``type``, once nothing has changed for
            ``settle_ms``.
        gitignore: Files that a ``.gitignore`` leaves out do not count.
        status: ``watching``, ``polling``, ``starting`` or ``off``.
        files: How many there are.
        changing: Something has changed, and there is no event of it yet.
        last_event_id: Of its newest event, which was made at ``last_event_at``.
        problem: What keeps it from events, or makes it slow.
    """

    flow: str
    name: str
    paths: tuple[str, ...]
    type: str
    settle_ms: int
    gitignore: bool
    status: str
    files: int
    changing: bool
    last_event_id: str | None = None
    last_event_at: datetime | None = None
    problem: str | None = None


@frozen
class WatchesView(Sequence[WatchView]):
    """The watches of all flows in force. A sequence of them; ``raw`` is the response as it came."""

    items: tuple[WatchView, ...]
    raw: Members = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[WatchView]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> WatchView: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[WatchView]: ...
    def __getitem__(self, index: int | slice) -> WatchView | Sequence[WatchView]:
        return self.items[index]


def read_watches(response: object) -> WatchesView:
    """All watches from the response."""
    source = members(response)
    return WatchesView(tuple(read(WatchView, record) for record in records(source.get("watches"))), source)
