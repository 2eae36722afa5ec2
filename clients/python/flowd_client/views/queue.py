"""The queue as a whole, and what people have paused, as a client sees it."""

from collections.abc import Iterator, Sequence
from dataclasses import field
from datetime import datetime
from typing import overload

from flowd_client.views.frozen import frozen
from flowd_client.views.reading import Members, members, read, records, text
from flowd_client.views.run import RunView, read_run


@frozen
class PauseView:
    """A pause.

    Attributes:
        what: ``*`` (all flows), a flow, or ``flow/step``.
        by: Who wanted it: ``{"via", "uid", "name"}``.
    """

    what: str
    by: Members = field(hash=False)
    since: datetime | None


@frozen
class QueuedRunView:
    """A queued run.

    Attributes:
        since: When its waiting for what ``run.waiting_for`` says began.
        rounds: Where that is a person's answer: how many rounds wait for the key that its round holds.
    """

    run: RunView
    since: datetime | None
    rounds: int | None


@frozen
class QueueView(Sequence[QueuedRunView]):
    """A part of the queue: first the runs that are ready, in the order in which they start, then those that wait, the
    oldest first. A sequence of them.

    Attributes:
        ready: How many are ready in all.
        waiting: How many wait for something.
        next_cursor: Pass it as ``cursor`` for the next part; None at the end.
        raw: The response as it came.
    """

    items: tuple[QueuedRunView, ...]
    ready: int
    waiting: int
    pauses: tuple[PauseView, ...]
    next_cursor: str | None
    raw: Members = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[QueuedRunView]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> QueuedRunView: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[QueuedRunView]: ...
    def __getitem__(self, index: int | slice) -> QueuedRunView | Sequence[QueuedRunView]:
        return self.items[index]


@frozen
class PausedView:
    """A pause in force.

    Attributes:
        runs: How many runs were taken back that could have started.
    """

    pause: PauseView
    runs: int


@frozen
class ResumedView:
    """The end of a pause.

    Attributes:
        was_paused: False where there was none.
        runs: How many runs go on.
    """

    what: str
    was_paused: bool
    runs: int


def read_queue(response: object) -> QueueView:
    """A part of the queue from its response."""
    source = members(response)
    items = tuple(
        read(QueuedRunView, record, run=read_run(record.get("run"))) for record in records(source.get("runs"))
    )
    return read(QueueView, source, items=items, next_cursor=text(source.get("nextCursor")))


def read_paused(response: object) -> PausedView:
    """A pause from the response to it."""
    source = members(response)
    return read(PausedView, source, pause=read(PauseView, members(source.get("pause"))))


def read_resumed(response: object) -> ResumedView:
    """The end of a pause from the response to it."""
    return read(ResumedView, members(response))
