"""What was told outside of flowd, as a client sees it."""

from collections.abc import Iterator, Sequence
from dataclasses import field
from datetime import datetime
from typing import overload

from flowd_client.views.frozen import frozen
from flowd_client.views.reading import Members, members, read, records, text


@frozen
class NoticeView:
    """A notice.

    Attributes:
        what: ``failed``, ``blocked``, ``needs_intervention``, ``recovered`` or ``queue_timeout``.
        state: ``waiting``, ``sent`` or ``failed``: it was given up.
        text: What it says, in a sentence or two.
        failures: How many runs of its tree failed; None where it is about no failure.
        problem: Why its last try came to nothing.
        raw: The record as it came.
    """

    id: str
    notifier: str
    what: str
    state: str
    text: str
    created_at: datetime | None
    sent_at: datetime | None
    given_up_at: datetime | None
    tries: int
    problem: str | None
    flow: str
    step: str
    run_id: str
    event_id: str
    root_event_id: str
    failures: int | None
    raw: Members = field(repr=False, compare=False)


@frozen
class NotifierView:
    """A notifier of the host that has answered, and how it has fared since its daemon began.

    Attributes:
        to: The program, or the address without what is secret of it.
        on: What it tells.
        flows: Of which flows; empty: of all.
        sent: Notices that it has sent.
        failed: Tries that came to nothing.
        waiting: Notices that wait for it.
        problem: Why the last try came to nothing; None where it did not.
    """

    name: str
    to: str
    on: tuple[str, ...]
    flows: tuple[str, ...]
    sent: int
    failed: int
    waiting: int
    last_sent_at: datetime | None
    problem: str | None


@frozen
class NoticesView(Sequence[NoticeView]):
    """Notices, newest first. A sequence of them.

    Attributes:
        notifiers: Those of the host that has answered.
        next_cursor: Pass it as ``cursor`` for the next part; None at the end.
        raw: The response as it came.
    """

    items: tuple[NoticeView, ...]
    notifiers: tuple[NotifierView, ...]
    next_cursor: str | None
    raw: Members = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[NoticeView]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> NoticeView: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[NoticeView]: ...
    def __getitem__(self, index: int | slice) -> NoticeView | Sequence[NoticeView]:
        return self.items[index]


def read_notices(response: object) -> NoticesView:
    """A list's response."""
    source = members(response)
    return NoticesView(
        tuple(read(NoticeView, record) for record in records(source.get("notices"))),
        tuple(read(NotifierView, record) for record in records(source.get("notifiers"))),
        text(source.get("nextCursor")),
        source,
    )


def read_notice(response: object) -> NoticeView:
    """A notice from the response about it alone."""
    return read(NoticeView, members(members(response).get("notice")))
