"""`SharedStore`: a schema that hosts share, with their leases, as one of them sees it."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from flowd.domain.errors import FlowdError
from flowd.domain.hosts import HostSession, KnownHost, Startable
from flowd.domain.notices import NotifyRule
from flowd.domain.outcome import Outcome
from flowd.domain.queueing import LeftRunning
from flowd.domain.run import Attempt, Run
from flowd.domain.tenure import Held, Lost
from flowd.domain.waiting import TimeWait
from flowd.ports.hosts import Served
from flowd.store.postgres.address import Address
from flowd.store.postgres.connection import PostgresWriter
from flowd.store.postgres.listener import Listener
from flowd.store.postgres.output_shelf import PostgresShelf
from flowd.store.postgres.store import PostgresStore
from flowd.store.sql import able, hosts, leases
from flowd.store.sql.connection import Connection


class SharedStore(PostgresStore):
    """A `flowd.ports.hosts.Leases` and `flowd.ports.hosts.Hosts` beside a store."""

    def __init__(self, address: Address, *, host: HostSession, **options: Any) -> None:
        """Connect, and listen; must be called in a running loop. See `PostgresStore`."""
        self._host = host
        self._told_as = host.name
        self._news: list[Callable[[], None]] = []
        super().__init__(address, **options)
        self._shelf = PostgresShelf(read=self._read, write=self._writer.do, host=host.name)
        self._listener = Listener(address, own_pid=self._own_pid, on_news=self._tell_news)

    def _own_pid(self) -> int:
        writer = self._writer.connection
        return writer.server_pid if isinstance(writer, PostgresWriter) and not writer.is_lost else -1

    def _tell_news(self) -> None:
        self._writer.heard()
        for listener in self._news:
            listener()

    async def close(self) -> None:
        """See `SqlStore.close`."""
        with suppress(FlowdError):  # then it looks as if it had died
            await self.leave()
        await asyncio.to_thread(self._listener.close)
        await super().close()

    def tell_news(self, listener: Callable[[], None]) -> None:
        """See `flowd.ports.hosts.Leases.tell_news`."""
        self._news.append(listener)

    async def register(self) -> bool:
        """See `flowd.ports.hosts.Hosts.register`."""
        return await self._writer.do(lambda db: hosts.register(db, self._host))

    async def leave(self) -> None:
        """See `flowd.ports.hosts.Hosts.leave`."""
        await self._writer.do(lambda db: hosts.leave(db, self._host))

    async def served(self) -> tuple[Served, Served]:
        """See `flowd.ports.hosts.Hosts.served`."""
        return await self._read(hosts.served)

    async def known(self) -> list[KnownHost]:
        """See `flowd.ports.hosts.Hosts.known`."""
        return await self._read(lambda db: hosts.known(db, self._host.name))

    async def want(self, name: str, *, is_draining: bool) -> bool:
        """See `flowd.ports.hosts.Hosts.want`."""
        is_own = name == self._host.name
        is_known = await self._writer.do(lambda db: hosts.want(db, name, is_draining=is_draining, is_own=is_own))
        if is_own:
            self._tell_news()  # our own commits are no news else
        return is_known

    async def forget(self, name: str, *, is_forced: bool) -> int | None:
        """See `flowd.ports.hosts.Hosts.forget`."""
        return await self._writer.do(lambda db: hosts.forget(db, name, is_forced=is_forced))

    async def note_abilities(self, steps: Iterable[tuple[str, str]]) -> None:
        """See `flowd.ports.hosts.Hosts.note_abilities`."""
        known = list(steps)
        await self._writer.do(lambda db: hosts.note_abilities(db, self._host, known))

    async def note_packages(self, commit: str | None, hashes: Mapping[str, str]) -> None:
        """See `flowd.ports.hosts.Hosts.note_packages`."""
        await self._writer.do(lambda db: hosts.note_packages(db, self._host, commit, hashes))

    async def differing(self) -> dict[str, dict[str, str]]:
        """See `flowd.ports.hosts.Hosts.differing`."""
        return await self._read(hosts.differing)

    async def note_notifiers(self, rules: Iterable[NotifyRule]) -> None:
        """See `flowd.ports.hosts.Hosts.note_notifiers`."""
        known = list(rules)
        await self._writer.do(lambda db: hosts.note_notifiers(db, self._host, known))

    async def notify_rules(self) -> list[NotifyRule]:
        """See `flowd.ports.hosts.Hosts.notify_rules`."""
        return await self._read(hosts.notify_rules)

    async def left_running(self) -> list[LeftRunning]:
        """See `flowd.ports.queue.Queue.left_running`: of this host alone."""
        return await self._read(lambda db: leases.of_session(db, self._host))

    async def renew(self, *, running: int, places: int, is_draining: bool = False) -> list[Held] | None:
        """See `flowd.ports.hosts.Leases.renew`."""

        def renew(db: Connection) -> list[Held] | None:
            assert isinstance(db, PostgresWriter)
            changes, now_ms = db.total_changes, time.time_ns() // 1_000_000
            held = leases.renew(db, self._host, running=running, places=places, is_draining=is_draining, now_ms=now_ms)
            db.total_changes = changes  # no news for other hosts
            return held

        return await self._writer.do(renew)

    async def startable(self) -> Startable:
        """See `flowd.ports.hosts.Leases.startable`."""
        return await self._read(lambda db: able.startable(db, self._host))

    async def requeue(self, run_id: str, *, at_ms: int) -> bool:
        """See `flowd.ports.queue.Queue.requeue`: for runs that this host holds."""
        return await self.return_run(run_id, at_ms=at_ms)

    def _tries_ms(self, db: Connection, steady_ms: int) -> int:  # noqa: ARG002 - no two hosts agree on theirs
        return int(db.execute("SELECT server_ms()").fetchone()[0])

    def _holds(self, db: Connection, attempt: Attempt) -> bool:
        return leases.is_held(db, self._host, attempt)

    async def cancel_wishes(self) -> list[str]:
        """See `flowd.ports.hosts.Leases.cancel_wishes`."""
        return await self._read(lambda db: leases.cancel_wishes(db, self._host))

    async def return_run(self, run_id: str, *, at_ms: int) -> bool:
        """See `flowd.ports.hosts.Leases.return_run`."""
        return await self._writer.do(lambda db: leases.return_run(db, self._host, run_id, at_ms=at_ms))

    async def expired(self) -> list[Lost]:
        """See `flowd.ports.hosts.Leases.expired`."""
        return await self._read(leases.expired)

    async def declare_lost(
        self, attempt: Attempt, outcome: Outcome, *, at_ms: int, wait: TimeWait | None
    ) -> Run | None:
        """See `flowd.ports.hosts.Leases.declare_lost`."""
        return await self._writer.do(lambda db: leases.declare_lost(db, attempt, outcome, at_ms=at_ms, wait=wait))
