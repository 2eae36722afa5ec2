"""The outbox of notices, and what sends them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from flowd.domain.notices import ClaimedNotices, Notice, NoticeCounts, NoticeState, NotifyRule, Sent
from flowd.domain.stored import Page


class NoticeStore(Protocol):
    """What notifiers tell, and have told. Tries go by a clock that nobody sets: this host's (``steady_ms``), or the
    store's own where hosts share it."""

    def use_notify_rules(self, rules: Sequence[NotifyRule]) -> None:
        """From now on the end of a run is committed together with the notices that these rules ask for.

        A tree has one notice of its failures for each notifier, which counts the others, until something of it is
        retried or replayed. With no rules nothing is written, and no statement is executed for it.
        """
        ...

    async def claim_notices(
        self, names: Sequence[str], holder: str, *, steady_ms: int, hold_ms: int
    ) -> tuple[ClaimedNotices, int]:
        """For each of these notifiers the next notice whose time has come and that nobody holds: it is the holder's for
        ``hold_ms``, and this try is counted. Also the instant now, by the clock that tries go by."""
        ...

    async def note_sent(self, notice: Notice, holder: str, *, at_ms: int) -> bool:
        """It was sent. False, and nothing changed, where it is not the holder's any more or was tried anew since."""
        ...

    async def note_not_sent(
        self, notice: Notice, holder: str, error: str, *, delay_ms: int | None, steady_ms: int, at_ms: int
    ) -> bool:
        """The try came to nothing. Another one follows after ``delay_ms``; None gives up. See `note_sent`."""
        ...

    async def release_notices(self, holder: str) -> None:
        """An earlier daemon of this name sends nothing any more: what it held may be tried at once."""
        ...

    async def retry_notice(self, notice_id: str) -> Notice:
        """Let a notice be tried now that was given up, or that waits for its next try.

        Raises:
            NoticeNotFoundError: There is none.
            NotRetryableError: It was sent.
        """
        ...

    async def sweep_notices(self, names: Sequence[str], *, steady_ms: int, at_ms: int) -> int:
        """Give up what has waited for a day for a notifier that is none of ``names``, and forget some of what was sent
        or given up long ago. How many these are."""
        ...

    async def forget_notices(self, *, before_ms: int) -> int:
        """Forget some of what was sent or given up before an instant; how many, 0 when none is left."""
        ...

    async def notices(
        self, *, state: NoticeState | None = None, notifier: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[Notice]:
        """Notices, newest first."""
        ...

    async def count_notices(self, *, since_ms: int) -> dict[str, NoticeCounts]:
        """How many wait, and how many were given up since an instant, by notifier."""
        ...


class NoticeSender(Protocol):
    """One way out: a program, or an address."""

    @property
    def target(self) -> str:
        """Where it goes, for people: no secret, no query."""
        ...

    async def send(self, notice_id: str, payload: Mapping[str, Any], *, at_s: int) -> Sent:
        """Send it once. Never raises for what the receiver does; takes a bounded time. Cancelling leaves no process
        behind.

        Args:
            at_s: Seconds since the epoch, by the wall clock.
        """
        ...
