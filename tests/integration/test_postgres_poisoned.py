"""Variables in a daemon's environment that libraries and servers take for settings: none changes what is stored."""

import asyncio
from pathlib import Path

import postgres_rig
import pytest
from store_rig import DONE, STEP, new_event

from flowd.domain.exit import Exit
from flowd.domain.hosts import HostSession
from flowd.domain.queueing import Claim, NewRun
from flowd.domain.stored import Output
from flowd.store.postgres import inspection
from flowd.store.postgres.address import Address
from flowd.store.postgres.shared import SharedStore

POISON = {
    "TRIGGER": "nothing", "FUNCTION": "nothing", "QUEUE_TABLE": "runs", "CHANNEL": "other", "SCHEMA": "public",
    "PGHOST": "nowhere.invalid", "PGDATABASE": "nowhere", "PGTZ": "Asia/Tokyo", "PGDATESTYLE": "German",
    "PGCLIENTENCODING": "LATIN1", "PGAPPNAME": "x", "PGSSLMODE": "prefer",
    "PGOPTIONS": "-c search_path=pg_catalog -c standard_conforming_strings=off -c enable_indexscan=off"
    " -c default_transaction_isolation=serializable -c bytea_output=escape -c extra_float_digits=-15"
    " -c intervalstyle=sql_standard -c array_nulls=off",
}  # fmt: skip
WORD = "Grüße, Привет, 日本 \\ ' \" %s $1 ?"


def test_a_host_with_a_poisoned_environment_stores_and_tells_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_rig.DATABASE.address(tmp_path)
    address = Address(url, url, "flowd")
    anna, bert = (HostSession(name, name, f"session-{name}", "1", ("gpu",)) for name in ("anna", "bert"))

    async def body() -> None:
        clean = SharedStore(address, host=bert, max_queued=1000)
        for name, value in POISON.items():
            monkeypatch.setenv(name, value)
        poisoned = SharedStore(address, host=anna, max_queued=1000)
        heard = asyncio.Event()
        try:
            for store in (clean, poisoned):
                await store.register()
            clean.tell_news(heard.set)
            await poisoned.accept(new_event(WORD, kind=WORD), [NewRun("run", STEP)], at_ms=1)
            await heard.wait()
            assert (await clean.accept(new_event(WORD, kind=WORD), [], at_ms=1)).is_duplicate
            (started,) = (
                await poisoned.claim(Claim(1, "k", "b", lambda *_: STEP, 2, 2, host=anna, asked_s=1.0))
            ).started
            leases = await poisoned.renew(running=1, places=1)
            assert leases is not None
            assert [held.run_id for held in leases] == ["run"]
            assert await clean.expired() == []
            await poisoned.finish(started.attempt, DONE, Exit(code=0), Output(WORD.encode(), WORD.encode()), at_ms=3)
            seen = [await store.run("run") for store in (clean, poisoned)]
            assert seen[0] == seen[1]
            assert seen[0] is not None
            assert seen[0].status == "completed"
            assert await clean.event(WORD) == await poisoned.event(WORD)
        finally:
            for store in (clean, poisoned):
                await store.close()

    asyncio.run(asyncio.wait_for(body(), 60))
    assert {one.level for one in inspection.look(address)} <= {"ok", "warn"}
