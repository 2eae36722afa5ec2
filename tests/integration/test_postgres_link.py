"""What becomes of a commit whose connection is lost, and of calls while the server is away."""

import asyncio
import os
import select
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Literal

import postgres_rig
import pytest
from store_rig import STEP, accept, new_event

from flowd.domain.errors import StorageBusyError
from flowd.domain.queueing import NewRun
from flowd.ports import OpenStore
from flowd.store.postgres import connection
from flowd.store.postgres.address import Address
from flowd.store.postgres.store import PostgresStore

Cut = Literal["before", "after"]
PostgresStoreOpener = Callable[[], PostgresStore]


class Link:
    """A socket in front of the server's, which can lose a connection around its next commit."""

    def __init__(self, server: Path, folder: Path) -> None:
        self._server = server / ".s.PGSQL.5432"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self.cut: Cut | None = None
        self.cuts = 0
        self._end, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def close(self) -> None:
        os.write(self._wake, b"x")
        self._thread.join()
        self._listener.close()
        os.close(self._end)
        os.close(self._wake)

    def _work(self) -> None:
        pairs: dict[socket.socket, socket.socket] = {}
        clients: set[socket.socket] = set()
        while True:
            found, _, _ = select.select([self._end, self._listener, *pairs], (), ())
            if self._end in found:
                break
            for one in found:
                if one is self._listener:
                    client, _ = self._listener.accept()
                    server = socket.socket(socket.AF_UNIX)
                    server.connect(str(self._server))
                    pairs |= {client: server, server: client}
                    clients.add(client)
                elif one in pairs and not self._forward(one, pairs[one], is_client=one in clients):
                    for end in (one, pairs[one]):
                        pairs.pop(end).close()
                        clients.discard(end)
        for one in list(pairs):
            one.close()

    def _forward(self, source: socket.socket, target: socket.socket, *, is_client: bool) -> bool:
        try:
            data = source.recv(65_536)
        except ConnectionResetError:  # whoever ended it had not read all
            return False
        if not data:
            return False
        if is_client and b";COMMIT" in data and self.cut is not None:
            how, self.cut = self.cut, None
            self.cuts += 1
            if how == "after":
                target.sendall(data)
                target.recv(1)  # the answer has begun: the commit is done
            return False
        try:
            target.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True


@pytest.fixture
def link(tmp_path: Path) -> Iterator[tuple[Link, PostgresStoreOpener]]:
    postgres_rig.DATABASE.address(tmp_path)
    with tempfile.TemporaryDirectory(prefix="flowd-link-") as folder:
        made = Link(postgres_rig.server().folder, Path(folder))
        url = f"postgresql://postgres@/test?host={folder}"
        try:
            yield made, lambda: PostgresStore(Address(url, url, "flowd"), max_queued=1000)
        finally:
            made.close()


def use(opened: PostgresStoreOpener, what: Callable[[PostgresStore], Awaitable[None]]) -> None:
    async def run() -> None:
        store = opened()
        try:
            await what(store)
        finally:
            await store.close()

    asyncio.run(run())


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_commit_whose_answer_was_lost_is_looked_up_and_never_done_twice(
    link: tuple[Link, PostgresStoreOpener], cut: Cut
) -> None:
    between, opened = link

    async def body(store: PostgresStore) -> None:
        await accept(store, "first")
        between.cut = cut
        accepted = await store.accept(new_event("e"), [NewRun("r", STEP)], at_ms=1)
        assert between.cuts == 1
        assert not accepted.is_duplicate
        counts = await store.counts()
        assert (counts.events, counts.runs["queued"]) == (2, 2)

    use(opened, body)


def test_a_commit_that_cannot_be_looked_up_is_refused_as_one_to_send_again(
    link: tuple[Link, PostgresStoreOpener], monkeypatch: pytest.MonkeyPatch
) -> None:
    between, opened = link

    async def body(store: PostgresStore) -> None:
        await accept(store, "first")
        monkeypatch.setattr(connection.PostgresWriter, "_identity", lambda _: "another timeline")
        between.cut = "after"
        with pytest.raises(StorageBusyError, match="not known whether it was"):
            await accept(store, "e")
        monkeypatch.undo()
        assert (await store.accept(new_event("event-e"), [], at_ms=1)).is_duplicate

    use(opened, body)


def test_what_is_asked_while_the_server_is_away_waits_and_is_then_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE_S", 0.5)
    server = postgres_rig.Server(postgres_rig.programs())
    try:
        url = server.make_database("away")

        async def body(store: OpenStore) -> None:
            await accept(store, "before")
            server.stop("immediate")
            with pytest.raises(StorageBusyError, match="cannot be reached or used now"):
                await accept(store, "refused")
            with pytest.raises(StorageBusyError, match="cannot be read now"):
                await store.event("event-before")
            monkeypatch.setattr(connection, "PATIENCE_S", 60.0)
            waiting = asyncio.ensure_future(accept(store, "waits"))
            reading = asyncio.ensure_future(store.event("event-before"))
            await asyncio.to_thread(server.start)
            assert await waiting == "run-waits"
            assert await reading is not None
            assert (await store.counts()).events == 2

        use(lambda: PostgresStore(Address(url, url, "flowd"), max_queued=1000), body)
    finally:
        server.remove()


def test_who_stands_still_in_a_transaction_lets_others_write_after_a_while(
    link: tuple[Link, PostgresStoreOpener],
) -> None:
    _, opened = link

    async def body(store: PostgresStore) -> None:
        await accept(store, "a")
        frozen = connection.PostgresWriter(store._database._address)  # type: ignore[attr-defined]
        frozen.begin()
        frozen.execute("SET idle_in_transaction_session_timeout = 300")
        assert await accept(store, "b") == "run-b"
        with pytest.raises(connection.LostError):
            frozen.execute("SELECT 1")
        frozen.close()

    use(opened, body)
