"""The part of `SqlStore` that keeps the outbox."""

from collections.abc import Sequence

from flowd.domain.notices import ClaimedNotices, Notice, NoticeCounts, NoticeState, NotifyRule
from flowd.domain.stored import Page
from flowd.store.sql import outbox
from flowd.store.sql.connection import Connection
from flowd.store.sql.store_part import StorePart


class NoticeStore(StorePart):
    """See `flowd.ports.notices.NoticeStore` for what every method guarantees."""

    def _tries_ms(self, db: Connection, steady_ms: int) -> int:  # noqa: ARG002 - hosts that share a store ask it
        """By the clock that tries go by."""
        return steady_ms

    def use_notify_rules(self, rules: Sequence[NotifyRule]) -> None:
        """See `flowd.ports.notices.NoticeStore.use_notify_rules`."""
        self._writer.use_notify_rules(rules)

    async def claim_notices(
        self, names: Sequence[str], holder: str, *, steady_ms: int, hold_ms: int
    ) -> tuple[ClaimedNotices, int]:
        """See `flowd.ports.notices.NoticeStore.claim_notices`."""

        def claim(db: Connection) -> tuple[ClaimedNotices, int]:
            now_ms = self._tries_ms(db, steady_ms)
            return outbox.claim(db, names, holder, now_ms=now_ms, hold_ms=hold_ms), now_ms

        return await self._writer.do(claim)

    async def note_sent(self, notice: Notice, holder: str, *, at_ms: int) -> bool:
        """See `flowd.ports.notices.NoticeStore.note_sent`."""
        return await self._writer.do(lambda db: outbox.sent(db, notice, holder, at_ms=at_ms))

    async def note_not_sent(
        self, notice: Notice, holder: str, error: str, *, delay_ms: int | None, steady_ms: int, at_ms: int
    ) -> bool:
        """See `flowd.ports.notices.NoticeStore.note_not_sent`."""

        def note(db: Connection) -> bool:
            due_ms = None if delay_ms is None else self._tries_ms(db, steady_ms) + delay_ms
            return outbox.not_sent(db, notice, holder, error, due_ms=due_ms, at_ms=at_ms)

        return await self._writer.do(note)

    async def release_notices(self, holder: str) -> None:
        """See `flowd.ports.notices.NoticeStore.release_notices`."""
        await self._writer.do(lambda db: outbox.release(db, holder))

    async def retry_notice(self, notice_id: str) -> Notice:
        """See `flowd.ports.notices.NoticeStore.retry_notice`."""
        return await self._writer.do(lambda db: outbox.retry(db, notice_id))

    async def sweep_notices(self, names: Sequence[str], *, steady_ms: int, at_ms: int) -> int:
        """See `flowd.ports.notices.NoticeStore.sweep_notices`."""
        return await self._writer.do(
            lambda db: outbox.sweep(db, names, now_ms=self._tries_ms(db, steady_ms), at_ms=at_ms)
        )

    async def forget_notices(self, *, before_ms: int) -> int:
        """See `flowd.ports.notices.NoticeStore.forget_notices`."""
        return await self._writer.do(lambda db: outbox.forget(db, before_ms=before_ms))

    async def notices(
        self, *, state: NoticeState | None = None, notifier: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[Notice]:
        """See `flowd.ports.notices.NoticeStore.notices`."""
        return await self._read(
            lambda db: outbox.notices(db, state=state, notifier=notifier, limit=limit, cursor=cursor)
        )

    async def count_notices(self, *, since_ms: int) -> dict[str, NoticeCounts]:
        """See `flowd.ports.notices.NoticeStore.count_notices`."""
        return await self._read(lambda db: outbox.counts(db, since_ms=since_ms))
