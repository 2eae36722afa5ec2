"""A pooler between a host and its database: of use in session mode alone, and who has another one is told."""

import asyncio
from pathlib import Path

import postgres_rig
import pytest
from pooler_rig import pooler
from store_rig import DONE, STEP, accept

from flowd.domain.errors import NotYetError, StateError
from flowd.domain.exit import Exit
from flowd.domain.hosts import HostSession
from flowd.domain.queueing import Claim
from flowd.domain.stored import Output
from flowd.store.postgres import inspection
from flowd.store.postgres import pooler as poolers
from flowd.store.postgres.address import Address
from flowd.store.postgres.shared import SharedStore
from flowd.store.postgres.store import PostgresDatabase


def address_of(url: str) -> Address:
    return Address(url, url, "flowd")


def listening(url: str) -> inspection.Seen:
    """What ``flowd store check`` says of it."""
    (found,) = (one for one in inspection.look(address_of(url)) if one.what == "listening")
    return found


def test_a_pooler_in_transaction_mode_is_told_and_no_daemon_starts_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poolers, "_HEARD_WITHIN_S", 0.5)
    postgres_rig.DATABASE.address(tmp_path)
    with pooler("transaction", "test") as url:
        found = listening(url)
        assert found.level == "fail"
        assert "a pooler in transaction mode" in found.found
        with pytest.raises(StateError, match=r"a pooler in transaction mode.* Connect to the server itself") as refused:
            PostgresDatabase(address_of(url)).open_writer()
        assert not isinstance(refused.value, NotYetError)  # no later start would find it well


def test_a_host_behind_a_pooler_in_session_mode_hears_others_and_takes_its_own_word_for_no_news(tmp_path: Path) -> None:
    direct = postgres_rig.DATABASE.address(tmp_path)

    async def body(url: str) -> None:
        anna, bert = (HostSession(name, name, f"session-{name}", "1", ()) for name in ("anna", "bert"))
        pooled = SharedStore(address_of(url), host=anna, max_queued=1000)
        other = SharedStore(address_of(direct), host=bert, max_queued=1000)
        try:
            await pooled.register()
            heard = asyncio.Event()
            pooled.tell_news(heard.set)
            while not heard.is_set():  # it may not listen yet
                await accept(other, f"theirs-{asyncio.get_running_loop().time()}")
                await asyncio.sleep(0.02)
            news: list[str] = []
            pooled.tell_news(lambda: news.append("news"))
            for number in range(20):
                await accept(pooled, f"ours-{number}")
            (started,) = (await pooled.claim(Claim(1, "k", "b", lambda *_: STEP, 2, 2, host=anna, asked_s=1.0))).started
            await pooled.finish(started.attempt, DONE, Exit(code=0), Output(), at_ms=3)
            assert len(news) < 10  # the others' last words may come late
        finally:
            await pooled.close()
            await other.close()

    with pooler("session", "test") as url:
        assert listening(url).level == "ok"
        asyncio.run(asyncio.wait_for(body(url), 60))
