"""Claims of a host that shares its store."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from flowd.domain.hosts import HostSession
from flowd.domain.queueing import Claim, Claimed
from flowd.engine.claims import Claims
from flowd.engine.storage_waits import StorageWaits

HOST = HostSession("anna", "id", "session", "1.0")


def made(keeper: object, asked: list[Claim], *, host: HostSession | None) -> Claims:
    async def claim(ask: Claim) -> Claimed:
        asked.append(ask)
        return Claimed(has_more=True)

    return Claims(
        store=cast("Any", SimpleNamespace(claim=claim, queued=1)),
        keeper=cast("Any", keeper),
        steps=cast("Any", SimpleNamespace(startable=None)),
        clock=cast("Any", SimpleNamespace(now_ms=lambda: 1, steady_ms=lambda: 1)),
        boot_id="boot",
        waits=StorageWaits(lambda: 0.0),
        host=host,
        boot_s=lambda: 7.0,
    )


def test_nothing_is_claimed_under_a_keeper_that_keeps_no_leases() -> None:
    asked: list[Claim] = []
    keeper = SimpleNamespace(id="keeper", can_fence=False)
    claims = made(keeper, asked, host=HOST)
    assert asyncio.run(claims.claim(3)) == Claimed()  # and nobody is asked to come again at once
    assert claims.ask(3).limit == 0
    assert asked == []
    keeper.can_fence = True
    assert asyncio.run(claims.claim(3)).has_more
    assert [(ask.limit, ask.host, ask.asked_s) for ask in asked] == [(3, HOST, 7.0)]


def test_a_store_of_our_own_asks_for_no_leases() -> None:
    asked: list[Claim] = []
    claims = made(SimpleNamespace(id="keeper", can_fence=False), asked, host=None)
    asyncio.run(claims.claim(3))
    assert [(ask.limit, ask.host) for ask in asked] == [(3, None)]
