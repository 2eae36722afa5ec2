"""Sends what is in the outbox: each notice at least once, by the notifier that it is for."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from flowd.domain.errors import FlowdError, NotifierNotFoundError
from flowd.domain.notices import (
    GIVE_UP_MS,
    Notice,
    NoticeCounts,
    NoticeState,
    NotifyRule,
    Sent,
    delay_before_next_ms,
)
from flowd.domain.redaction import Redactor
from flowd.domain.stored import Page
from flowd.engine import telling
from flowd.engine.telling import Whereabouts
from flowd.ports import Clock
from flowd.ports.notices import NoticeSender, NoticeStore

log = logging.getLogger("flowd.notices")

GATHER_S = 2.0
"""So long a new notice is left in the outbox, so that what fails in the same moment is told by it, too."""

HOLD_MS = 120_000
"""So long a try may take, with all that may delay its record; then another host may take it over."""

_POLL_S = 60.0
_SHARED_POLL_S = 5.0
"""How often it is looked for what other hosts have left in the outbox."""

_STORAGE_S = 5.0
_SWEEP_MS = 3_600_000
_MAX_PAUSE_MS = 60_000
"""A notifier that has failed is left alone for a while, twice as long each time, so that a thousand notices do not
knock at a closed door one after the other."""


class Notifier(NamedTuple):
    """Who is told of what, and the way there."""

    rule: NotifyRule
    sender: NoticeSender


@dataclass(slots=True)
class NotifierHealth:
    """How a notifier fares, since the daemon began.

    Attributes:
        sent: Notices that it has sent.
        failed: Tries of it that came to nothing.
        in_a_row: Of these, those since the last one that was sent.
        problem: Why the last try came to nothing; None where it did not.
    """

    sent: int = 0
    failed: int = 0
    in_a_row: int = 0
    last_sent_at_ms: int | None = None
    problem: str | None = None
    paused_until_ms: int = 0


class Notices:
    """The outbox of a daemon, and its notifiers. Without any, it does nothing and costs nothing."""

    def __init__(
        self,
        *,
        store: NoticeStore,
        clock: Clock,
        redactor: Redactor,
        where: Whereabouts,
        nonce: Callable[[], str],
        is_shared: bool = False,
        gather_s: float = GATHER_S,
    ) -> None:
        """``is_shared``: other hosts have the same outbox."""
        self._store = store
        self._clock = clock
        self._redactor = redactor
        self._where = where
        self._nonce = nonce
        self._poll_s = _SHARED_POLL_S if is_shared else _POLL_S
        self._gather_s = gather_s
        self._notifiers: dict[str, Notifier] = {}
        self._others: tuple[NotifyRule, ...] = ()
        self._health: dict[str, NotifierHealth] = {}
        self._busy: set[str] = set()
        self._rung = asyncio.Event()
        self._has_new = False
        self._is_looking = False
        self._is_hurried = asyncio.Event()
        self._progress = asyncio.Event()
        self._swept_at_ms: int | None = None
        self.page: Callable[[], str | None] = lambda: None
        """The address of the web page, where browsers can reach it."""

    # --- what there is

    def use(self, notifiers: Sequence[Notifier]) -> None:
        """Have these notifiers from now on. What the store is told of how runs end is written down for them."""
        self._notifiers = {notifier.rule.name: notifier for notifier in notifiers}
        self._health = {name: self._health.get(name, NotifierHealth()) for name in self._notifiers}
        self._use_rules()
        self._rung.set()

    def use_others(self, rules: Sequence[NotifyRule]) -> None:
        """Write down, too, what other hosts of the store want to tell."""
        self._others = tuple(rules)
        self._use_rules()

    def _use_rules(self) -> None:
        rules: dict[str, NotifyRule] = {}
        for rule in (*self.rules, *self._others):
            rules.setdefault(rule.name, rule)  # our own word counts first
        self._store.use_notify_rules(tuple(rules.values()))

    @property
    def rules(self) -> tuple[NotifyRule, ...]:
        """Of the notifiers here."""
        return tuple(notifier.rule for notifier in self._notifiers.values())

    @property
    def notifiers(self) -> Mapping[str, Notifier]:
        """The notifiers here, by name."""
        return self._notifiers

    def health(self, name: str) -> NotifierHealth:
        """How a notifier fares."""
        return self._health.get(name, NotifierHealth())

    async def list(
        self, *, is_failed: bool = False, notifier: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[Notice]:
        """Notices, newest first, unmasked: see `shown`."""
        state = NoticeState.FAILED if is_failed else None
        return await self._store.notices(state=state, notifier=notifier, limit=limit, cursor=cursor)

    def shown(self, notice: Notice) -> dict[str, Any]:
        """What a notice says, with the secrets in it masked."""
        return telling.payload(notice, self._where, redactor=self._redactor, page=self.page())

    async def counts(self) -> dict[str, NoticeCounts]:
        """How many notices wait and were given up in the last day, by notifier. With no notifier, nothing is asked."""
        if not self._notifiers:
            return {}
        return await self._store.count_notices(since_ms=self._clock.now_ms() - GIVE_UP_MS)

    async def problem(self) -> str | None:
        """What could not be told, as a sentence; None where all is well."""
        counts = await self.counts()
        failing = [self._failing(name, counts.get(name, NoticeCounts())) for name in self._notifiers]
        given_up = sum(count.given_up for count in counts.values())
        found = [sentence for sentence in failing if sentence is not None]
        if given_up:
            found.append(f"{_notices(given_up)} given up in the last day; `flowd notices --failed` lists them")
        return "; ".join(found) or None

    def _failing(self, name: str, count: NoticeCounts) -> str | None:
        problem = self.health(name).problem
        if count.troubled:
            why = f": {problem}" if problem else ""
            return f"{name} could not send {_notices(count.troubled)}, and tries again{why}"
        return None

    # --- what people do

    async def test(self, name: str) -> Sent:
        """Send a test through a notifier; what came of it.

        Raises:
            NotifierNotFoundError: There is none of this name here.
        """
        notifier = self._notifiers.get(name)
        if notifier is None:
            raise NotifierNotFoundError(name, list(self._notifiers))
        at_ms, notice_id = self._clock.now_ms(), f"test-{self._nonce()}"
        body = telling.test_payload(notice_id, name, self._where, at_ms=at_ms)
        return await notifier.sender.send(notice_id, body, at_s=at_ms // 1000)

    async def retry(self, notice_id: str) -> Notice:
        """Try a notice now that was given up or waits for its next try; see `NoticeStore.retry_notice`."""
        notice = await self._store.retry_notice(notice_id)
        self.health(notice.notifier).paused_until_ms = 0
        self._rung.set()
        return notice

    async def forget(self, *, before_ms: int) -> None:
        """Forget what was sent or given up before an instant."""
        while await self._store.forget_notices(before_ms=before_ms):
            pass

    # --- sending

    def ring(self) -> None:
        """There are new notices."""
        self._has_new = True
        self._rung.set()

    async def work(self) -> None:
        """Send what there is, until this is cancelled. Then nothing of a try stays behind, and who comes next tries it
        again."""
        await self._once_there_is_any()
        with suppress(FlowdError):  # then what an earlier daemon held is tried a little later
            await self._store.release_notices(self._where.host)
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._is_looking, self._has_new = True, False
                wait_s = await self._begin(tasks)
                self._is_looking = False
                self._progress.set()
                await _within(wait_s, self._rung)
                if self._has_new:
                    await _within(self._gather_s, self._is_hurried)
                self._rung.clear()

    async def settle(self, *, bound_s: float) -> None:
        """The end has come: send what is new while there is time. The rest is sent by who comes next."""
        self._is_hurried.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(bound_s):
                while self._notifiers and (self._busy or self._is_looking or self._rung.is_set()):
                    self._progress.clear()
                    await self._progress.wait()

    async def _once_there_is_any(self) -> None:
        while not self._notifiers:
            await self._rung.wait()
            self._rung.clear()

    async def _begin(self, tasks: asyncio.TaskGroup) -> float | None:
        """Begin to send what is due; in how many seconds to look again. None: when it is rung."""
        now_ms = self._clock.steady_ms()
        paused = [health.paused_until_ms for health in self._health.values() if health.paused_until_ms > now_ms]
        idle = [name for name in self._notifiers if self._is_idle(name, now_ms)]
        if not self._notifiers:
            return None
        waits_ms = [self._poll_s * 1000, *(until_ms - now_ms for until_ms in paused)]
        try:
            await self._sweep(now_ms)
            if idle:
                claimed, tries_ms = await self._store.claim_notices(
                    idle, self._where.host, steady_ms=now_ms, hold_ms=HOLD_MS
                )
                for notice in claimed.notices:
                    self._busy.add(notice.notifier)
                    tasks.create_task(self._deliver(notice, tries_ms))
                if claimed.next_due_ms is not None:
                    waits_ms.append(max(0, claimed.next_due_ms - tries_ms))
        except FlowdError as error:
            log.warning("outbox not read", extra={"problem": error.message})
            return _STORAGE_S
        return max(0.01, min(waits_ms) / 1000)

    def _is_idle(self, name: str, now_ms: int) -> bool:
        return name not in self._busy and self.health(name).paused_until_ms <= now_ms

    async def _deliver(self, notice: Notice, tries_ms: int) -> None:
        """Try it once, and write down what came of it. Where that cannot be written, it is tried again."""
        try:
            sent = await self._try(notice)
            if sent.problem is None:
                await self._store.note_sent(notice, self._where.host, at_ms=self._clock.now_ms())
            else:
                await self._note_failed(notice, sent, tries_ms)
        except FlowdError as error:
            log.warning("notice not noted", extra={"notice": notice.id, "problem": error.message})
        except Exception:
            log.exception("notice not noted", extra={"notice": notice.id})
        finally:
            self._busy.discard(notice.notifier)
            self._rung.set()
            self._progress.set()

    async def _try(self, notice: Notice) -> Sent:
        notifier = self._notifiers.get(notice.notifier)
        if notifier is None:  # a reload has just taken it away
            return Sent("there is no notifier of this name any more")
        try:
            sent = await notifier.sender.send(notice.id, self.shown(notice), at_s=self._clock.now_ms() // 1000)
        except Exception as error:
            log.exception("notifier failed", extra={"notifier": notice.notifier})
            sent = Sent(f"a fault in flowd: {type(error).__name__}")
        if sent.problem is not None:
            sent = Sent(self._redactor.text(sent.problem), sent.is_final, sent.retry_after_ms)
        self._note_health(notice, sent)
        return sent

    def _note_health(self, notice: Notice, sent: Sent) -> None:
        health = self.health(notice.notifier)
        health.problem = sent.problem
        if sent.problem is None:
            health.sent += 1
            health.in_a_row, health.paused_until_ms = 0, 0
            health.last_sent_at_ms = self._clock.now_ms()
            log.debug("notice sent", extra={"notice": notice.id, "notifier": notice.notifier})
            return
        health.failed += 1
        health.in_a_row += 1
        pause_ms = min(_MAX_PAUSE_MS, 1000 << min(health.in_a_row - 1, 10))
        health.paused_until_ms = self._clock.steady_ms() + pause_ms

    async def _note_failed(self, notice: Notice, sent: Sent, tries_ms: int) -> None:
        assert sent.problem is not None
        delay_ms: int | None = delay_before_next_ms(notice.tries, retry_after_ms=sent.retry_after_ms)
        first_ms = tries_ms if notice.first_try_ms is None else notice.first_try_ms
        if sent.is_final or tries_ms - first_ms >= GIVE_UP_MS:
            delay_ms = None
        level = logging.WARNING if delay_ms is not None else logging.ERROR
        facts = {"notice": notice.id, "notifier": notice.notifier, "tries": notice.tries, "problem": sent.problem}
        log.log(level, "notice not sent" if delay_ms is not None else "notice given up", extra=facts)
        await self._store.note_not_sent(
            notice,
            self._where.host,
            sent.problem,
            delay_ms=delay_ms,
            steady_ms=self._clock.steady_ms(),
            at_ms=self._clock.now_ms(),
        )

    async def _sweep(self, now_ms: int) -> None:
        if self._swept_at_ms is not None and now_ms - self._swept_at_ms < _SWEEP_MS:
            return
        self._swept_at_ms = now_ms
        names = [*self._notifiers, *(rule.name for rule in self._others)]
        while await self._store.sweep_notices(names, steady_ms=now_ms, at_ms=self._clock.now_ms()):
            pass


async def _within(wait_s: float | None, event: asyncio.Event) -> None:
    """Wait for an event, but no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await event.wait()


def _notices(count: int) -> str:
    return "1 notice" if count == 1 else f"{count} notices"
