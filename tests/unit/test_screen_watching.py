"""When ``flowd top`` looks at the daemon: by a client that says what is asked of it."""

import asyncio
from collections.abc import Callable
from typing import Any, Self

import pytest

from flowd.screen.wanted import Wanted
from flowd.screen.watching import look, watch
from flowd_client.aio import AsyncFlowClient
from flowd_client.errors import DaemonNotRunningError, FlowClientError, invalid_params
from flowd_client.views.host import read_hosts
from flowd_client.views.question import read_questions
from flowd_client.views.queue import read_queue


class Updates:
    """A subscription; ``heard`` says how many updates were taken from it."""

    def __init__(self, *, is_busy: bool) -> None:
        self.is_busy = is_busy
        self.is_open = False
        self.heard = 0

    async def __aenter__(self) -> Self:
        self.is_open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.is_open = False

    async def __anext__(self) -> None:
        if not self.is_busy:
            await asyncio.Event().wait()
        self.heard += 1


class Daemon(AsyncFlowClient):
    """A client whose daemon has something to tell all the time, or never."""

    def __init__(self, *, is_busy: bool = True, failures: int = 0, is_old: bool = False) -> None:
        self.is_old = is_old
        self.subscriptions: list[Updates] = []
        self.is_busy = is_busy
        self.failures = failures

    def subscribe(self, topics: Any = None, **_: Any) -> Any:
        if "progress" in topics and self.is_old:
            raise invalid_params("There is no topic progress.")
        if self.failures:
            self.failures -= 1
            raise DaemonNotRunningError("No daemon.")
        self.subscriptions.append(Updates(is_busy=self.is_busy))
        return self.subscriptions[-1]


class Reader:
    """Looks, and ends the watch when it has looked so often."""

    def __init__(self, daemon: Daemon, enough: int, then: Callable[["Reader"], None] = lambda _: None) -> None:
        self.daemon = daemon
        self.enough = enough
        self.then = then
        self.looks = 0
        self.was_listening: list[bool] = []
        self.losses: list[FlowClientError] = []
        self.ring = asyncio.Event()

    async def look(self) -> None:
        self.looks += 1
        self.was_listening.append(self.daemon.subscriptions[-1].is_open)
        if self.looks == self.enough:
            raise asyncio.CancelledError
        self.then(self)

    async def watch(self) -> None:
        try:
            await watch(self.daemon, self.look, self.losses.append, self.ring, pace_s=0)
        except asyncio.CancelledError:
            pass


def test_it_listens_before_it_looks_and_hears_no_more_than_one_update_of_a_busy_daemon() -> None:
    async def main() -> None:
        daemon = Daemon()
        reader = Reader(daemon, 5)
        await reader.watch()
        assert reader.was_listening == [True] * 5
        assert [updates.heard for updates in daemon.subscriptions] == [1, 1, 1, 1, 0]
        assert not any(updates.is_open for updates in daemon.subscriptions)

    asyncio.run(main())


def test_a_ring_makes_it_look_where_nothing_happens() -> None:
    async def main() -> None:
        daemon = Daemon(is_busy=False)
        reader = Reader(daemon, 3, lambda reader: reader.ring.set())
        await reader.watch()
        assert reader.looks == 3

    asyncio.run(main())


def test_it_tells_why_the_daemon_is_away_and_goes_on() -> None:
    async def main() -> None:
        daemon = Daemon(failures=2)
        reader = Reader(daemon, 1)
        await reader.watch()
        assert ([error.slug for error in reader.losses], reader.looks) == (["no_daemon"] * 2, 1)

    asyncio.run(main())


def test_a_daemon_that_knows_no_progress_is_asked_for_the_rest() -> None:
    async def main() -> None:
        reader = Reader(Daemon(is_old=True), 2)
        await reader.watch()
        assert (reader.losses, reader.looks) == ([], 2)

    asyncio.run(main())


class Telling(AsyncFlowClient):
    """A client whose daemon answers everything with nothing, and has its store where it says."""

    def __init__(self, store: dict[str, str] | None, *, knows_hosts: bool = True) -> None:
        self.store = store
        self.knows_hosts = knows_hosts

    async def status(self, **_: Any) -> Any:
        return {} if self.store is None else {"store": self.store}

    async def attention(self, **_: Any) -> Any:
        return read_questions({})

    async def list_runs(self, **_: Any) -> Any:
        return ()

    async def queue(self, **_: Any) -> Any:
        return read_queue({})

    async def hosts(self) -> Any:
        if not self.knows_hosts:
            raise invalid_params("There is no such method.")
        assert self.store is not None
        return read_hosts({"hosts": [{"name": "anna"}]})


@pytest.mark.parametrize(
    ("daemon", "names"),
    [
        (Telling({"kind": "postgresql"}), ["anna"]),
        (Telling({"kind": "postgresql"}, knows_hosts=False), []),
        (Telling({"kind": "sqlite"}), []),
        (Telling(None), []),
    ],
)
def test_hosts_are_asked_for_where_they_share_the_store_and_may_be_unknown(daemon: Telling, names: list[str]) -> None:
    answers = asyncio.run(look(daemon, Wanted()))
    assert [host.name for host in answers.hosts] == names
